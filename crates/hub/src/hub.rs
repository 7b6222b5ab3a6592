//! The hub's face: start, call, drain.

use std::sync::{Arc, Weak};

use actix::Addr;
use actix::dev::SendError;
use fanout::{Alarms, Plane, Resting, Transport};
use futures::future::try_join_all;
use ledger::Ledger;
use mimi::{Provider, RoomUri};
use room::Keys;
use route::{Owner, ShardId, ShardMap, Shards};
use shard::{Lapse, Node, Ownership, Term};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use crate::actors::{Ask, Served, ShardActor, Wake};
use crate::gate::Reply;
use crate::metrics::Metrics;
use crate::operator::Operator;
use crate::roster::Roster;
use crate::steward::Steward;
use crate::{Clock, Options, Outcome, Request, Spawner, dependents};

/// What a hub is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where rooms are durable.
    pub ledger: Ledger,
    /// Which shards are ours.
    pub node: Node,
    /// How entries leave.
    pub transport: Arc<dyn Transport>,
    /// Says when commands are accepted.
    pub clock: Arc<dyn Clock>,
    /// What rooms sign and frank with.
    pub keys: Arc<dyn Keys + Send + Sync>,
    /// Where shards run.
    pub spawner: Arc<dyn Spawner>,
    /// Where couriers run.
    pub couriers: Plane,
    /// Where everything runs that is of no shard and no follower.
    pub runtime: tokio::runtime::Handle,
    /// Seeds the couriers' jitter.
    pub seed: u64,
    /// Limits.
    pub options: Options,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("seed", &self.seed)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Why a hub does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A shard could not be acquired.
    #[error("acquire shard {}", shard.0)]
    Acquire {
        /// Which.
        shard: ShardId,
        /// Why.
        #[source]
        source: shard::AcquireError,
    },
    /// A shard's log could not be opened.
    #[error("open the log of shard {}", shard.0)]
    Open {
        /// Which.
        shard: ShardId,
        /// Why.
        #[source]
        source: crate::actors::OpenError,
    },
    /// The spawner runs nothing any more.
    #[error("the threads of the shard groups have ended")]
    Stopped,
}

/// The rooms of this node. Cheap to clone; dropping the last one ends the rooms as a crash would, [`Hub::drain`] ends them
/// in order.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Shards,
    ledger: Ledger,
    actors: Arc<[Addr<ShardActor>]>,
    steward: Steward,
    options: Options,
    metrics: Metrics,
    resting: Resting,
    transport: Arc<dyn Transport>,
    stewarding: Ending,
    _dependents: Ending,
    /// What the actors run on ends with the hub, and is not kept by them: a thread does not wait for its own end.
    _threads: Arc<dyn Spawner>,
}

