//! The hub's face: start, call, drain.

use std::sync::{Arc, Weak};

use actix::Addr;
use actix::dev::SendError;
use fanout::Transport;
use futures::future::{join_all, try_join_all};
use ledger::Ledger;
use mimi::{Provider, RoomUri};
use room::Keys;
use route::{ShardId, Shards};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::actors::{Ask, Drain, Served, ShardActor, Wake};
use crate::gate::Reply;
use crate::metrics::Metrics;
use crate::{Clock, Options, Outcome, Request, Spawner, dependents};

/// What a hub is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where rooms are durable.
    pub ledger: Ledger,
    /// Which shards are ours.
    pub node: shard::Node,
    /// How entries leave.
    pub transport: Arc<dyn Transport>,
    /// Says when commands are accepted.
    pub clock: Arc<dyn Clock>,
    /// What rooms sign and frank with.
    pub keys: Arc<dyn Keys + Send + Sync>,
    /// Where shards run.
    pub spawner: Arc<dyn Spawner>,
    /// Where couriers run.
    pub couriers: tokio::runtime::Handle,
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

/// All rooms of this node. Cheap to clone; dropping the last one ends the rooms as a crash would, [`Hub::drain`] ends them
/// in order.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Shards,
    actors: Vec<Addr<ShardActor>>,
    options: Options,
    metrics: Metrics,
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
    /// Acquires every shard, opens its log and serves it.
    ///
    /// # Errors
    /// A shard is owned by a living node, the store fails, or the spawner has stopped.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let shards = parts.ledger.shards();
        let metrics = Metrics::new();
        let dependents = Arc::new(Notify::new());
        let actors = (0..shards.count()).map(|n| Self::serve(&parts, ShardId(n), &metrics, &dependents));
        let actors = try_join_all(actors).await?;
        let (ledger, every) = (parts.ledger, parts.options.dependents_every);
        let inner = Arc::new_cyclic(|inner: &Weak<Inner>| {
            let hub = inner.clone();
            let hub = move || hub.upgrade().map(|inner| Self { inner });
            Inner {
                shards,
                actors,
                options: parts.options,
                metrics,
                _dependents: Ending(parts.couriers.spawn(dependents::run(hub, ledger, dependents, every))),
                _threads: parts.spawner,
            }
        });
        Ok(Self { inner })
    }

    async fn serve(
        parts: &Parts,
        shard: ShardId,
        metrics: &Metrics,
        dependents: &Arc<Notify>,
    ) -> Result<Addr<ShardActor>, StartError> {
        let groups = parts.spawner.groups().max(1);
        let group = shard.0 as usize % groups;
        let in_group = (parts.ledger.shards().count() as usize).div_ceil(groups);
        let rooms_max = (parts.options.rooms_max / in_group).max(1);
        let served = Served::new(parts, shard, rooms_max, metrics, dependents);
        let (ready, started) = oneshot::channel();
        parts.spawner.spawn(
            group,
            Box::new(move || {
                Box::pin(async move {
                    // Whoever started the hub may have given up; then the actor ends with its address.
                    drop(ready.send(ShardActor::serve(served).await));
                })
            }),
        );
        started.await.map_err(|_| StartError::Stopped)?
    }

    /// Asks one room. The reply comes once what it was derived from is durable; dropping the future takes nothing back.
    pub async fn call(&self, room: RoomUri, request: Request) -> Outcome {
        let shard = self.inner.shards.of(room.as_str());
        let (sender, reply) = oneshot::channel();
        let ask = Ask {
            room,
            request,
            reply: Reply { sender, flight: None },
        };
        match self.inner.actors[shard.0 as usize].try_send(ask) {
            Ok(()) => reply.await.unwrap_or_else(|_| self.inner.unavailable()),
            Err(SendError::Full(_)) => {
                self.inner.metrics.overloaded();
                Outcome::Overloaded {
                    retry_after: self.inner.options.retry_after,
                }
            }
            Err(SendError::Closed(_)) => self.inner.unavailable(),
        }
    }

    /// The shards of this hub's ledger.
    pub fn shards(&self) -> Shards {
        self.inner.shards
    }

    /// The follower can be reached again: its couriers try now. A hint, dropped where a mailbox is full.
    pub fn wake(&self, follower: &Provider) {
        for actor in &self.inner.actors {
            drop(actor.try_send(Wake {
                follower: follower.clone(),
            }));
        }
    }

    /// Takes no more requests, makes durable what was decided, releases it and resigns every shard.
    pub async fn drain(&self) {
        let drains = self.inner.actors.iter().map(|actor| async {
            let (done, drained) = oneshot::channel();
            if actor.send(Drain { done }).await.is_ok() {
                // An actor that ends without a word has drained as far as it ever will.
                drop(drained.await);
            }
        });
        join_all(drains).await;
    }
}

impl Inner {
    fn unavailable(&self) -> Outcome {
        Outcome::Unavailable {
            retry_after: self.options.retry_after,
        }
    }
}
