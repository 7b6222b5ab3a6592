//! The actor of one room in memory: reserve a place, decide, apply, push. The mailbox rests only while the room is loaded,
//! while something is decided that takes long, while other rooms are looked at, and while one of its large values is staged.

use std::rc::Rc;
use std::sync::{Arc, Weak};

use actix::dev::channel;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use ledger::{AppendError, Change, Prepared, Rooms, Unstaged, Write};
use mimi::RoomUri;
use room::{Answer, Append, Applied, Command, Decision, Keys, Millis, Refusal, Room};
use shard::Tenure;
use tokio::time::Instant;

use super::shard::Serving;
use super::ties::{LoadError, Sides, load, open};
use super::{Ask, Served, chain};
use crate::gate::{Decided, Gate, Place, Reply, Shut};
use crate::{Options, Outcome, Request};

enum State {
    /// The mailbox rests meanwhile.
    Loading,
    /// The ledger knows no such room.
    Absent,
    Open(Box<Room>),
    /// It is decided apart. The mailbox rests meanwhile.
    Away,
}

impl State {
    /// What becomes of a request, in memory.
    fn decide(
        &mut self,
        request: Request,
        id: &RoomUri,
        keys: &dyn Keys,
        now: Millis,
        options: &Options,
    ) -> Result<Step, Outcome> {
        match (self, request) {
            (Self::Loading | Self::Away, _) => unreachable!("the mailbox rests while the room is not here"),
            (Self::Absent, Request::Command(_) | Request::Follow) => Err(Outcome::UnknownRoom),
            (Self::Absent, Request::Found(founding)) => {
                let (room, applied) = Room::found(id.clone(), founding, now, keys).map_err(Outcome::Refused)?;
                if room.view().is_minimal_metadata() && !options.minimal_metadata {
                    let refusal = Refusal::NotAllowed("minimal-metadata rooms are switched off here");
                    return Err(Outcome::Refused(refusal));
                }
                Ok(Step::Take(Taken::Room(Box::new(room), applied)))
            }
            (Self::Open(room), Request::Found(founding)) if room.is_as_founded(&founding) => {
                Ok(Step::Answer(Outcome::Answer(Answer::Founded)))
            }
            (Self::Open(room), Request::Found(founding)) if room.is_ended() => {
                let succeeded = room.succeed(&founding, keys);
                succeeded.map(Step::Applied).map_err(Outcome::Refused)
            }
            (Self::Open(_), Request::Found(_)) => Err(Outcome::RoomExists),
            (Self::Open(room), Request::Command(command)) => match room.decide(&command, now, keys) {
                Ok(Decision::Append(append)) => Ok(Step::Take(Taken::Append(append))),
                Ok(Decision::Answer(answer)) => Ok(Step::Answer(Outcome::Answer(answer))),
                Err(refusal) => Err(Outcome::Refused(refusal)),
            },
            (Self::Open(room), Request::Follow) => Ok(match room.outlook().parent() {
                Some(parent) => Step::Follow(parent),
                None => Step::Answer(Outcome::Answer(Answer::Followed)),
            }),
        }
    }

    /// Whether that may take so long that other rooms would notice: a group's signatures are verified, or its tree encrypted.
    fn takes_long(&self, request: &Request, options: &Options) -> bool {
        match (self, request) {
            (Self::Open(room), Request::Command(Command::Update { .. } | Command::GroupInfo { .. })) => {
                room.outlook().client_count() >= options.apart_from_clients
            }
            (_, Request::Found(_)) => true,
            _ => false,
        }
    }
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

    fn decide_here(&mut self, request: Request, asked: Asked, ctx: &mut Context<Self>) {
        let served = &self.served;
        let decided = self
            .state
            .decide(request, &self.id, &*served.keys, served.clock.now(), &served.options);
        self.go_on(decided, asked, ctx);
    }

