//! What an implementation of the store provides. The contract is FoundationDB's; a backend may refuse more (busy,
//! unknown), never promise less.

use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;

use crate::error::Error;
use crate::key::{KeyRange, Version, Versionstamp};
use crate::transaction::Committed;
use crate::watch::Watch;

/// A store that transactions can be begun on.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Begins a transaction. Nothing is read before it asks; its read version is that of its first read.
    fn begin(&self) -> Box<dyn BackendTransaction>;

    /// Begins a transaction that reads nothing. What is added to it as if it had been read conflicts with every write after
    /// `version`. Its commit is refused as too old where those are not all known any more.
    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction>;

    /// Groups of transactions that became durable together since the store was opened. 0 for a backend that leaves that
    /// to others.
    fn groups(&self) -> u64 {
        0
    }

    /// Refuses everything from now on with [`Error::Closed`], after what was being committed is settled.
    async fn close(&self);
}

/// One transaction of a [`Backend`]. Keys, values and sizes were checked by [`Transaction`](crate::Transaction) before.
#[async_trait]
pub trait BackendTransaction: fmt::Debug + Send + Sync {
    /// The version that all reads see: everything durable when it was asked for first, and nothing later.
    async fn read_version(&self) -> Result<Version, Error>;

    /// The value of `key` at the read version, overlaid with the transaction's own writes.
    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error>;

    /// Rows of `range` in the order and up to the bounds asked for, overlaid with the transaction's own writes.
    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error>;

    /// Adds a write. Writes take effect in the order in which they were added, at the commit.
    fn mutate(&mut self, mutation: Mutation);

    /// Treats `range` as read or as written when conflicts are looked for.
    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange);

    /// A watch that begins when this transaction commits. See [`Transaction::watch`](crate::Transaction::watch).
    async fn watch(&self, key: &[u8]) -> Result<Watch, Error>;

    /// Commits: all writes or none, durable when this returns `Ok`. A transaction without writes and write conflict ranges
    /// always succeeds. Dropping the future leaves it open whether the commit happens.
    async fn commit(self: Box<Self>) -> Result<Committed, Error>;
}

/// Whether a read is looked at when conflicts are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// A later write by somebody else makes the commit fail.
    Serializable,
    /// Somebody else's write does not matter.
    Snapshot,
}

/// Which side of a conflict a range is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// As if the transaction had read it.
    Read,
    /// As if the transaction had written it.
    Write,
}

/// How much of a range is read, and from which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most rows returned.
    pub rows: usize,
    /// No further row is returned once keys and values have this many octets together; one row always is.
    pub octets: usize,
    /// From the last key to the first.
    pub reverse: bool,
}

/// What a read of a range found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Key and value, in the order asked for.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Whether a bound was met before the end of the range, so that there may be more.
    pub more: bool,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The key has the value.
    Set { key: Bytes, value: Bytes },
    /// The key has no value.
    Clear { key: Bytes },
    /// No key of the range has a value.
    ClearRange { range: KeyRange },
    /// The key `prefix ‖ versionstamp ‖ suffix` has the value.
    SetStampedKey { prefix: Bytes, suffix: Bytes, value: Bytes },
    /// The key has the value `prefix ‖ versionstamp ‖ suffix`.
    SetStampedValue { key: Bytes, prefix: Bytes, suffix: Bytes },
}

impl Mutation {
    /// Octets of its keys and its value.
    pub(crate) fn octets(&self) -> usize {
        match self {
            Self::Set { key, value } => key.len() + value.len(),
            Self::Clear { key } => key.len(),
            Self::ClearRange { range } => range.octets(),
            Self::SetStampedKey { prefix, suffix, value } => {
                prefix.len() + Versionstamp::OCTETS + suffix.len() + value.len()
            }
            Self::SetStampedValue { key, prefix, suffix } => {
                key.len() + prefix.len() + Versionstamp::OCTETS + suffix.len()
            }
        }
    }
}
