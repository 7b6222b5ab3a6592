//! The deterministic core: one room's rules, order and effects. The same commands with the same times give the same
//! entries, rows and answers. No I/O, no clock, no randomness, no async: time is an argument, keys and signatures are the
//! shell's.
//!
//! The main path is [`Room::decide`] → [`Room::apply`] → (the shell makes [`Applied::entries`] and [`Applied::rows`]
//! durable in one transaction) → the shell releases [`Applied::answer`]. On any failure in between the shell drops the
//! room and opens it again from its rows ([`Room::open`]); there is no rollback.

pub mod command;
pub mod decision;
pub mod entry;
mod room;
pub mod row;

pub use command::{Answer, Command, Refusal};
pub use decision::{Append, Applied, Decision, Founding, Reply};
pub use entry::{Chain, Digest, Entry, EntryKind, Epoch, Millis, Recipient, Recipients, Seq, Shown};
pub use room::{Corrupt, Head, Room};
pub use row::{AnswerKind, Row, RowChange, RowId};