/// Ends a task with the hub.
struct Ending(JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("shards", &self.shards)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Starts the shards' actors. A node that is alone on its store serves every shard when this returns. One of several
    /// takes, from now on, those that are placed with it, as soon as it can have them.
    ///
    /// # Errors
    /// The spawner has stopped. Of a node that is alone, also: the store fails.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let shards = parts.ledger.shards();
        let metrics = Metrics::new();
        let (roster, dependents) = (Roster::default(), Arc::new(Notify::new()));
        let (resting, alarms) = (Resting::default(), Alarms::default());
        let starts = shards.all().map(|shard| {
            let groups = parts.spawner.groups().max(1);
            let in_group = (shards.count() as usize).div_ceil(groups);
            let rooms_max = (parts.options.rooms_max / in_group).max(1);
            let hints = (&resting, &alarms);
            let served = Served::new(&parts, shard, rooms_max, &metrics, &roster, &dependents, hints);
            start_actor(&*parts.spawner, shard.0 as usize % groups, served)
        });
        let actors: Arc<[Addr<ShardActor>]> = try_join_all(starts).await?.into();
        let steward = Steward::new(parts.node, actors.clone(), roster, metrics.clone());
        if steward.node().ownership() == Ownership::Sole {
            steward.take_all().await?;
        }
        let stewarding = Ending(parts.runtime.spawn(steward.clone().run()));
        let (ledger, every) = (parts.ledger, parts.options.dependents_every);
        let inner = Arc::new_cyclic(|inner: &Weak<Inner>| {
            let hub = inner.clone();
            let hub = move || hub.upgrade().map(|inner| Self { inner });
            Inner {
                shards,
                ledger: ledger.clone(),
                actors,
                steward,
                options: parts.options,
                metrics,
                resting,
                transport: parts.transport,
                stewarding,
                _dependents: Ending(parts.runtime.spawn(dependents::run(hub, ledger, dependents, every))),
                _threads: parts.spawner,
            }
        });
        Ok(Self { inner })
    }

    /// Asks one room. The reply comes once what it was derived from is durable; dropping the future takes nothing back.
    /// Whoever waits when this node's lease lapses, which may be because the store does not answer, is sent elsewhere: soon
    /// somebody else may have the room. What was decided stays on its way.
    pub async fn call(&self, room: RoomUri, request: Request) -> Outcome {
        let shard = self.inner.shards.of(room.as_str());
        let (sender, reply) = oneshot::channel();
        let ask = Ask {
            room,
            request,
            reply: Reply { sender, flight: None },
        };
        match self.inner.actors[shard.0 as usize].try_send(ask) {
            Ok(()) => {
                let outcome = tokio::select! {
                    biased;
                    outcome = reply => outcome.unwrap_or_else(|_| self.inner.unavailable()),
                    () = self.inner.steward.node().lapse().begins() => Outcome::elsewhere(Term(0)),
                };
                self.inner.direct(shard, outcome)
            }
            Err(SendError::Full(_)) => {
                self.inner.metrics.overloaded();
                Outcome::Overloaded {
                    retry_after: self.inner.options.retry_after,
                }
            }
            Err(SendError::Closed(_)) => self.inner.unavailable(),
        }
    }

    /// Whether this node's lease has lapsed: what it says of shards, its own and others', is not to be relied on.
    pub fn lapse(&self) -> Lapse {
        self.inner.steward.node().lapse().clone()
    }

    /// Who serves which shard, as far as this node knows, and each change of that. A hint for callers.
    pub fn map(&self) -> watch::Receiver<ShardMap> {
        self.inner.steward.map()
    }

    /// The shards of this hub's ledger.
    pub fn shards(&self) -> Shards {
        self.inner.shards
    }

    /// What its operator asks, and decides about followers.
    pub fn operator(&self) -> Operator {
        Operator::of(self.clone())
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    pub(crate) fn actor(&self, shard: ShardId) -> &Addr<ShardActor> {
        &self.inner.actors[shard.0 as usize]
    }

    /// The follower was heard from: couriers that wait to try it again try now. Costs next to nothing where none does. A hint,
    /// dropped where a mailbox is full.
    pub fn wake(&self, follower: &Provider) {
        if !self.inner.resting.has(follower) {
            return;
        }
        self.inner.transport.heard_from(follower);
        for actor in self.inner.actors.iter() {
            drop(actor.try_send(Wake {
                follower: follower.clone(),
            }));
        }
    }

    /// Takes no more shards and hands over those that it has: each takes no more requests, makes durable and releases what
    /// was decided, and is resigned, one after the other. Where there are other nodes they know before.
    pub async fn drain(&self) {
        self.inner.stewarding.0.abort();
        let node = self.inner.steward.node();
        if let Ownership::Leased { beat, .. } = node.ownership() {
            // Nothing is handed over before the others know, and wait for it.
            node.leave();
            tokio::time::sleep(beat).await;
        }
        self.inner.steward.hand_all_over().await;
    }
}

impl Inner {
    fn unavailable(&self) -> Outcome {
        Outcome::Unavailable {
            retry_after: self.options.retry_after,
        }
    }

    /// Says who serves the shard, where that is not this node.
    fn direct(&self, shard: ShardId, outcome: Outcome) -> Outcome {
        let Outcome::Elsewhere { term, .. } = outcome else {
            return outcome;
        };
        match self.steward.elsewhere(shard) {
            Some(Owner { node, term }) => Outcome::Elsewhere { node, term },
            None => Outcome::elsewhere(Term(term)),
        }
    }
}

async fn start_actor(spawner: &dyn Spawner, group: usize, served: Served) -> Result<Addr<ShardActor>, StartError> {
    let (ready, started) = oneshot::channel();
    spawner.spawn(
        group,
        Box::new(move || {
            Box::pin(async move {
                // Whoever started the hub may have given up; then the actor ends with its address.
                drop(ready.send(ShardActor::start(served)));
            })
        }),
    );
    started.await.map_err(|_| StartError::Stopped)
}
