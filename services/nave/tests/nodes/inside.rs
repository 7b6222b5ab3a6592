//! The cluster inside this process, on one store in memory. Each hub has a runtime of its own, which ends without a
//! farewell when the hub is killed, and reaches the store through a gate, behind which it hangs while it is cut off.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use daemon::Health;
use nave::config::Config;
use nave::provider::Running;
use store::{
    Backend, BackendTransaction, Bounds, Committed, ConflictKind, Database, Error, Isolation, KeyRange, Mutation, Rows,
    Version, Watch,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::scenario::Cluster;
use crate::site::Site;

/// A runtime whose tasks end at their next step has ended by then.
const ENDED_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at whether a node is ready.
const LOOK: Duration = Duration::from_millis(5);

/// See the module.
pub(crate) struct Inside<'a> {
    site: &'a Site,
    store: Database,
    hubs: Vec<Option<Hub>>,
    tiers: Vec<Tier>,
    b: Running,
}

struct Hub {
    ground: Ground,
    gate: Gate,
    node: Tier,
}

/// A runtime that may be dropped anywhere.
struct Ground(Option<Runtime>);

impl Ground {
    /// Returns when every task has ended, wherever it stood.
    async fn give_way(mut self) {
        let runtime = self.0.take();
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(ENDED_WITHIN);
            }
        });
        ended.await.unwrap();
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A node at work.
struct Tier {
    stop: CancellationToken,
    working: JoinHandle<anyhow::Result<()>>,
    health: Health,
}

impl Tier {
    async fn ready(&self) {
        while !self.health.is_ready() {
            assert!(!self.working.is_finished(), "a node ended");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn drain(self) {
        self.stop.cancel();
        self.working.await.unwrap().unwrap();
    }
}

impl<'a> Inside<'a> {
    pub(crate) async fn set_up(site: &'a Site) -> Self {
        let store = Database::memory();
        let mut cluster = Self {
            site,
            hubs: site.hubs.iter().map(|_| None).collect(),
            tiers: Vec::new(),
            b: Box::pin(Running::start(Config::load(&site.b).unwrap())).await.unwrap(),
            store,
        };
        for node in &site.edges {
            let config = nave_edge::Config::load(&node.config).unwrap();
            let (health, stop) = (Health::default(), CancellationToken::new());
            let (latch, stopped) = (health.latch("edge"), stop.clone());
            let working = tokio::spawn(async move { Box::pin(nave_edge::work(config, latch, stopped)).await });
            cluster.tiers.push(Tier { stop, working, health });
        }
        for node in &site.followers {
            let config = nave_follower::config::Config::load(&node.config, Default::default()).unwrap();
            let (health, stop) = (Health::default(), CancellationToken::new());
            let (latch, stopped, store) = (health.latch("follower"), stop.clone(), Gate::before(&cluster.store).1);
            let working =
                tokio::spawn(async move { Box::pin(nave_follower::work_on(store, config, latch, stopped)).await });
            cluster.tiers.push(Tier { stop, working, health });
        }
        for tier in &cluster.tiers {
            tier.ready().await;
        }
        for hub in 0..cluster.hubs.len() {
            cluster.start(hub).await;
        }
        cluster
    }

    /// Drains all that is left.
    pub(crate) async fn end(mut self) {
        for tier in self.tiers.drain(..self.site.edges.len()) {
            tier.drain().await;
        }
        for hub in 0..self.hubs.len() {
            if self.hubs[hub].is_some() {
                self.drain(hub).await;
            }
        }
        for tier in self.tiers {
            tier.drain().await;
        }
        self.b.stop().await;
    }
}

impl Cluster for Inside<'_> {
    async fn start(&mut self, hub: usize) {
        let config = nave_hub::config::Config::load(&self.site.hubs[hub].config, Default::default()).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let (runtime, (gate, store)) = (runtime.unwrap(), Gate::before(&self.store));
        let (health, stop) = (Health::default(), CancellationToken::new());
        let (latch, stopped) = (health.latch("hub"), stop.clone());
        let working = runtime.spawn(async move { Box::pin(nave_hub::work_on(store, config, latch, stopped)).await });
        let (ground, node) = (Ground(Some(runtime)), Tier { stop, working, health });
        node.ready().await;
        self.hubs[hub] = Some(Hub { ground, gate, node });
    }

    async fn kill(&mut self, hub: usize) {
        let Hub { ground, gate, .. } = self.hubs[hub].take().unwrap();
        ground.give_way().await;
        // Its rooms are on threads of their own.
        gate.set(Way::Gone);
    }

    async fn cut_off(&mut self, hub: usize) {
        self.hubs[hub].as_ref().unwrap().gate.set(Way::Shut);
    }

    async fn heal(&mut self, hub: usize) {
        self.hubs[hub].as_ref().unwrap().gate.set(Way::Open);
    }

    async fn drain(&mut self, hub: usize) {
        let Hub { ground, node, .. } = self.hubs[hub].take().unwrap();
        node.drain().await;
        ground.give_way().await;
    }
}

/// How a node reaches the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing comes through, in neither direction.
    Shut,
    /// Nothing ever will.
    Gone,
}

/// In front of the store of one node.
#[derive(Clone, Debug)]
struct Gate {
    store: Arc<dyn Backend>,
    way: watch::Sender<Way>,
}

impl Gate {
    /// A gate, and the store behind it.
    fn before(store: &Database) -> (Self, Database) {
        let gate = Self {
            store: store.backend(),
            way: watch::Sender::new(Way::Open),
        };
        (gate.clone(), Database::from_backend(Arc::new(gate)))
    }

    fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    async fn pass(&self) -> Result<(), Error> {
        let way = *self.way.subscribe().wait_for(|way| *way != Way::Shut).await.unwrap();
        match way {
            Way::Gone => Err(Error::Closed),
            Way::Open | Way::Shut => Ok(()),
        }
    }
}

#[async_trait]
impl Backend for Gate {
    fn begin(&self) -> Box<dyn BackendTransaction> {
        Box::new(Gated {
            gate: self.clone(),
            transaction: self.store.begin(),
        })
    }

    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction> {
        Box::new(Gated {
            gate: self.clone(),
            transaction: self.store.begin_after(version),
        })
    }

    /// The store is the other nodes', too.
    async fn close(&self) {
        self.set(Way::Gone);
    }
}

#[derive(Debug)]
struct Gated {
    gate: Gate,
    transaction: Box<dyn BackendTransaction>,
}

#[async_trait]
impl BackendTransaction for Gated {
    async fn read_version(&self) -> Result<Version, Error> {
        self.gate.pass().await?;
        self.transaction.read_version().await
    }

    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        self.gate.pass().await?;
        self.transaction.get(key, isolation).await
    }

    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        self.gate.pass().await?;
        self.transaction.range(range, bounds, isolation).await
    }

    fn mutate(&mut self, mutation: Mutation) {
        self.transaction.mutate(mutation);
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        self.transaction.add_conflict_range(kind, range);
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        self.gate.pass().await?;
        let (watch, gate) = (self.transaction.watch(key).await?, self.gate.clone());
        Ok(Watch::new(async move {
            let changed = watch.await;
            gate.pass().await?;
            changed
        }))
    }

    async fn commit(self: Box<Self>) -> Result<Committed, Error> {
        self.gate.pass().await?;
        let committed = self.transaction.commit().await;
        self.gate.pass().await?;
        committed
    }
}
