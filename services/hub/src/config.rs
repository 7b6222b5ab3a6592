//! The configuration of `nave-hub`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context;
use mimi::{Encode as _, Provider};
use serde::Deserialize;
use stores::{Flags, Store};
use tier::provider::{self, Files, Peer, read};
use tier::{ClusterFiles, Retention};

use crate::HubKeys;

/// Everything `nave-hub` needs to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This provider's domain.
    #[serde(deserialize_with = "provider::domain")]
    pub domain: Provider,
    /// Where edges and operators connect.
    pub listen: SocketAddr,
    /// `host:port` under which edges reach this node; none: `listen`.
    #[serde(default)]
    pub address: Option<String>,
    /// What fails together with this node: shards are spread over zones.
    #[serde(default)]
    pub zone: String,
    /// The share of the shards that this node takes, as compared to the others: 1 to 1,000,000.
    #[serde(default = "one")]
    pub weight: u32,
    /// Where health and metrics are served, in the clear.
    pub admin: SocketAddr,
    /// Where rooms are durable.
    pub store: Store,
    /// Shards of the store when it is new. A store that has another number does not take this one; none: whatever it has.
    #[serde(default)]
    pub shards: Option<NonZeroU32>,
    /// `host:port` of all followers. Any of them takes any delivery.
    #[serde(deserialize_with = "provider::addresses")]
    pub followers: Vec<String>,
    /// The hub's signature key, the same for all nodes.
    pub hub_key: PathBuf,
    /// The certificate that other providers see.
    pub tls: Files,
    /// Where links to other providers are dialled from (UDP): a socket for each core, at this port and those above it; with
    /// port 0, at any.
    #[serde(default = "anywhere")]
    pub link: SocketAddr,
    /// The certificate that edges, followers and operators see, and the root of theirs.
    pub cluster: ClusterFiles,
    /// Whether minimal-metadata rooms are hosted (mimi-protocol §6).
    #[serde(default)]
    pub minimal_metadata: bool,
    /// How long what was delivered is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Other providers.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Logs, traces, metrics.
    #[serde(default)]
    pub telemetry: daemon::telemetry::Options,
}

const fn one() -> u32 {
    1
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

impl Config {
    /// Reads a configuration; its paths come back relative to the working directory, where that of a flag is, too.
    ///
    /// # Errors
    /// Says the file, the key and what is allowed.
    pub fn load(file: &Path, flags: Flags) -> anyhow::Result<Self> {
        let flagged = flags.store.is_some();
        let mut config: Self = daemon::config::load(Some(file), flags)?;
        if !flagged {
            provider::beside(file, [config.store.path()]);
        }
        provider::beside(file, [&mut config.hub_key]);
        provider::beside(file, config.tls.paths());
        provider::beside(file, config.cluster.paths());
        provider::beside(file, config.peers.iter_mut().map(|peer| &mut peer.roots));
        config.retention.check(file)?;
        provider::check_peers(file, &config.domain, &config.peers)?;
        Ok(config)
    }

    /// The hub's keys.
    ///
    /// # Errors
    /// The file is not a hub's key.
    pub fn keys(&self) -> anyhow::Result<HubKeys> {
        hub_keys(&self.domain, &self.hub_key)
    }
}

/// The keys of the hub of `us`.
///
/// # Errors
/// The file is not a hub's key.
pub fn hub_keys(us: &Provider, file: &Path) -> anyhow::Result<HubKeys> {
    let text = String::from_utf8(read(file)?).ok();
    let octets = text.and_then(|text| hex::decode(text.trim()).ok());
    let keys = octets.and_then(|octets| HubKeys::from_octets(us.clone(), &octets).ok());
    keys.with_context(|| format!("{} is not a hub's key as `nave init` writes it", file.display()))
}

/// The ExternalSender (RFC 9420 §12.1.8.1) of each cipher suite, a line each, as edges read them.
pub fn senders(keys: &HubKeys) -> String {
    let senders = keys.external_senders().into_iter();
    let lines = senders.map(|(suite, sender)| format!("{suite:04x} {}\n", hex::encode(sender.encode())));
    lines.collect()
}
