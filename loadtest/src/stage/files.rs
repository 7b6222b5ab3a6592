//! What is on disk before a stage's processes start: certificates, keys, configurations.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use daemon::certificates::DevelopmentCa;
use proto::hub::hub_client::HubClient;
use tier::{Cluster, ClusterFiles, Tier};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{Ground, HUB, free};
use crate::sink::Identity;

/// Octets of a gRPC message: a body of the drafts and what is said beside it.
const GRPC_OCTETS_MAX: usize = 20 << 20;

/// Connections to the hub: an edge has one, and there are several edges.
const CONNECTIONS: usize = 4;

/// The configuration of a hub's process.
#[derive(Debug)]
pub(super) struct HubFiles {
    pub(super) file: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    /// The tables of all followers.
    pub(super) peers: String,
}

/// Certificates and addresses of so many followers in each group.
pub(super) fn followers(root: &Path, ca: &DevelopmentCa, groups: &[usize]) -> anyhow::Result<Vec<Vec<Identity>>> {
    let mut numbers = 0..;
    let mut identity = || {
        let number = numbers.next().context("there are enough numbers")?;
        let domain = format!("f{number}.example");
        let file = |kind: &str| root.join(format!("f{number}.{kind}"));
        let (chain, key) = (file("pem"), file("key"));
        ca.issue(&[&domain])?.write(&chain, &key)?;
        anyhow::Ok(Identity {
            domain,
            address: free()?,
            chain,
            key,
        })
    };
    groups
        .iter()
        .map(|count| (0..*count).map(|_| identity()).collect())
        .collect()
}

/// The directory of the hub's provider, as `nave init` makes it, and in it the configuration of `nave-hub` alone.
pub(super) fn hub(
    ground: &Ground,
    root: &Path,
    ca: &DevelopmentCa,
    followers: &[Vec<Identity>],
) -> anyhow::Result<HubFiles> {
    let directory = root.join("hub");
    let (listen, admin, init) = (free()?, free()?, free()?);
    let (home, ca_home, init) = (text(&directory)?, root.join("ca"), init.to_string());
    let arguments = [
        "init",
        home,
        "--domain",
        HUB,
        "--listen",
        &init,
        "--ca",
        text(&ca_home)?,
    ];
    ground.programs.run("nave", &arguments)?;
    cluster_certificate(root, ca, Tier::Hub)?;
    // No user of the hub's provider is in a room that is measured, so nothing is due to its own follower: nobody listens.
    let nobody = free()?;
    let mut config = format!(
        "domain = '{HUB}'\nlisten = '{listen}'\nadmin = '{admin}'\nstore = 'fjall:data'\nfollowers = ['{nobody}']\n\
         hub_key = 'hub.key'\n[tls]\nchain = 'provider.pem'\nkey = 'provider.key'\n\
         [cluster]\nchain = '{}'\nkey = '{}'\nroots = '{}'\n[telemetry]\nlog_filter = 'warn'\n",
        text(&root.join("hub.nave.internal.pem"))?,
        text(&root.join("hub.nave.internal.key"))?,
        text(&root.join("ca/ca.pem"))?,
    );
    let peers = peers(root, followers)?;
    config.push_str(&peers);
    let file = directory.join("hub.toml");
    fs::write(&file, config)?;
    Ok(HubFiles {
        file,
        listen,
        admin,
        peers,
    })
}

/// The tables of a configuration that make the followers known.
fn peers(root: &Path, followers: &[Vec<Identity>]) -> anyhow::Result<String> {
    let roots = root.join("ca/ca.pem");
    let roots = text(&roots)?;
    let mut tables = String::new();
    for Identity { domain, address, .. } in followers.iter().flatten() {
        write!(
            tables,
            "[[peers]]\ndomain = '{domain}'\naddress = '{address}'\nroots = '{roots}'\n"
        )?;
    }
    Ok(tables)
}

