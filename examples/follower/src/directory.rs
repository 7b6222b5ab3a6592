//! The directory document (docs/link.md, "Discovery"), over HTTPS with mutual TLS: it says where the link is. This provider
//! has no other endpoint, so there is nothing else in it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::tls::speaks_for;

const PATH: &str = "/.well-known/mimi-protocol-directory";
/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// One connection is one request, and over by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is published, and to whom.
pub(crate) struct Directory {
    pub(crate) hub: String,
    /// `host:port`, UDP.
    pub(crate) link: String,
}

/// Answers until the process ends.
pub(crate) async fn serve(directory: Directory, listener: TcpListener, tls: rustls::ServerConfig) {
    let (directory, acceptor) = (Arc::new(directory), TlsAcceptor::from(Arc::new(tls)));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await;
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets, most likely: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (directory, acceptor) = (directory.clone(), acceptor.clone());
        tokio::spawn(async move {
            let _place = place;
            let _ = timeout(PATIENCE, directory.answer(acceptor, stream)).await;
        });
    }
}

impl Directory {
    async fn answer(&self, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(stream) = acceptor.accept(stream).await else {
            return;
        };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        if !speaks_for(chain, &self.hub) {
            return;
        }
        let service = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(self.respond(&request)));
        let connection = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // A caller that went away in the middle asks again.
        let _ = connection.await;
    }

    fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET || request.uri().path() != PATH {
            let mut nothing = Response::new(Full::default());
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            return nothing;
        }
        // A host and a port: nothing in them wants escaping.
        let document = format!("{{\"naveLink\":\"{}\"}}", self.link);
        let mut response = Response::new(Full::from(document));
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}
