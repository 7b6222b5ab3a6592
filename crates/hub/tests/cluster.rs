//! Several hubs on one store: they share the shards, and each shard that changes hands loses nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hub::keys::HubKeys;
use hub::{Clock, Hub, LocalTasks, Options, Outcome, Parts, SystemClock};
use ledger::{Founding, Ledger, LedgerId};
use mimi::RoomUri;
use room::{Answer, Millis};
use route::{ShardId, Shards};
use shard::{Incarnation, Node, NodeOptions, Ownership, Site, WallClock};
use store::Database;
use tokio::time::Instant;
use world::faults::{Faults, Faulty};
use world::{accepted, body, member, provider, room, run, submit};

const LEASE: Duration = Duration::from_secs(3);
const BEAT: Duration = Duration::from_secs(1);
const SHARDS: u32 = 32;

/// The time at which the cluster began, and what the paused clock has done since; off by some milliseconds.
#[derive(Clone)]
struct Skewed {
    epoch: Millis,
    begun: Instant,
    off_ms: Arc<AtomicI64>,
}

impl Clock for Skewed {
    fn now(&self) -> Millis {
        let elapsed = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        Millis((self.epoch.0 + elapsed).saturating_add_signed(self.off_ms.load(Ordering::Relaxed)))
    }
}

fn founding() -> Founding {
    Founding {
        id: LedgerId([1; 16]),
        shards: Shards::new(SHARDS, [0; 16]).unwrap(),
    }
}

struct Cluster {
    clock: Skewed,
    ledger: Ledger,
    keys: Arc<HubKeys>,
    papers: Arc<world::Papers>,
    hubs: BTreeMap<u8, Hub>,
}

impl Cluster {
    async fn new() -> Self {
        Self {
            clock: Skewed {
                epoch: SystemClock.now(),
                begun: Instant::now(),
                off_ms: Arc::default(),
            },
            ledger: Ledger::open(Database::memory(), founding()).await.unwrap(),
            keys: Arc::new(HubKeys::generate(provider("a")).unwrap()),
            papers: Arc::default(),
            hubs: BTreeMap::new(),
        }
    }

    async fn of(names: &[u8]) -> Self {
        let mut cluster = Self::new().await;
        for name in names {
            cluster.join(*name).await;
        }
        tokio::time::sleep(BEAT * 2).await;
        cluster.settle(BEAT).await;
        cluster
    }

    async fn join(&mut self, name: u8) {
        self.join_off(name, Arc::default()).await;
    }

    /// A hub whose wall clock is off by some milliseconds.
    async fn join_off(&mut self, name: u8, off_ms: Arc<AtomicI64>) {
        self.join_on(self.ledger.clone(), name, off_ms).await;
    }

    /// A hub between which and the store stand faults.
    async fn join_behind_faults(&mut self, name: u8) -> Arc<Faults> {
        let faults = Faults::new();
        let database = Database::from_backend(Arc::new(Faulty {
            inner: self.ledger.database().backend(),
            faults: faults.clone(),
        }));
        let ledger = Ledger::open(database, founding()).await.unwrap();
        self.join_on(ledger, name, Arc::default()).await;
        faults
    }

    async fn join_on(&mut self, ledger: Ledger, name: u8, off_ms: Arc<AtomicI64>) {
        let clock = Skewed {
            off_ms,
            ..self.clock.clone()
        };
        let compared = clock.clone();
        let node = NodeOptions {
            incarnation: Incarnation([name; 16]),
            ownership: Ownership::Leased {
                lease: LEASE,
                beat: BEAT,
            },
            site: Site::new(address(name), "", 1).unwrap(),
            clock: WallClock::new(move || compared.now().0),
        };
        let hub = Hub::start(Parts {
            node: Node::start(ledger.database().clone(), node).await.unwrap(),
            ledger,
            transport: self.papers.clone(),
            clock: Arc::new(clock),
            keys: self.keys.clone(),
            spawner: Arc::new(LocalTasks),
            couriers: tokio::runtime::Handle::current().into(),
            runtime: tokio::runtime::Handle::current(),
            seed: u64::from(name),
            options: Options::default(),
        });
        self.hubs.insert(name, hub.await.unwrap());
    }

    /// Who serves each shard, by their own word.
    async fn serving(&self) -> BTreeMap<ShardId, Vec<u8>> {
        let mut serving: BTreeMap<ShardId, Vec<u8>> = self.shards().all().map(|shard| (shard, Vec::new())).collect();
        for (name, hub) in &self.hubs {
            for shard in self.shards().all() {
                if !matches!(
                    hub.call(unknown(self.shards(), shard), hub::Request::Follow).await,
                    Outcome::Elsewhere { .. }
                ) {
                    serving.get_mut(&shard).unwrap().push(*name);
                }
            }
        }
        serving
    }

