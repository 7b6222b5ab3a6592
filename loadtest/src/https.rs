//! POST over HTTP/1.1 and mutual TLS, as another provider does: on connections that are kept, or on a fresh one each time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, FROM, HOST, RETRY_AFTER};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use link::{Identity, Roots, tls};
use mimi::Provider;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// For how long a server that is overloaded is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Octets of an answer: a SubmitMessageResponse is far smaller.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where to, and as whom.
pub(crate) struct Way {
    tls: TlsConnector,
    name: ServerName<'static>,
    address: SocketAddr,
    host: HeaderValue,
    from: HeaderValue,
}

/// A connection that stands.
struct Connection(SendRequest<Full<Bytes>>);

impl Way {
    /// To the provider `to` at `address`, as `us`, who has `identity`. `roots` knows both.
    ///
    /// # Errors
    /// A domain cannot stand in a header.
    pub(crate) fn new(
        to: &Provider,
        address: SocketAddr,
        us: &Provider,
        identity: &Identity,
        roots: &Roots,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            tls: tls::client_config(identity, roots, to, &[b"http/1.1"]).into(),
            name: ServerName::try_from(to.as_str().to_owned())?,
            address,
            host: format!("{to}:{}", address.port()).try_into()?,
            from: format!("mimi@{us}").try_into()?,
        })
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.name.clone(), stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever sends on it is told, too.
            let _ = connection.await;
        });
        Ok(Connection(sender))
    }

    /// Sends `body` on a new connection, which is closed when the answer is here.
    ///
    /// # Errors
    /// The other side is not reached, or answers with another status than 200.
    pub(crate) async fn post_afresh(&self, path: &str, body: &Bytes) -> anyhow::Result<Bytes> {
        let began = Instant::now();
        loop {
            let mut connection = self.connect().await?;
            if let Some(answer) = connection.post(self, path, body, began).await? {
                return Ok(answer);
            }
        }
    }
}

impl Connection {
    /// What is answered with status 200; nothing where it is to be asked again.
    async fn post(&mut self, way: &Way, path: &str, body: &Bytes, began: Instant) -> anyhow::Result<Option<Bytes>> {
        let request = Request::post(path)
            .header(HOST, way.host.clone())
            .header(FROM, way.from.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .body(Full::new(body.clone()))?;
        self.0.ready().await?;
        let (head, body) = self.0.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.ok().context("the answer is too long, or broke off")?.to_bytes();
        let later = matches!(
            head.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if later && began.elapsed() < PATIENCE {
            let seconds = head
                .headers
                .get(RETRY_AFTER)
                .and_then(|after| after.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(1))).await;
            return Ok(None);
        }
        let said = || String::from_utf8_lossy(&body).into_owned();
        ensure!(
            head.status == StatusCode::OK,
            "answered with {}: {}",
            head.status,
            said()
        );
        Ok(Some(body))
    }
}

/// Connections that are kept. Each has one request under way at a time.
pub(crate) struct Kept {
    way: Arc<Way>,
    idle: Mutex<Vec<Connection>>,
    free: Semaphore,
}

impl Kept {
    /// Opens `count` of them.
    ///
    /// # Errors
    /// The other side is not reached.
    pub(crate) async fn open(way: &Arc<Way>, count: usize) -> anyhow::Result<Self> {
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(way.connect().await?);
        }
        Ok(Self {
            way: way.clone(),
            idle: Mutex::new(idle),
            free: Semaphore::new(count),
        })
    }

    /// Sends `body` on one of them, when one has nothing under way.
    ///
    /// # Errors
    /// The connection breaks, or the answer has another status than 200.
    pub(crate) async fn post(&self, path: &str, body: &Bytes) -> anyhow::Result<Bytes> {
        let _free = self.free.acquire().await?;
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = idle().pop().context("a connection broke")?;
        let began = Instant::now();
        loop {
            if let Some(answer) = connection.post(&self.way, path, body, began).await? {
                idle().push(connection);
                return Ok(answer);
            }
        }
    }
}
