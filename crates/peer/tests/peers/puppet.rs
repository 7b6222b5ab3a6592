//! A provider b.example that records what it is asked, and a caller a.example that knows it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use link::tls::server_config;
use link::{Identity, Roots};
use mimi::Provider;
use peer::{Directory, Endpoint, PeerConfig, PeerLimits, Peers, PeersConfig, WELL_KNOWN};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

pub(crate) const ROOM: &str = "mimi://b.example/r/clubhouse";

pub(crate) fn provider(domain: &str) -> Provider {
    domain.parse().unwrap()
}

pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Identity::new(vec![certificate.der().clone()], key).unwrap()
    }
}

/// A request as it arrived.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

type Reply = Box<dyn Fn(&Asked) -> Option<Response<Bytes>> + Send + Sync>;

/// b.example over HTTPS. Answers its directory, and POSTs as told; with `None`, never.
pub(crate) struct Server {
    pub(crate) asked: Mutex<Vec<Asked>>,
    pub(crate) connections: AtomicUsize,
    pub(crate) directory: Mutex<Response<Bytes>>,
    pub(crate) reply: Mutex<Reply>,
}

impl Server {
    pub(crate) fn publish(&self, directory: &Directory) {
        let document = serde_json::to_vec(directory).unwrap();
        *self.directory.lock().unwrap() = Response::new(document.into());
    }

    pub(crate) fn reply(&self, reply: impl Fn(&Asked) -> Option<Response<Bytes>> + Send + Sync + 'static) {
        *self.reply.lock().unwrap() = Box::new(reply);
    }

    /// What came by POST, and how often the directory was fetched.
    pub(crate) fn asked(&self) -> (Vec<Asked>, usize) {
        let (posts, gets): (Vec<_>, Vec<_>) = self
            .asked
            .lock()
            .unwrap()
            .clone()
            .into_iter()
            .partition(|asked| asked.method == Method::POST);
        (posts, gets.len())
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let (head, body) = request.into_parts();
        let host = head.headers.get("host").map(|host| host.to_str().unwrap().to_owned());
        let asked = Asked {
            path: head.uri.path().to_owned(),
            host: host.unwrap_or_else(|| head.uri.authority().unwrap().to_string()),
            version: head.version,
            method: head.method,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        self.asked.lock().unwrap().push(asked.clone());
        let response = if asked.path == WELL_KNOWN {
            Some(self.directory.lock().unwrap().clone())
        } else {
            (self.reply.lock().unwrap())(&asked)
        };
        match response {
            Some(response) => Ok(response.map(Full::new)),
            None => std::future::pending().await,
        }
    }
}

/// How b.example is set up.
pub(crate) struct Setup {
    pub(crate) names: Vec<&'static str>,
    pub(crate) alpn: Vec<&'static [u8]>,
    pub(crate) limits: PeerLimits,
    pub(crate) hosts: Vec<String>,
    pub(crate) with_link: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            names: vec!["b.example", "mimi.b.example"],
            alpn: vec![b"h2", b"http/1.1"],
            limits: PeerLimits::default(),
            hosts: Vec::new(),
            with_link: false,
        }
    }
}

/// a.example and b.example.
pub(crate) struct World {
    pub(crate) a: Ca,
    pub(crate) b: Ca,
    pub(crate) roots: Roots,
    pub(crate) peers: Peers,
    pub(crate) server: Arc<Server>,
    accepting: AbortHandle,
}

impl Drop for World {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl World {
    pub(crate) async fn new(setup: Setup) -> Self {
        let (a, b) = (Ca::new(), Ca::new());
        let roots = [("a.example", &a), ("b.example", &b)].map(|(domain, ca)| (provider(domain), vec![ca.root()]));
        let roots = Roots::new(BTreeMap::from(roots)).unwrap();
        let directory = Directory::publish("mimi.b.example", Endpoint::ALL, None).unwrap();
        let server = Arc::new(Server {
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            directory: Mutex::default(),
            reply: Mutex::new(Box::new(|asked| Some(Response::new(asked.body.clone())))),
        });
        server.publish(&directory);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(server_config(&b.identity(&setup.names), &roots, &setup.alpn));
        let accepting = tokio::spawn(accept(listener, acceptor, server.clone())).abort_handle();

        let identity = a.identity(&["a.example"]);
        let endpoint = setup.with_link.then(|| bind(loopback(), identity.clone(), &roots));
        let config = PeersConfig {
            us: provider("a.example"),
            peers: vec![PeerConfig {
                provider: provider("b.example"),
                address: Some(address.to_string()),
                link_address: None,
                hosts: setup.hosts,
                asset_hosts: Vec::new(),
            }],
            limits: setup.limits,
        };
        Self {
            peers: Peers::new(config, &identity, &roots, endpoint),
            a,
            b,
            roots,
            server,
            accepting,
        }
    }

    pub(crate) async fn update(&self, body: &'static [u8]) -> Result<peer::Answer, peer::PeerError> {
        let call = peer::Call {
            endpoint: "update".into(),
            target: ROOM.into(),
            body: Bytes::from_static(body),
        };
        self.peers.request(&provider("b.example"), call).await
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, server: Arc<Server>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        server.connections.fetch_add(1, Ordering::SeqCst);
        let (acceptor, server) = (acceptor.clone(), server.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = hyper::service::service_fn(move |request| {
                let server = server.clone();
                async move { server.answer(request).await }
            });
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn bind(address: SocketAddr, identity: Identity, roots: &Roots) -> link::Endpoint {
    let limits = link::Limits {
        connect_timeout: Duration::from_secs(1),
        ..link::Limits::default()
    };
    link::Endpoint::bind(address, identity, roots.clone(), limits).unwrap()
}
