//! The providers known here and how each is asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use link::{Connection, Fanout, Identity, LedgerId, LinkError, Roots};
use mimi::mls::{CipherSuite, ExternalSender};
use mimi::{Decode as _, Provider, RoomUri};
use proto::link::{Answer, Call};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::addresses::Addresses;
use crate::assets;
use crate::https::{Https, Response};
use crate::known::Known;
use crate::links::Link;
use crate::{Directory, Endpoint};

/// Why a provider gave no answer. What it refuses is an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nobody has told us about this provider.
    #[error("{0} is not among the providers known here")]
    Unknown(Provider),
    /// The peer's directory cannot be used.
    #[error("the directory of the peer is of no use: {0}")]
    Directory(String),
    /// The peer does not take this kind of request.
    #[error("the peer has no endpoint {0}")]
    NoEndpoint(String),
    /// Nobody known here keeps assets at the host of a URL.
    #[error("no peer keeps assets at this host")]
    NotAnAssetHost,
    /// No connection, or it broke.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time. The request may have been carried out.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The peer's answer exceeds what is read of one.
    #[error("the peer answered with more than {max} octets")]
    TooLarge {
        /// Octets read of an answer.
        max: usize,
    },
}

/// The bounds of all calls.
#[derive(Debug, Clone)]
pub struct PeerLimits {
    /// From connecting to the last octet of the answer.
    pub request_timeout: Duration,
    /// Name, TCP and TLS.
    pub connect_timeout: Duration,
    /// How long a request waits for a link that is being dialled before it goes over HTTPS.
    pub link_patience: Duration,
    /// Octets read of an answer.
    pub answer_bytes_max: usize,
    /// Idle HTTPS connections are closed after this.
    pub idle_timeout: Duration,
    /// Idle HTTPS connections kept for each host.
    pub idle_connections_max: usize,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            link_patience: Duration::from_secs(1),
            answer_bytes_max: 8 << 20,
            idle_timeout: Duration::from_secs(90),
            idle_connections_max: 32,
        }
    }
}

/// What a room's hub says of entries that it brings by `/notify`: their numbers, which are in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Of the first entry ([`ROOM_SEQ`](crate::ROOM_SEQ)).
    pub first: u64,
    /// Of the last one.
    pub last: u64,
    /// The room has come that far at least ([`ROOM_HEAD`](crate::ROOM_HEAD)).
    pub head: u64,
}

/// One provider.
#[derive(Debug, Clone)]
pub struct PeerConfig {
    /// Its domain. Its roots are among the [`Roots`] given to [`Peers::new`].
    pub provider: Provider,
    /// `host:port` that stands in for every host of the provider instead of what DNS says. A port named in the
    /// directory's URIs is kept.
    pub address: Option<String>,
    /// `host:port` (UDP) that stands in for the one advertised by its directory.
    pub link_address: Option<String>,
    /// Hosts beside those on its certificate that its directory may name.
    pub hosts: Vec<String>,
    /// `host` or `host:port` of where it keeps its assets; empty: at its domain, on port 443 and that of `address`. Hosts
    /// other than its domain are dialled at public addresses only.
    pub asset_hosts: Vec<String>,
}

/// Who we are and whom we know.
#[derive(Debug, Clone)]
pub struct PeersConfig {
    /// Our own domain, for `From`.
    pub us: Provider,
    /// The others.
    pub peers: Vec<PeerConfig>,
    /// The bounds of all calls.
    pub limits: PeerLimits,
}

/// The providers known here. Clones share connections and caches.
#[derive(Clone)]
pub struct Peers(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    us: Provider,
    pub(crate) peers: BTreeMap<Provider, Peer>,
    pub(crate) limits: PeerLimits,
    /// Whose assets are at which `host:port`.
    pub(crate) asset_hosts: BTreeMap<String, Provider>,
    /// Where directories are fetched for those who do not wait.
    runtime: Option<Handle>,
}

pub(crate) struct Peer {
    config: PeerConfig,
    pub(crate) https: Https,
    pub(crate) assets: Https,
    known: Known,
    /// Its directory is being fetched for those who do not wait.
    is_looked_up: AtomicBool,
    /// How its link is dialled, if links are.
    way: Option<Way>,
    link: Link,
}

/// How links to a peer are dialled.
#[derive(Debug, Clone)]
pub struct Way {
    /// From which socket.
    pub endpoint: link::Endpoint,
    /// Where they live: the runtime that the socket was bound on.
    pub runtime: Handle,
}

impl Peers {
    /// Nothing is dialled yet. Links are dialled from one endpoint, on the runtime that this is called on; without one
    /// everything goes over HTTPS.
    pub fn new(config: PeersConfig, identity: &Identity, roots: &Roots, endpoint: Option<link::Endpoint>) -> Self {
        let here = Handle::try_current().ok();
        let way = endpoint.and_then(|endpoint| here.map(|runtime| Way { endpoint, runtime }));
        Self::with_ways(config, identity, roots, |_| way.clone())
    }

