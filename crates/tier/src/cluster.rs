//! gRPC between the nodes of one provider, over TLS 1.3 in which both sides show a certificate of the cluster's own CA.
//!
//! A certificate says its tier by a dNSName: `edge.nave.internal`, `hub.nave.internal`, `follower.nave.internal`; that of an
//! operator `ctl.nave.internal`. Who dials a hub verifies that very name, so an edge's certificate cannot serve as a hub; who
//! serves says which tiers may call what, and closes the connection of any other after the handshake. Addresses say nothing about who is there.
//!
//! Sessions are never resumed. Replaced files count for every handshake after; open connections stay.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, ensure};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};

use crate::accept::{self, Bounds, without_delay};
use crate::provider::read;

/// TCP and TLS to one address take no longer than this.
const CONNECT: Duration = Duration::from_secs(1);
/// A connection is pinged this often, requests or not.
const PING: Duration = Duration::from_secs(2);
/// A ping not answered in this time ends the connection: requests on it fail, and are tried elsewhere.
const PONG: Duration = Duration::from_secs(2);

/// A listener of a node: event streams of many clients share one connection of an edge.
const BOUNDS: Bounds = Bounds {
    connections_max: 1_024,
    streams_max: 20_000,
    handshake: Duration::from_secs(5),
    header: Duration::from_secs(10),
    drain: Duration::from_secs(10),
};

/// Section `cluster` of a configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFiles {
    /// This node's certificate first, PEM. It names its tier.
    pub chain: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The certificates one of which must have issued those of the other nodes, PEM. No other provider's root is among them.
    pub roots: PathBuf,
}

impl ClusterFiles {
    /// Its paths, which a configuration takes to be relative to its file.
    pub fn paths(&mut self) -> [&mut PathBuf; 3] {
        [&mut self.chain, &mut self.key, &mut self.roots]
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// `nave-edge`.
    Edge,
    /// `nave-hub`.
    Hub,
    /// `nave-follower`.
    Follower,
    /// `navectl`: an operator.
    Ctl,
}

impl Tier {
    /// The dNSName of its certificates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge.nave.internal",
            Self::Hub => "hub.nave.internal",
            Self::Follower => "follower.nave.internal",
            Self::Ctl => "ctl.nave.internal",
        }
    }
}

/// This node among the others. Clones share it.
#[derive(Clone)]
pub struct Cluster(Arc<RwLock<Tls>>);

#[derive(Clone)]
struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

impl Cluster {
    /// Reads this node's certificate, which must name `tier`, and follows its files until `stop`. Needs a tokio runtime.
    ///
    /// # Errors
    /// Says which key names what cannot be used.
    pub fn join(files: ClusterFiles, tier: Tier, stop: CancellationToken) -> anyhow::Result<Self> {
        let cluster = Self(Arc::new(RwLock::new(load(&files, tier)?)));
        let paths = vec![files.chain.clone(), files.key.clone(), files.roots.clone()];
        let reloaded = cluster.clone();
        let reload = move || match reloaded.reload(&files, tier) {
            Ok(()) => tracing::info!(chain = %files.chain.display(), "the cluster's certificates replaced"),
            Err(error) => tracing::error!(error = %format!("{error:#}"), "the cluster's certificates not replaced"),
        };
        tokio::spawn(daemon::files::watch(paths, daemon::files::POLL, stop, reload));
        Ok(cluster)
    }

    /// Takes what the files hold now for every handshake from now on. On an error the former certificates stay.
    ///
    /// # Errors
    /// Says which key names what cannot be used.
    pub fn reload(&self, files: &ClusterFiles, tier: Tier) -> anyhow::Result<()> {
        let tls = load(files, tier)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tls;
        Ok(())
    }

    /// Serves `routes` to nodes of the tiers `callers` until `stop`, then finishes what is under way.
    pub async fn serve(
        &self,
        listener: TcpListener,
        routes: Routes,
        callers: &'static [Tier],
        stop: CancellationToken,
    ) {
        self.serve_faces(listener, vec![(callers, routes)], stop).await;
    }

