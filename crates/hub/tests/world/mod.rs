//! One hub of `a.example` on a memory store that can be made to fail, followers made of paper, real MLS members.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "shared by test files, each of which uses its part"
)]

pub mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use client::mls::{Answered, Member, ORDINARY, RoomProfile, Submitted};
use fanout::{Acknowledged, Due, Failure, Refused, Transport};
use hub::keys::HubKeys;
use hub::{Clock, Hub, LocalTasks, Options, Outcome, Parts, Request};
use ledger::{Founding, Ledger, LedgerId, Offset, Shown};
use mimi::codec::{Decode, Encode};
use mimi::notify::FanoutMessage;
use mimi::{ClientUri, Provider, RoomUri};
use room::{Answer, Command, Millis, Room};
use route::{ShardId, Shards};
use shard::{Incarnation, Node, NodeOptions};
use store::Database;
use tokio::task::LocalSet;

use faults::{Faults, Faulty};

pub fn provider(name: &str) -> Provider {
    format!("{name}.example").parse().unwrap()
}

pub fn room(name: &str) -> RoomUri {
    format!("mimi://a.example/r/{name}").parse().unwrap()
}

pub fn member(client: &str) -> Member {
    Member::new(format!("mimi://{client}").parse::<ClientUri>().unwrap()).unwrap()
}

/// Runs a test where actors can live, under a paused clock.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, test)
}

type Arrived = Vec<(ShardId, Offset, RoomUri, Bytes, Shown)>;

/// Followers that keep what arrives.
#[derive(Debug, Default)]
pub struct Papers {
    arrived: Mutex<BTreeMap<Provider, Arrived>>,
    pub down: Mutex<bool>,
    /// Who was told that something is lost.
    pub told: Mutex<Vec<Provider>>,
    /// Those who refuse everything, for good.
    pub refuses: Mutex<BTreeSet<Provider>>,
}

impl Papers {
    /// The FanoutMessages that a follower was shown, each once, in order.
    pub fn messages(&self, of: &str) -> Vec<Bytes> {
        self.shown(of, |_| true)
    }

    /// The same, of one room.
    pub fn messages_in(&self, room: &RoomUri, of: &str) -> Vec<Bytes> {
        self.shown(of, |each| each == room)
    }

    fn shown(&self, of: &str, wanted: impl Fn(&RoomUri) -> bool) -> Vec<Bytes> {
        let arrived = self.arrived.lock().unwrap();
        let mut seen = BTreeMap::new();
        for (shard, offset, room, message, shown) in arrived.get(&provider(of)).into_iter().flatten() {
            if *shown == Shown::Message
                && wanted(room)
                && let Some(before) = seen.insert((*shard, *offset), message.clone())
            {
                assert_eq!(before, *message, "a repeat has the same octets");
            }
        }
        seen.into_values().collect()
    }
}

#[async_trait]
impl Transport for Papers {
    async fn position(&self, _to: &Provider, _shard: ShardId) -> Result<Option<Offset>, Failure> {
        Ok(None)
    }

    async fn tell_expired(&self, to: &Provider, _shard: ShardId) -> Result<(), Failure> {
        if *self.down.lock().unwrap() {
            return Err(Failure::new("down"));
        }
        self.told.lock().unwrap().push(to.clone());
        Ok(())
    }

    async fn deliver(&self, to: &Provider, shard: ShardId, items: &[Due]) -> Result<Acknowledged, Failure> {
        if *self.down.lock().unwrap() {
            return Err(Failure::new("down"));
        }
        let past = items.last().unwrap().entry.offset.plus(1);
        if self.refuses.lock().unwrap().contains(to) {
            let refused = items.iter().map(|due| Refused {
                offset: due.entry.offset,
                status: 400,
                reason: "no".to_owned(),
                is_final: true,
            });
            return Ok(Acknowledged {
                refused: refused.collect(),
                ..Acknowledged::below(past)
            });
        }
        let mut arrived = self.arrived.lock().unwrap();
        let arrived = arrived.entry(to.clone()).or_default();
        arrived.extend(items.iter().map(|due| {
            let entry = &due.entry;
            (
                shard,
                entry.offset,
                entry.room.clone(),
                entry.message.clone(),
                due.shown,
            )
        }));
        Ok(Acknowledged::below(past))
    }
}

