//! One provider, whole: the services put together around one store. Between them there is gRPC in memory, the same as
//! between machines; to other providers there is only the network.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use daemon::Latch;
use mimi::{Encode as _, Provider};
use nave_edge::{EdgeParts, Listeners, config};
use nave_follower::Follower;
use nave_hub::config::hub_keys;
use nave_hub::plane::{Links, Threads};
use nave_hub::{
    Arbiters, HubKeys, HubParts, HubService, Incarnation, Moderation, NodeOptions, SystemClock, open_ledger,
};
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_client::HubClient;
use store::Database;
use stores::Store;
use tier::process::{Program, bind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::config::Config;
use crate::memory;

/// Shards of a new ledger on the embedded store.
const SHARDS: u32 = 16;
/// Threads that rooms run on.
const SHARD_GROUPS: usize = 2;
/// Threads that couriers and their links run on.
const FAN_OUT_THREADS: usize = 2;
/// The cipher suite whose key new rooms name in external_senders.
const CIPHER_SUITE: u16 = 0x0001;

/// A provider at work.
pub struct Running {
    hub: HubService,
    fan_out: Threads,
    links: Links,
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
    let program = Program {
        name: "nave",
        version: env!("CARGO_PKG_VERSION"),
    };
    let (admin, telemetry) = (config.admin, config.telemetry.clone());
    let work = |started: Latch, stop: CancellationToken| async move {
        let (domain, listen, api) = (config.domain.clone(), config.listen, config.api);
        let running = Box::pin(Running::start(config)).await?;
        started.open();
        tracing::info!(%domain, %listen, %api, "serving");
        stop.cancelled().await;
        running.stop().await;
        Ok(())
    };
    program.run(admin, &telemetry, work).await
}

impl Running {
    /// Starts everything; returns when it takes requests.
    ///
    /// # Errors
    /// Something in the configuration does not hold, or a port or the store is taken.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let provider = config.domain.clone();
        let stop = CancellationToken::new();
        let identity = config.tls.identity(stop.clone())?;
        let api_identity = config.api_tls.identity(stop.clone())?;
        let roots = tier::provider::roots(&config.peers)?;
        let keys = Arc::new(hub_keys(&provider, &config.hub_key)?);
        let tokens = config::tokens(&provider, &config.users)?;
        let moderators = config::moderators(&provider, &config.users)?;
        let assets = config.assets.open()?;

        let https = bind(config.listen, "listen").await?;
        let api = bind(config.api, "api").await?;
        let limits = tier::provider::link_limits(&config.peers);
        let link = link::Endpoint::bind(config.listen, identity.clone(), roots.clone(), limits.clone())
            .with_context(|| format!("listen: cannot bind UDP {}", config.listen))?;

        let database = stores::open_store(&Store::Fjall(config.data.clone())).await?;
        let ledger = open_ledger(database.clone(), None, SHARDS).await?;

        let inner = CancellationToken::new();
        let peers = tier::provider::dial(&provider, &config.peers, &identity, &roots, &link);
        let fan_out = Threads::start(FAN_OUT_THREADS).context("start the fan-out's threads")?;
        let from = SocketAddr::new(config.listen.ip(), 0);
        let links = fan_out
            .bind(from, &identity, &roots, &limits)
            .with_context(|| format!("listen: cannot bind UDP at {}", from.ip()))?;
        let by = |peer: &Provider| links.way(peer);
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
            peers: tier::provider::dial_by(&provider, &config.peers, &identity, &roots, by),
            follower: follower.clone(),
            keys: keys.clone(),
            moderation: Moderation::default(),
            clock: Arc::new(SystemClock),
            spawner: Arc::new(Arbiters::start(SHARD_GROUPS).context("start the rooms' threads")?),
            plane: fan_out.plane(),
            seed: rand::random(),
            options: nave_hub::Options {
                minimal_metadata: config.minimal_metadata,
                retention: Some(config.retention.acknowledged()),
                ..nave_hub::Options::default()
            },
        });
        let hub = Box::pin(hub).await?;
        let hubs = HubClient::new(memory::serve(
            Server::builder().add_service(hub.server()),
            inner.clone(),
        ))
        .into();

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
            limits: config.edge.limits(),
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
            fan_out,
            links,
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
        self.links.close(link::Code::Draining).await;
        drop(self.hub);
        drop(self.fan_out);
        self.database.close().await;
    }
}

/// The hub's ExternalSender for each suite in which rooms are hosted.
fn hub_senders(keys: &HubKeys) -> Vec<(u16, Bytes)> {
    let senders = keys.external_senders().into_iter();
    senders.map(|(suite, sender)| (suite, sender.encode().into())).collect()
}
