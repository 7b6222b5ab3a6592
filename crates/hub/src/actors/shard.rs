//! The actor of one shard: finds or activates the room that is asked, starts the committer, and ends everything of the
//! shard when the committer says that it is over.

use std::rc::Rc;
use std::sync::Arc;

use actix::dev::{SendError, channel};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WeakAddr};
use fanout::{Couriers, Opening, Transport};
use ledger::{AppendError, Ledger, ReadError, Rooms, ShardLog};
use mimi::Provider;
use room::Keys;
use route::ShardId;
use shard::{Node, Tenure};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::{Ask, RoomActor, chain};
use crate::cache::Cache;
use crate::committer::{Committer, End};
use crate::gate::Gate;
use crate::hub::{Parts, StartError};
use crate::metrics::Metrics;
use crate::{Clock, Options, Outcome};

/// What a shard's actor is made of.
pub(crate) struct Served {
    pub(crate) shard: ShardId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<dyn Keys + Send + Sync>,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) ledger: Ledger,
    node: Node,
    dependents: Arc<Notify>,
    transport: Arc<dyn Transport>,
    couriers: Handle,
    seed: u64,
    rooms_max: usize,
}

/// Why a shard's log cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its tail, cursors or fence.
    #[error("open the shard's log")]
    Log(#[source] AppendError),
    /// Its entries.
    #[error("load the tail of the shard's log")]
    Tail(#[source] ReadError),
}

/// A log and couriers, ready to be served under a tenure.
pub(crate) struct Opened {
    tenure: Arc<Tenure>,
    log: ShardLog,
    couriers: Couriers,
}

enum State {
    /// Until the actor has started.
    Opened(Box<Opened>),
    Serving(Serving),
    /// Not served; this is what to answer instead.
    Closed(Outcome),
}

/// What the shard's rooms work with, from the opening of its log until that is closed.
pub(crate) struct Serving {
    pub(crate) gate: Rc<Gate>,
    pub(crate) rooms: Rooms,
    pub(crate) tenure: Arc<Tenure>,
    couriers: Rc<Couriers>,
}

/// See the module.
pub(crate) struct ShardActor {
    served: Rc<Served>,
    state: State,
    rooms: Cache<Addr<RoomActor>>,
    draining: Vec<oneshot::Sender<()>>,
}

impl Served {
    pub(crate) fn new(
        parts: &Parts,
        shard: ShardId,
        rooms_max: usize,
        metrics: &Metrics,
        dependents: &Arc<Notify>,
    ) -> Self {
        Self {
            shard,
            clock: parts.clock.clone(),
            keys: parts.keys.clone(),
            options: parts.options.clone(),
            metrics: metrics.clone(),
            ledger: parts.ledger.clone(),
            node: parts.node.clone(),
            dependents: dependents.clone(),
            transport: parts.transport.clone(),
            couriers: parts.couriers.clone(),
            seed: parts.seed.wrapping_add(u64::from(shard.0)),
            rooms_max,
        }
    }

    async fn open(&self, tenure: Arc<Tenure>) -> Result<Opened, OpenError> {
        let log = ShardLog::open(&self.ledger, &tenure).await.map_err(OpenError::Log)?;
        let couriers = Couriers::open(Opening {
            ledger: self.ledger.clone(),
            shard: self.shard,
            head: log.head(),
            tail_start: log.tail_start(),
            cursors: log
                .cursors()
                .map(|(provider, cursor)| (provider.clone(), cursor.clone()))
                .collect(),
            transport: self.transport.clone(),
            runtime: self.couriers.clone(),
            seed: self.seed,
            options: self.options.fanout.clone(),
        })
        .await
        .map_err(OpenError::Tail)?;
        Ok(Opened { tenure, log, couriers })
    }

    pub(super) fn unavailable(&self) -> Outcome {
        Outcome::Unavailable {
            retry_after: self.options.retry_after,
        }
    }

    pub(super) fn overloaded(&self) -> Outcome {
        self.metrics.overloaded();
        Outcome::Overloaded {
            retry_after: self.options.retry_after,
        }
    }
}

impl ShardActor {
    /// Acquires the shard, opens its log and starts its actor, on the current thread.
    pub(crate) async fn serve(served: Served) -> Result<Addr<Self>, StartError> {
        let shard = served.shard;
        let acquired = served.node.acquire(shard).await;
        let tenure = acquired.map_err(|source| StartError::Acquire { shard, source })?;
        let opened = served.open(Arc::new(tenure)).await;
        let opened = opened.map_err(|source| StartError::Open { shard, source })?;
        let (_, mailbox) = channel::channel(served.options.shard_mailbox);
        let rooms = Cache::new(served.rooms_max);
        let state = State::Opened(Box::new(opened));
        let served = Rc::new(served);
        Ok(Context::with_receiver(mailbox).run(Self {
            served,
            state,
            rooms,
            draining: Vec::new(),
        }))
    }

    fn begin(&mut self, opened: Opened, address: WeakAddr<Self>) {
        let Opened { tenure, log, couriers } = opened;
        let options = &self.served.options;
        let gate = Gate::new(options.gate_places);
        let couriers = Rc::new(couriers);
        let rooms = log.rooms();
        let committer = Committer {
            gate: gate.clone(),
            couriers: couriers.clone(),
            tenure: tenure.clone(),
            ledger: self.served.ledger.clone(),
            log,
            options: options.clone(),
            metrics: self.served.metrics.clone(),
            dependents: self.served.dependents.clone(),
        };
        self.state = State::Serving(Serving {
            gate,
            rooms,
            tenure,
            couriers,
        });
        self.served.metrics.shards(1);
        tokio::task::spawn_local(async move {
            let end = committer.run().await;
            if let Some(address) = address.upgrade() {
                // An actor that has stopped needs no news of its committer.
                let _ = address.send(Ended(end)).await;
            }
        });
    }

    /// Stops serving: every room is dropped, and whoever asks is told `answer`.
    fn close(&mut self, answer: Outcome) -> Option<Arc<Tenure>> {
        self.rooms = Cache::new(self.served.rooms_max);
        match std::mem::replace(&mut self.state, State::Closed(answer.clone())) {
            State::Serving(serving) => {
                serving.gate.fail(&answer);
                self.served.metrics.shards(-1);
                Some(serving.tenure)
            }
            State::Opened(_) | State::Closed(_) => None,
        }
    }

    /// Opens the log again, however long it takes, unless the actor ends before.
    fn reopen(&self, tenure: Arc<Tenure>, address: WeakAddr<Self>) {
        let served = self.served.clone();
        tokio::task::spawn_local(async move {
            let mut wait = served.options.reopen_after;
            let wait_max = wait * 32;
            loop {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(wait_max);
                let opened = served.open(tenure.clone()).await;
                let Some(address) = address.upgrade() else { return };
                match opened {
                    Ok(opened) => {
                        let _ = address.send(Reopened(opened)).await;
                        return;
                    }
                    Err(OpenError::Log(AppendError::Fenced)) => {
                        let _ = address.send(Ended(End::Fenced)).await;
                        return;
                    }
                    Err(error) => {
                        tracing::warn!(shard = served.shard.0, error = %chain(&error), "reopen a shard's log")
                    }
                }
            }
        });
    }

    fn finish_draining(&mut self) {
        for done in self.draining.drain(..) {
            // Whoever drains may have stopped waiting.
            let _ = done.send(());
        }
    }

    /// Hands the request to its room, which is activated if it is not in memory.
    fn route(&mut self, mut ask: Ask) {
        let serving = match &self.state {
            State::Serving(serving) => serving,
            State::Closed(answer) => return ask.turn_away(answer.clone()),
            State::Opened(_) => return ask.turn_away(self.served.unavailable()),
        };
        let room = ask.room.clone();
        if let Some((actor, flight)) = self.rooms.touch(&room) {
            ask.reply.flight = Some(flight);
            match actor.try_send(ask) {
                Ok(()) => return,
                Err(SendError::Full(ask)) => return ask.turn_away(self.served.overloaded()),
                Err(SendError::Closed(back)) => ask = back,
            }
            // The room gave up. It is loaded again once nothing that it decided is still on its way to the ledger.
            ask.reply.flight = None;
            if !self.rooms.forget_idle(&room) {
                return ask.turn_away(self.served.unavailable());
            }
        }
        if self.rooms.make_room().is_err() {
            return ask.turn_away(self.served.overloaded());
        }
        let actor = RoomActor::activate(room.clone(), &self.served, serving);
        self.rooms.insert(room.clone(), actor);
        let (actor, flight) = self.rooms.touch(&room).expect("it was just put there");
        ask.reply.flight = Some(flight);
        if let Err(SendError::Full(ask) | SendError::Closed(ask)) = actor.try_send(ask) {
            ask.turn_away(self.served.overloaded());
        }
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let unavailable = State::Closed(self.served.unavailable());
        if let State::Opened(opened) = std::mem::replace(&mut self.state, unavailable) {
            self.begin(*opened, ctx.address().downgrade());
        }
    }

    fn stopped(&mut self, _ctx: &mut Self::Context) {
        self.close(self.served.unavailable());
    }
}

impl Handler<Ask> for ShardActor {
    type Result = ();

    fn handle(&mut self, ask: Ask, _ctx: &mut Self::Context) {
        self.route(ask);
    }
}

/// Make durable what was decided, then resign.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) done: oneshot::Sender<()>,
}

