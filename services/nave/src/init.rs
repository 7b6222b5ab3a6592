//! Makes the directory of a new provider: configuration, certificates from a development CA, keys, and a token for a local
//! user's client. Nothing that exists is overwritten, but for the CA, which is used again.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use daemon::certificates::{CA_CERTIFICATE, DevelopmentCa, write_private};
use daemon::tokens::TokenDigest;
use mimi::Provider;

/// Name of the configuration in a provider's directory.
pub const CONFIG: &str = "nave.toml";

/// What `nave init` was told.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The directory to make.
    pub directory: PathBuf,
    /// The provider's domain.
    pub domain: Provider,
    /// Where other providers connect.
    pub listen: SocketAddr,
    /// Where own clients connect.
    pub api: SocketAddr,
    /// Where health and metrics are served.
    pub admin: SocketAddr,
    /// Directory of the CA; none: the provider's own.
    pub ca: Option<PathBuf>,
    /// The local user that gets a token.
    pub user: String,
    /// Whether there are minimal-metadata rooms.
    pub minimal_metadata: bool,
}

impl Plan {
    /// A plan for a user `alice`; where `api` or `admin` is not given, it is on one of the two ports after that of `listen`.
    ///
    /// # Errors
    /// There are no such ports.
    pub fn new(
        directory: PathBuf,
        domain: Provider,
        listen: SocketAddr,
        api: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let after = |count: u16| {
            let port = listen.port().checked_add(count).filter(|_| listen.port() != 0);
            let port = port.with_context(|| format!("no port {count} after {listen}: name --api and --admin"));
            port.map(|port| SocketAddr::new(listen.ip(), port))
        };
        let api = api.map_or_else(|| after(1), Ok)?;
        let admin = admin.map_or_else(|| after(2), Ok)?;
        Ok(Self {
            directory,
            domain,
            listen,
            api,
            admin,
            ca: None,
            user: "alice".to_owned(),
            minimal_metadata: false,
        })
    }