/// The configuration of an edge's process.
#[derive(Debug)]
pub(super) struct EdgeFiles {
    pub(super) file: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// The configuration of `nave-edge` alone, beside that of the hub at `hub`. `senders` is what the hub says of its keys. The
/// bound on what one provider may send is put where it stops nobody.
pub(super) fn edge_tier(root: &Path, hub: SocketAddr, senders: &[u8], peers: &str) -> anyhow::Result<EdgeFiles> {
    let directory = root.join("hub");
    let (listen, api, admin, nobody) = (free()?, free()?, free()?, free()?);
    fs::write(directory.join("hub.senders"), senders)?;
    let config = format!(
        "domain = '{HUB}'\nlisten = '{listen}'\napi = '{api}'\nadmin = '{admin}'\nauthority = '{HUB}:{}'\n\
         hubs = ['{hub}']\nfollowers = ['{nobody}']\nhub_senders = 'hub.senders'\n\
         [tls]\nchain = 'provider.pem'\nkey = 'provider.key'\n\
         [api_tls]\nchain = 'api.pem'\nkey = 'api.key'\n\
         [cluster]\nchain = '{}'\nkey = '{}'\nroots = '{}'\n\
         [edge.rates]\nsubmit_message = {{ per_second = 1_000_000, burst = 1_000_000 }}\n\
         [telemetry]\nlog_filter = 'warn'\n{peers}",
        listen.port(),
        text(&root.join("edge.nave.internal.pem"))?,
        text(&root.join("edge.nave.internal.key"))?,
        text(&root.join("ca/ca.pem"))?,
    );
    let file = directory.join("edge.toml");
    fs::write(&file, config)?;
    Ok(EdgeFiles { file, listen, admin })
}

/// A certificate for `name`, in files of that name.
pub(super) fn certificate(root: &Path, name: &str) -> anyhow::Result<()> {
    let file = |kind: &str| root.join(format!("{name}.{kind}"));
    let ca = DevelopmentCa::in_directory(&root.join("ca"))?;
    Ok(ca.issue(&[name])?.write(&file("pem"), &file("key"))?)
}

/// Ways to the hub at `address`, with the certificate of an edge.
pub(super) fn edge(
    root: &Path,
    ca: &DevelopmentCa,
    address: SocketAddr,
    stop: CancellationToken,
) -> anyhow::Result<Vec<HubClient<Channel>>> {
    let files = cluster_certificate(root, ca, Tier::Edge)?;
    let cluster = Cluster::join(files, Tier::Edge, stop)?;
    let client = |_| {
        HubClient::new(cluster.channel(Tier::Hub, &[address.to_string()]))
            .max_decoding_message_size(GRPC_OCTETS_MAX)
            .max_encoding_message_size(GRPC_OCTETS_MAX)
    };
    Ok((0..CONNECTIONS).map(client).collect())
}

fn cluster_certificate(root: &Path, ca: &DevelopmentCa, tier: Tier) -> anyhow::Result<ClusterFiles> {
    let file = |kind: &str| root.join(format!("{}.{kind}", tier.name()));
    let (chain, key) = (file("pem"), file("key"));
    ca.issue(&[tier.name()])?.write(&chain, &key)?;
    Ok(ClusterFiles {
        chain,
        key,
        roots: root.join("ca/ca.pem"),
    })
}

/// The ExternalSender of cipher suite 0x0001 in what `nave-hub --print-senders` says.
pub(super) fn sender(said: &str) -> anyhow::Result<Vec<u8>> {
    let sender = said.lines().find_map(|line| line.strip_prefix("0001 "));
    let sender = sender.context("the hub names no sender of cipher suite 0001")?;
    Ok(hex::decode(sender.trim())?)
}

/// A path that can stand in a configuration.
pub(super) fn text(path: &Path) -> anyhow::Result<&str> {
    let text = path.to_str().filter(|text| !text.contains('\''));
    text.with_context(|| format!("{} cannot stand in a configuration", path.display()))
}