    /// Decides where no other room is kept waiting; the mailbox rests meanwhile.
    fn decide_apart(&mut self, request: Request, asked: Asked, ctx: &mut Context<Self>) {
        let mut state = std::mem::replace(&mut self.state, State::Away);
        let (offload, options) = (self.served.offload.clone(), self.served.options.clone());
        let (id, keys, now) = (self.id.clone(), self.served.keys.clone(), self.served.clock.now());
        let decided = async move {
            let decide = move || {
                let decided = state.decide(request, &id, &*keys, now, &options);
                (state, decided)
            };
            offload.done(decide).await
        };
        let decided = decided.into_actor(self).map(move |decided, actor, ctx| match decided {
            Some((state, decided)) => {
                actor.state = state;
                actor.go_on(decided, asked, ctx);
            }
            // The room is gone with its thread.
            None => {
                asked.reply.send(actor.served.unavailable());
                ctx.stop();
            }
        });
        ctx.wait(decided);
    }

    fn go_on(&mut self, decided: Result<Step, Outcome>, asked: Asked, ctx: &mut Context<Self>) {
        match decided {
            Ok(Step::Take(taken)) => self.take(taken, asked, ctx),
            Ok(Step::Applied(applied)) => self.submit(applied, None, asked, ctx),
            Ok(Step::Follow(parent)) => self.follow(parent, asked, ctx),
            Ok(Step::Answer(outcome)) => asked.answer(outcome),
            Err(Outcome::Refused(refusal)) => asked.answer(self.refuse(refusal)),
            Err(outcome) => asked.answer(outcome),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Outcome {
        self.served.metrics.rejected(&refusal);
        Outcome::Refused(refusal)
    }

    /// Carries out what was decided, once other rooms let it; the mailbox rests while they are looked at.
    fn take(&mut self, taken: Taken, asked: Asked, ctx: &mut Context<Self>) {
        let view = match &taken {
            Taken::Room(room, _) => Some(room.outlook()),
            Taken::Append(append) => append.view(),
        };
        // Whatever is no handshake concerns nobody else.
        let Some(view) = view else {
            return self.carry_out(taken, None, asked, ctx);
        };
        let before = match &self.state {
            State::Open(room) => Sides::of(room),
            State::Absent | State::Loading | State::Away => Sides::none(),
        };
        let demands = before.demands(view);
        if demands.are_none() {
            return self.carry_out(taken, Some(before), asked, ctx);
        }
        let (ledger, offload) = (self.served.ledger.clone(), self.served.offload.clone());
        let (rooms, tenure) = (self.rooms.clone(), self.tenure.clone());
        let met = demands.meet(self.id.clone(), view.clone(), ledger, offload, rooms, tenure);
        let met = met.into_actor(self).map(move |met, actor, ctx| match met {
            Ok(Ok(())) => actor.carry_out(taken, Some(before), asked, ctx),
            Ok(Err(refusal)) => asked.answer(actor.refuse(refusal)),
            Err(error) => actor.turn_away(&error, asked),
        });
        ctx.wait(met);
    }

    /// Carries out what was decided, in memory, and submits it. `before` is of a room whose membership or policy changes.
    fn carry_out(&mut self, taken: Taken, before: Option<Sides>, asked: Asked, ctx: &mut Context<Self>) {
        let applied = match (taken, &mut self.state) {
            (Taken::Room(room, applied), state) => {
                *state = State::Open(room);
                applied
            }
            (Taken::Append(append), State::Open(room)) => room.apply(*append, &*self.served.keys),
            (Taken::Append(_), State::Loading | State::Absent | State::Away) => unreachable!("an open room stays open"),
        };
        self.submit(applied, before, asked, ctx);
    }

    /// Has the room follow its parent as that is now; the mailbox rests while it is read.
    fn follow(&self, parent: RoomUri, asked: Asked, ctx: &mut Context<Self>) {
        let (ledger, offload) = (self.served.ledger.clone(), self.served.offload.clone());
        let loaded = async move { load(&ledger, &offload, parent).await };
        let loaded = loaded.into_actor(self).map(|loaded, actor, ctx| match loaded {
            Ok(parent) => {
                let State::Open(room) = &mut actor.state else {
                    unreachable!("an open room stays open")
                };
                let before = Sides::of(room);
                let parent = parent.as_ref().filter(|parent| !parent.is_over()).map(Room::outlook);
                match room.follow_parent(parent, actor.served.clock.now(), &*actor.served.keys) {
                    Some(applied) => actor.submit(applied, Some(before), asked, ctx),
                    None => asked.answer(Outcome::Answer(Answer::Followed)),
                }
            }
            Err(error) => actor.turn_away(&error, asked),
        });
        ctx.wait(loaded);
    }

    /// Another room could not be looked at: nothing was done.
    fn turn_away(&self, error: &LoadError, asked: Asked) {
        tracing::error!(shard = self.served.shard.0, error = %chain(error), "look at another room");
        asked.reply.send(self.served.unavailable());
    }

    /// Queues a change for its batch; large values are staged first, and the mailbox rests until they are.
    fn submit(&self, applied: Applied, before: Option<Sides>, asked: Asked, ctx: &mut Context<Self>) {
        let Applied { entries, rows, answer } = applied;
        let outcome = Outcome::Answer(answer);
        let ties = match (&self.state, before) {
            (State::Open(room), Some(before)) => Sides::ties(&before, room),
            _ => Vec::new(),
        };
        match self.rooms.prepare(Change {
            room: self.id.clone(),
            entries,
            rows,
            ties,
        }) {
            Prepared::Ready(write) => asked.append(write, outcome),
            Prepared::Blobs(unstaged) => self.stage(unstaged, outcome, asked, ctx),
        }
    }

    fn stage(&self, unstaged: Unstaged, outcome: Outcome, asked: Asked, ctx: &mut Context<Self>) {
        let (rooms, tenure) = (self.rooms.clone(), self.tenure.clone());
        let stage = async move {
            let tenure = tenure.upgrade().ok_or(AppendError::Fenced)?;
            rooms.stage(&tenure, unstaged).await
        };
        let staged = stage.into_actor(self).map(move |staged, actor, ctx| match staged {
            Ok(write) => asked.append(write, outcome),
            Err(error) => {
                // What was applied never becomes durable: this copy of the room is of no more use. Whether the shard
                // is still ours is for the committer to find out.
                tracing::error!(shard = actor.served.shard.0, error = %chain(&error), "stage a room's large values");
                asked.reply.send(actor.served.unavailable());
                ctx.stop();
            }
        });
        ctx.wait(staged);
    }
}

/// What a request comes to.
enum Step {
    /// This, if other rooms let it.
    Take(Taken),
    /// It is carried out in memory, and concerns no other room.
    Applied(Applied),
    /// The room looks at its parent.
    Follow(RoomUri),
    Answer(Outcome),
}

/// What was decided and is not carried out yet.
enum Taken {
    /// A new room.
    Room(Box<Room>, Applied),
    Append(Box<Append>),
}

/// Whoever asked, and the place that is kept for the answer.
struct Asked {
    place: Place,
    reply: Reply,
}

impl Asked {
    /// To be answered when everything before is durable.
    fn answer(self, outcome: Outcome) {
        self.decided(None, outcome);
    }

    /// To be answered when this is durable.
    fn append(self, write: Write, outcome: Outcome) {
        self.decided(Some(write), outcome);
    }

    fn decided(self, write: Option<Write>, outcome: Outcome) {
        let Self { place, reply } = self;
        place.push(Decided { write, reply, outcome });
    }
}

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (rooms, tenure, id) = (self.rooms.clone(), self.tenure.clone(), self.id.clone());
        let offload = self.served.offload.clone();
        let begun = Instant::now();
        let load = async move {
            let tenure = tenure.upgrade().ok_or(LoadError::Read(AppendError::Fenced))?;
            let Some(rows) = rooms.load(&tenure, &id).await.map_err(LoadError::Read)? else {
                return Ok(None);
            };
            open(&offload, id, rows).await.map(Some)
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
        let asked = Asked {
            place,
            reply: ask.reply,
        };
        if self.state.takes_long(&ask.request, &self.served.options) {
            self.decide_apart(ask.request, asked, ctx);
        } else {
            self.decide_here(ask.request, asked, ctx);
        }
    }
}
