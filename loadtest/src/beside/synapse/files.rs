//! A Synapse's directory: certificates, and a configuration in which nothing holds messages back and nobody outside is asked.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use daemon::certificates::DevelopmentCa;

use crate::stage::free;

/// The host in the names of both; they differ by their ports.
const HOST: &str = "localhost";

/// What is configured.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) config: PathBuf,
    /// Its name (Matrix: server name).
    pub(super) name: String,
    /// Where its clients call, in the clear.
    pub(super) clients: SocketAddr,
}

/// What is no limit.
const MUCH: &str = "{ per_second: 1000000, burst_count: 1000000 }";

/// Rates of which Synapse has limits, with two of a kind where there are two.
const LIMITS: &[&str] = &["rc_message", "rc_registration", "rc_key_requests", "rc_reports"];
const LIMITS_OF_TWO: &[(&str, &[&str])] = &[
    ("rc_login", &["address", "account", "failed_attempts"]),
    ("rc_joins", &["local", "remote"]),
    ("rc_invites", &["per_room", "per_user", "per_issuer"]),
];

/// Lays a new directory `directory` out, with a certificate of `ca`, whose own is the file `roots`.
pub(super) fn lay(directory: &Path, ca: &DevelopmentCa, roots: &Path) -> anyhow::Result<Files> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    let (federation, clients) = (free()?, free()?);
    let file = |name: &str| text(&directory.join(name));
    let (chain, key) = (directory.join("server.pem"), directory.join("server.key"));
    ca.issue(&[HOST])?.write(&chain, &key)?;
    let name = format!("{HOST}:{}", federation.port());
    let log = "version: 1\nformatters: { plain: { format: '%(asctime)s %(levelname)s %(name)s %(message)s' } }\n\
               handlers: { console: { class: logging.StreamHandler, formatter: plain } }\n\
               root: { level: WARNING, handlers: [console] }\ndisable_existing_loggers: false\n";
    fs::write(directory.join("log.yaml"), log)?;
    let mut config = format!(
        "server_name: '{name}'\npid_file: '{}'\nreport_stats: false\nsigning_key_path: '{}'\nmedia_store_path: '{}'\n\
         log_config: '{}'\ndatabase: {{ name: sqlite3, args: {{ database: '{}' }} }}\n\
         tls_certificate_path: '{}'\ntls_private_key_path: '{}'\nfederation_custom_ca_list: ['{}']\n\
         trusted_key_servers: []\nsuppress_key_server_warning: true\nip_range_blacklist: []\n\
         federation_ip_range_blacklist: []\nenable_registration: true\nenable_registration_without_verification: true\n\
         bcrypt_rounds: 4\npresence: {{ enabled: false }}\nfilter_timeline_limit: -1\nenable_metrics: false\n\
         federation_rr_transactions_per_room_per_second: 1000000\n\
         rc_federation: {{ window_size: 1000, sleep_limit: 1000000, sleep_delay: 1, reject_limit: 1000000, concurrent: 100 }}\n",
        file("pid")?,
        file("signing.key")?,
        file("media")?,
        file("log.yaml")?,
        file("homeserver.db")?,
        file("server.pem")?,
        file("server.key")?,
        text(roots)?,
    );
    for limit in LIMITS {
        writeln!(config, "{limit}: {MUCH}")?;
    }
    for (limit, kinds) in LIMITS_OF_TWO {
        writeln!(config, "{limit}:")?;
        for kind in *kinds {
            writeln!(config, "  {kind}: {MUCH}")?;
        }
    }
    writeln!(
        config,
        "listeners:\n\
         - {{ port: {}, bind_addresses: ['127.0.0.1'], type: http, tls: true, resources: [{{ names: [federation] }}] }}\n\
         - {{ port: {}, bind_addresses: ['127.0.0.1'], type: http, tls: false, resources: [{{ names: [client] }}] }}",
        federation.port(),
        clients.port(),
    )?;
    let path = directory.join("homeserver.yaml");
    fs::write(&path, config)?;
    Ok(Files {
        config: path,
        name,
        clients,
    })
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().filter(|text| !text.contains(['\'', '\n']));
    text.map(str::to_owned)
        .with_context(|| format!("{} cannot stand in a configuration", path.display()))
}
