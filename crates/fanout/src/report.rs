//! What couriers have made durable.

use ledger::{CursorChange, IndexBlock, Offset, SetAside};
use mimi::Provider;

/// What a report would go with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// Nothing: a transaction of its own.
    Alone,
    /// Entries that have to be made durable anyway: it goes along earlier, so that it seldom needs one of its own.
    Entries,
    /// There will be no further one.
    Last,
}

/// What the committer writes in its next batch. Once that is durable it calls [`Couriers::reported`]; if it never is, the
/// couriers are dropped with the shard.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Cursors that moved.
    pub cursors: Vec<CursorChange>,
    /// Index rows for the followers that still lack entries below the new `tail_start`.
    pub index: Vec<IndexBlock>,
    /// What followers refuse for good, passed by their cursors.
    pub set_aside: Vec<SetAside>,
    /// What is set aside no more, for whom.
    pub settled: Vec<(Provider, Offset)>,
    /// Who is brought nothing from then on (`true`), or is brought again what is due.
    pub pauses: Vec<(Provider, bool)>,
    /// Where the durable tail starts from then on.
    pub tail_start: Option<Offset>,
    /// Followers whose cursors say that they lost something.
    pub(crate) expired: Vec<Provider>,
    /// The last of the orders that are carried out with it.
    pub(crate) orders: u64,
}
