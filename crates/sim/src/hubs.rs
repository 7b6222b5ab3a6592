//! A hub host: the production hub over the faulty store, and its RPC. Each life is a node of its own, which serves whichever
//! shards fall to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use hub::{Hub, LocalTasks, Outcome, Parts, Request};
use ledger::{Founding, Ledger, LedgerId};
use mimi::{Provider, RoomUri};
use proto::hub::{Elsewhere, Refused, RoomRequest, RoomResponse, ShardOwner, room_request, room_response};
use rand::Rng;
use rand::rngs::StdRng;
use room::command::Answer;
use room::{Command, Digest, Millis, Reply};
use route::{ShardMap, Shards};
use shard::{Incarnation, Lapse, Node, NodeOptions, Ownership, Site as NodeSite, WallClock};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::faults;
use crate::keys::{self, SimKeys};
use crate::link::Link;
use crate::marks::Mark;
use crate::store::Service;
use crate::trace::{Event, Record};
use crate::wire;
use crate::world::{self, Ended, Listener, Stream};

/// Where a hub listens.
pub(crate) const PORT: u16 = 8_000;

/// Where it tells who serves which shard.
pub(crate) const MAP_PORT: u16 = 8_001;

/// Shards of the simulated cluster.
pub(crate) const SHARDS: u32 = 2;

/// The wall clock when the world begins: 2026-01-01.
const EPOCH_MS: u64 = 1_767_225_600_000;

const HASH_KEY: [u8; 16] = *b"one hash of many";

const OWNERSHIP: Ownership = Ownership::Leased {
    lease: Duration::from_secs(3),
    beat: Duration::from_secs(1),
};

/// What all lives of a hub's host share.
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) number: u8,
    pub(crate) seed: u64,
    pub(crate) service: Service,
    pub(crate) record: Record,
    pub(crate) lost_answers: Rc<RefCell<f64>>,
    pub(crate) blind: f64,
    /// How far its wall clock is off.
    pub(crate) skew_ms: Arc<AtomicI64>,
    /// How much of the work falls to it.
    pub(crate) weight: u32,
    pub(crate) rooms_max: usize,
    pub(crate) lives: Cell<u64>,
    /// It is to hand everything over and to end.
    pub(crate) drain: Notify,
    pub(crate) random: RefCell<StdRng>,
    /// Requests carried out whose answer was lost, and whose answer it was.
    pub(crate) unheard: Rc<RefCell<BTreeMap<Digest, &'static str>>>,
}

/// How the simulated ledger begins.
pub(crate) fn founding(seed: u64) -> Founding {
    let mut id = [0; 16];
    faults::random(seed, "ledger").fill(&mut id);
    let shards = Shards::new(SHARDS, HASH_KEY).expect("two are few enough");
    Founding {
        id: LedgerId(id),
        shards,
    }
}

/// The hub of this life, once it has started.
type Current = Rc<RefCell<Option<Hub>>>;

