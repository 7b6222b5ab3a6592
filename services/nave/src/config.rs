//! One provider's configuration: a TOML file, `NAVE_…` variables over it, every key checked before anything starts.
//! Paths in it are relative to the file. Secrets are in files of their own, never in a value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mimi::{Provider, UserUri};
use nave_edge::config::{Assets, Bounds, User, check_users};
use serde::Deserialize;
use tier::ClusterFiles;
use tier::provider::{self, Files, Peer};

/// Everything `nave serve` needs to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This provider's domain.
    #[serde(deserialize_with = "provider::domain")]
    pub domain: Provider,
    /// Where other providers connect: HTTPS over TCP and the link over UDP, on one port.
    pub listen: SocketAddr,
    /// Where this provider's own clients connect: gRPC over TLS.
    pub api: SocketAddr,
    /// Where health and metrics are served, in the clear.
    pub admin: SocketAddr,
    /// Directory of the embedded store.
    pub data: PathBuf,
    /// The hub's signature key, which signs GroupInfo answers and stands in rooms' external_senders.
    pub hub_key: PathBuf,
    /// The certificate that other providers see.
    pub tls: Files,
    /// The certificate that our own clients see.
    pub api_tls: Files,
    /// Whether there are minimal-metadata rooms at this hub, and pseudonyms of its users for such rooms anywhere
    /// (mimi-protocol §6). The draft leaves open how their keys are managed.
    #[serde(default)]
    pub minimal_metadata: bool,
    /// How long what was delivered is kept.
    #[serde(default)]
    pub retention: tier::Retention,
    /// Where operators connect, if they do.
    #[serde(default)]
    pub operator: Option<Operator>,
    /// Local users and their tokens.
    #[serde(default)]
    pub users: Vec<User>,
    /// Other providers.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// The outer tier.
    #[serde(default)]
    pub edge: Bounds,
    /// Where local users' assets are, and what is fetched for others.
    #[serde(default)]
    pub assets: Assets,
    /// What a client of one local user needs; `nave demo --against` reads it, `nave serve` does not.
    #[serde(default)]
    pub client: Option<Client>,
    /// Logs, traces, metrics.
    #[serde(default)]
    pub telemetry: daemon::telemetry::Options,
}

/// Where `navectl` connects: gRPC over mutual TLS under a CA of this cluster's own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The address.
    pub listen: SocketAddr,
    /// The certificate that operators see, which names the tier of hubs, and the root of theirs.
    pub cluster: ClusterFiles,
}

/// What a local user's client needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// File that holds the user's token.
    pub token: PathBuf,
    /// PEM file with the root of `api_tls`.
    pub roots: PathBuf,
}

impl Config {
    /// Reads a configuration; its paths come back relative to the working directory.
    ///
    /// # Errors
    /// Says the file, the key and what is allowed.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let mut config: Self = daemon::config::load(Some(file), daemon::config::NoFlags {})?;
        provider::beside(file, config.paths());
        config.retention.check(file)?;
        check_users(file, &config.domain, &config.users)?;
        provider::check_peers(file, &config.domain, &config.peers)?;
        Ok(config)
    }

    /// The URI of a local user.
    ///
    /// # Errors
    /// The name cannot stand in a URI.
    pub fn user_uri(&self, user: &User) -> Result<UserUri, mimi::UriError> {
        user.uri(&self.domain)
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![&mut self.data, &mut self.hub_key];
        paths.extend(self.tls.paths().into_iter().chain(self.api_tls.paths()));
        paths.extend(self.peers.iter_mut().map(|peer| &mut peer.roots));
        paths.extend(self.assets.paths());
        if let Some(operator) = &mut self.operator {
            paths.extend(operator.cluster.paths());
        }
        if let Some(client) = &mut self.client {
            paths.extend([&mut client.token, &mut client.roots]);
        }
        paths
    }
}
