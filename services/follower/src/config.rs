//! The configuration of `nave-follower`.

use std::net::SocketAddr;
use std::path::Path;

use mimi::Provider;
use serde::Deserialize;
use stores::{Flags, Store};
use tier::{ClusterFiles, Retention, provider};

/// Everything `nave-follower` needs to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This provider's domain.
    #[serde(deserialize_with = "provider::domain")]
    pub domain: Provider,
    /// Where edges and hubs connect.
    pub listen: SocketAddr,
    /// Where health and metrics are served, in the clear.
    pub admin: SocketAddr,
    /// Where inboxes and KeyPackages are durable: the same for all followers, and perhaps the hubs'.
    pub store: Store,
    /// The certificate that edges and hubs see, and the root of theirs.
    pub cluster: ClusterFiles,
    /// Whether users may have KeyPackages under pseudonyms (mimi-protocol §6).
    #[serde(default)]
    pub minimal_metadata: bool,
    /// How long inboxes are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Logs, traces, metrics.
    #[serde(default)]
    pub telemetry: daemon::telemetry::Options,
}

/// As a follower keeps inboxes.
impl From<Retention> for crate::Keeping {
    fn from(retention: Retention) -> Self {
        Self {
            acknowledged: retention.acknowledged(),
            regardless: retention.regardless(),
            every: retention.every(),
        }
    }
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
        provider::beside(file, config.cluster.paths());
        config.retention.check(file)?;
        Ok(config)
    }
}