/// The hub's software.
pub(crate) async fn run(site: Rc<Site>) -> Ended {
    let listener = Listener::bind(PORT).await?;
    let life = site.lives.get() + 1;
    site.lives.set(life);
    // What an earlier life was told is not for this one.
    let _ = site.drain.notified().now_or_never();
    site.service.begins(site.name);
    site.record.note(Event::Began { host: site.name, life });
    let current = Current::default();
    let front = (site.clone(), current.clone());
    tokio::task::spawn_local(async move {
        while let Ok(stream) = listener.accept().await {
            let (site, current) = front.clone();
            // A client that goes away asks again.
            tokio::task::spawn_local(async move { drop(serve(&site, &current, stream).await) });
        }
    });
    let (node, hub) = loop {
        match start(&site, life).await {
            Some(started) => break started,
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    *current.borrow_mut() = Some(hub.clone());
    let maps = Listener::bind(MAP_PORT).await?;
    tokio::task::spawn_local(tell_map(hub.shards(), hub.map(), hub.lapse(), maps));
    site.record.note(Event::Serving { host: site.name, life });
    site.drain.notified().await;
    hub.drain().await;
    current.borrow_mut().take();
    drop(hub);
    // What cannot be taken away now lapses by itself.
    drop(tokio::time::timeout(Duration::from_secs(1), node.stop()).await);
    site.record.note(Event::Drained { host: site.name, life });
    std::future::pending().await
}

/// One life up to where it serves; `None` where the store did not let it begin.
async fn start(site: &Site, life: u64) -> Option<(Node, Hub)> {
    let database = site.service.door(site.name);
    let ledger = Ledger::open(database.clone(), founding(site.seed)).await.ok()?;
    let mut incarnation = [site.number; 16];
    incarnation[8..].copy_from_slice(&life.to_be_bytes());
    let transport = Link::new(
        ledger.id(),
        site.blind,
        faults::random(site.seed, &format!("{} {life}", site.name)),
    );
    let clock = Clock {
        skew_ms: site.skew_ms.clone(),
    };
    let compared = clock.clone();
    let options = NodeOptions {
        incarnation: Incarnation(incarnation),
        ownership: OWNERSHIP,
        site: NodeSite::new(site.name, "", site.weight).ok()?,
        clock: WallClock::new(move || hub::Clock::now(&compared).0),
    };
    let node = Node::start(database, options).await.ok()?;
    let hub = Hub::start(Parts {
        ledger,
        node: node.clone(),
        transport: Arc::new(transport),
        clock: Arc::new(clock),
        keys: Arc::new(SimKeys),
        spawner: Arc::new(LocalTasks),
        couriers: Handle::current().into(),
        runtime: Handle::current(),
        seed: site.seed ^ life,
        options: options_of(site),
    });
    Some((node, hub.await.ok()?))
}

/// Bounds small enough to be met.
fn options_of(site: &Site) -> hub::Options {
    hub::Options {
        rooms_max: site.rooms_max,
        apart_from_clients: 2,
        retry_after: Duration::from_millis(100),
        reopen_after: Duration::from_millis(50),
        fanout: fanout::Options {
            tail_entries_max: 24,
            window_entries_max: 12,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            attempt_max: Duration::from_secs(2),
            ..fanout::Options::default()
        },
        ..hub::Options::default()
    }
}

#[derive(Clone)]
struct Clock {
    skew_ms: Arc<AtomicI64>,
}

impl hub::Clock for Clock {
    fn now(&self) -> Millis {
        let elapsed = world::now().unwrap_or_default().as_millis();
        let now = EPOCH_MS + u64::try_from(elapsed).unwrap_or_default();
        Millis(now.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed)))
    }
}

/// Tells edges who serves which shard, and each change, until the hub ends; not while it does not know. One task tells all, in
/// the order in which they came: several who waited would hear of a change in an order that nobody can repeat.
async fn tell_map(shards: Shards, mut map: watch::Receiver<ShardMap>, lapse: Lapse, edges: Listener) {
    let mut told: Vec<Stream> = Vec::new();
    loop {
        let (frame, to) = tokio::select! {
            biased;
            () = lapse.begins() => {
                told.clear();
                while !send_away(&lapse, &edges).await {}
                continue;
            }
            changed = map.changed() => match changed {
                Ok(()) => (frame(&shards, &map.borrow_and_update()), std::mem::take(&mut told)),
                Err(_) => return,
            },
            edge = edges.accept() => match edge {
                Ok(edge) => (frame(&shards, &map.borrow()), vec![edge]),
                Err(_) => return,
            },
        };
        for mut edge in to {
            if wire::write(&mut edge, &frame).await.is_ok() {
                told.push(edge);
            }
        }
    }
}

/// Sends one edge away, unless the lapse is over before one comes.
async fn send_away(lapse: &Lapse, edges: &Listener) -> bool {
    tokio::select! {
        biased;
        () = lapse.ends() => true,
        _ = edges.accept() => false,
    }
}

fn frame(shards: &Shards, map: &ShardMap) -> proto::hub::ShardMap {
    let owners = map.owners.iter().map(|(shard, owner)| ShardOwner {
        shard: shard.0,
        node: owner.node.clone(),
        term: owner.term,
    });
    proto::hub::ShardMap {
        version: map.version,
        shards: shards.count(),
        hash_key: shards.key().to_vec().into(),
        owners: owners.collect(),
    }
}

