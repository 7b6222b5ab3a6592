//! One provider, whole: the services put together around one store. Between them there is gRPC in memory, the same as
//! between machines; to other providers there is only the network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use daemon::{Health, Telemetry, admin, drain, files};
use ledger::{Founding, Ledger, LedgerId};
use link::{Identity, Roots};
use mimi::{Encode as _, UserUri};
use nave_edge::{AssetParts, AssetStore, EdgeParts, GatewaySecret, Listeners, S3Options, Tokens};
use nave_follower::Follower;
use nave_hub::{Arbiters, HubKeys, HubParts, HubService, Incarnation, Moderation, NodeOptions, SystemClock};
use peer::{PeerConfig, Peers, PeersConfig};
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_client::HubClient;
use route::Shards;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use store::Database;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::config::{Assets, Config, Files};
use crate::memory;

/// Shards of a new ledger on the embedded store.
const SHARDS: u32 = 16;
/// Threads that rooms run on.
const SHARD_GROUPS: usize = 2;
/// The cipher suite whose key new rooms name in external_senders.
const CIPHER_SUITE: u16 = 0x0001;
/// From not ready to no new work, so that whoever balances load notices.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// A provider at work.
pub struct Running {
    hub: HubService,
    database: Database,
    edge: JoinHandle<()>,
    link: link::Endpoint,
    /// Ends the edge.
    stop: CancellationToken,
    /// Ends what the edge needs until it has ended.
    inner: CancellationToken,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// Runs a provider until SIGTERM or SIGINT, then drains it. A second signal ends the process at once.
///
/// # Errors
/// Something in the configuration does not hold, or a port or the store is taken.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let service = daemon::telemetry::Service {
        name: "nave",
        version: env!("CARGO_PKG_VERSION"),
        instance: hex::encode(rand::random::<[u8; 8]>()),
    };
    let telemetry = Telemetry::start(service, &config.telemetry)?;
    let health = Health::default();
    let stop = drain::on_signals(health.clone(), DRAIN_GRACE).context("install signal handlers")?;
    let started = health.latch("provider");

    let admin_address = config.admin;
    let listener = bind(admin_address, "admin").await?;
    let admin_stop = CancellationToken::new();
    let admin = tokio::spawn(admin::serve(listener, health, telemetry.registry(), admin_stop.clone()));

    let domain = config.domain.clone();
    let addresses = (config.listen, config.api);
    let running = Box::pin(Running::start(config)).await?;
    started.open();
    let (listen, api) = addresses;
    tracing::info!(%domain, %listen, %api, admin = %admin_address, "serving");
    stop.cancelled().await;
    running.stop().await;
    admin_stop.cancel();
    admin.await.context("admin server")?.context("admin server")?;
    tracing::info!(%domain, "drained");
    telemetry.stop();
    Ok(())
}

impl Running {
    /// Starts everything; returns when it takes requests.
    ///
    /// # Errors
    /// Something in the configuration does not hold, or a port or the store is taken.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let provider = config.domain.clone();
        let (identity, api_identity) = (identity(&config.tls)?, identity(&config.api_tls)?);
        let roots = roots(&config)?;
        let keys = Arc::new(hub_keys(&config)?);
        let tokens: Result<Tokens, _> = config
            .users
            .iter()
            .map(|user| Ok((user.token_sha256, config.user_uri(user)?)))
            .collect();
        let tokens = tokens.map_err(|error: mimi::UriError| error)?;

        let moderators = moderators(&config)?;
        let assets = assets(&config.assets)?;

        let https = bind(config.listen, "listen").await?;
        let api = bind(config.api, "api").await?;
        let link = link::Endpoint::bind(config.listen, identity.clone(), roots.clone(), link::Limits::default())
            .with_context(|| format!("listen: cannot bind UDP {}", config.listen))?;

        let database = open_store(&config.data).await?;
        let founding = Founding {
            id: LedgerId(rand::random()),
            shards: Shards::new(SHARDS, rand::random())?,
        };
        let ledger = Ledger::open(database.clone(), founding)
            .await
            .context("open the ledger")?;

