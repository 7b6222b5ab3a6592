//! What is asked of the hub, and what it says.

use std::time::Duration;

use room::{Answer, Command, Founding, Refusal};
use shard::Term;

/// Something asked of one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Found it.
    Found(Founding),
    /// Whatever a room decides.
    Command(Command),
    /// Look at its parent: who left that leaves it, too. The hub asks this by itself.
    Follow,
}

/// What became of a request. The first four are durable truth of this hub's ledger; the others promise nothing, and the
/// caller's retry is settled by the room's repeat-answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Done, or read.
    Answer(Answer),
    /// Not done, for a reason that the asker may know.
    Refused(Refusal),
    /// There is no such room.
    UnknownRoom,
    /// The room to be founded exists, and is another.
    RoomExists,
    /// This node does not own the room's shard (any more).
    Elsewhere {
        /// Where its owner answers; empty when not known.
        node: String,
        /// The term under which it was last owned here; 0 when it was not.
        term: u64,
    },
    /// More is asked than fits: nothing was decided.
    Overloaded {
        /// When it may be asked again.
        retry_after: Duration,
    },
    /// The store or the room cannot be used at the moment; the request may or may not have been carried out.
    Unavailable {
        /// When it may be asked again.
        retry_after: Duration,
    },
}

impl Outcome {
    /// Somebody else's, last owned here under `term`; where the owner answers is not known.
    pub(crate) fn elsewhere(term: Term) -> Self {
        Self::Elsewhere {
            node: String::new(),
            term: term.0,
        }
    }
}
