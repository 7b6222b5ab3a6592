//! Who we are to other providers and who they are: the parts of a configuration that several tiers have, and what they
//! say.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use link::{Endpoint, Identity, Limits, Roots};
use mimi::Provider;
use peer::{PeerConfig, PeerLimits, Peers, PeersConfig, Way};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// Our certificate first.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// Its paths, which a configuration takes to be relative to its file.
    pub fn paths(&mut self) -> [&mut PathBuf; 2] {
        [&mut self.chain, &mut self.key]
    }

    /// The identity that they hold, which follows their changes until `stop`: what does not fit is reported, and the former
    /// one stays. Needs a tokio runtime.
    ///
    /// # Errors
    /// The files cannot be read, or hold no certificate with its key.
    pub fn identity(&self, stop: CancellationToken) -> anyhow::Result<Identity> {
        let identity = Identity::from_pem(&read(&self.chain)?, &read(&self.key)?)
            .with_context(|| format!("{} and {}", self.chain.display(), self.key.display()))?;
        let (files, replaced) = (self.clone(), identity.clone());
        let reload = move || {
            let chain = files.chain.display();
            let outcome = read(&files.chain).and_then(|pem| Ok(replaced.replace_pem(&pem, &read(&files.key)?)?));
            match outcome {
                Ok(()) => tracing::info!(%chain, "certificate replaced"),
                Err(error) => tracing::error!(%chain, error = %format!("{error:#}"), "certificate not replaced"),
            }
        };
        let paths = vec![self.chain.clone(), self.key.clone()];
        tokio::spawn(daemon::files::watch(paths, daemon::files::POLL, stop, reload));
        Ok(identity)
    }
}

/// Another provider: a `[[peers]]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its domain.
    #[serde(deserialize_with = "domain")]
    pub domain: Provider,
    /// Where it listens.
    pub address: SocketAddr,
    /// PEM file with the certificates one of which must have issued its certificate.
    pub roots: PathBuf,
    /// `host` or `host:port` of where it keeps its assets; none: its domain, on port 443 and that of `address`.
    #[serde(default, deserialize_with = "hosts")]
    pub asset_hosts: Vec<String>,
    /// Octets of the largest UDP payload that is tried on links to it.
    #[serde(default, deserialize_with = "mtu")]
    pub link_mtu: Option<u16>,
}

/// No peer is the provider `us` itself.
///
/// # Errors
/// Says the file, the key and what is allowed.
pub fn check_peers(file: &Path, us: &Provider, peers: &[Peer]) -> anyhow::Result<()> {
    for (index, peer) in peers.iter().enumerate() {
        ensure!(
            peer.domain != *us,
            "{}: peers.{index}.domain: is this provider itself, allowed are others",
            file.display()
        );
    }
    Ok(())
}

/// The trust roots of `peers`.
///
/// # Errors
/// A file cannot be read or holds no certificate, or a peer stands there twice.
pub fn roots(peers: &[Peer]) -> anyhow::Result<Roots> {
    let mut roots = BTreeMap::new();
    for peer in peers {
        let shown = peer.roots.display();
        let certificates = link::tls::certificates_from_pem(&read(&peer.roots)?);
        let certificates = certificates.with_context(|| format!("{shown} is not PEM"))?;
        ensure!(!certificates.is_empty(), "{shown} holds no certificate");
        let before = roots.insert(peer.domain.clone(), certificates);
        ensure!(before.is_none(), "peers: {} stands there twice", peer.domain);
    }
    Ok(Roots::new(roots)?)
}

/// The limits of links to `peers`.
pub fn link_limits(peers: &[Peer]) -> Limits {
    let mtu = |peer: &Peer| Some((peer.domain.clone(), peer.link_mtu?));
    Limits {
        mtu_max_to: peers.iter().filter_map(mtu).collect(),
        ..Limits::default()
    }
}

/// The way to `peers`, over links from `link` where they offer one. Links live on the runtime that this is called on.
pub fn dial(us: &Provider, peers: &[Peer], identity: &Identity, roots: &Roots, link: &Endpoint) -> Peers {
    Peers::new(known(us, peers), identity, roots, Some(link.clone()))
}

/// The way to `peers`, each over a link as `way` says, where they offer one.
pub fn dial_by(
    us: &Provider,
    peers: &[Peer],
    identity: &Identity,
    roots: &Roots,
    way: impl Fn(&Provider) -> Way,
) -> Peers {
    Peers::with_ways(known(us, peers), identity, roots, |peer| Some(way(peer)))
}

fn known(us: &Provider, peers: &[Peer]) -> PeersConfig {
    let peer = |peer: &Peer| PeerConfig {
        provider: peer.domain.clone(),
        address: Some(peer.address.to_string()),
        link_address: Some(peer.address.to_string()),
        hosts: Vec::new(),
        asset_hosts: peer.asset_hosts.clone(),
    };
    PeersConfig {
        us: us.clone(),
        peers: peers.iter().map(peer).collect(),
        limits: PeerLimits::default(),
    }
}

/// The octets of a file.
///
/// # Errors
/// It cannot be read; says which.
pub fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// Makes `paths` relative to the directory of the configuration `file` that named them.
pub fn beside<'a>(file: &Path, paths: impl IntoIterator<Item = &'a mut PathBuf>) {
    let base = file.parent().unwrap_or_else(|| Path::new("."));
    for path in paths {
        *path = base.join(&*path);
    }
}

/// A provider's domain, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Says what is allowed.
pub fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Provider, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("found `{text}`, allowed is a domain name in lower case")))
}

/// Octets of a UDP payload: QUIC needs 1,200 (RFC 9000 §14), and ten segments share 64 KiB.
fn mtu<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    let octets = u16::deserialize(deserializer)?;
    if !(1_200..=6_400).contains(&octets) {
        return Err(D::Error::custom(format!("found {octets}, allowed is 1200 to 6400")));
    }
    Ok(Some(octets))
}

/// Addresses of nodes, at least one, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Says what is allowed.
pub fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let addresses = Vec::<String>::deserialize(deserializer)?;
    let port = |address: &String| address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if let Some(bad) = addresses.iter().find(|address| port(address).is_none()) {
        return Err(D::Error::custom(format!("found `{bad}`, allowed is `host:port`")));
    }
    if addresses.is_empty() {
        return Err(D::Error::custom(
            "found no address, allowed is at least one `host:port`",
        ));
    }
    Ok(addresses)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Known {
        peers: Vec<Peer>,
    }

    fn known(link_mtu: &str) -> Result<Known, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("nave.toml");
        let peer = format!("[[peers]]\ndomain = 'b.example'\naddress = '127.0.0.1:1'\nroots = 'b.pem'\n{link_mtu}\n");
        std::fs::write(&file, peer).unwrap();
        daemon::config::load(Some(&file), BTreeMap::<String, String>::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_link_has_the_mtu_of_its_peer() {
        let b: Provider = "b.example".parse().unwrap();
        let limits = link_limits(&known("link_mtu = 1300").unwrap().peers);
        assert_eq!(limits.mtu_max_to.get(&b), Some(&1_300));
        assert!(link_limits(&known("").unwrap().peers).mtu_max_to.is_empty());
        for bad in [1_199, 6_401] {
            let refused = known(&format!("link_mtu = {bad}")).unwrap_err();
            assert!(refused.contains("allowed is 1200 to 6400"), "{refused}");
        }
    }
}