impl Message for Drain {
    type Result = ();
}

impl Handler<Drain> for ShardActor {
    type Result = ();

    fn handle(&mut self, drain: Drain, _ctx: &mut Self::Context) {
        self.draining.push(drain.done);
        match &self.state {
            State::Serving(serving) => serving.gate.drain(elsewhere(&serving.tenure)),
            State::Opened(_) | State::Closed(_) => self.finish_draining(),
        }
    }
}

/// A follower can be reached again.
#[derive(Debug)]
pub(crate) struct Wake {
    pub(crate) follower: Provider,
}

impl Message for Wake {
    type Result = ();
}

impl Handler<Wake> for ShardActor {
    type Result = ();

    fn handle(&mut self, wake: Wake, _ctx: &mut Self::Context) {
        if let State::Serving(serving) = &self.state {
            serving.couriers.wake(&wake.follower);
        }
    }
}

/// The committer is over.
struct Ended(End);

impl Message for Ended {
    type Result = ();
}

impl Handler<Ended> for ShardActor {
    type Result = ();

    fn handle(&mut self, Ended(end): Ended, ctx: &mut Self::Context) {
        let shard = self.served.shard;
        let term = match &self.state {
            State::Serving(serving) => serving.tenure.term().0,
            // Lost while it was being opened again.
            State::Opened(_) | State::Closed(_) => 0,
        };
        let elsewhere = Outcome::Elsewhere {
            node: String::new(),
            term,
        };
        match end {
            End::Drained => {
                let tenure = self.close(elsewhere);
                let draining = std::mem::take(&mut self.draining);
                tokio::task::spawn_local(async move {
                    // A room that is just being loaded may hold it: then the next owner waits for the beat to age.
                    if let Some(tenure) = tenure.and_then(Arc::into_inner)
                        && let Err(error) = tenure.resign().await
                    {
                        tracing::warn!(shard = shard.0, error = %chain(&error), "resign a shard");
                    }
                    for done in draining {
                        let _ = done.send(());
                    }
                });
            }
            End::Fenced => {
                tracing::warn!(shard = shard.0, term, "lost tenure");
                self.served.metrics.fenced();
                self.close(elsewhere);
                self.finish_draining();
            }
            End::Failed(error) => {
                tracing::error!(shard = shard.0, error = %chain(&error), "the store failed");
                let tenure = self.close(self.served.unavailable());
                if let (Some(tenure), true) = (tenure, self.draining.is_empty()) {
                    self.reopen(tenure, ctx.address().downgrade());
                }
                self.finish_draining();
            }
        }
    }
}

/// The log is open again.
struct Reopened(Opened);

impl Message for Reopened {
    type Result = ();
}

impl Handler<Reopened> for ShardActor {
    type Result = ();

    fn handle(&mut self, Reopened(opened): Reopened, ctx: &mut Self::Context) {
        self.begin(opened, ctx.address().downgrade());
    }
}

fn elsewhere(tenure: &Tenure) -> Outcome {
    Outcome::Elsewhere {
        node: String::new(),
        term: tenure.term().0,
    }
}
