//! The deterministic core: one room's rules, order and effects. The same commands with the same times give the same
//! entries, rows and answers. No I/O, no clock, no randomness, no async: time is an argument, keys and signatures are the
//! shell's.
//!
//! The main path is [`Room::decide`] → [`Room::apply`] → (the shell makes [`Applied::entries`] and [`Applied::rows`]
//! durable in one transaction) → the shell releases [`Applied::answer`]. On any failure in between the shell drops the
//! room and opens it again from its rows ([`Room::open`]); there is no rollback.

mod answers;
mod apply;
pub mod command;
mod decide;
pub mod decision;
mod end;
pub mod entry;
mod founding;
mod franking;
mod group;
mod joining;
pub mod keys;
mod open;
mod own;
mod parent;
mod reply;
mod room;
pub mod row;

pub use answers::{ANSWERS_MILLIS, SUBMIT_ANSWERS, UPDATE_ANSWERS};
pub use command::{Answer, Command, Refusal};
pub use decision::{Append, Applied, Decision, Founding, Reply};
pub use entry::{Chain, Digest, Entry, EntryKind, Epoch, Millis, Recipient, Recipients, Seq, Shown};
pub use joining::GRANTS_MAX;
pub use keys::{Keys, NoKeys};
pub use room::{CLIENTS_MAX, Corrupt, EPOCH_TOLERANCE, Head, PENDING_MAX, ROUTES_MAX, Room, SNAPSHOT_EPOCHS};
pub use row::{AnswerKind, Row, RowChange, RowId};
