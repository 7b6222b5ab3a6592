//! `nave-follower` at work.

use daemon::Latch;
use store::Database;
use tier::process::{Program, bind};
use tier::{Cluster, Tier};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::config::Config;
use crate::{Follower, service};

/// Runs a follower until SIGTERM or SIGINT, then drains it.
///
/// # Errors
/// Something in the configuration does not hold, or a port or the store is taken.
pub async fn serve(program: Program, config: Config) -> anyhow::Result<()> {
    let (admin, telemetry) = (config.admin, config.telemetry.clone());
    let work = |started, stop| work(config, started, stop);
    program.run(admin, &telemetry, work).await
}

/// Takes requests until `stop`, then finishes what is under way and closes the store. Opens `started` when it takes them.
///
/// # Errors
/// As [`serve`].
pub async fn work(config: Config, started: Latch, stop: CancellationToken) -> anyhow::Result<()> {
    let database = stores::open_store(&config.store).await?;
    work_on(database, config, started, stop).await
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
    let cluster = Cluster::join(config.cluster.clone(), Tier::Follower, stop.clone())?;
    let listener = bind(config.listen, "listen").await?;
    let follower = Follower::new(config.domain.clone(), database.clone(), Follower::system_clock())
        .with_minimal_metadata(config.minimal_metadata)
        .with_others(config.store.is_shared());
    started.open();
    tracing::info!(domain = %config.domain, listen = %config.listen, "serving");
    let trimmer = follower.clone();
    let keeping = stop
        .clone()
        .run_until_cancelled_owned(async move { trimmer.keep(config.retention.into()).await });
    let keeping = tokio::spawn(keeping);
    let lookout = follower.clone();
    let looking = stop
        .clone()
        .run_until_cancelled_owned(async move { lookout.look_out().await });
    let looking = tokio::spawn(looking);
    let routes = Routes::new(service::server(follower));
    cluster.serve(listener, routes, &[Tier::Edge, Tier::Hub], stop).await;
    if let Err(error) = keeping.await {
        tracing::error!(%error, "the trimmer ended badly");
    }
    if let Err(error) = looking.await {
        tracing::error!(%error, "the lookout ended badly");
    }
    database.close().await;
    Ok(())
}
