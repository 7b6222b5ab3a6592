//! Three providers at work with each other: c.example keeps an asset, a.example hosts the room, b.example's user wants it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bhttp::{Message, Mode};
use bytes::Bytes;
use daemon::certificates::DevelopmentCa;
use daemon::tokens::TokenDigest;
use link::Roots;
use link::tls::certificates_from_pem;
use nave_edge::{AssetLimits, AssetParts, AssetStore, EdgeParts, GatewaySecret, Hubs, Limits, Listeners, Tokens, run};
use ohttp::ClientRequest;
use peer::{PeerConfig, PeerLimits, Peers, PeersConfig};
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_client::HubClient;
use proto::provider::assets_client::AssetsClient;
use proto::provider::{
    AssetDescription, DownloadAsset, ObliviousCall, ObliviousKeysCall, UploadAsset, upload_asset::Part,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::bodies::ROOM;
use crate::provider::{channel_to, with_token};
use crate::services::{FakeFollower, FakeHub, channel, follower_routes, hub_routes};
use crate::world::{identity, provider};

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
const TOKEN: &str = "token";

/// The provider APIs of the three, whose only users have [`TOKEN`].
struct Three {
    apis: Vec<AssetsClient<Channel>>,
    cancel: CancellationToken,
    _directory: TempDir,
}

impl Drop for Three {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Three {
    async fn start() -> Self {
        let ca = DevelopmentCa::generate().unwrap();
        let root = certificates_from_pem(ca.certificate_pem().as_bytes()).unwrap();
        let roots: BTreeMap<_, _> = DOMAINS.map(|domain| (provider(domain), root.clone())).into();
        let roots = Roots::new(roots).unwrap();
        let (cancel, directory) = (CancellationToken::new(), tempfile::tempdir().unwrap());
        let mut listeners = Vec::new();
        for _ in DOMAINS {
            let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
            let https = TcpListener::bind(loopback).await.unwrap();
            let api = TcpListener::bind(loopback).await.unwrap();
            listeners.push(Listeners { https, api, link: None });
        }
        let addresses: Vec<_> = listeners.iter().map(|each| each.https.local_addr().unwrap()).collect();
        let mut apis = Vec::new();
        for (domain, listeners) in DOMAINS.into_iter().zip(listeners) {
            let others = DOMAINS
                .into_iter()
                .zip(&addresses)
                .filter(|(other, _)| *other != domain);
            let others = others.map(|(other, address)| PeerConfig {
                provider: provider(other),
                address: Some(address.to_string()),
                link_address: None,
                hosts: Vec::new(),
                asset_hosts: Vec::new(),
            });
            let config = PeersConfig {
                us: provider(domain),
                peers: others.collect(),
                limits: PeerLimits::default(),
            };
            let ours = identity(&ca.issue(&[domain]).unwrap());
            let parts = EdgeParts {
                provider: provider(domain),
                hosts: Vec::new(),
                authority: format!("{domain}:{}", listeners.https.local_addr().unwrap().port()),
                link_authority: None,
                api_identity: identity(&ca.issue(&["api.a.example"]).unwrap()),
                peers: Arc::new(Peers::new(config, &ours, &roots, None)),
                identity: ours,
                roots: roots.clone(),
                hub_sender: Bytes::new(),
                hub_senders: Vec::new(),
                hubs: Hubs::from(HubClient::new(channel(hub_routes(Arc::new(FakeHub::default()))))),
                follower: FollowerClient::new(channel(follower_routes(Arc::new(FakeFollower::default())))),
                tokens: Tokens::from_iter([(
                    TokenDigest::of(TOKEN),
                    format!("mimi://{domain}/u/user").parse().unwrap(),
                )]),
                moderators: BTreeSet::new(),
                minimal_metadata: false,
                assets: AssetParts {
                    store: AssetStore::directory(&directory.path().join(domain)).unwrap(),
                    gateway_secret: GatewaySecret::random(),
                    limits: AssetLimits::default(),
                },
                limits: Limits::default(),
                cancel: cancel.clone(),
            };
            let api = listeners.api.local_addr().unwrap();
            tokio::spawn(async move { run(parts, listeners).await.unwrap() });
            apis.push(AssetsClient::new(channel_to(&ca, api).await));
        }
        Self {
            apis,
            cancel,
            _directory: directory,
        }
    }

    fn api(&self, domain: &str) -> AssetsClient<Channel> {
        let at = DOMAINS.iter().position(|known| *known == domain).unwrap();
        self.apis[at].clone()
    }

    async fn upload(&self, domain: &str, octets: &'static [u8]) -> String {
        let description = AssetDescription {
            bytes: octets.len() as u64,
            media_type: String::new(),
        };
        let parts = [Part::Description(description), Part::Chunk(Bytes::from_static(octets))];
        let parts = parts.map(|part| UploadAsset { part: Some(part) });
        let request = with_token(TOKEN, tokio_stream::iter(parts));
        self.api(domain).upload(request).await.unwrap().into_inner().url
    }

    /// b's user downloads, in a room of a.
    async fn download(&self, url: &str, first: u64, count: u64) -> (u32, Vec<u8>) {
        let call = DownloadAsset {
            room: ROOM.to_owned(),
            url: url.to_owned(),
            first,
            count,
        };
        let mut chunks = self
            .api("b.example")
            .download(with_token(TOKEN, call))
            .await
            .unwrap()
            .into_inner();
        let (mut status, mut octets) = (0, Vec::new());
        while let Some(chunk) = chunks.message().await.unwrap() {
            status += chunk.status;
            octets.extend_from_slice(&chunk.chunk);
        }
        (status, octets)
    }

    /// b's user asks a's gateway through b's relay.
    async fn ask(&self, url: &str) -> (u16, Vec<u8>) {
        let mut api = self.api("b.example");
        let provider = "a.example".to_owned();
        let keys = ObliviousKeysCall {
            provider: provider.clone(),
        };
        let keys = api.oblivious_keys(with_token(TOKEN, keys)).await.unwrap().into_inner();
        assert_eq!(keys.status, 200, "{}", keys.reason);
        let (authority, path) = url
            .strip_prefix("https://")
            .unwrap()
            .split_at(url.find("/v1").unwrap() - 8);
        let message = Message::request(b"GET".into(), b"https".into(), authority.into(), path.into());
        let mut octets = Vec::new();
        message.write_bhttp(Mode::KnownLength, &mut octets).unwrap();
        let sealing = ClientRequest::from_encoded_config_list(&keys.body).unwrap();
        let (sealed, opener) = sealing.encapsulate(&octets).unwrap();
        let call = ObliviousCall {
            provider,
            body: sealed.into(),
        };
        let answer = api.oblivious(with_token(TOKEN, call)).await.unwrap().into_inner();
        assert_eq!(answer.status, 200, "{}", answer.reason);
        let opened = opener.decapsulate(&answer.body).unwrap();
        let message = Message::read_bhttp(&mut std::io::Cursor::new(opened)).unwrap();
        (message.control().status().unwrap().code(), message.content().to_vec())
    }
}

#[tokio::test]
async fn s_14_an_asset_is_fetched_by_proxy_and_obliviously_and_of_foreign_hosts_nothing() {
    let three = Three::start().await;
    for keeper in DOMAINS {
        let url = three.upload(keeper, b"0123456789").await;
        assert_eq!(
            three.download(&url, 0, 0).await,
            (200, b"0123456789".to_vec()),
            "{keeper}"
        );
        assert_eq!(three.download(&url, 2, 3).await, (206, b"234".to_vec()), "{keeper}");
        assert_eq!(three.ask(&url).await, (200, b"0123456789".to_vec()), "{keeper}");
        let unknown = format!("{url}0");
        assert_eq!(three.download(&unknown, 0, 0).await.0, 404, "{keeper}");
        assert_eq!(three.ask(&unknown).await.0, 404, "{keeper}");
    }
    let foreign = "https://victim.example/v1/assets/x";
    assert_eq!(three.download(foreign, 0, 0).await, (403, Vec::new()));
    assert_eq!(three.ask(foreign).await, (403, Vec::new()));
}