    /// Waits until each shard is served by one hub, and says how long that took.
    async fn settle(&self, within: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            let serving = self.serving().await;
            if serving.values().all(|hubs| hubs.len() == 1) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < within, "after {:?}: {serving:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn shards(&self) -> Shards {
        self.ledger.shards()
    }

    /// A room of the shard, founded by a client that comes back, through whichever hub serves it.
    async fn found(&self, id: &RoomUri) -> client::mls::Member {
        let sender = mimi::codec::Encode::encode(&self.keys.external_sender(1).unwrap());
        let mut alice = member("a.example/d/alice/phone");
        let founding = alice
            .create_room(id, &sender, &client::mls::RoomProfile::default())
            .unwrap();
        let founding = room::Founding {
            from: provider("a"),
            group_info: founding.group_info,
            ratchet_tree: founding.ratchet_tree,
        };
        let founded = self.call(id, hub::Request::Found(founding)).await;
        assert_eq!(founded, Outcome::Answer(Answer::Founded));
        alice
    }

    /// Asks as an edge does: the first hub, then whom it names, until somebody answers.
    async fn call(&self, id: &RoomUri, request: hub::Request) -> Outcome {
        let mut name = *self.hubs.keys().next().unwrap();
        for _ in 0..1_000 {
            let hub = &self.hubs[&name];
            match hub.call(id.clone(), request.clone()).await {
                Outcome::Elsewhere { node, .. } => {
                    let named = self.hubs.keys().find(|name| address(**name) == node);
                    name = *named.unwrap_or(&name);
                }
                Outcome::Unavailable { .. } => {}
                outcome => return outcome,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nobody serves {id}");
    }
}

fn address(name: u8) -> String {
    format!("hub-{name}:7000")
}

/// A room that nobody founded, of this shard.
fn unknown(shards: Shards, shard: ShardId) -> RoomUri {
    let rooms = (0_u32..).map(|n| room(&format!("nobody-{n}")));
    rooms
        .into_iter()
        .find(|room| shards.of(room.as_str()) == shard)
        .unwrap()
}

#[test]
fn hubs_share_the_shards_and_name_the_one_that_serves_a_room() {
    run(async {
        let cluster = Cluster::of(&[1, 2, 3]).await;
        let serving = cluster.serving().await;
        for name in 1..=3 {
            let share = serving.values().filter(|hubs| **hubs == [name]).count();
            assert!((4..=20).contains(&share), "{name} has {share} of {SHARDS}");
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        for (shard, hubs) in serving {
            for hub in cluster
                .hubs
                .iter()
                .filter(|(name, _)| **name != hubs[0])
                .map(|(_, hub)| hub)
            {
                let outcome = hub.call(unknown(cluster.shards(), shard), hub::Request::Follow).await;
                let Outcome::Elsewhere { node, term } = outcome else {
                    panic!("{outcome:?}")
                };
                assert_eq!(node, address(hubs[0]), "{shard}");
                assert!(term > 0);
                let map = hub.map();
                assert_eq!(map.borrow().owner(shard).unwrap().node, node);
            }
        }
    });
}

#[test]
fn the_shards_of_a_hub_that_dies_are_served_by_others_within_the_lease_and_a_second() {
    run(async {
        let mut cluster = Cluster::of(&[1, 2, 3]).await;
        let rooms: Vec<RoomUri> = (0..12).map(|n| room(&format!("room-{n}"))).collect();
        let mut members = Vec::new();
        for id in &rooms {
            members.push(cluster.found(id).await);
        }
        for round in 0..3 {
            let dead = cluster.hubs.keys().copied().nth(round % 2).unwrap();
            if cluster.hubs.len() > 1 {
                // As a process dies: nothing is resigned, and the beat just ends.
                drop(cluster.hubs.remove(&dead));
            }
            let took = cluster.settle(LEASE + Duration::from_secs(1)).await;
            assert!(round == 2 || took >= LEASE / 2, "{took:?}");
            for (id, member) in rooms.iter().zip(&mut members) {
                let message = member.send(id, b"still here").unwrap();
                assert!(accepted(&body(cluster.call(id, submit("a", &message)).await)));
            }
        }
    });
}

#[test]
fn a_hub_that_joins_takes_its_share_and_one_that_drains_leaves_with_no_gap() {
    run(async {
        let mut cluster = Cluster::of(&[1, 2]).await;
        let before = cluster.serving().await;
        cluster.join(3).await;
        tokio::time::sleep(BEAT * 2).await;
        cluster.settle(BEAT).await;
        let after = cluster.serving().await;
        for (shard, hubs) in &after {
            assert!(
                hubs == &before[shard] || *hubs == [3],
                "{shard} went from {:?} to {hubs:?}",
                before[shard]
            );
        }
        assert!(after.values().filter(|hubs| **hubs == [3]).count() >= 4);

        // While it drains, each room is asked all the time, and never for long without an answer.
        let leaving = cluster.hubs[&3].clone();
        let ids: Vec<RoomUri> = after.keys().map(|shard| unknown(cluster.shards(), *shard)).collect();
        let drained = async {
            leaving.drain().await;
            Instant::now()
        };
        let asked = async {
            let begun = Instant::now();
            let mut longest = Duration::ZERO;
            while begun.elapsed() < BEAT * 3 {
                for id in &ids {
                    let asked = Instant::now();
                    assert_eq!(cluster.call(id, hub::Request::Follow).await, Outcome::UnknownRoom);
                    longest = longest.max(asked.elapsed());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            longest
        };
        let (_, longest) = tokio::join!(drained, asked);
        assert!(longest < Duration::from_millis(100), "{longest:?}");
        let serving = cluster.serving().await;
        assert!(
            serving.values().all(|hubs| hubs.len() == 1 && hubs[0] != 3),
            "{serving:?}"
        );
        assert_eq!(serving, before);
    });
}

#[test]
fn a_hub_whose_clock_is_off_takes_no_shard_and_one_whose_clock_goes_off_hands_over_with_no_gap() {
    run(async {
        let mut cluster = Cluster::of(&[1, 2]).await;
        let off_ms = Arc::new(AtomicI64::new(6_000));
        cluster.join_off(3, off_ms.clone()).await;
        let share = async |cluster: &Cluster| {
            cluster.settle(BEAT).await;
            let serving = cluster.serving().await;
            serving.values().filter(|hubs| **hubs == [3]).count()
        };
        for _ in 0..20 {
            assert_eq!(share(&cluster).await, 0);
            tokio::time::sleep(BEAT / 2).await;
        }

        off_ms.store(0, Ordering::Relaxed);
        tokio::time::sleep(BEAT * 3).await;
        assert!(share(&cluster).await >= 4);

        // The others learn that they are to have its shards before it gives them up: each room is answered all the time.
        off_ms.store(-6_000, Ordering::Relaxed);
        let ids: Vec<RoomUri> = cluster
            .shards()
            .all()
            .map(|shard| unknown(cluster.shards(), shard))
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < BEAT * 5 {
            for id in &ids {
                let asked = Instant::now();
                assert_eq!(cluster.call(id, hub::Request::Follow).await, Outcome::UnknownRoom);
                assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(share(&cluster).await, 0);
    });
}

#[test]
fn whoever_waits_for_a_hub_that_cannot_reach_the_store_is_sent_elsewhere_before_others_take_over() {
    run(async {
        let mut cluster = Cluster::of(&[1, 2]).await;
        let faults = cluster.join_behind_faults(3).await;
        tokio::time::sleep(BEAT * 2).await;
        cluster.settle(BEAT).await;
        let serving = cluster.serving().await;
        let rooms = (0..).map(|n| room(&format!("room-{n}")));
        let mut here = rooms.filter(|id| serving[&cluster.shards().of(id.as_str())] == [3]);
        let id = here.next().unwrap();
        let mut alice = cluster.found(&id).await;
        let cut_off = cluster.hubs.remove(&3).unwrap();
        assert!(!cut_off.lapse().has_begun());

        faults.hold_commits();
        faults.hold_fences();
        let begun = Instant::now();
        let message = alice.send(&id, b"cut off").unwrap();
        let waiting = cut_off.call(id.clone(), submit("a", &message)).await;
        assert!(matches!(waiting, Outcome::Elsewhere { .. }), "{waiting:?}");
        assert!(begun.elapsed() <= LEASE * 2 / 3, "{:?}", begun.elapsed());
        assert!(cut_off.lapse().has_begun());
        let later = cut_off.call(id.clone(), submit("a", &message)).await;
        assert!(matches!(later, Outcome::Elsewhere { .. }), "{later:?}");

        cluster.settle(LEASE + Duration::from_secs(1)).await;
        assert!(accepted(&body(cluster.call(&id, submit("a", &message)).await)));
        faults.release();
        cluster.hubs.insert(3, cut_off);
        tokio::time::sleep(BEAT * 3).await;
        cluster.settle(BEAT).await;
        assert_eq!(cluster.serving().await, serving);
        assert!(!cluster.hubs[&3].lapse().has_begun());
        let again = alice.send(&id, b"back again").unwrap();
        assert!(accepted(&body(cluster.call(&id, submit("a", &again)).await)));
    });
}
