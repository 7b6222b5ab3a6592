//! Puts the edge together and runs it until it is told to stop.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use link::tls;
use link::{Identity, Roots};
use mimi::mls::CipherSuite;
use mimi::{Provider, UserUri};
use peer::Directory;
use proto::follower::follower_client::FollowerClient;
use tier::accept::{self, Places};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use crate::api::{self, ApiParts};
use crate::assets::{AssetParts, Assets};
use crate::federation::{Endpoint, Federation, Https, LinkService};
use crate::heard::Heard;
use crate::hubs::Hubs;
use crate::limits::{GRPC_BYTES_MAX, Limits};
use crate::metrics::Metrics;
use crate::rates::Rates;
use crate::relay::Relay;
use crate::tokens::Tokens;

/// What an edge is made of.
pub struct EdgeParts {
    /// Whose edge it is.
    pub provider: Provider,
    /// Names under which other providers ask us (`Host`), without port; the provider's domain is always one.
    pub hosts: Vec<String>,
    /// Host and port at which the directory says we are.
    pub authority: String,
    /// `host:port` of the link, for the directory; needs [`Listeners::link`].
    pub link_authority: Option<String>,
    /// What other providers see of us.
    pub identity: Identity,
    /// Which providers we know.
    pub roots: Roots,
    /// What our own clients see of us.
    pub api_identity: Identity,
    /// ExternalSender of our hub (RFC 9420 §12.1.8.1), for those who create rooms of cipher suite 0x0001.
    pub hub_sender: Bytes,
    /// The same for every cipher suite in which we host rooms; other providers are told, too (directory).
    pub hub_senders: Vec<(CipherSuite, Bytes)>,
    /// The way to other providers.
    pub peers: Arc<dyn Relay>,
    /// Our hub.
    pub hubs: Hubs,
    /// Our follower.
    pub follower: FollowerClient<Channel>,
    /// Our users' tokens.
    pub tokens: Tokens,
    /// The users who may see and close reports of abuse.
    pub moderators: BTreeSet<UserUri>,
    /// Whether our users may have pseudonyms, for minimal-metadata rooms (mimi-protocol §6).
    pub minimal_metadata: bool,
    /// Assets.
    pub assets: AssetParts,
    /// Bounds.
    pub limits: Limits,
    /// Cancelled: take nothing new, finish what is under way.
    pub cancel: CancellationToken,
}

impl fmt::Debug for EdgeParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EdgeParts")
            .field("provider", &self.provider)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// Where an edge listens.
#[derive(Debug)]
pub struct Listeners {
    /// Federation over HTTPS.
    pub https: TcpListener,
    /// Federation over QUIC.
    pub link: Option<link::Endpoint>,
    /// Provider API.
    pub api: TcpListener,
}

/// Serves until [`EdgeParts::cancel`], then finishes what is under way within [`Limits::drain_ms`].
///
/// # Errors
/// `authority` cannot stand in the directory.
pub async fn run(parts: EdgeParts, listeners: Listeners) -> Result<(), peer::template::TemplateError> {
    let link_authority = parts.link_authority.filter(|_| listeners.link.is_some());
    let listed = Endpoint::ALL.into_iter().map(Endpoint::listed);
    let listed = listed.chain([peer::Endpoint::ProxyDownload]);
    let directory = Directory::publish(&parts.authority, listed, link_authority)?
        .with_gateway(&parts.authority)
        .with_hub_senders(parts.hub_senders.clone());
    let assets = Arc::new(Assets::new(parts.assets, &parts.authority, parts.peers.clone()));
    let mut hosts = parts.hosts;
    hosts.push(parts.provider.as_str().to_owned());

    let limits = parts.limits;
    let (heard, news) = Heard::new();
    let federation = Arc::new(Federation {
        us: parts.provider,
        minimal_metadata: parts.minimal_metadata,
        hubs: parts.hubs,
        follower: parts
            .follower
            .max_decoding_message_size(GRPC_BYTES_MAX)
            .max_encoding_message_size(GRPC_BYTES_MAX),
        relay: parts.peers,
        heard,
        rates: Rates::new(&limits.rates),
        limits: limits.clone(),
        metrics: Metrics::new(),
    });

    let tasks = TaskTracker::new();
    let cancel = parts.cancel;
    let (following, stop) = (federation.clone(), cancel.clone());
    tasks.spawn(async move { following.hubs.follow_map(stop).await });
    let (telling, stop) = (federation.clone(), cancel.clone());
    tasks.spawn(async move { news.tell(&telling.hubs, stop).await });
    if let Some(endpoint) = listeners.link {
        let service = Arc::new(LinkService(federation.clone()));
        tasks.spawn(link::serve(endpoint, service, cancel.clone()));
    }
    let https = Https::new(federation.clone(), assets.clone(), &hosts, directory);
    let (identity, roots, stop) = (parts.identity, parts.roots, cancel.clone());
    let bounds = limits.clone();
    tasks.spawn(async move { serve_https(listeners.https, https, &identity, roots, &bounds, stop).await });
    let routes = api::routes(ApiParts {
        federation,
        assets,
        tokens: parts.tokens,
        moderators: parts.moderators,
        hub_sender: parts.hub_sender,
        hub_senders: parts.hub_senders,
        cancel: cancel.clone(),
    });
    let identity = parts.api_identity;
    tasks.spawn(async move { serve_api(listeners.api, routes, &identity, &limits, cancel).await });
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// Mutual TLS: whoever gets as far as a request is a provider known here (E-1).
async fn serve_https(
    listener: TcpListener,
    https: Https,
    identity: &Identity,
    roots: Roots,
    limits: &Limits,
    cancel: CancellationToken,
) {
    let tls = tls::server_config(identity, &roots, &[b"h2", b"http/1.1"]);
    let (https, places) = (Arc::new(https), Places::default());
    let per_peer = limits.connections_per_peer_max;
    let greet = move |stream: &TlsStream<TcpStream>| {
        let peer = roots.peer_of(stream.get_ref().1.peer_certificates()?).ok()?;
        let Some(place) = places.take(peer.name(), per_peer) else {
            tracing::warn!(%peer, "too many connections");
            return None;
        };
        let (https, place) = (https.clone(), Arc::new(place));
        Some(service_fn(move |request| {
            let (https, peer, place) = (https.clone(), peer.clone(), place.clone());
            async move {
                let _place = place;
                https.answer(&peer, request).await
            }
        }))
    };
    accept::serve(listener, move || tls.clone(), &limits.bounds(), cancel, greet).await;
}

/// TLS with our certificate only: clients show a token.
async fn serve_api(
    listener: TcpListener,
    routes: tonic::service::Routes,
    identity: &Identity,
    limits: &Limits,
    cancel: CancellationToken,
) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the cryptography provider has suites of TLS 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(identity.clone()));
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = Arc::new(tls);
    let greet = move |_: &TlsStream<TcpStream>| Some(TowerToHyperService::new(routes.clone()));
    accept::serve(listener, move || tls.clone(), &limits.bounds(), cancel, greet).await;
}