/// Answers requests one after the other, as an edge brings them.
async fn serve(site: &Site, current: &Current, mut stream: Stream) -> io::Result<()> {
    while let Some((request, _)) = wire::read::<RoomRequest>(&mut stream).await? {
        let (room, request, octets) = parse(request).map_err(io::Error::other)?;
        let serving = current.borrow().clone();
        let outcome = match &serving {
            Some(hub) => hub.call(room.clone(), request.clone()).await,
            None => Outcome::Elsewhere {
                node: String::new(),
                term: 0,
            },
        };
        let done = matches!(outcome, Outcome::Answer(_));
        let command = match &request {
            Request::Command(command) => Some(command),
            Request::Found(_) | Request::Follow => None,
        };
        let response = response(&room, command, outcome);
        let digest = Digest::of(&octets);
        let lost = site.random.borrow_mut().random_bool(*site.lost_answers.borrow());
        if done && lost {
            site.record.mark(Mark::AnswerLost);
            site.unheard.borrow_mut().insert(digest, site.name);
            return Ok(());
        }
        if done && let Some(by) = site.unheard.borrow_mut().remove(&digest) {
            site.record.mark(Mark::AnswerRepeated);
            if by != site.name {
                site.record.mark(Mark::AnswerRepeatedElsewhere);
            }
        }
        wire::write(&mut stream, &response).await?;
    }
    Ok(())
}

fn parse(request: RoomRequest) -> Result<(RoomUri, Request, Bytes), &'static str> {
    let room = request.room.parse().map_err(|_| "not a room")?;
    let from: Provider = request.source.parse().map_err(|_| "not a provider")?;
    let (request, octets) = match request.body {
        Some(room_request::Body::Create(octets)) => {
            let created: proto::hub::CreateRoom = prost::Message::decode(octets.clone()).map_err(|_| "not a room")?;
            let (group_info, ratchet_tree) = (created.group_info, created.ratchet_tree);
            (
                Request::Found(room::Founding {
                    from,
                    group_info,
                    ratchet_tree,
                }),
                octets,
            )
        }
        Some(room_request::Body::Update(body)) => (
            Request::Command(Command::Update {
                from,
                body: body.clone(),
            }),
            body,
        ),
        Some(room_request::Body::Submit(body)) => (
            Request::Command(Command::Submit {
                from,
                body: body.clone(),
            }),
            body,
        ),
        Some(room_request::Body::GroupInfo(body)) => (
            Request::Command(Command::GroupInfo {
                from,
                body: body.clone(),
            }),
            body,
        ),
        _ => return Err("not a request that the simulated clients make"),
    };
    Ok((room, request, octets))
}

fn response(room: &RoomUri, command: Option<&Command>, outcome: Outcome) -> RoomResponse {
    let refused = |status, reason: &str, retry_after: Duration| {
        let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        room_response::Outcome::Refused(Refused {
            status,
            reason: reason.to_owned(),
            retry_after_ms,
        })
    };
    let outcome = match outcome {
        Outcome::Answer(Answer::GroupInfo(grant)) => match keys::seal(room, &grant) {
            Some(sealed) => room_response::Outcome::Answer(sealed),
            None => refused(400, "no key to seal for", Duration::ZERO),
        },
        Outcome::Answer(answer) => room_response::Outcome::Answer(answer.body().cloned().unwrap_or_default()),
        Outcome::Refused(refusal) => match command.map(|command| refusal.reply(room, command)) {
            Some(Reply::Body(body)) => room_response::Outcome::Answer(body),
            Some(Reply::Status(status, reason)) => refused(status.into(), reason, Duration::ZERO),
            None => refused(403, "the room is not founded", Duration::ZERO),
        },
        Outcome::UnknownRoom => refused(404, "no such room", Duration::ZERO),
        Outcome::RoomExists => refused(409, "another room has this name", Duration::ZERO),
        Outcome::Elsewhere { node, term } => room_response::Outcome::Elsewhere(Elsewhere { node, term }),
        Outcome::Overloaded { retry_after } => refused(503, "overloaded", retry_after),
        Outcome::Unavailable { retry_after } => refused(503, "unavailable", retry_after),
    };
    RoomResponse { outcome: Some(outcome) }
}
