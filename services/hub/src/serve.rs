//! `nave-hub` at work.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use daemon::Latch;
use ledger::{Founding, Ledger, LedgerId};
use proto::follower::follower_client::FollowerClient;
use route::Shards;
use store::Database;
use tier::process::{Program, bind};
use tier::{Cluster, Tier, provider};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::config::Config;
use crate::plane::Threads;
use crate::{
    Arbiters, HubParts, HubService, Incarnation, Moderation, NodeOptions, Options, Ownership, Site, SystemClock,
};

/// Shards of a new store that one process has for itself, and of one that several share.
const SHARDS: [u32; 2] = [16, 1_024];
/// How long an unchanged beat protects a node that shares its store.
const LEASE: Duration = Duration::from_secs(3);
/// Between two beats.
const BEAT: Duration = Duration::from_secs(1);

/// Runs a hub node until SIGTERM or SIGINT, then drains it.
///
/// # Errors
/// Something in the configuration does not hold, or a port or the store is taken.
pub async fn serve(program: Program, config: Config) -> anyhow::Result<()> {
    let (admin, telemetry) = (config.admin, config.telemetry.clone());
    let work = |started, stop| work(config, started, stop);
    program.run(admin, &telemetry, work).await
}

/// Takes requests until `stop`, then finishes what is under way, resigns its shards and closes the store. Opens `started`
/// when it takes requests.
///
/// # Errors
/// As [`serve`].
pub async fn work(config: Config, started: Latch, stop: CancellationToken) -> anyhow::Result<()> {
    let database = stores::open_store(&config.store).await?;
    Box::pin(work_on(database, config, started, stop)).await
}

/// [`work`] on a store that is open already. Of the configuration's `store` only counts whether it is shared.
///
/// # Errors
/// As [`serve`].
pub async fn work_on(
    database: Database,
    config: Config,
    started: Latch,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let inner = CancellationToken::new();
    let _ended = inner.clone().drop_guard();
    let keys = Arc::new(config.keys()?);
    let identity = config.tls.identity(inner.clone())?;
    let roots = provider::roots(&config.peers)?;
    let cluster = Cluster::join(config.cluster.clone(), Tier::Hub, inner.clone())?;
    let listener = bind(config.listen, "listen").await?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let fan_out = Threads::start(threads).context("start the fan-out's threads")?;
    let links = fan_out
        .bind(config.link, &identity, &roots, &provider::link_limits(&config.peers))
        .with_context(|| format!("link: cannot bind UDP {}", config.link))?;
    let shards = config.shards.map(std::num::NonZeroU32::get);
    let ledger = open_ledger(database.clone(), shards, SHARDS[usize::from(config.store.is_shared())]).await?;

    let address = config.address.clone().unwrap_or_else(|| config.listen.to_string());
    let site = Site::new(address, config.zone.clone(), config.weight).context("address, zone, weight")?;
    let hub = HubService::start(HubParts {
        provider: config.domain.clone(),
        ledger,
        node: NodeOptions {
            incarnation: Incarnation(rand::random()),
            ownership: match config.store.is_shared() {
                true => Ownership::Leased {
                    lease: LEASE,
                    beat: BEAT,
                },
                false => Ownership::Sole,
            },
            site,
            clock: SystemClock.into(),
        },
        peers: provider::dial_by(&config.domain, &config.peers, &identity, &roots, |peer| links.way(peer)),
        follower: FollowerClient::new(cluster.channel(Tier::Follower, &config.followers)),
        keys,
        moderation: Moderation::default(),
        clock: Arc::new(SystemClock),
        spawner: Arc::new(Arbiters::start(threads).context("start the rooms' threads")?),
        plane: fan_out.plane().reading_on(Handle::current()),
        seed: rand::random(),
        options: Options {
            minimal_metadata: config.minimal_metadata,
            retention: Some(config.retention.acknowledged()),
            regardless: Some(config.retention.regardless()),
            trim_every: config.retention.every(),
            ..Options::default()
        },
    });
    let hub = Box::pin(hub).await?;
    started.open();
    tracing::info!(domain = %config.domain, listen = %config.listen, "serving");
    // Draining comes first: it makes whoever asks go elsewhere while the connections are still there.
    let draining = async {
        stop.cancelled().await;
        hub.drain().await;
        inner.cancel();
    };
    let faces: Vec<(&'static [Tier], Routes)> = vec![
        (&[Tier::Edge], Routes::new(hub.server())),
        (&[Tier::Ctl], Routes::new(hub.admin())),
    ];
    let serving = cluster.serve_faces(listener, faces, inner.clone());
    tokio::join!(draining, serving);
    links.close(link::Code::Draining).await;
    drop(hub);
    drop(fan_out);
    database.close().await;
    Ok(())
}

/// Opens the ledger in `database`, or founds it: with `shards` shards, or `usual` where nobody says how many.
///
/// # Errors
/// The store fails, or holds a ledger of another number of shards.
pub async fn open_ledger(database: Database, shards: Option<u32>, usual: u32) -> anyhow::Result<Ledger> {
    let founding = Founding {
        id: LedgerId(rand::random()),
        shards: Shards::new(shards.unwrap_or(usual), rand::random()).context("shards")?,
    };
    let ledger = Ledger::open(database, founding).await.context("open the ledger")?;
    let there = ledger.shards().count();
    ensure!(
        shards.is_none_or(|shards| shards == there),
        "shards: the store was founded with {there}, and that cannot change: set `shards = {there}`, or leave the key out"
    );
    Ok(ledger)
}
