//! The parts of a configuration that the edge reads, and the configuration of `nave-edge`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use mimi::mls::CipherSuite;
use mimi::{Provider, UserUri};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tier::ClusterFiles;
use tier::provider::{self, Files, Peer, read};

use crate::assets::{AssetLimits, AssetParts, AssetStore, GatewaySecret, S3Options};
use crate::{Limits, RateLimits, Tokens};

/// Everything `nave-edge` needs to know.
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
    /// `host:port` under which other providers reach the edges; none: the domain, on the port of `listen`.
    #[serde(default)]
    pub authority: Option<String>,
    /// `host:port` of some hub nodes; the others are learned from them.
    #[serde(deserialize_with = "provider::addresses")]
    pub hubs: Vec<String>,
    /// `host:port` of all followers. Any of them serves any client.
    #[serde(deserialize_with = "provider::addresses")]
    pub followers: Vec<String>,
    /// File with what `nave-hub --print-senders` says: the public half of the hub's signature keys.
    pub hub_senders: PathBuf,
    /// The certificate that other providers see.
    pub tls: Files,
    /// The certificate that our own clients see.
    pub api_tls: Files,
    /// The certificate that hubs and followers see, and the root of theirs.
    pub cluster: ClusterFiles,
    /// Whether local users may have pseudonyms for minimal-metadata rooms (mimi-protocol §6).
    #[serde(default)]
    pub minimal_metadata: bool,
    /// Local users and their tokens.
    #[serde(default)]
    pub users: Vec<User>,
    /// Other providers.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Bounds and rates.
    #[serde(default)]
    pub edge: Bounds,
    /// Where local users' assets are, and what is fetched for others.
    #[serde(default)]
    pub assets: Assets,
    /// Logs, traces, metrics.
    #[serde(default)]
    pub telemetry: daemon::telemetry::Options,
}

impl Config {
    /// Reads a configuration; its paths come back relative to the working directory.
    ///
    /// # Errors
    /// Says the file, the key and what is allowed.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let mut config: Self = daemon::config::load(Some(file), daemon::config::NoFlags {})?;
        let Self {
            domain,
            hub_senders,
            tls,
            api_tls,
            cluster,
            users,
            peers,
            assets,
            ..
        } = &mut config;
        provider::beside(file, [hub_senders]);
        provider::beside(file, tls.paths().into_iter().chain(api_tls.paths()));
        provider::beside(file, cluster.paths());
        provider::beside(file, peers.iter_mut().map(|peer| &mut peer.roots));
        provider::beside(file, assets.paths());
        check_users(file, domain, users)?;
        provider::check_peers(file, domain, peers)?;
        Ok(config)
    }
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

impl User {
    /// The user's URI at the provider `us`.
    ///
    /// # Errors
    /// The name cannot stand in a URI.
    pub fn uri(&self, us: &Provider) -> Result<UserUri, mimi::UriError> {
        format!("mimi://{us}/u/{}", self.name).parse()
    }
}

/// Every name of `users` can stand in a URI.
///
/// # Errors
/// Says the file, the key and what is wrong.
pub fn check_users(file: &Path, us: &Provider, users: &[User]) -> anyhow::Result<()> {
    for (index, user) in users.iter().enumerate() {
        user.uri(us).with_context(|| {
            let file = file.display();
            format!(
                "{file}: users.{index}.name: `{}` cannot stand in a user's URI",
                user.name
            )
        })?;
    }
    Ok(())
}

/// The tokens of `users`.
///
/// # Errors
/// A name cannot stand in a URI.
pub fn tokens(us: &Provider, users: &[User]) -> Result<Tokens, mimi::UriError> {
    let tokens = users.iter().map(|user| Ok((user.token_sha256, user.uri(us)?)));
    tokens.collect()
}

/// Those of `users` who may see and close reports of abuse.
///
/// # Errors
/// A name cannot stand in a URI.
pub fn moderators(us: &Provider, users: &[User]) -> Result<BTreeSet<UserUri>, mimi::UriError> {
    let moderators = users.iter().filter(|user| user.moderator);
    moderators.map(|user| user.uri(us)).collect()
}

/// Section `edge`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// Bounds.
    pub limits: Limits,
    /// How often who may ask.
    pub rates: RateLimits,
}

impl Bounds {
    /// Both together.
    pub fn limits(&self) -> Limits {
        Limits {
            rates: self.rates.clone(),
            ..self.limits.clone()
        }
    }
}

/// Section `assets`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Assets {
    /// Directory of local users' assets, unless `s3` is given. Several edges need one that they share.
    pub directory: PathBuf,
    /// A bucket instead.
    pub s3: Option<S3>,
    /// File with 64 hexadecimal digits, from which the keys of the oblivious gateway come; none: others with every start.
    /// Several edges need the same.
    pub gateway_secret: Option<PathBuf>,
    /// Bounds.
    pub limits: AssetLimits,
}

impl Default for Assets {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("assets"),
            s3: None,
            gateway_secret: None,
            limits: AssetLimits::default(),
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

impl Assets {
    /// Its paths, which a configuration takes to be relative to its file.
    pub fn paths(&mut self) -> Vec<&mut PathBuf> {
        let mut paths = vec![&mut self.directory];
        paths.extend(self.gateway_secret.as_mut());
        if let Some(s3) = &mut self.s3 {
            paths.extend([&mut s3.secret_key, &mut s3.roots]);
        }
        paths
    }

    /// What the section describes.
    ///
    /// # Errors
    /// A file or the directory cannot be used; says which.
    pub fn open(&self) -> anyhow::Result<AssetParts> {
        let store = match &self.s3 {
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
            None => AssetStore::directory(&self.directory)
                .with_context(|| format!("assets.directory: cannot use {}", self.directory.display()))?,
        };
        let gateway_secret = match &self.gateway_secret {
            Some(file) => gateway_secret(file)?,
            None => GatewaySecret::random(),
        };
        Ok(AssetParts {
            store,
            gateway_secret,
            limits: self.limits.clone(),
        })
    }
}

fn gateway_secret(file: &Path) -> anyhow::Result<GatewaySecret> {
    let text = String::from_utf8(read(file)?).ok();
    let octets = text.and_then(|text| hex::decode(text.trim()).ok());
    let secret = octets.and_then(|octets| octets.try_into().ok()).map(GatewaySecret);
    secret.with_context(|| format!("{} does not hold 64 hexadecimal digits", file.display()))
}

/// The hub's ExternalSenders (RFC 9420 §12.1.8.1) by cipher suite, as `nave-hub --print-senders` writes them: a line each,
/// the suite in four hexadecimal digits, a space, and the ExternalSender in hexadecimal digits.
///
/// # Errors
/// The file cannot be read, or is not such.
pub fn hub_senders(file: &Path) -> anyhow::Result<Vec<(CipherSuite, Bytes)>> {
    let text = String::from_utf8(read(file)?).unwrap_or_default();
    let senders: Option<Vec<_>> = text.lines().map(sender).collect();
    senders.filter(|senders| !senders.is_empty()).with_context(|| {
        let file = file.display();
        format!("hub_senders: {file} is not what `nave-hub --print-senders` writes")
    })
}

fn sender(line: &str) -> Option<(CipherSuite, Bytes)> {
    let (suite, sender) = line.split_once(' ')?;
    Some((
        u16::from_str_radix(suite, 16).ok()?,
        hex::decode(sender.trim()).ok()?.into(),
    ))
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<daemon::tokens::TokenDigest, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error: daemon::tokens::NotADigest| D::Error::custom(error.to_string()))
}
