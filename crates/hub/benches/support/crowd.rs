//! One hub, 64 rooms of two members each, and as many of their messages as are wanted, encrypted before the clock runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use client::mls::{Answered, Member, ORDINARY, RoomProfile, Submitted};
use fanout::{Acknowledged, Due, Failure, Transport};
use hub::keys::HubKeys;
use hub::{Arbiters, Hub, Options, Outcome, Parts, Request, SystemClock};
use ledger::{Founding, Ledger, LedgerId, Offset};
use mimi::codec::Encode as _;
use mimi::{ClientUri, Provider, RoomUri};
use room::{Answer, Command};
use route::{ShardId, Shards};
use shard::{Incarnation, Node, NodeOptions};
use store::{Database, Written};
use tokio::task::JoinSet;

const ROOMS: usize = 64;
const MESSAGE_OCTETS: usize = 1_024;

/// Followers that have everything as soon as it is sent.
#[derive(Debug)]
struct Prompt;

#[async_trait]
impl Transport for Prompt {
    async fn position(&self, _to: &Provider, _shard: ShardId) -> Result<Option<Offset>, Failure> {
        Ok(None)
    }

    async fn deliver(&self, _to: &Provider, _shard: ShardId, items: &[Due]) -> Result<Acknowledged, Failure> {
        let last = items.last().expect("there is something to deliver");
        Ok(Acknowledged::below(last.entry.offset.plus(1)))
    }
}

/// See the module.
pub struct Crowd {
    hub: Hub,
    database: Database,
    alice: Member,
    rooms: Vec<RoomUri>,
}

/// What happened while some messages were submitted.
#[derive(Clone)]
pub struct Round {
    pub entries: u64,
    pub took: Duration,
    /// From a submission until its acceptance.
    pub latencies: Vec<Duration>,
    /// What the hub wrote meanwhile.
    pub written: Written,
}

impl Crowd {
    /// Starts a hub on an empty store, as `nave-hub` does, and founds the rooms.
    pub async fn gather(database: Database, shards: u32) -> Self {
        let founding = Founding {
            id: LedgerId([1; 16]),
            shards: Shards::new(shards, [0; 16]).unwrap(),
        };
        let threads = std::thread::available_parallelism().unwrap().get();
        let keys = Arc::new(HubKeys::generate(provider("a")).unwrap());
        let node = NodeOptions::sole(Incarnation([1; 16]));
        let hub = Hub::start(Parts {
            ledger: Ledger::open(database.clone(), founding).await.unwrap(),
            node: Node::start(database.clone(), node).await.unwrap(),
            transport: Arc::new(Prompt),
            clock: Arc::new(SystemClock),
            keys: keys.clone(),
            spawner: Arc::new(Arbiters::start(threads).unwrap()),
            couriers: tokio::runtime::Handle::current().into(),
            runtime: tokio::runtime::Handle::current(),
            seed: 1,
            options: Options::default(),
        });
        let mut crowd = Self {
            hub: hub.await.unwrap(),
            database,
            alice: member("a.example/d/alice/phone"),
            rooms: Vec::new(),
        };
        let mut bob = member("b.example/d/bob/phone");
        for number in 0..ROOMS {
            let room: RoomUri = format!("mimi://a.example/r/{number}").parse().unwrap();
            crowd.found(&room, &keys).await;
            crowd.invite(&room, &mut bob).await;
            crowd.rooms.push(room);
        }
        crowd
    }

    async fn found(&mut self, room: &RoomUri, keys: &HubKeys) {
        let sender = keys.external_sender(1).unwrap().encode();
        let founding = self.alice.create_room(room, &sender, &RoomProfile::default()).unwrap();
        let founded = self.hub.call(
            room.clone(),
            Request::Found(room::Founding {
                from: provider("a"),
                group_info: founding.group_info,
                ratchet_tree: founding.ratchet_tree,
            }),
        );
        assert_eq!(founded.await, Outcome::Answer(Answer::Founded));
    }

    async fn invite(&mut self, room: &RoomUri, bob: &mut Member) {
        let key_packages = bob.key_packages(1).unwrap();
        let body = self.alice.add_user(room, &bob.user(), ORDINARY, &key_packages).unwrap();
        let command = Command::Update {
            from: provider("a"),
            body,
        };
        let answer = answered(self.hub.call(room.clone(), Request::Command(command)).await);
        let accepted = self.alice.on_answer(room, &answer).unwrap();
        assert!(matches!(accepted, Answered::Accepted(_)));
    }

    /// Over how many shards the first `rooms` are spread.
    #[cfg_attr(not(feature = "fdb"), expect(dead_code, reason = "for the cluster"))]
    pub fn shards_of(&self, rooms: usize) -> usize {
        let shards = self.hub.shards();
        let of: BTreeSet<ShardId> = self.rooms[..rooms]
            .iter()
            .map(|room| shards.of(room.as_str()))
            .collect();
        of.len()
    }

    /// Has `entries` messages accepted, spread evenly over the first `rooms`, with so many in flight all the time.
    pub async fn round(&mut self, rooms: usize, entries: usize, in_flight: usize) -> Round {
        let messages: Arc<[(RoomUri, Bytes)]> = (0..entries)
            .map(|number| {
                let room = &self.rooms[number % rooms];
                let body = self.alice.send(room, &[0x5a; MESSAGE_OCTETS]).unwrap();
                (room.clone(), body)
            })
            .collect();
        let next = Arc::new(AtomicUsize::new(0));
        let before = self.database.written();
        let began = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..in_flight {
            senders.spawn(send(self.hub.clone(), messages.clone(), next.clone()));
        }
        let sent = senders.join_all().await;
        let took = began.elapsed();
        let written = since(&before, &self.database.written());
        let (latencies, answers): (Vec<_>, Vec<_>) = sent.into_iter().flatten().unzip();
        for answer in answers {
            let answer = Member::submitted(&answered(answer)).unwrap();
            assert!(matches!(answer, Submitted::Accepted(_)));
        }
        Round {
            entries: entries as u64,
            took,
            latencies,
            written,
        }
    }

    /// Ends the hub and closes its store.
    pub async fn leave(self) {
        self.hub.drain().await;
        let hub = self.hub;
        // Its threads are waited for.
        tokio::task::spawn_blocking(move || drop(hub)).await.unwrap();
        self.database.close().await;
    }
}

/// One after the other, what nobody has sent yet.
async fn send(hub: Hub, messages: Arc<[(RoomUri, Bytes)]>, next: Arc<AtomicUsize>) -> Vec<(Duration, Outcome)> {
    let mut sent = Vec::new();
    while let Some((room, body)) = messages.get(next.fetch_add(1, Ordering::Relaxed)) {
        let command = Command::Submit {
            from: provider("a"),
            body: body.clone(),
        };
        let began = Instant::now();
        let outcome = hub.call(room.clone(), Request::Command(command)).await;
        sent.push((began.elapsed(), outcome));
    }
    sent
}

fn answered(outcome: Outcome) -> Bytes {
    match outcome {
        Outcome::Answer(answer) => answer.body().expect("an answer with a body").clone(),
        other => panic!("no answer: {other:?}"),
    }
}

fn since(before: &Written, after: &Written) -> Written {
    Written {
        transactions: after.transactions - before.transactions,
        rows: after.rows - before.rows,
        octets: after.octets - before.octets,
        groups: after.groups - before.groups,
    }
}

fn member(client: &str) -> Member {
    Member::new(format!("mimi://{client}").parse::<ClientUri>().unwrap()).unwrap()
}

fn provider(name: &str) -> Provider {
    format!("{name}.example").parse().unwrap()
}
