//! An ordered transactional key-value store with FoundationDB's semantics: a transaction reads one durable version of
//! everything, and its commit succeeds only if nothing it read has changed since.
//!
//! It does not know what is stored in it: keys and row formats belong to its users.
//!
//! * [`Database`] begins transactions; [`Database::run`] retries one until it is settled.
//! * [`Transaction`] reads, writes and commits.
//! * [`Backend`] and [`BackendTransaction`] are what an implementation provides. Two are here: memory (deterministic,
//!   without threads) and a directory on one machine (fjall underneath, one sync per group of commits).
//! * [`conformance`] is the suite that every backend passes.
//! * [`limits`] holds every bound.

mod backend;
pub mod conformance;
mod database;
mod embedded;
mod error;
mod key;
pub mod limits;
mod transaction;
mod watch;
mod written;

pub use backend::{Backend, BackendTransaction, Bounds, ConflictKind, Isolation, Mutation, Rows};
pub use database::{Database, Retry};
pub use embedded::{OpenError, Options};
pub use error::Error;
pub use key::{KeyRange, Version, Versionstamp};
pub use transaction::{Committed, Transaction};
pub use watch::Watch;
pub use written::Written;