    /// Writes the directory; returns the path of the configuration.
    ///
    /// # Errors
    /// The directory holds a configuration already, or a file cannot be written.
    pub fn carry_out(&self) -> anyhow::Result<PathBuf> {
        let config = self.directory.join(CONFIG);
        ensure!(
            !config.exists(),
            "{} exists: choose another directory, or remove it",
            config.display()
        );
        fs::create_dir_all(&self.directory).with_context(|| format!("make {}", self.directory.display()))?;

        let ca_directory = self.ca.as_deref().unwrap_or(&self.directory);
        let ca = DevelopmentCa::in_directory(ca_directory)?;
        let roots = self.directory.join(CA_CERTIFICATE);
        if self.ca.is_some() {
            write(&roots, ca.certificate_pem())?;
        }
        let domain = self.domain.as_str();
        ca.issue(&[domain])?
            .write(&self.file("provider.pem"), &self.file("provider.key"))?;
        let address = self.api.ip().to_string();
        ca.issue(&[domain, "localhost", &address])?
            .write(&self.file("api.pem"), &self.file("api.key"))?;
        let keys = nave_hub::HubKeys::generate(self.domain.clone())?;
        write_private(&self.file("hub.key"), &hex::encode(keys.to_octets()))?;

        let secret = rand::random::<[u8; 32]>();
        write_private(&self.file("gateway.secret"), &hex::encode(secret))?;

        let token = daemon::tokens::random();
        write_private(&self.file("client.token"), &token)?;
        write(&config, &self.text(&TokenDigest::of(&token)))?;
        Ok(config)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn text(&self, token: &TokenDigest) -> String {
        let Self {
            domain,
            listen,
            api,
            admin,
            user,
            minimal_metadata,
            ..
        } = self;
        format!(
            r#"# A Nave provider. Paths are relative to this file; `NAVE_…` variables go over its keys
# (NAVE_TELEMETRY__LOG_FILTER=debug).

# The provider's domain: what its users' URIs and its certificate say.
domain = "{domain}"

# Where other providers connect: HTTPS (TCP) and the QUIC link (UDP), on one port.
listen = "{listen}"

# Where this provider's own clients connect: gRPC over TLS, see proto/provider.proto.
api = "{api}"

# Health and metrics in the clear (/livez, /readyz, /metrics): not for the outside.
admin = "{admin}"

# Directory of the embedded store. One process at a time.
data = "data"

# The hub's signature key: signs its answers, and stands in rooms' external_senders. Keep it as long as the rooms.
hub_key = "hub.key"

# Whether rooms of pseudonyms (mimi-protocol 6) are hosted here, and local users may have pseudonyms for such rooms. The
# draft leaves the management of their keys open: what is stored for them may change.
minimal_metadata = {minimal_metadata}

# For how many seconds an entry stays in the log of this hub's rooms, at least, once every follower has acknowledged it.
[retention]
acknowledged_s = 86_400

# The certificate that other providers see. It must name `domain`. Read again when the files change.
[tls]
chain = "provider.pem"
key = "provider.key"

# The certificate that this provider's own clients see.
[api_tls]
chain = "api.pem"
key = "api.key"

# A local user. Clients present the token (`authorization: Bearer TOKEN`); only its SHA-256 stands here.
[[users]]
name = "{user}"
token_sha256 = "{token}"
# May see and close reports of abuse in this provider's rooms (`Moderation`).
moderator = true

# What a client of that user needs. `nave demo --against` reads this; `nave serve` does not.
[client]
token = "client.token"
roots = "ca.pem"

[telemetry]
# Which logs: `info`, `info,hub=debug`.
log_filter = "info"
# `auto` (for people on a terminal, else JSON), `human`, `json`.
log_format = "auto"
# Push traces and metrics to a collector (OTLP over gRPC). /metrics is served either way.
# otlp_endpoint = "http://127.0.0.1:4317"

# What users attach to messages, encrypted by their clients. See docs/assets.md.
[assets]
# Directory of local users' assets.
directory = "assets"
# The keys of the oblivious gateway come from this file: the same on every start.
gateway_secret = "gateway.secret"

# A bucket that speaks S3, instead of the directory.
# [assets.s3]
# endpoint = "https://s3.example.com"
# region = "eu-central-1"
# bucket = "assets"
# access_key = "id"
# secret_key = "s3.secret"
# roots = "/etc/ssl/certs/ca-certificates.crt"

# Octets and counts of assets; these are the defaults.
# [assets.limits]
# asset_bytes_max = 268_435_456
# proxied_bytes_max = 1_073_741_824
# oblivious_bytes_max = 4_194_304
# uploads_max = 32
# downloads_max = 512
# cache_bytes_max = 67_108_864
# cached_bytes_max = 1_048_576
# stall_ms = 30_000

# Bounds of connections and requests, see docs/operation.md; some of the defaults.
# [edge.limits]
# connections_max = 4_096
# connections_per_peer_max = 256
# bodies_bytes_max = 536_870_912
# answer_ms = 10_000

# How often another provider may ask, per endpoint, and a local user (`user`, `contact`, `upload`, `download`).
# [edge.rates]
# submit_message = {{ per_second = 20_000, burst = 40_000 }}
# key_material = {{ per_second = 100, burst = 500 }}
# identifier_query = {{ per_second = 10, burst = 100 }}

# Another provider: its domain, where it listens, and the root that its certificate must come from. One table each.
# [[peers]]
# domain = "b.example"
# address = "127.0.0.1:8443"
# roots = "b-ca.pem"
# asset_hosts = ["assets.b.example"]
# link_mtu = 1_452
"#
        )
    }
}

/// Adds a `[[peers]]` table to a configuration.
///
/// # Errors
/// The file cannot be written.
pub fn add_peer(config: &Path, domain: &Provider, address: SocketAddr, roots: &Path) -> anyhow::Result<()> {
    let mut text = fs::read_to_string(config).with_context(|| format!("read {}", config.display()))?;
    let roots = toml::Value::from(roots.display().to_string());
    text.push_str(&format!(
        "\n[[peers]]\ndomain = \"{domain}\"\naddress = \"{address}\"\nroots = {roots}\n"
    ));
    write(config, &text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