    /// Nothing is dialled yet. `way` says how links to each peer are; without one everything goes over HTTPS.
    pub fn with_ways(
        config: PeersConfig,
        identity: &Identity,
        roots: &Roots,
        way: impl Fn(&Provider) -> Option<Way>,
    ) -> Self {
        let PeersConfig { us, peers, limits } = config;
        let peer = |config: PeerConfig| {
            let https = |addresses| Https::new(&us, &config.provider, addresses, identity, roots, &limits);
            let peer = Peer {
                https: https(Addresses::of_peer(config.address.as_deref())),
                assets: https(Addresses::of_assets(&config.provider, config.address.as_deref())),
                known: Known::default(),
                is_looked_up: AtomicBool::new(false),
                way: way(&config.provider),
                link: Link::new(),
                config,
            };
            (peer.config.provider.clone(), peer)
        };
        let asset_hosts = assets::hosts(&peers);
        let peers = peers.into_iter().map(peer).collect();
        Self(Arc::new(Inner {
            us,
            peers,
            limits,
            asset_hosts,
            runtime: Handle::try_current().ok(),
        }))
    }

    /// Our own domain.
    pub fn us(&self) -> &Provider {
        &self.0.us
    }

    /// Whether requests to `provider` have a chance.
    pub fn knows(&self, provider: &Provider) -> bool {
        self.0.peers.contains_key(provider)
    }

    /// Sends one request and waits for its answer: over the link when the provider offers one and it can be had soon,
    /// else by POST to the directory's endpoint. A link that breaks under a request makes it go over HTTPS as well:
    /// the same octets, which every request of the drafts may be sent twice. Any status is an answer, see
    /// [`succeeded`].
    pub async fn request(&self, to: &Provider, call: Call) -> Result<Answer, PeerError> {
        let endpoint = Endpoint::named(&call.endpoint).ok_or_else(|| PeerError::NoEndpoint(call.endpoint.clone()))?;
        if let Some(link) = self.link_soon(to).await? {
            match link.call(call.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(LinkError::TimedOut) => return Err(PeerError::TimedOut),
                Err(error) => tracing::debug!(peer = %to, %error, "request repeated over HTTPS"),
            }
        }
        self.post(to, endpoint, &call.target, octets(), call.body).await
    }

    /// Brings entries of `room` to a follower by `/notify` (mimi-protocol §5.5), always over HTTPS. `numbers` are theirs,
    /// where they are to be said, for whoever knows what they mean.
    pub async fn notify(
        &self,
        to: &Provider,
        room: &RoomUri,
        body: Bytes,
        numbers: Option<Numbers>,
    ) -> Result<Answer, PeerError> {
        let mut headers = octets();
        if let Some(Numbers { first, last, head }) = numbers {
            if let Ok(seqs) = HeaderValue::try_from(format!("{first}-{last}")) {
                headers.insert(HeaderName::from_static(crate::ROOM_SEQ), seqs);
            }
            headers.insert(HeaderName::from_static(crate::ROOM_HEAD), head.into());
        }
        self.post(to, Endpoint::Notify, room.as_str(), headers, body).await
    }

    /// The directory of `provider`, at most as old as its cache headers allow, and never older than 24 hours.
    pub async fn directory(&self, provider: &Provider) -> Result<Arc<Directory>, PeerError> {
        self.peer(provider)?.directory(None).await
    }

    /// The key with which the hub of `provider` signs in rooms of `suite`, as its directory says and as its credential
    /// confirms. Never waits: `None` also until the directory has been fetched, which this begins when it is time.
    pub fn hub_sender(&self, provider: &Provider, suite: CipherSuite) -> Option<ExternalSender> {
        let peer = self.0.peers.get(provider)?;
        let (kept, is_fresh) = peer.known.kept();
        if !is_fresh {
            self.look_up(provider, peer);
        }
        let sender = ExternalSender::decode_exact(kept?.hub_senders.get(&suite)?).ok()?;
        let named = sender.credential.provider();
        (named.as_ref() == Some(provider)).then_some(sender)
    }

    /// Fetches a directory for those who do not wait: once at a time.
    fn look_up(&self, provider: &Provider, peer: &Peer) {
        let Some(runtime) = &self.0.runtime else { return };
        if peer.is_looked_up.swap(true, Ordering::AcqRel) {
            return;
        }
        let (peers, provider) = (self.clone(), provider.clone());
        runtime.spawn(async move {
            if let Err(error) = peers.directory(&provider).await {
                tracing::info!(peer = %provider, %error, "no directory");
            }
            if let Some(peer) = peers.0.peers.get(&provider) {
                peer.is_looked_up.store(false, Ordering::Release);
            }
        });
    }

    /// The provider was heard from: its link may be dialled again, however often that failed.
    pub fn heard_from(&self, provider: &Provider) {
        if let Some(peer) = self.0.peers.get(provider) {
            peer.link.end_pause();
        }
    }