/// Moves only when asked; members' KeyPackages must be valid at it.
#[derive(Debug)]
pub struct SetClock(pub AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Millis {
        Millis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub struct World {
    pub database: Database,
    pub faults: Arc<Faults>,
    pub papers: Arc<Papers>,
    pub clock: Arc<SetClock>,
    pub keys: Arc<HubKeys>,
    pub ledger: Ledger,
    pub options: Options,
    pub hub: Hub,
    lives: u8,
}

pub async fn start(
    ledger: &Ledger,
    papers: &Arc<Papers>,
    keys: &Arc<HubKeys>,
    clock: &Arc<SetClock>,
    options: &Options,
    life: u8,
) -> Result<Hub, hub::StartError> {
    let node = NodeOptions::sole(Incarnation([life; 16]));
    Hub::start(Parts {
        ledger: ledger.clone(),
        node: Node::start(ledger.database().clone(), node).await.unwrap(),
        transport: papers.clone(),
        clock: clock.clone(),
        keys: keys.clone(),
        spawner: Arc::new(LocalTasks),
        couriers: tokio::runtime::Handle::current().into(),
        runtime: tokio::runtime::Handle::current(),
        seed: u64::from(life),
        options: options.clone(),
    })
    .await
}

impl World {
    pub async fn new(options: Options) -> Self {
        Self::with_shards(1, options).await
    }

    pub async fn with_shards(shards: u32, options: Options) -> Self {
        let faults = Faults::new();
        let inner = Database::memory().backend();
        let database = Database::from_backend(Arc::new(Faulty {
            inner,
            faults: faults.clone(),
        }));
        let founding = Founding {
            id: LedgerId([1; 16]),
            shards: Shards::new(shards, [0; 16]).unwrap(),
        };
        let ledger = Ledger::open(database.clone(), founding).await.unwrap();
        let papers = Arc::new(Papers::default());
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let clock = Arc::new(SetClock(AtomicU64::new(u64::try_from(now.as_millis()).unwrap())));
        let keys = Arc::new(HubKeys::generate(provider("a")).unwrap());
        let hub = start(&ledger, &papers, &keys, &clock, &options, 1).await.unwrap();
        Self {
            database,
            faults,
            papers,
            clock,
            keys,
            ledger,
            options,
            hub,
            lives: 1,
        }
    }

    /// The process is killed and starts again on the same store.
    pub async fn restart(&mut self) {
        self.lives += 1;
        self.hub = start(
            &self.ledger,
            &self.papers,
            &self.keys,
            &self.clock,
            &self.options,
            self.lives,
        )
        .await
        .unwrap();
    }

    /// The room as its rows say.
    pub async fn stored(&self, room: &RoomUri) -> Room {
        let rows = self.ledger.room(room).await.unwrap().expect("the room exists");
        Room::open(room.clone(), rows).unwrap()
    }

    pub async fn head(&self) -> u64 {
        self.ledger.position(ShardId(0)).await.unwrap().head.0
    }

    pub fn found_request(&self, founder: &mut Member, room: &RoomUri) -> Request {
        self.found_request_with(founder, room, &RoomProfile::default())
    }

    pub fn found_request_with(&self, founder: &mut Member, room: &RoomUri, profile: &RoomProfile) -> Request {
        let sender = self.keys.external_sender(1).unwrap().encode();
        let founding = founder.create_room(room, &sender, profile).unwrap();
        Request::Found(room::Founding {
            from: provider("a"),
            group_info: founding.group_info,
            ratchet_tree: founding.ratchet_tree,
        })
    }

    pub async fn found(&self, founder: &mut Member, room: &RoomUri) {
        let request = self.found_request(founder, room);
        assert_eq!(
            self.hub.call(room.clone(), request).await,
            Outcome::Answer(Answer::Founded)
        );
    }

    /// A room of alice's with bob in it.
    pub async fn invited(&self, room: &RoomUri) -> (Member, Member) {
        let (mut alice, mut bob) = (member("a.example/d/alice/phone"), member("b.example/d/bob/phone"));
        self.found(&mut alice, room).await;
        let key_packages = bob.key_packages(1).unwrap();
        let add = alice.add_user(room, &bob.user(), ORDINARY, &key_packages).unwrap();
        let answer = body(self.hub.call(room.clone(), update("a", &add)).await);
        assert!(matches!(alice.on_answer(room, &answer).unwrap(), Answered::Accepted(_)));
        self.bring("b", room, &mut bob).await;
        assert_eq!(bob.epoch(room), Some(1));
        (alice, bob)
    }

    /// Shows a member everything its provider has got so far.
    pub async fn bring(&self, of: &str, room: &RoomUri, to: &mut Member) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for message in self.papers.messages_in(room, of) {
            to.receive(room, &FanoutMessage::decode_exact(&message).unwrap())
                .unwrap();
        }
    }
}

pub fn update(from: &str, body: &Bytes) -> Request {
    Request::Command(Command::Update {
        from: provider(from),
        body: body.clone(),
    })
}

pub fn submit(from: &str, body: &Bytes) -> Request {
    Request::Command(Command::Submit {
        from: provider(from),
        body: body.clone(),
    })
}

pub fn accepted(response: &[u8]) -> bool {
    matches!(Member::submitted(response).unwrap(), Submitted::Accepted(_))
}

/// The draft's body of an answer.
pub fn body(outcome: Outcome) -> Bytes {
    match outcome {
        Outcome::Answer(answer) => answer.body().expect("an answer with a body").clone(),
        other => panic!("no answer: {other:?}"),
    }
}

/// Whether `future` is still waiting after a long time in which nothing else happens.
pub async fn waits(future: &mut (impl Future + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_secs(30), future).await.is_err()
}
