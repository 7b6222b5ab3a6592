//! HTTPS to one provider: mutual TLS under its own roots, HTTP/2 when it can, connections kept and used again, nothing
//! read beyond a bound. Redirects are not followed: a peer's host is what its directory says.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, FROM, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use link::{Identity, Roots};
use mimi::Provider;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Wanted;
use crate::addresses::Addresses;
use crate::peers::{PeerError, PeerLimits};

/// A response read to its end.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Of the connection that it came on.
    pub(crate) certificate: Option<ServerCertificate>,
}

impl Response {
    /// How long the peer asks to be left alone, when it says so in seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// The certificate that a connection was made with.
#[derive(Debug, Clone)]
pub(crate) struct ServerCertificate(Arc<CertificateDer<'static>>);

impl ServerCertificate {
    pub(crate) fn covers(&self, host: &str) -> bool {
        link::tls::covers(&self.0, host)
    }
}

/// The connections to one provider.
pub(crate) struct Https {
    client: Client<Connector, Full<Bytes>>,
    from: HeaderValue,
    request_timeout: Duration,
}

impl Https {
    /// Nothing is dialled yet.
    pub(crate) fn new(
        us: &Provider,
        peer: &Provider,
        addresses: Addresses,
        identity: &Identity,
        roots: &Roots,
        limits: &PeerLimits,
    ) -> Self {
        let tls = link::tls::client_config(identity, roots, peer, &[b"h2", b"http/1.1"]);
        let connector = Connector {
            tls: TlsConnector::from(tls),
            addresses,
            connect_timeout: limits.connect_timeout,
        };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits.idle_timeout)
            .pool_max_idle_per_host(limits.idle_connections_max)
            .http1_max_headers(64)
            .http2_max_header_list_size(16 << 10)
            .http2_initial_stream_window_size(1 << 20)
            .http2_initial_connection_window_size(8 << 20)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build(connector);
        let from = HeaderValue::from_str(&format!("mimi@{us}")).expect("a domain is a header value");
        Self {
            client,
            from,
            request_timeout: limits.request_timeout,
        }
    }

    /// Sends one request and reads the whole response. `kind` is the media type of the body.
    pub(crate) async fn send(
        &self,
        method: Method,
        uri: Uri,
        kind: Option<&'static str>,
        body: Bytes,
        body_bytes_max: usize,
    ) -> Result<Response, PeerError> {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        self.send_with(headers, method, uri, body, body_bytes_max).await
    }

    /// The same, with these headers and `From`.
    pub(crate) async fn send_with(
        &self,
        headers: HeaderMap,
        method: Method,
        uri: Uri,
        body: Bytes,
        body_bytes_max: usize,
    ) -> Result<Response, PeerError> {
        let mut request = Request::new(Full::new(body));
        *request.headers_mut() = headers;
        request.headers_mut().insert(FROM, self.from.clone());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        match timeout(self.request_timeout, self.exchange(request, body_bytes_max)).await {
            Ok(response) => response,
            Err(_) => Err(PeerError::TimedOut),
        }
    }

    /// Sends a request without a body and returns when the head of the response is there. Whoever reads its body bounds
    /// it, in octets and in time.
    pub(crate) async fn open(
        &self,
        uri: Uri,
        wanted: Wanted,
        says_who: bool,
    ) -> Result<http::Response<Incoming>, PeerError> {
        let mut request = Request::new(Full::default());
        if wanted.head {
            *request.method_mut() = Method::HEAD;
        }
        if let Some(range) = wanted.range {
            request.headers_mut().insert(RANGE, range);
        }
        if says_who {
            request.headers_mut().insert(FROM, self.from.clone());
        }
        *request.uri_mut() = uri;
        match timeout(self.request_timeout, self.client.request(request)).await {
            Ok(response) => response.map_err(unreachable),
            Err(_) => Err(PeerError::TimedOut),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>, body_bytes_max: usize) -> Result<Response, PeerError> {
        let response = self.client.request(request).await.map_err(unreachable)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, body_bytes_max).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => PeerError::TooLarge { max: body_bytes_max },
            Err(error) => PeerError::Unreachable(error.to_string()),
        })?;
        Ok(Response {
            status: head.status,
            certificate: head.extensions.get().cloned(),
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

/// The innermost cause says it; the layers above only say where.
fn unreachable(error: hyper_util::client::legacy::Error) -> PeerError {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    PeerError::Unreachable(cause.to_string())
}

#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
    addresses: Addresses,
    connect_timeout: Duration,
}

impl Connector {
    async fn connect(self, uri: Uri) -> io::Result<Secured> {
        let host = uri.host().ok_or_else(|| io::Error::other("no host"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        let stream = match timeout(self.connect_timeout, self.dial(host, uri.port_u16(), name)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long")),
        };
        let (_, session) = stream.get_ref();
        let is_h2 = session.alpn_protocol() == Some(b"h2");
        let certificate = session.peer_certificates().and_then(<[_]>::first).cloned();
        Ok(Secured {
            certificate: certificate.map(|certificate| ServerCertificate(Arc::new(certificate))),
            is_h2,
            stream: TokioIo::new(stream),
        })
    }

    async fn dial(&self, host: &str, port: Option<u16>, name: ServerName<'static>) -> io::Result<TlsStream<TcpStream>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address that may be dialled");
        for address in self.addresses.of(host, port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Requests are small and answered before the next: Nagle's algorithm would hold each for 40 ms.
                    stream.set_nodelay(true)?;
                    return self.tls.connect(name, stream).await;
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Secured;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A TLS connection that knows what it negotiated.
struct Secured {
    stream: TokioIo<TlsStream<TcpStream>>,
    certificate: Option<ServerCertificate>,
    is_h2: bool,
}

impl Connection for Secured {
    fn connected(&self) -> Connected {
        let connected = match &self.certificate {
            Some(certificate) => Connected::new().extra(certificate.clone()),
            None => Connected::new(),
        };
        if self.is_h2 {
            connected.negotiated_h2()
        } else {
            connected
        }
    }
}

impl hyper::rt::Read for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}
