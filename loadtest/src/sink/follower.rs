//! One follower provider of a sink.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use link::{Acknowledge, Answer, Call, Deliver, Item, LedgerId, Limits, Peer, Roots, Service, Unavailable, item, tls};
use mimi::Decode as _;
use mimi::notify::{FanoutContent, FanoutMessage};
use peer::{Directory, Endpoint, WELL_KNOWN};
use sha2::{Digest as _, Sha256};
use tier::accept::{self, Bounds};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::check::{self, Hash, Shown};
use super::journal::Journal;
use super::words::{Collected, Identity, Room};
use crate::measure::now_ns;

/// Faults that are told; more would say nothing new.
const FAULTS_MAX: usize = 16;

/// Of the listener that serves the directory document.
const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    streams_max: 64,
    handshake: Duration::from_secs(5),
    header: Duration::from_secs(5),
    drain: Duration::from_secs(1),
};

/// How a follower makes durable what it is shown, when it is to.
pub(super) struct Keeping {
    pub(super) journal: Arc<Journal>,
    /// It writes it, and does not only wait for a sync.
    pub(super) writes: bool,
}

/// See the module.
pub(super) struct Follower {
    domain: String,
    keeping: Keeping,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<String, Watched>,
    /// The first offset that was not taken, of each shard of each ledger.
    positions: BTreeMap<(LedgerId, u32), u64>,
    /// Application messages since the last collection.
    messages: u64,
    faults: Vec<String>,
    repeats: u64,
    octets: u64,
}

#[derive(Default)]
struct Watched {
    check: check::Room,
    accepted: Vec<u64>,
    received_us: Vec<u64>,
}

impl Follower {
    /// Listens as `identity` for whom `roots` knows.
    pub(super) async fn start(
        identity: &Identity,
        roots: &Roots,
        keeping: Keeping,
        stop: CancellationToken,
    ) -> anyhow::Result<Arc<Self>> {
        let Identity {
            domain,
            address,
            chain,
            key,
        } = identity;
        let read = |path| std::fs::read(path).with_context(|| format!("read the certificate of {domain}"));
        let us = link::Identity::from_pem(&read(chain)?, &read(key)?)?;
        let authority = format!("{domain}:{}", address.port());
        let directory = Directory::publish(&authority, [Endpoint::Notify], Some(authority.clone()))?;
        let document = Bytes::from(serde_json::to_vec(&directory)?);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("bind TCP {address}"))?;
        let config = tls::server_config(&us, roots, &[b"h2", b"http/1.1"]);
        let greet = move |_: &_| {
            let document = document.clone();
            Some(service_fn(move |request| publish(document.clone(), request)))
        };
        let https_stop = stop.clone();
        tokio::spawn(async move {
            accept::serve(listener, move || config.clone(), &BOUNDS, https_stop, greet).await;
        });
        let endpoint = link::Endpoint::bind(*address, us, roots.clone(), Limits::default());
        let endpoint = endpoint.with_context(|| format!("bind UDP {address}"))?;
        let follower = Arc::new(Self {
            domain: domain.clone(),
            keeping,
            state: Mutex::default(),
        });
        tokio::spawn(link::serve(endpoint, follower.clone(), stop));
        Ok(follower)
    }

    pub(super) fn progress(&self) -> u64 {
        self.state().messages
    }

    pub(super) fn collect(&self) -> Collected {
        let mut state = self.state();
        let state = &mut *state;
        state.messages = 0;
        let rooms = state.rooms.iter_mut().map(|(room, watched)| Room {
            room: room.clone(),
            seq: watched.check.seq(),
            chain: hex::encode(watched.check.chain()),
            accepted: std::mem::take(&mut watched.accepted),
            received_us: std::mem::take(&mut watched.received_us),
        });
        Collected {
            domain: self.domain.clone(),
            rooms: rooms.collect(),
            faults: std::mem::take(&mut state.faults),
            repeats: std::mem::take(&mut state.repeats),
            octets: std::mem::take(&mut state.octets),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn item(&mut self, item: &Item, now_us: u64) {
        if let Err(fault) = self.check(item, now_us)
            && self.faults.len() < FAULTS_MAX
        {
            self.faults.push(format!("{}: {fault}", item.room));
        }
    }

    fn check(&mut self, item: &Item, now_us: u64) -> anyhow::Result<()> {
        let (digest, message): (Hash, _) = match &item.body {
            Some(item::Body::Message(octets)) => (Sha256::digest(octets).into(), Some(octets)),
            Some(item::Body::Digest(digest)) => (digest[..].try_into().context("a digest of another length")?, None),
            None => anyhow::bail!("an item without a body"),
        };
        let chain = item.chain[..].try_into().context("a chain of another length")?;
        if !self.rooms.contains_key(&item.room) {
            self.rooms.insert(item.room.clone(), Watched::default());
        }
        let room = self.rooms.get_mut(&item.room).context("the room was just inserted")?;
        self.octets += (item.room.len() + message.map_or(digest.len(), |octets| octets.len())) as u64;
        match room.check.take(item.seq, item.previous_seq, chain, &digest)? {
            Shown::Repeat => self.repeats += 1,
            Shown::First => {
                let fanout = message.map(FanoutMessage::decode_shared).transpose()?;
                if let Some(fanout) = fanout
                    && matches!(fanout.content, FanoutContent::Application { .. })
                {
                    room.accepted.push(fanout.timestamp);
                    room.received_us.push(now_us);
                    self.messages += 1;
                }
            }
        }
        Ok(())
    }
}

async fn publish(document: Bytes, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
    let (status, body) = match request.uri().path() == WELL_KNOWN {
        true => (StatusCode::OK, document),
        // Entries come over the link; whoever sends them here tries again until it stands.
        false => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
    };
    Response::builder().status(status).body(Full::new(body))
}

#[async_trait]
impl Service for Follower {
    async fn call(&self, _: &Peer, _: Call) -> Answer {
        Answer {
            status: 404,
            ..Answer::default()
        }
    }

    async fn position(&self, _: &Peer, ledger: LedgerId, shard: u32) -> Result<Option<u64>, Unavailable> {
        Ok(self.state().positions.get(&(ledger, shard)).copied())
    }

    async fn deliver(&self, _: &Peer, ledger: LedgerId, deliver: Deliver) -> Result<Acknowledge, Unavailable> {
        let written = if self.keeping.writes { &deliver.items[..] } else { &[] };
        let octets = written.iter().filter_map(|item| match item.body.as_ref()? {
            item::Body::Message(octets) | item::Body::Digest(octets) => Some(octets.clone()),
        });
        let appended = self.keeping.journal.append(octets).await;
        let now_us = now_ns() / 1_000;
        let mut state = self.state();
        if let Err(error) = appended {
            state.faults.push(format!("{error:#}"));
            return Err(Unavailable);
        }
        for item in &deliver.items {
            state.item(item, now_us);
        }
        let position = state.positions.entry((ledger, deliver.shard)).or_default();
        let past = deliver.items.last().map_or(0, |item| item.offset + 1);
        *position = past.max(*position);
        Ok(Acknowledge {
            shard: deliver.shard,
            next_offset: *position,
            refused: Vec::new(),
        })
    }
}
