//! Accepts TLS connections and serves HTTP on them: bounded in number, in time and per peer, without Nagle's algorithm,
//! and drained when the process stops.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mimi::Provider;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// What one listener admits.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections open at a time; more wait in the system's backlog.
    pub connections_max: usize,
    /// Requests under way at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// A TLS handshake not done in this time is given up.
    pub handshake: Duration,
    /// Request headers, and answers to pings, not here in this time end the connection.
    pub header: Duration,
    /// On draining, how long requests under way may still take.
    pub drain: Duration,
}

/// After an accept that failed (too many open files, say) the listener rests.
const REST: Duration = Duration::from_millis(100);

/// HTTP/2 connections are pinged this often, and given up when the answer does not come.
const PING: Duration = Duration::from_secs(30);

/// Accepts on `listener` until `cancel`, each connection under what `tls` says at that time; `greet` makes the service of
/// each finished handshake, or turns it away.
pub async fn serve<T, G, S, B>(listener: TcpListener, tls: T, bounds: &Bounds, cancel: CancellationToken, greet: G)
where
    T: Fn() -> Arc<ServerConfig> + Send,
    G: Fn(&TlsStream<TcpStream>) -> Option<S> + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Future + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let greet = Arc::new(greet);
    let free = Arc::new(Semaphore::new(bounds.connections_max));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &free) => accepted,
        };
        let Some((stream, place)) = accepted else {
            tokio::time::sleep(REST).await;
            continue;
        };
        let (acceptor, greet, cancel) = (TlsAcceptor::from(tls()), greet.clone(), cancel.clone());
        let (handshake, drain, http) = (bounds.handshake, bounds.drain, builder(bounds));
        connections.spawn(async move {
            let _place = place;
            let Ok(Ok(stream)) = timeout(handshake, acceptor.accept(stream)).await else {
                return tracing::debug!("handshake failed");
            };
            let Some(service) = greet(&stream) else {
                return;
            };
            let connection = http.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => return note(ended),
                () = cancel.cancelled() => connection.as_mut().graceful_shutdown(),
            }
            if let Ok(ended) = timeout(drain, connection).await {
                note(ended);
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is room for it. `None`: the system has no more to give.
async fn accept(listener: &TcpListener, free: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let place = free.clone().acquire_owned().await.ok()?;
    match listener.accept().await.and_then(|(stream, _)| without_delay(stream)) {
        Ok(stream) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "connection not accepted");
            None
        }
    }
}

/// With Nagle's algorithm on, each answer on a fresh connection waits 40 ms for a delayed acknowledgement.
pub fn without_delay(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn builder(bounds: &Bounds) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams_max)
        .keep_alive_interval(PING)
        .keep_alive_timeout(bounds.header);
    builder
}

fn note(ended: Result<(), Box<dyn Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(error = &*error, "connection ended");
    }
}

/// Counts the open connections of each peer. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<BTreeMap<Provider, usize>>>);

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    name: Provider,
}

impl Places {
    /// A place for one more connection of `name`, unless it has `max`.
    pub fn take(&self, name: &Provider, max: usize) -> Option<Place> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(name.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            name: name.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn accepted_connections_have_no_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let free = Arc::new(Semaphore::new(1));
        let (stream, _place) = accept(&listener, &free).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[test]
    fn a_peer_gets_its_places_back() {
        let (places, peer) = (Places::default(), "b.example".parse().unwrap());
        let one = places.take(&peer, 1).unwrap();
        assert!(places.take(&peer, 1).is_none());
        assert!(places.take(&"c.example".parse().unwrap(), 1).is_some());
        drop(one);
        assert!(places.take(&peer, 1).is_some());
    }
}