    /// The shared link to `provider`, dialled if need be. `None`: it offers none, or none can be had for now.
    pub async fn link(&self, provider: &Provider) -> Option<Connection> {
        let peer = self.0.peers.get(provider)?;
        let way = peer.way.as_ref()?;
        if let Some(open) = peer.link.open() {
            return Some(open);
        }
        if peer.link.is_paused() {
            return None;
        }
        let directory = peer.directory(None).await.ok()?;
        let address = peer.link_address(directory.link.as_deref()?);
        peer.link.dial(way, provider, &address).await
    }

    /// The shared fan-out stream of `ledger` to `provider`, opened if need be. `None` as with [`link`](Self::link).
    pub async fn fanout(&self, provider: &Provider, ledger: LedgerId) -> Option<Fanout> {
        let connection = self.link(provider).await?;
        let Peer { link, way, .. } = self.0.peers.get(provider)?;
        link.fanout(way.as_ref()?, &connection, ledger).await
    }

    /// Closes all links. Those that are asked for again are dialled again.
    pub fn close(&self) {
        self.0.peers.values().for_each(|peer| peer.link.close());
    }

    /// The link, unless it takes longer than a request should wait; then it is dialled in the background.
    async fn link_soon(&self, provider: &Provider) -> Result<Option<Connection>, PeerError> {
        let peer = self.peer(provider)?;
        if peer.way.is_none() || peer.link.is_paused() {
            return Ok(None);
        }
        if let Some(open) = peer.link.open() {
            return Ok(Some(open));
        }
        let dialling = {
            let (peers, provider) = (self.clone(), provider.clone());
            tokio::spawn(async move { peers.link(&provider).await })
        };
        let dialled = timeout(self.0.limits.link_patience, dialling).await;
        Ok(dialled.ok().and_then(Result::ok).flatten())
    }

    async fn post(
        &self,
        to: &Provider,
        endpoint: Endpoint,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, PeerError> {
        let peer = self.peer(to)?;
        let directory = peer.directory(None).await?;
        let uri = uri(&directory, endpoint, target)?;
        let answer = self.post_to(peer, uri.clone(), headers.clone(), body.clone()).await?;
        if !matches!(answer.status, 404 | 410) {
            return Ok(answer);
        }
        // Perhaps the endpoint has moved.
        match peer
            .directory(Some(&directory))
            .await
            .map(|directory| self::uri(&directory, endpoint, target))
        {
            Ok(Ok(moved)) if moved != uri => self.post_to(peer, moved, headers, body).await,
            _ => Ok(answer),
        }
    }

    async fn post_to(&self, peer: &Peer, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Answer, PeerError> {
        let max = self.0.limits.answer_bytes_max;
        let sent = peer.https.send_with(headers, Method::POST, uri, body, max);
        Ok(answer(sent.await?))
    }

    pub(crate) fn peer(&self, provider: &Provider) -> Result<&Peer, PeerError> {
        let known = self.0.peers.get(provider);
        known.ok_or_else(|| PeerError::Unknown(provider.clone()))
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.peers.keys()).finish()
    }
}

impl Peer {
    pub(crate) async fn directory(&self, stale: Option<&Arc<Directory>>) -> Result<Arc<Directory>, PeerError> {
        let PeerConfig { provider, hosts, .. } = &self.config;
        self.known.directory(provider, &self.https, hosts, stale).await
    }

    /// Where to dial for the link advertised as `advertised`: its port, at the host configured for this provider.
    fn link_address(&self, advertised: &str) -> String {
        if let Some(address) = &self.config.link_address {
            return address.clone();
        }
        let host = self
            .config
            .address
            .as_ref()
            .and_then(|address| address.rsplit_once(':'));
        match (host, advertised.rsplit_once(':')) {
            (Some((host, _)), Some((_, port))) => format!("{host}:{port}"),
            _ => advertised.to_owned(),
        }
    }
}

/// The headers of a body of a draft's.
fn octets() -> HeaderMap {
    let kind = HeaderValue::from_static("application/octet-stream");
    HeaderMap::from_iter([(CONTENT_TYPE, kind)])
}

pub(crate) fn answer(response: Response) -> Answer {
    let retry_after = response.retry_after().unwrap_or_default();
    Answer {
        status: u32::from(response.status.as_u16()),
        retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
        body: response.body,
    }
}

pub(crate) fn uri(directory: &Directory, endpoint: Endpoint, target: &str) -> Result<Uri, PeerError> {
    let template = directory.endpoints.get(&endpoint);
    let template = template.ok_or_else(|| PeerError::NoEndpoint(endpoint.name().to_owned()))?;
    let expanded = template.expand(target).parse();
    expanded.map_err(|error: http::uri::InvalidUri| PeerError::Directory(error.to_string()))
}

/// Whether the peer did what it was asked: any 2xx, since the drafts are of two minds about which.
pub fn succeeded(answer: &Answer) -> bool {
    u16::try_from(answer.status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .is_some_and(|status| status.is_success())
}
