//! One provider's configuration: a TOML file, `NAVE_…` variables over it, every key checked before anything starts.
//! Paths in it are relative to the file. Secrets are in files of their own, never in a value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use mimi::{Provider, UserUri};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Everything `nave serve` needs to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This provider's domain.
    #[serde(deserialize_with = "provider")]
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
    /// Local users and their tokens.
    #[serde(default)]
    pub users: Vec<User>,
    /// Other providers.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// The outer tier.
    #[serde(default)]
    pub edge: Edge,
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

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Our certificate first.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A local user.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The last part of the user's URI.
    pub name: String,
    /// SHA-256 of the user's token, 64 hexadecimal digits.
    #[serde(deserialize_with = "digest")]
    pub token_sha256: daemon::tokens::TokenDigest,
    /// May see and close reports of abuse.
    #[serde(default)]
    pub moderator: bool,
}

/// Another provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its domain.
    #[serde(deserialize_with = "provider")]
    pub domain: Provider,
    /// Where it listens.
    pub address: SocketAddr,
    /// PEM file with the certificates one of which must have issued its certificate.
    pub roots: PathBuf,
    /// `host` or `host:port` of where it keeps its assets; none: its domain, on port 443 and that of `address`.
    #[serde(default, deserialize_with = "hosts")]
    pub asset_hosts: Vec<String>,
}

/// The outer tier.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Edge {
    /// Bounds.
    pub limits: nave_edge::Limits,
    /// How often who may ask.
    pub rates: nave_edge::RateLimits,
}

/// Assets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Assets {
    /// Directory of local users' assets, unless `s3` is given.
    pub directory: PathBuf,
    /// A bucket instead.
    pub s3: Option<S3>,
    /// File with 64 hexadecimal digits, from which the keys of the oblivious gateway come; none: others with every start.
    pub gateway_secret: Option<PathBuf>,
    /// Bounds.
    pub limits: nave_edge::AssetLimits,
}

impl Default for Assets {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("assets"),
            s3: None,
            gateway_secret: None,
            limits: nave_edge::AssetLimits::default(),
        }
    }
}

/// A bucket that speaks S3.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// `https://s3.example.com`.
    pub endpoint: String,
    /// The region that signatures name.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Access key id.
    pub access_key: String,
    /// File that holds the secret access key.
    pub secret_key: PathBuf,
    /// PEM file with the certificates one of which must have issued the endpoint's.
    pub roots: PathBuf,
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

#[derive(Serialize)]
struct NoFlags {}

impl Config {
    /// Reads a configuration; its paths come back relative to the working directory.
    ///
    /// # Errors
    /// Says the file, the key and what is allowed.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let mut config: Self = daemon::config::load(Some(file), NoFlags {})?;
        let base = file.parent().unwrap_or_else(|| Path::new("."));
        for path in config.paths() {
            *path = base.join(&*path);
        }
        for (index, user) in config.users.iter().enumerate() {
            config.user_uri(user).with_context(|| {
                format!(
                    "{}: users.{index}.name: `{}` cannot stand in a user's URI",
                    file.display(),
                    user.name
                )
            })?;
        }
        for (index, peer) in config.peers.iter().enumerate() {
            anyhow::ensure!(
                peer.domain != config.domain,
                "{}: peers.{index}.domain: is this provider itself, allowed are others",
                file.display()
            );
        }
        Ok(config)
    }

    /// The URI of a local user.
    ///
    /// # Errors
    /// The name cannot stand in a URI.
    pub fn user_uri(&self, user: &User) -> Result<UserUri, mimi::UriError> {
        format!("mimi://{}/u/{}", self.domain, user.name).parse()
    }

    fn paths(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![
            &mut self.data,
            &mut self.hub_key,
            &mut self.tls.chain,
            &mut self.tls.key,
            &mut self.api_tls.chain,
            &mut self.api_tls.key,
        ];
        paths.extend(self.peers.iter_mut().map(|peer| &mut peer.roots));
        paths.push(&mut self.assets.directory);
        paths.extend(self.assets.gateway_secret.as_mut());
        if let Some(s3) = &mut self.assets.s3 {
            paths.extend([&mut s3.secret_key, &mut s3.roots]);
        }
        if let Some(client) = &mut self.client {
            paths.extend([&mut client.token, &mut client.roots]);
        }
        paths
    }
}

fn provider<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Provider, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("found `{text}`, allowed is a domain name in lower case")))
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<daemon::tokens::TokenDigest, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error: daemon::tokens::NotADigest| D::Error::custom(error.to_string()))
}

fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    for host in &hosts {
        let url = format!("https://{host}/").parse::<peer::AssetUrl>();
        if !url.is_ok_and(|url| url.path() == "/") {
            return Err(D::Error::custom(format!(
                "found `{host}`, allowed are `host` and `host:port`"
            )));
        }
    }
    Ok(hosts)
}