        let inner = CancellationToken::new();
        let stop = CancellationToken::new();
        let peers = peers(&config, &identity, &roots, &link);
        let follower = Follower::new(provider.clone(), database.clone(), Follower::system_clock())
            .with_minimal_metadata(config.minimal_metadata);
        let follower = memory::serve(
            Server::builder().add_service(nave_follower::service::server(follower)),
            inner.clone(),
        );
        let follower = FollowerClient::new(follower);
        let hub = HubService::start(HubParts {
            provider: provider.clone(),
            ledger,
            node: NodeOptions::sole(Incarnation(rand::random())),
            peers: peers.clone(),
            follower: follower.clone(),
            keys: keys.clone(),
            moderation: Moderation::default(),
            clock: Arc::new(SystemClock),
            spawner: Arc::new(Arbiters::start(SHARD_GROUPS).context("start the rooms' threads")?),
            seed: rand::random(),
            options: nave_hub::Options {
                minimal_metadata: config.minimal_metadata,
                ..nave_hub::Options::default()
            },
        });
        let hub = Box::pin(hub).await?;
        let hubs = HubClient::new(memory::serve(
            Server::builder().add_service(hub.server()),
            inner.clone(),
        ))
        .into();

        watch_certificates(&config, &identity, &api_identity, stop.clone());
        let authority = format!("{provider}:{}", config.listen.port());
        let parts = EdgeParts {
            provider,
            hosts: Vec::new(),
            authority: authority.clone(),
            link_authority: Some(authority),
            identity,
            roots,
            api_identity,
            hub_sender: Bytes::from(keys.external_sender(CIPHER_SUITE)?.encode()),
            hub_senders: hub_senders(&keys),
            peers: Arc::new(peers),
            hubs,
            follower,
            tokens,
            moderators,
            minimal_metadata: config.minimal_metadata,
            assets,
            limits: nave_edge::Limits {
                rates: config.edge.rates,
                ..config.edge.limits
            },
            cancel: stop.clone(),
        };
        let listeners = Listeners {
            https,
            link: Some(link.clone()),
            api,
        };
        let edge = tokio::spawn(async move {
            if let Err(error) = Box::pin(nave_edge::run(parts, listeners)).await {
                tracing::error!(%error, "the edge ended");
            }
        });
        Ok(Self {
            hub,
            database,
            edge,
            link,
            stop,
            inner,
        })
    }

    /// Takes nothing new, finishes what is under way, makes everything durable, closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.edge.await {
            tracing::error!(%error, "the edge ended badly");
        }
        self.hub.drain().await;
        self.inner.cancel();
        self.link.close(link::Code::Draining).await;
        drop(self.hub);
        self.database.close().await;
    }
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{key}: cannot bind TCP {address}"))
}

