//! Certificates, and a follower that remembers what it was told.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use link::tls::{Identity, Peer, Roots};
use link::{
    Acknowledge, Answer, Call, Connection, Deliver, Endpoint, Item, ItemRefusal, LedgerId, Limits, Service,
    Unavailable, item, serve,
};
use mimi::Provider;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const LEDGER: LedgerId = [7; 16];

pub(crate) fn provider(domain: &str) -> Provider {
    domain.parse().unwrap()
}

/// A certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn chain(&self, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![certificate.der().clone()], key)
    }

    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let (chain, key) = self.chain(names);
        Identity::new(chain, key).unwrap()
    }
}

pub(crate) fn roots(roots: &[(&str, &Ca)]) -> Roots {
    let roots = roots.iter().map(|(domain, ca)| (provider(domain), vec![ca.root()]));
    Roots::new(roots.collect()).unwrap()
}

/// Answers calls with their body, stores entries in memory.
pub(crate) struct Follower {
    pub(crate) stored: Mutex<BTreeMap<(LedgerId, u32), Vec<Item>>>,
    /// A delivery to `gated` takes one permit; with none left it waits.
    pub(crate) gate: Semaphore,
    pub(crate) gated: Mutex<Option<u32>>,
    pub(crate) available: Mutex<bool>,
    pub(crate) refuse: Mutex<Vec<u64>>,
    pub(crate) peers: Mutex<Vec<Peer>>,
}

impl Follower {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            stored: Mutex::default(),
            gate: Semaphore::new(0),
            gated: Mutex::default(),
            available: Mutex::new(true),
            refuse: Mutex::default(),
            peers: Mutex::default(),
        })
    }

    pub(crate) fn offsets(&self, shard: u32) -> Vec<u64> {
        let stored = self.stored.lock().unwrap();
        let items = stored.get(&(LEDGER, shard));
        items.map_or_else(Vec::new, |items| items.iter().map(|item| item.offset).collect())
    }
}

#[async_trait]
impl Service for Follower {
    async fn call(&self, peer: &Peer, call: Call) -> Answer {
        self.peers.lock().unwrap().push(peer.clone());
        Answer {
            status: 200,
            retry_after_ms: 0,
            body: call.body,
        }
    }

    async fn position(&self, _: &Peer, ledger: LedgerId, shard: u32) -> Result<Option<u64>, Unavailable> {
        let stored = self.stored.lock().unwrap();
        let last = stored.get(&(ledger, shard)).and_then(|items| items.last());
        Ok(last.map(|item| item.offset + 1))
    }

    async fn deliver(&self, _: &Peer, ledger: LedgerId, deliver: Deliver) -> Result<Acknowledge, Unavailable> {
        let gated = *self.gated.lock().unwrap() == Some(deliver.shard);
        if gated {
            self.gate.acquire().await.unwrap().forget();
        }
        if !*self.available.lock().unwrap() {
            return Err(Unavailable);
        }
        let refuse = self.refuse.lock().unwrap().clone();
        let (refused, kept): (Vec<Item>, _) = deliver
            .items
            .into_iter()
            .partition(|item| refuse.contains(&item.offset));
        let next_offset = kept.iter().chain(&refused).map(|item| item.offset + 1).max().unwrap();
        self.stored
            .lock()
            .unwrap()
            .entry((ledger, deliver.shard))
            .or_default()
            .extend(kept);
        let refused = refused.into_iter().map(|item| ItemRefusal {
            offset: item.offset,
            status: 403,
            reason: "é".repeat(1_000),
        });
        Ok(Acknowledge {
            shard: deliver.shard,
            next_offset,
            refused: refused.collect(),
        })
    }
}

/// An entry of `size` octets.
pub(crate) fn entry(offset: u64, size: usize) -> Item {
    Item {
        offset,
        room: "mimi://a.example/r/clubhouse".into(),
        seq: offset + 1,
        previous_seq: offset,
        chain: vec![1; 32].into(),
        recipient_set: vec![2; 16].into(),
        epoch: 1,
        body: Some(item::Body::Message(Bytes::from(vec![3; size]))),
    }
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A listening provider, until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) drain: CancellationToken,
    pub(crate) done: tokio::task::JoinHandle<()>,
    _stop: DropGuard,
}

pub(crate) fn served(identity: Identity, roots: Roots, limits: Limits, service: Arc<dyn Service>) -> Served {
    served_at(loopback(), identity, roots, limits, service)
}

pub(crate) fn served_at(
    address: SocketAddr,
    identity: Identity,
    roots: Roots,
    limits: Limits,
    service: Arc<dyn Service>,
) -> Served {
    let endpoint = Endpoint::bind(address, identity, roots, limits).unwrap();
    let drain = CancellationToken::new();
    let address = endpoint.local_addr().unwrap();
    let done = tokio::spawn({
        let drain = drain.clone();
        async move {
            serve(endpoint.clone(), service, drain).await;
            endpoint.close(link::Code::Draining).await;
        }
    });
    Served {
        address,
        _stop: drain.clone().drop_guard(),
        drain,
        done,
    }
}

/// Two providers with a CA each: hub a.example, follower b.example.
pub(crate) struct Pair {
    pub(crate) a: Ca,
    pub(crate) b: Ca,
    pub(crate) hub: Endpoint,
    pub(crate) follower: Arc<Follower>,
    pub(crate) served: Served,
}

impl Pair {
    pub(crate) fn new(limits: Limits, follower: Arc<Follower>) -> Self {
        let (a, b) = (Ca::new(), Ca::new());
        let known = roots(&[("a.example", &a), ("b.example", &b)]);
        let identity = a.identity(&["a.example"]);
        let hub = Endpoint::bind(loopback(), identity, known.clone(), limits.clone()).unwrap();
        let served = served(b.identity(&["b.example"]), known, limits, follower.clone());
        Self {
            a,
            b,
            hub,
            follower,
            served,
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        self.hub
            .connect(&provider("b.example"), self.served.address)
            .await
            .unwrap()
    }
}
