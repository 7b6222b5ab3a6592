//! The actor of one room in memory: reserve a place, decide, apply, push. Nothing is awaited while deciding; the mailbox
//! rests only while the room is loaded and while one of its large values is staged.

use std::rc::Rc;
use std::sync::{Arc, Weak};

use actix::dev::channel;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use ledger::{AppendError, Change, Prepared, Rooms, Unstaged};
use mimi::RoomUri;
use room::{Answer, Applied, Corrupt, Decision, Refusal, Room};
use shard::Tenure;
use tokio::time::Instant;

use super::shard::Serving;
use super::{Ask, Served, chain};
use crate::gate::{Decided, Gate, Place, Reply, Shut};
use crate::{Outcome, Request};

enum State {
    /// The mailbox rests meanwhile.
    Loading,
    /// The ledger knows no such room.
    Absent,
    Open(Box<Room>),
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("read the room's rows")]
    Read(#[source] AppendError),
    #[error("open the room")]
    Corrupt(#[source] Corrupt),
}

/// See the module.
pub(crate) struct RoomActor {
    id: RoomUri,
    state: State,
    served: Rc<Served>,
    gate: Rc<Gate>,
    rooms: Rooms,
    /// Held only while something is read or staged: a shard that drains resigns it.
    tenure: Weak<Tenure>,
}

impl RoomActor {
    /// Starts the actor on the current thread; it loads the room before it looks at its mailbox.
    pub(crate) fn activate(id: RoomUri, served: &Rc<Served>, serving: &Serving) -> Addr<Self> {
        let (_, mailbox) = channel::channel(served.options.room_mailbox);
        served.metrics.rooms(1);
        Context::with_receiver(mailbox).run(Self {
            id,
            state: State::Loading,
            served: served.clone(),
            gate: serving.gate.clone(),
            rooms: serving.rooms.clone(),
            tenure: Arc::downgrade(&serving.tenure),
        })
    }

    /// What becomes of a request, now, in memory.
    fn decide(&mut self, request: Request) -> Result<Verdict, Outcome> {
        let now = self.served.clock.now();
        let keys = &*self.served.keys;
        match (&mut self.state, request) {
            (State::Loading, _) => unreachable!("the mailbox rests while the room is loaded"),
            (State::Absent, Request::Command(_)) => Err(Outcome::UnknownRoom),
            (State::Absent, Request::Found(founding)) => {
                let (room, applied) = Room::found(self.id.clone(), founding, now, keys).map_err(|r| self.refuse(r))?;
                if room.view().is_minimal_metadata() && !self.served.options.minimal_metadata {
                    return Err(self.refuse(Refusal::NotAllowed("minimal-metadata rooms are switched off here")));
                }
                self.state = State::Open(Box::new(room));
                Ok(Verdict::Append(applied))
            }
            (State::Open(room), Request::Found(founding)) if room.is_as_founded(&founding) => {
                Ok(Verdict::Answer(Outcome::Answer(Answer::Founded)))
            }
            (State::Open(room), Request::Found(founding)) if room.is_ended() => {
                let succeeded = room.succeed(&founding, keys);
                succeeded.map(Verdict::Append).map_err(|refusal| self.refuse(refusal))
            }
            (State::Open(_), Request::Found(_)) => Err(Outcome::RoomExists),
            (State::Open(room), Request::Command(command)) => match room.decide(&command, now, keys) {
                Ok(Decision::Append(append)) => Ok(Verdict::Append(room.apply(*append, keys))),
                Ok(Decision::Answer(answer)) => Ok(Verdict::Answer(Outcome::Answer(answer))),
                Err(refusal) => Err(self.refuse(refusal)),
            },
        }
    }

    fn refuse(&self, refusal: Refusal) -> Outcome {
        self.served.metrics.rejected(&refusal);
        Outcome::Refused(refusal)
    }

    /// Queues a change for its batch; large values are staged first, and the mailbox rests until they are.
    fn submit(&self, applied: Applied, place: Place, reply: Reply, ctx: &mut Context<Self>) {
        let Applied { entries, rows, answer } = applied;
        let outcome = Outcome::Answer(answer);
        match self.rooms.prepare(Change {
            room: self.id.clone(),
            entries,
            rows,
        }) {
            Prepared::Ready(write) => place.push(Decided {
                write: Some(write),
                reply,
                outcome,
            }),
            Prepared::Blobs(unstaged) => self.stage(unstaged, place, reply, outcome, ctx),
        }
    }

    fn stage(&self, unstaged: Unstaged, place: Place, reply: Reply, outcome: Outcome, ctx: &mut Context<Self>) {
        let (rooms, tenure) = (self.rooms.clone(), self.tenure.clone());
        let stage = async move {
            let tenure = tenure.upgrade().ok_or(AppendError::Fenced)?;
            rooms.stage(&tenure, unstaged).await
        };
        let staged = stage.into_actor(self).map(move |staged, actor, ctx| match staged {
            Ok(write) => place.push(Decided {
                write: Some(write),
                reply,
                outcome,
            }),
            Err(error) => {
                // What was applied never becomes durable: this copy of the room is of no more use. Whether the shard
                // is still ours is for the committer to find out.
                tracing::error!(shard = actor.served.shard.0, error = %chain(&error), "stage a room's large values");
                reply.send(actor.served.unavailable());
                ctx.stop();
            }
        });
        ctx.wait(staged);
    }
}

enum Verdict {
    Append(Applied),
    Answer(Outcome),
}

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (rooms, tenure, id) = (self.rooms.clone(), self.tenure.clone(), self.id.clone());
        let begun = Instant::now();
        let load = async move {
            let tenure = tenure.upgrade().ok_or(LoadError::Read(AppendError::Fenced))?;
            match rooms.load(&tenure, &id).await.map_err(LoadError::Read)? {
                Some(rows) => Room::open(id, rows).map(Some).map_err(LoadError::Corrupt),
                None => Ok(None),
            }
        };
        let loaded = load.into_actor(self).map(move |loaded, actor, ctx| match loaded {
            Ok(room) => {
                actor.served.metrics.loaded(begun.elapsed());
                actor.state = room.map_or(State::Absent, |room| State::Open(Box::new(room)));
            }
            Err(error) => {
                tracing::error!(shard = actor.served.shard.0, error = %chain(&error), "activate a room");
                ctx.stop();
            }
        });
        ctx.wait(loaded);
    }
}

impl Drop for RoomActor {
    fn drop(&mut self) {
        self.served.metrics.rooms(-1);
    }
}

impl Handler<Ask> for RoomActor {
    type Result = ();

    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) {
        let place = match self.gate.reserve() {
            Ok(place) => place,
            Err(Shut::Closed(answer)) => return ask.turn_away(answer),
            Err(Shut::Full) => return ask.turn_away(self.served.overloaded()),
        };
        match self.decide(ask.request) {
            Ok(Verdict::Append(applied)) => self.submit(applied, place, ask.reply, ctx),
            Ok(Verdict::Answer(outcome)) | Err(outcome) => {
                place.push(Decided {
                    write: None,
                    reply: ask.reply,
                    outcome,
                });
            }
        }
    }
}