    /// Serves to nodes of each tier its own routes, until `stop`, then finishes what is under way. Whose certificate names
    /// several tiers gets the first that is its.
    pub async fn serve_faces(
        &self,
        listener: TcpListener,
        faces: Vec<(&'static [Tier], Routes)>,
        stop: CancellationToken,
    ) {
        let greet = move |stream: &tokio_rustls::server::TlsStream<TcpStream>| {
            let certificate = stream.get_ref().1.peer_certificates()?.first()?;
            let calls = |callers: &[Tier]| callers.iter().any(|tier| link::tls::covers(certificate, tier.name()));
            let Some((_, routes)) = faces.iter().find(|(callers, _)| calls(callers)) else {
                tracing::warn!("a node of a tier that does not call here");
                return None;
            };
            Some(TowerToHyperService::new(routes.clone()))
        };
        accept::serve(listener, || self.tls().server, &BOUNDS, stop, greet).await;
    }

    /// A channel to one of `addresses` (`host:port`), whichever answers, beginning at a random one. It connects when it is
    /// first used, and again, beginning at the next address, when a connection is lost.
    pub fn channel(&self, tier: Tier, addresses: &[String]) -> Channel {
        let addresses: Arc<[String]> = addresses.into();
        let turn = Arc::new(AtomicUsize::new(rand::random::<u16>().into()));
        let cluster = self.clone();
        let connect = tower::service_fn(move |_: http::Uri| {
            let (cluster, addresses, turn) = (cluster.clone(), addresses.clone(), turn.clone());
            async move {
                let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for _ in 0..addresses.len() {
                    let address = &addresses[turn.fetch_add(1, Ordering::Relaxed) % addresses.len()];
                    let dialled = timeout(CONNECT, cluster.dial(tier, address)).await;
                    match dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                        Ok(stream) => return Ok(TokioIo::new(stream)),
                        Err(error) => {
                            tracing::debug!(%error, %address, "node not reached");
                            failed = error;
                        }
                    }
                }
                Err(failed)
            }
        });
        Endpoint::from_shared(format!("http://{}", tier.name()))
            .expect("the names of tiers can stand in a URI")
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connect)
    }

    async fn dial(&self, tier: Tier, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = without_delay(TcpStream::connect(address).await?)?;
        let name = ServerName::try_from(tier.name()).expect("the names of tiers are dNSNames");
        TlsConnector::from(self.tls().client).connect(name, stream).await
    }

    fn tls(&self) -> Tls {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn load(files: &ClusterFiles, tier: Tier) -> anyhow::Result<Tls> {
    let chain = certificates(&files.chain, "cluster.chain")?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .with_context(|| format!("cluster.key: {} holds no key", files.key.display()))?;
    ensure!(
        link::tls::covers(&chain[0], tier.name()),
        "cluster.chain: {} does not name `{}`, as a certificate of this tier must",
        files.chain.display(),
        tier.name()
    );
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.roots, "cluster.roots")? {
        roots
            .add(certificate)
            .with_context(|| format!("cluster.roots: {}", files.roots.display()))?;
    }
    let (roots, crypto) = (Arc::new(roots), Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let unfit = || {
        format!(
            "cluster.chain, cluster.key: {} and its key do not fit",
            files.chain.display()
        )
    };

    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), crypto.clone())
        .build()
        .context("cluster.roots")?;
    let mut server = ServerConfig::builder_with_provider(crypto.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("the cryptography provider has suites of TLS 1.3")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .with_context(unfit)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;

    let mut client = ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&TLS13])
        .expect("the cryptography provider has suites of TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .with_context(unfit)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(Tls {
        server: Arc::new(server),
        client: Arc::new(client),
    })
}

fn certificates(file: &Path, key: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates = link::tls::certificates_from_pem(&read(file).context(key.to_owned())?)
        .with_context(|| format!("{key}: {} is not PEM", file.display()))?;
    ensure!(
        !certificates.is_empty(),
        "{key}: {} holds no certificate",
        file.display()
    );
    Ok(certificates)
}
