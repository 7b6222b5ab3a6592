//! `nave-edge` at work.

use std::sync::Arc;

use anyhow::Context;
use daemon::Latch;
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_client::HubClient;
use tier::process::{Program, bind};
use tier::{Cluster, Tier, provider};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::{EdgeParts, Hubs, Listeners};

/// The cipher suite whose sender clients are told who do not ask for one (MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519).
const CIPHER_SUITE: u16 = 0x0001;

/// Runs an edge until SIGTERM or SIGINT, then drains it.
///
/// # Errors
/// Something in the configuration does not hold, or a port is taken.
pub async fn serve(program: Program, config: Config) -> anyhow::Result<()> {
    let (admin, telemetry) = (config.admin, config.telemetry.clone());
    let work = |started, stop| work(config, started, stop);
    program.run(admin, &telemetry, work).await
}

/// Takes requests until `stop`, then finishes what is under way. Opens `started` when it takes them.
///
/// # Errors
/// As [`serve`].
pub async fn work(config: Config, started: Latch, stop: CancellationToken) -> anyhow::Result<()> {
    let us = &config.domain;
    let identity = config.tls.identity(stop.clone())?;
    let api_identity = config.api_tls.identity(stop.clone())?;
    let roots = provider::roots(&config.peers)?;
    let cluster = Cluster::join(config.cluster.clone(), Tier::Edge, stop.clone())?;
    let hub_senders = config::hub_senders(&config.hub_senders)?;
    let hub_sender = hub_senders.iter().find(|(suite, _)| *suite == CIPHER_SUITE);
    let (_, hub_sender) = hub_sender
        .context("hub_senders: no line for cipher suite 0001")?
        .clone();
    let (tokens, moderators) = (
        config::tokens(us, &config.users)?,
        config::moderators(us, &config.users)?,
    );
    let assets = config.assets.open()?;

    let https = bind(config.listen, "listen").await?;
    let api = bind(config.api, "api").await?;
    let link = link::Endpoint::bind(
        config.listen,
        identity.clone(),
        roots.clone(),
        provider::link_limits(&config.peers),
    )
    .with_context(|| format!("listen: cannot bind UDP {}", config.listen))?;
    let peers = provider::dial(us, &config.peers, &identity, &roots, &link);
    let follower = FollowerClient::new(cluster.channel(Tier::Follower, &config.followers));
    let dial = move |node: &str| HubClient::new(cluster.channel(Tier::Hub, &[node.to_owned()]));
    let authority = config.authority.clone();
    let authority = authority.unwrap_or_else(|| format!("{us}:{}", config.listen.port()));
    let (listen, api_address) = (config.listen, config.api);
    let parts = EdgeParts {
        provider: us.clone(),
        hosts: Vec::new(),
        authority: authority.clone(),
        link_authority: Some(authority),
        identity,
        roots,
        api_identity,
        hub_sender,
        hub_senders,
        peers: Arc::new(peers),
        hubs: Hubs::of_cluster(config.hubs, Arc::new(dial)),
        follower,
        tokens,
        moderators,
        minimal_metadata: config.minimal_metadata,
        assets,
        limits: config.edge.limits(),
        cancel: stop,
    };
    let listeners = Listeners {
        https,
        link: Some(link.clone()),
        api,
    };
    started.open();
    tracing::info!(domain = %parts.provider, %listen, api = %api_address, "serving");
    Box::pin(crate::run(parts, listeners)).await.context("authority")?;
    link.close(link::Code::Draining).await;
    Ok(())
}
