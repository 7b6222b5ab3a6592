//! The store on a FoundationDB cluster: the contract of `store::Backend`, kept by FoundationDB's own client.
//!
//! Without the feature `fdb` this crate is an empty shell, so that the workspace builds on machines that have neither
//! `libfdb_c` (needed to link) nor libclang (needed to read the client's header). With it:
//!
//! * `FdbStore::open` opens a cluster by its cluster file and gives a `store::Database`.
//! * `OpenError` says what to do when that fails.
//!
//! What holds beyond the contract, and what FoundationDB decides differently:
//!
//! * **Once per process.** The C client has one network thread for the whole process. The first `open` starts it, the exit of
//!   the process stops it, and it cannot be started a second time. All stores of a process share it. Leave no task running
//!   that uses a store when `main` returns.
//! * **No answer within `ANSWER_MAX` is an error**, `Busy` while nothing can have been committed and `TimedOut` after a commit
//!   was sent. The client goes on looking for the cluster, so the store serves again by itself when the cluster does.
//! * **`Unknown` and `TimedOut` differ.** After `Unknown` the commit is no longer under way. After `TimedOut` it may still take
//!   effect later.
//! * An added read conflict range does not count where the transaction itself wrote before it was added.
//! * A range that is cleared after a stamped key was written takes that key along if it holds the key with the read version
//!   in the stamp's place. Clear first, then append.
//!
//! The feature `testing` brings `testing::Cluster`, a cluster of one process that is thrown away.

#[cfg(feature = "fdb")]
mod cluster_file;
#[cfg(feature = "fdb")]
mod error;
#[cfg(feature = "fdb")]
mod hidden;
#[cfg(feature = "fdb")]
mod network;
#[cfg(feature = "fdb")]
mod open;
#[cfg(feature = "fdb")]
mod store;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "fdb")]
mod transaction;

#[cfg(feature = "fdb")]
pub use self::{
    open::OpenError,
    store::{ANSWER_MAX, FdbStore},
};
