//! The actors: one per shard, one per room in memory. They translate messages into calls of the room's core and of the
//! gate, and hold nothing else.

mod room;
mod shard;
mod ties;

pub(crate) use room::RoomActor;
pub use shard::OpenError;
pub(crate) use shard::{Consult, Drain, Served, ShardActor, Take, Wake};

use actix::Message;
use mimi::RoomUri;

use crate::gate::Reply;
use crate::{Outcome, Request};

/// A request on its way to its room.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) room: RoomUri,
    pub(crate) request: Request,
    pub(crate) reply: Reply,
}

impl Message for Ask {
    type Result = ();
}

impl Ask {
    /// Answers without having done anything.
    pub(crate) fn turn_away(self, outcome: Outcome) {
        self.reply.send(outcome);
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
