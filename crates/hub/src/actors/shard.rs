//! The actor of one shard: finds or activates the room that is asked, starts the committer, and ends everything of the
//! shard when the committer says that it is over.

use std::rc::Rc;
use std::sync::Arc;

use actix::dev::{SendError, channel};
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WeakAddr};
use fanout::{Alarms, Couriers, Opening, Plane, Resting, Transport};
use ledger::{AppendError, Ledger, ReadError, Rooms, ShardLog};
use mimi::Provider;
use room::Keys;
use route::ShardId;
use shard::{Node, Tenure, Term};
use tokio::sync::{Notify, oneshot};

use super::{Ask, RoomActor, chain};
use crate::cache::Cache;
use crate::committer::{Committer, End};
use crate::gate::Gate;
use crate::hub::{Parts, StartError};
use crate::metrics::Metrics;
use crate::roster::Roster;
use crate::trimmer::{self, Trimmer};
use crate::{Clock, Offload, Options, Outcome};

/// What a shard's actor is made of.
pub(crate) struct Served {
    pub(crate) shard: ShardId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<dyn Keys + Send + Sync>,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) ledger: Ledger,
    pub(crate) offload: Offload,
    node: Node,
    roster: Roster,
    dependents: Arc<Notify>,
    transport: Arc<dyn Transport>,
    resting: Resting,
    alarms: Alarms,
    couriers: Plane,
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
    Serving(Serving),
    /// Not served; this is what to answer instead.
    Closed(Outcome),
}

/// What the actor is about, beside answering.
enum Task {
    /// Nothing: it may take the shard.
    None,
    /// It acquires the shard, or opens its log again.
    Opening,
    /// It makes durable what was decided, and resigns.
    Draining(Vec<oneshot::Sender<()>>),
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
    task: Task,
    /// The hub ends: the shard is not taken again.
    last: bool,
    rooms: Cache<Addr<RoomActor>>,
}

