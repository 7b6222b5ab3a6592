//! Couriers: each brings one follower provider its entries of one shard, in order, at least once, byte-identical. Nothing
//! here writes: what was acknowledged and what must be indexed is reported to the shard's committer, which makes it
//! durable.
//!
//! The main path: the committer makes entries durable and calls [`Couriers::release`]; each follower that is due something
//! gets a courier task, which calls [`Transport::deliver`] window by window and ends when nothing is left; the committer
//! takes [`Couriers::report`] into one of its next batches and confirms it with [`Couriers::reported`].
//!
//! What a follower refuses for good is set aside, and an operator decides about it: [`Couriers::retry`], [`Couriers::skip`],
//! [`Couriers::pause`].

mod alarms;
mod backlog;
mod backoff;
mod courier;
mod couriers;
mod entry;
mod follower;
mod frame;
mod lane;
mod metrics;
mod options;
mod orders;
mod plane;
mod report;
mod resting;
mod tail;
mod transport;
mod window;

pub use alarms::Alarms;
pub use couriers::{Couriers, Opening};
pub use entry::{Entry, Piece};
pub use options::Options;
pub use orders::{Retried, Standing, TooManyPaused};
pub use plane::Plane;
pub use report::{Occasion, Report};
pub use resting::Resting;
pub use transport::{Acknowledged, Brought, Due, Failure, Refused, Transport};