async fn open_store(directory: &Path) -> anyhow::Result<Database> {
    std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let (path, shown) = (directory.to_owned(), directory.display());
    let opened = tokio::task::spawn_blocking(move || Database::open_fjall(path, store::Options::default())).await?;
    opened.with_context(|| format!("open the store in {shown}"))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

fn identity(files: &Files) -> anyhow::Result<Identity> {
    let identity = Identity::from_pem(&read(&files.chain)?, &read(&files.key)?);
    identity.with_context(|| format!("{} and {}", files.chain.display(), files.key.display()))
}

fn roots(config: &Config) -> anyhow::Result<Roots> {
    let mut roots = BTreeMap::new();
    for peer in &config.peers {
        let pem = read(&peer.roots)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.with_context(|| format!("{} is not PEM", peer.roots.display()))?;
        ensure!(
            !certificates.is_empty(),
            "{} holds no certificate",
            peer.roots.display()
        );
        let before = roots.insert(peer.domain.clone(), certificates);
        ensure!(before.is_none(), "peers: {} stands there twice", peer.domain);
    }
    Ok(Roots::new(roots)?)
}

fn hub_keys(config: &Config) -> anyhow::Result<HubKeys> {
    let text = String::from_utf8(read(&config.hub_key)?).ok();
    let octets = text.and_then(|text| hex::decode(text.trim()).ok());
    let keys = octets.and_then(|octets| HubKeys::from_octets(config.domain.clone(), &octets).ok());
    keys.with_context(|| {
        format!(
            "{} is not a hub's key as `nave init` writes it",
            config.hub_key.display()
        )
    })
}

/// The hub's ExternalSender for each suite in which rooms are hosted.
fn hub_senders(keys: &HubKeys) -> Vec<(u16, Bytes)> {
    let senders = keys.external_senders().into_iter();
    senders.map(|(suite, sender)| (suite, sender.encode().into())).collect()
}

fn moderators(config: &Config) -> anyhow::Result<BTreeSet<UserUri>> {
    let moderators = config.users.iter().filter(|user| user.moderator);
    moderators.map(|user| Ok(config.user_uri(user)?)).collect()
}

fn assets(config: &Assets) -> anyhow::Result<AssetParts> {
    let store = match &config.s3 {
        Some(s3) => AssetStore::s3(&S3Options {
            endpoint: s3.endpoint.clone(),
            region: s3.region.clone(),
            bucket: s3.bucket.clone(),
            access_key: s3.access_key.clone(),
            secret_key: String::from_utf8(read(&s3.secret_key)?)
                .ok()
                .map(|text| text.trim().to_owned())
                .with_context(|| format!("{} is not text", s3.secret_key.display()))?,
            roots_pem: read(&s3.roots)?,
        })
        .context("assets.s3")?,
        None => AssetStore::directory(&config.directory)
            .with_context(|| format!("assets.directory: cannot use {}", config.directory.display()))?,
    };
    let gateway_secret = match &config.gateway_secret {
        Some(file) => gateway_secret(file)?,
        None => GatewaySecret::random(),
    };
    Ok(AssetParts {
        store,
        gateway_secret,
        limits: config.limits.clone(),
    })
}

fn gateway_secret(file: &Path) -> anyhow::Result<GatewaySecret> {
    let text = String::from_utf8(read(file)?).ok();
    let octets = text.and_then(|text| hex::decode(text.trim()).ok());
    let secret = octets.and_then(|octets| octets.try_into().ok()).map(GatewaySecret);
    secret.with_context(|| format!("{} does not hold 64 hexadecimal digits", file.display()))
}

fn peers(config: &Config, identity: &Identity, roots: &Roots, link: &link::Endpoint) -> Peers {
    let peer = |peer: &crate::config::Peer| PeerConfig {
        provider: peer.domain.clone(),
        address: Some(peer.address.to_string()),
        link_address: Some(peer.address.to_string()),
        hosts: Vec::new(),
        asset_hosts: peer.asset_hosts.clone(),
    };
    let known = PeersConfig {
        us: config.domain.clone(),
        peers: config.peers.iter().map(peer).collect(),
        limits: peer::PeerLimits::default(),
    };
    Peers::new(known, identity, roots, Some(link.clone()))
}

/// Reads certificates again when their files change; what does not fit is reported, and the former ones stay.
fn watch_certificates(config: &Config, identity: &Identity, api_identity: &Identity, stop: CancellationToken) {
    let pairs = [
        (config.tls.clone(), identity.clone()),
        (config.api_tls.clone(), api_identity.clone()),
    ];
    for (files, identity) in pairs {
        let paths = vec![files.chain.clone(), files.key.clone()];
        let reload = move || {
            let replaced = read(&files.chain).and_then(|chain| Ok(identity.replace_pem(&chain, &read(&files.key)?)?));
            match replaced {
                Ok(()) => tracing::info!(chain = %files.chain.display(), "certificate replaced"),
                Err(error) => tracing::error!(error = %format!("{error:#}"), "certificate not replaced"),
            }
        };
        tokio::spawn(files::watch(paths, files::POLL, stop.clone(), reload));
    }
}