impl Served {
    pub(crate) fn new(
        parts: &Parts,
        shard: ShardId,
        rooms_max: usize,
        metrics: &Metrics,
        roster: &Roster,
        dependents: &Arc<Notify>,
        (resting, alarms): (&Resting, &Alarms),
    ) -> Self {
        Self {
            shard,
            clock: parts.clock.clone(),
            keys: parts.keys.clone(),
            options: parts.options.clone(),
            metrics: metrics.clone(),
            ledger: parts.ledger.clone(),
            offload: parts.spawner.offload(),
            node: parts.node.clone(),
            roster: roster.clone(),
            dependents: dependents.clone(),
            transport: parts.transport.clone(),
            resting: resting.clone(),
            alarms: alarms.clone(),
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
            plane: self.couriers.clone(),
            seed: self.seed,
            resting: self.resting.clone(),
            alarms: self.alarms.clone(),
            options: self.options.fanout.clone(),
        })
        .await
        .map_err(OpenError::Tail)?;
        Ok(Opened { tenure, log, couriers })
    }

    /// Acquires the shard and opens its log; where that fails, what was acquired comes back.
    async fn take(&self) -> Result<Opened, (Option<Arc<Tenure>>, StartError)> {
        let shard = self.shard;
        let acquired = self.node.acquire(shard).await;
        let tenure = acquired.map_err(|source| (None, StartError::Acquire { shard, source }))?;
        let tenure = Arc::new(tenure);
        match self.open(tenure.clone()).await {
            Ok(opened) => Ok(opened),
            Err(source) => Err((Some(tenure), StartError::Open { shard, source })),
        }
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
    /// Starts the actor of a shard, which is not served yet, on the current thread.
    pub(crate) fn start(served: Served) -> Addr<Self> {
        let (_, mailbox) = channel::channel(served.options.shard_mailbox);
        let rooms = Cache::new(served.rooms_max);
        Context::with_receiver(mailbox).run(Self {
            served: Rc::new(served),
            state: State::Closed(Outcome::elsewhere(Term(0))),
            task: Task::None,
            last: false,
            rooms,
        })
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
        let trimmer = options.retention.map(|retention| Trimmer {
            log: ledger::Trimmer::new(self.served.ledger.clone(), self.served.shard),
            couriers: couriers.clone(),
            tenure: tenure.clone(),
            clock: self.served.clock.clone(),
            retention,
            regardless: options.regardless,
            every: options.trim_every,
            metrics: self.served.metrics.clone(),
        });
        self.served.metrics.shards(1);
        self.served.roster.begin(self.served.shard, tenure.term());
        self.state = State::Serving(Serving {
            gate,
            rooms,
            tenure,
            couriers,
        });
        tokio::task::spawn_local(async move {
            let end = tokio::select! {
                biased;
                end = committer.run() => end,
                never = trimmer::run(trimmer) => match never {},
            };
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
                self.served.roster.end(self.served.shard);
                Some(serving.tenure)
            }
            State::Closed(_) => None,
        }
    }

    /// Opens the log again, however long it takes, unless the actor ends before.
    fn reopen(&mut self, tenure: Arc<Tenure>, address: WeakAddr<Self>) {
        self.task = Task::Opening;
        let served = self.served.clone();
        tokio::task::spawn_local(async move {
            let mut wait = served.options.reopen_after;
            let wait_max = wait * 32;
            loop {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(wait_max);
                let opened = served.open(tenure.clone()).await;
                let Some(address) = address.upgrade() else { return };
                let end = match opened {
                    Ok(opened) => Ok(opened),
                    Err(OpenError::Log(AppendError::Fenced)) => Err(Some(tenure.clone())),
                    Err(error) => {
                        tracing::warn!(shard = served.shard.0, error = %chain(&error), "reopen a shard's log");
                        continue;
                    }
                };
                // An actor that has stopped needs no log.
                let _ = address.send(Settled(end)).await;
                return;
            }
        });
    }

    /// Gives the shard up, and tries again where the store does not let it: as long as this node lives, nobody else can
    /// have the shard.
    fn resign(&mut self, tenure: Arc<Tenure>, address: WeakAddr<Self>) {
        let served = self.served.clone();
        tokio::task::spawn_local(async move {
            let mut wait = served.options.reopen_after;
            let wait_max = wait * 32;
            while let Err(error) = tenure.resign().await {
                tracing::warn!(shard = served.shard.0, error = %chain(&error), "resign a shard");
                // Whoever waits for the end of this hub does not wait for the store.
                if matches!(error, store::Error::Closed | store::Error::Fatal(_)) {
                    break;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(wait_max);
                if address.upgrade().is_none() {
                    return;
                }
            }
            if let Some(address) = address.upgrade() {
                let _ = address.send(Resigned).await;
            }
        });
    }

    /// The task is done.
    fn settle(&mut self) {
        if let Task::Draining(waiting) = std::mem::replace(&mut self.task, Task::None) {
            for done in waiting {
                // Whoever drains may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    /// Hands the request to its room, which is activated if it is not in memory.
    fn route(&mut self, mut ask: Ask) {
        let serving = match &self.state {
            State::Serving(serving) => serving,
            State::Closed(answer) => return ask.turn_away(answer.clone()),
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

/// Acquire the shard and serve it.
#[derive(Debug)]
pub(crate) struct Take {
    /// Told whether it is served; if not, something else is to be done first.
    pub(crate) done: oneshot::Sender<Result<bool, StartError>>,
}

impl Message for Take {
    type Result = ();
}

impl Handler<Take> for ShardActor {
    type Result = ();

    fn handle(&mut self, Take { done }: Take, ctx: &mut Self::Context) {
        let served = matches!(self.state, State::Serving(_));
        if served || self.last || !matches!(self.task, Task::None) {
            let _ = done.send(Ok(served));
            return;
        }
        self.task = Task::Opening;
        let (served, address) = (self.served.clone(), ctx.address().downgrade());
        tokio::task::spawn_local(async move {
            let taken = served.take().await;
            let (end, result) = match taken {
                Ok(opened) => (Ok(opened), Ok(true)),
                Err((tenure, error)) => (Err(tenure), Err(error)),
            };
            // Whoever started the hub may have given up; then the actor ends with its address.
            if let Some(address) = address.upgrade() {
                let _ = address.send(Settled(end)).await;
            }
            let _ = done.send(result);
        });
    }
}

/// The shard's log is open; or it is not, and the tenure is to be given up if there is one.
struct Settled(Result<Opened, Option<Arc<Tenure>>>);

impl Message for Settled {
    type Result = ();
}

impl Handler<Settled> for ShardActor {
    type Result = ();

    fn handle(&mut self, Settled(opened): Settled, ctx: &mut Self::Context) {
        let address = ctx.address().downgrade();
        match opened {
            Ok(opened) if self.last => self.resign(opened.tenure, address),
            Ok(opened) => {
                self.task = Task::None;
                self.begin(opened, address);
            }
            Err(tenure) => {
                self.state = State::Closed(Outcome::elsewhere(Term(0)));
                match tenure {
                    Some(tenure) => self.resign(tenure, address),
                    None => self.settle(),
                }
            }
        }
    }
}

/// Make durable what was decided, then resign.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Told when there is no more to wait for.
    pub(crate) done: oneshot::Sender<()>,
    /// The shard is not taken again.
    pub(crate) last: bool,
}

impl Message for Drain {
    type Result = ();
}

impl Handler<Drain> for ShardActor {
    type Result = ();

    fn handle(&mut self, Drain { done, last }: Drain, _ctx: &mut Self::Context) {
        self.last |= last;
        match (&self.state, &mut self.task) {
            (State::Serving(serving), Task::None) => {
                serving.gate.drain(Outcome::elsewhere(serving.tenure.term()));
                self.task = Task::Draining(vec![done]);
            }
            (_, Task::Draining(waiting)) => waiting.push(done),
            // It is not served, or just being opened: nothing was decided that could be lost.
            _ => drop(done.send(())),
        }
    }
}

/// The tenure is given up.
struct Resigned;

impl Message for Resigned {
    type Result = ();
}

impl Handler<Resigned> for ShardActor {
    type Result = ();

    fn handle(&mut self, Resigned: Resigned, _ctx: &mut Self::Context) {
        self.settle();
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

/// Something that an operator asks the shard's couriers. It is dropped unheard where the shard is not served.
pub(crate) struct Consult(pub(crate) Box<dyn FnOnce(&Couriers) + Send>);

impl Message for Consult {
    type Result = ();
}

impl Handler<Consult> for ShardActor {
    type Result = ();

    fn handle(&mut self, Consult(ask): Consult, _ctx: &mut Self::Context) {
        if let State::Serving(serving) = &self.state {
            ask(&serving.couriers);
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
        let address = ctx.address().downgrade();
        let State::Serving(serving) = &self.state else {
            return;
        };
        let term = serving.tenure.term();
        match end {
            End::Drained => {
                if let Some(tenure) = self.close(Outcome::elsewhere(term)) {
                    self.resign(tenure, address);
                }
            }
            End::Fenced => {
                tracing::warn!(shard = shard.0, term = term.0, "lost tenure");
                self.served.metrics.fenced();
                if let Some(tenure) = self.close(Outcome::elsewhere(term)) {
                    // Where this node's lease lapsed and nobody took over, the fence is still its own.
                    if matches!(self.task, Task::None) {
                        self.task = Task::Draining(Vec::new());
                    }
                    self.resign(tenure, address);
                }
            }
            End::Failed(error) => {
                tracing::error!(shard = shard.0, error = %chain(&error), "the store failed");
                let tenure = self.close(self.served.unavailable());
                self.settle();
                if let (Some(tenure), false) = (tenure, self.last) {
                    self.reopen(tenure, address);
                }
            }
        }
    }
}
