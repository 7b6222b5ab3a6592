//! What is durable: each shard's append-only log, the rows its rooms are opened from, and how far each follower is. This
//! is the only place that knows keys ([`keys`]) and row formats; it decides nothing about rooms and delivers nothing.
//!
//! The main path is [`Rooms::prepare`] → ([`Rooms::stage`] if something is large) → [`Batch::push`] →
//! [`ShardLog::append`]: one transaction that the shard's fence guards. When it returns, the batch is durable, once.
//! [`Ledger`] holds the reads.

pub mod abuse;
mod batch;
mod cursor;
mod entry;
pub mod follower;
#[cfg(test)]
mod formats;
pub mod intervals;
pub mod keys;
mod ledger;
mod log;
mod read;
mod read_room;
mod records;
mod rooms;
mod rows;
mod set_aside;
mod ties;
mod trim;
mod value;

pub use batch::{Batch, Change, Prepared, Unstaged, Write};
pub use cursor::{BadBlock, Cursor, CursorChange, FollowerId, Full, IndexBlock};
pub use entry::{LedgerId, LogEntry, Offset, SetId};
pub use ledger::{Founding, Ledger, OpenError};
pub use log::{AppendError, ShardLog};
pub use read::{CorruptRow, Position, ReadError, ReadLimit};
pub use read_room::{FollowedRoom, RoomEntries};
/// Words of the room that entries of the log are told in.
pub use room::{Chain, Digest, Millis, Seq, Shown};
pub use rooms::Rooms;
pub use set_aside::SetAside;
pub use ties::{Due, Membership, Tie};
pub use trim::{Cut, Trimmed, Trimmer};
pub use value::BLOB_BYTES_MAX;
