//! Who owns which shard. A [`Tenure`] is the right to write to one shard; only this crate can make one, so that a write
//! without one does not compile. Of two tenures of a shard only the later one can write: every transaction reads the fence
//! ([`Tenure::fence`]), and taking over moves it.
//!
//! Beats say who is alive; they are for liveness only, and that hangs on no clock value: a waiter watches an unchanged beat
//! on its own monotonic clock. If every clock and every beat were wrong, shards would change hands too often, and each of them
//! would still have one writer at a time.
//!
//! Beats also say what their nodes' wall clocks say. A node whose clock is more than 5 s off the median of the live nodes'
//! takes no shard, so that the times at which a room accepts do not jump with its owner.
//!
//! Which node should have which shard is a function of who lives ([`View::place`]), on which each node acts alone: there
//! is no leader, and nodes do not talk to each other.

mod lapse;
mod life;
mod node;
mod rows;
mod site;
mod tenure;
mod view;
mod wall;

pub use lapse::Lapse;
pub use node::{AcquireError, Node, NodeOptions, Owned, Ownership};
pub use rows::{Incarnation, Term};
pub use site::{BadSite, Site};
pub use tenure::{FenceError, Tenure};
pub use view::{Member, View};
pub use wall::WallClock;
