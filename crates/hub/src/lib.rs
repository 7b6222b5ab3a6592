//! Rooms at work: nothing leaves this crate before the state it was derived from is durable under a tenure that was
//! still ours. It knows no transport and no wire format: requests come in as [`Request`], go out as [`Outcome`], and
//! entries leave through [`fanout::Transport`].
//!
//! The main path: [`Hub::call`] → shard actor → room actor (reserve a place → decide → apply → push) → the shard's
//! committer (one transaction in flight) → couriers, then the reply.
//!
//! Everything of a shard lives on one thread, so there is no lock here. The crate is the only user of actix.

mod actors;
mod cache;
mod clock;
mod committer;
mod dependents;
pub mod frank;
mod gate;
pub mod heads;
mod hub;
pub mod keys;
mod metrics;
mod offload;
pub mod operator;
mod options;
pub mod report;
mod request;
mod roster;
pub mod seal;
mod spawner;
mod steward;
mod trimmer;
mod vault;

pub use actors::OpenError;
pub use clock::{Clock, SystemClock};
pub use hub::{Hub, Parts, StartError};
pub use offload::{Job, Offload};
pub use options::Options;
pub use request::{Outcome, Request};
pub use spawner::{Arbiters, LocalTasks, Spawner, Work};
