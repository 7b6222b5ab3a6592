//! The edge of a.example on loopback, and clients of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use daemon::certificates::{DevelopmentCa, Issued};
use daemon::tokens::TokenDigest;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use link::tls::{certificates_from_pem, client_config};
use link::{Identity, Roots};
use mimi::Provider;
use nave_edge::{AssetLimits, AssetParts, AssetStore, EdgeParts, GatewaySecret, Hubs, Limits, Listeners, Tokens, run};
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_client::HubClient;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::services::{FakeFollower, FakeHub, FakePeers, channel, follower_routes, hub_routes};

pub const ALICE: &str = "mimi://a.example/u/alice";
pub const ALICE_TOKEN: &str = "alice-token";
/// A user whose name has the form of a pseudonym.
pub const NAMESAKE: &str = "mimi://a.example/u/00000000-0000-4000-8000-0000000000aa";
pub const MODERATOR: &str = "mimi://a.example/u/moderator";
pub const MODERATOR_TOKEN: &str = "moderator-token";

pub fn provider(domain: &str) -> Provider {
    domain.parse().unwrap()
}

pub fn identity(issued: &Issued) -> Identity {
    Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
}

pub struct World {
    pub ca: DevelopmentCa,
    pub roots: Roots,
    pub hub: Arc<FakeHub>,
    pub follower: Arc<FakeFollower>,
    pub peers: Arc<FakePeers>,
    pub https: SocketAddr,
    pub api: SocketAddr,
    pub link: SocketAddr,
    pub cancel: CancellationToken,
    pub running: JoinHandle<()>,
    /// Where assets are.
    pub directory: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::with_assets(limits, AssetLimits::default()).await
    }

    pub async fn with_assets(limits: Limits, asset_limits: AssetLimits) -> Self {
        Self::with_store(limits, asset_limits, None).await
    }

    /// The edge of a.example, which knows b.example and c.example; one CA for all. Without a store, assets are in
    /// `directory`.
    pub async fn with_store(limits: Limits, asset_limits: AssetLimits, store: Option<AssetStore>) -> Self {
        let ca = DevelopmentCa::generate().unwrap();
        let root = certificates_from_pem(ca.certificate_pem().as_bytes()).unwrap();
        let known = ["a.example", "b.example", "c.example"];
        let known: BTreeMap<_, _> = known.iter().map(|domain| (provider(domain), root.clone())).collect();
        let roots = Roots::new(known).unwrap();
        let ours = identity(&ca.issue(&["a.example"]).unwrap());
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = link::Endpoint::bind(loopback, ours.clone(), roots.clone(), link::Limits::default()).unwrap();
        let listeners = Listeners {
            https: TcpListener::bind(loopback).await.unwrap(),
            api: TcpListener::bind(loopback).await.unwrap(),
            link: Some(endpoint),
        };
        let https = listeners.https.local_addr().unwrap();
        let api = listeners.api.local_addr().unwrap();
        let link = listeners.link.as_ref().unwrap().local_addr().unwrap();

        let (hub, follower, peers) = (Arc::default(), Arc::default(), Arc::<FakePeers>::default());
        let cancel = CancellationToken::new();
        let token = (TokenDigest::of(ALICE_TOKEN), ALICE.parse().unwrap());
        let moderator = (TokenDigest::of(MODERATOR_TOKEN), MODERATOR.parse().unwrap());
        let namesake = (TokenDigest::of("namesake-token"), NAMESAKE.parse().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let parts = EdgeParts {
            provider: provider("a.example"),
            hosts: vec!["mimi.a.example".to_owned()],
            authority: format!("a.example:{}", https.port()),
            link_authority: Some(link.to_string()),
            api_identity: identity(&ca.issue(&["api.a.example"]).unwrap()),
            identity: ours,
            roots: roots.clone(),
            hub_sender: Bytes::from_static(b"hub sender"),
            hub_senders: vec![
                (1, Bytes::from_static(b"hub sender")),
                (3, Bytes::from_static(b"another")),
            ],
            peers: peers.clone(),
            hubs: Hubs::from(HubClient::new(channel(hub_routes(Arc::clone(&hub))))),
            follower: FollowerClient::new(channel(follower_routes(Arc::clone(&follower)))),
            tokens: Tokens::from_iter([token, moderator, namesake]),
            moderators: BTreeSet::from([MODERATOR.parse().unwrap()]),
            minimal_metadata: true,
            assets: AssetParts {
                store: store.unwrap_or_else(|| AssetStore::directory(directory.path()).unwrap()),
                gateway_secret: GatewaySecret([7; 32]),
                limits: asset_limits,
            },
            limits,
            cancel: cancel.clone(),
        };
        let running = tokio::spawn(async move { run(parts, listeners).await.unwrap() });
        Self {
            ca,
            roots,
            hub,
            follower,
            peers,
            https,
            api,
            link,
            cancel,
            running,
            directory,
        }
    }

    /// A connection of whoever holds a certificate for `domain`.
    pub async fn peer(&self, domain: &str) -> Peer {
        Peer::new(self.tls(&self.ca, domain, b"http/1.1").await.unwrap()).await
    }

    /// A TLS connection with a certificate for `domain` issued by `ca`. TLS 1.3: a client certificate that is not liked
    /// shows at the first read.
    pub async fn tls(&self, ca: &DevelopmentCa, domain: &str, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let identity = identity(&ca.issue(&[domain]).unwrap());
        let config = client_config(&identity, &self.roots, &provider("a.example"), &[alpn]);
        let stream = TcpStream::connect(self.https).await?;
        let name = ServerName::try_from("a.example").unwrap();
        TlsConnector::from(config).connect(name, stream).await
    }
}

/// A kept HTTP/1.1 connection of another provider.
pub struct Peer(http1::SendRequest<Full<Bytes>>);

/// A response, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Peer {
    async fn new(stream: TlsStream<TcpStream>) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        self.0.ready().await.unwrap();
        read(self.0.send_request(request).await.unwrap()).await
    }

    /// POST as b.example would.
    pub async fn post(&mut self, endpoint: &str, target: &str, body: impl Into<Bytes>) -> Answer {
        self.send(
            post("b.example", endpoint, target)
                .body(Full::new(body.into()))
                .unwrap(),
        )
        .await
    }
}

/// GET (or what `method` says) of a path as `source` would.
pub fn get(method: &str, source: &str, path: &str) -> http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "a.example")
        .header("from", format!("mimi@{source}"))
}

async fn read(response: http::Response<hyper::body::Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// The head of a request from `source` as the draft has it.
pub fn post(source: &str, endpoint: &str, target: &str) -> http::request::Builder {
    let template: peer::Template = format!("https://a.example/v1/{endpoint}/{{x}}").parse().unwrap();
    let uri = template.expand(target);
    Request::post(uri.strip_prefix("https://a.example").unwrap())
        .header("host", "a.example")
        .header("from", format!("mimi@{source}"))
}

/// One request over HTTP/2.
pub async fn over_http2(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Answer {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request).await.unwrap()).await
}
