//! Accepting links: who may connect, which streams they may open, and what becomes of each frame that opens one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mimi::Provider;
use proto::link::{Acknowledge, Answer, Call, Deliver, StreamHeader, stream_header};
use rustls_pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::follow::{Context, follow};
use crate::frame::{self, FrameError, FrameReader, HEADER_BYTES_MAX};
use crate::{Code, Endpoint, LedgerId, Limits, Peer};

/// Octets of the endpoint name of a call.
pub(crate) const ENDPOINT_BYTES_MAX: usize = 64;

/// Octets of the target of a call.
pub(crate) const TARGET_BYTES_MAX: usize = 1_024;

/// How long a written answer may take to arrive before its stream is no longer waited for.
const FLUSH: Duration = Duration::from_secs(5);

/// The service behind cannot take it now: the fan-out stream is closed with [`Code::Unavailable`], and the hub resumes
/// later from what is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unavailable")]
pub struct Unavailable;

/// What peers reach over their links. Calls run side by side; positions and deliveries of one (ledger, shard) of one
/// stream come one after the other. A future may be dropped when its connection ends.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Answers one request; `call.endpoint` is a directory name. Refusals are answers, too.
    async fn call(&self, peer: &Peer, call: Call) -> Answer;

    /// The first offset of `shard` in the hub's `ledger` that is not durable here, or `None` when nothing of it is.
    async fn position(&self, peer: &Peer, ledger: LedgerId, shard: u32) -> Result<Option<u64>, Unavailable>;

    /// Stores the items. Whatever the answer's watermark has passed is durable or refused for good by it; only then is
    /// it answered. Items have been checked for shape, not for whether `peer` may send them.
    async fn deliver(&self, peer: &Peer, ledger: LedgerId, deliver: Deliver) -> Result<Acknowledge, Unavailable>;
}

/// Accepts links on `endpoint` until `drain` is cancelled, then lets what is under way finish, for at most
/// [`Limits::drain_timeout`], and closes what it accepted with [`Code::Draining`].
pub async fn serve(endpoint: Endpoint, service: Arc<dyn Service>, drain: CancellationToken) {
    let acceptor = Arc::new(Acceptor {
        service,
        limits: endpoint.limits().clone(),
        endpoint,
        drain: drain.clone(),
        peers: Mutex::default(),
    });
    acceptor.endpoint.listen(true);
    let mut connections = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            biased;
            () = drain.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            incoming = acceptor.endpoint.quinn().accept() => incoming,
        };
        let Some(incoming) = incoming else { break };
        if connections.len() >= acceptor.limits.connections_max {
            incoming.refuse();
        } else if !incoming.remote_address_validated() && connections.len() >= acceptor.limits.connections_max / 2 {
            // Under load, make sure of the address before paying for a handshake.
            let _ = incoming.retry();
        } else {
            connections.spawn(acceptor.clone().connection(incoming));
        }
    }
    acceptor.endpoint.listen(false);
    while connections.join_next().await.is_some() {}
}

struct Acceptor {
    endpoint: Endpoint,
    service: Arc<dyn Service>,
    limits: Arc<Limits>,
    drain: CancellationToken,
    /// Open connections of each.
    peers: Mutex<BTreeMap<Provider, usize>>,
}

impl Acceptor {
    async fn connection(self: Arc<Self>, incoming: quinn::Incoming) {
        let address = incoming.remote_address();
        let Ok(connecting) = incoming.accept() else { return };
        let connection = match timeout(self.limits.connect_timeout, connecting).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%address, %error, "link refused"),
            Err(_) => return tracing::debug!(%address, "link refused: handshake timed out"),
        };
        let Some(peer) = self.peer_of(&connection) else {
            return connection.close(Code::Unknown.varint(), b"");
        };
        let Some(_place) = self.place(&peer) else {
            tracing::warn!(%peer, "link refused: too many connections");
            return connection.close(Code::TooMany.varint(), b"");
        };
        tracing::info!(%peer, %address, "link accepted");
        let code = self.streams(&peer, &connection).await;
        connection.close(code.varint(), b"");
        tracing::info!(%peer, %address, reason = ?connection.close_reason(), "link ended");
    }

    fn peer_of(&self, connection: &quinn::Connection) -> Option<Peer> {
        let identity = connection.peer_identity()?;
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        self.endpoint.roots().peer_of(&chain).ok()
    }

    async fn streams(&self, peer: &Peer, connection: &quinn::Connection) -> Code {
        let context = Arc::new(Context {
            service: self.service.clone(),
            peer: peer.clone(),
            limits: self.limits.clone(),
            drain: self.drain.clone(),
        });
        // QUIC forgets a stream as soon as the peer has reset it, our task does not: so tasks are counted, too.
        let tasks = Arc::new(Semaphore::new(self.limits.streams_max as usize));
        let fanouts = Arc::new(Semaphore::new(self.limits.fanout_streams_max));
        let mut streams = JoinSet::new();
        let code = loop {
            let free = async {
                let permit = tasks.clone().acquire_owned().await;
                (permit.expect("never closed"), connection.accept_bi().await)
            };
            tokio::select! {
                biased;
                () = self.drain.cancelled() => break Code::Draining,
                Some(_) = streams.join_next() => {}
                (permit, accepted) = free => match accepted {
                    Ok((send, recv)) => {
                        streams.spawn(stream(context.clone(), fanouts.clone(), send, recv, permit));
                    }
                    Err(_) => break Code::Done,
                },
            }
        };
        if code == Code::Draining {
            let finish = async { while streams.join_next().await.is_some() {} };
            let _ = timeout(self.limits.drain_timeout, finish).await;
        }
        code
    }

    fn place(&self, peer: &Peer) -> Option<Place<'_>> {
        let name = peer.name().clone();
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let open = peers.entry(name.clone()).or_default();
        if *open >= self.limits.connections_per_peer_max {
            return None;
        }
        *open += 1;
        drop(peers);
        Some(Place { acceptor: self, name })
    }
}

/// One connection counted against its peer.
struct Place<'a> {
    acceptor: &'a Acceptor,
    name: Provider,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut peers = self.acceptor.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = peers.get_mut(&self.name) {
            *open -= 1;
            if *open == 0 {
                peers.remove(&self.name);
            }
        }
    }
}

async fn stream(
    context: Arc<Context>,
    fanouts: Arc<Semaphore>,
    mut send: quinn::SendStream,
    recv: quinn::RecvStream,
    _task: OwnedSemaphorePermit,
) {
    let patience = context.limits.call_timeout;
    let mut frames = FrameReader::new(recv);
    let code = match timeout(patience, header(&mut frames)).await {
        Err(_) => Code::TimedOut,
        Ok(Err(error)) => error.code(),
        Ok(Ok(stream_header::Kind::Call(_))) => match timeout(patience, request(&context, &mut frames)).await {
            Err(_) => Code::TimedOut,
            Ok(Err(error)) => error.code(),
            Ok(Ok(call)) => return answer(&context, call, send).await,
        },
        Ok(Ok(stream_header::Kind::Fanout(fanout))) => {
            match (LedgerId::try_from(&fanout.ledger[..]), fanouts.try_acquire()) {
                (Ok(ledger), Ok(_place)) => {
                    let code = follow(context, ledger, &mut frames, send).await;
                    return frames.stop(code);
                }
                (Err(_), _) => Code::Malformed,
                (_, Err(_)) => Code::TooMany,
            }
        }
    };
    tracing::debug!(peer = %context.peer, "stream closed: {code}");
    frames.stop(code);
    // The peer may have stopped it already.
    let _ = send.reset(code.varint());
}

async fn header(frames: &mut FrameReader) -> Result<stream_header::Kind, FrameError> {
    let header: StreamHeader = frame::decode(frames.expect(HEADER_BYTES_MAX).await?)?;
    header.kind.ok_or(FrameError::Malformed("a stream of no known kind"))
}

async fn request(context: &Context, frames: &mut FrameReader) -> Result<Call, FrameError> {
    let call: Call = frame::decode(frames.expect(context.limits.call_bytes_max).await?)?;
    if call.endpoint.len() > ENDPOINT_BYTES_MAX || call.target.len() > TARGET_BYTES_MAX {
        return Err(FrameError::Malformed("a name is too long"));
    }
    if frames.next(0).await?.is_some() {
        return Err(FrameError::Malformed("a call is one frame"));
    }
    Ok(call)
}

async fn answer(context: &Context, call: Call, mut send: quinn::SendStream) {
    let mut frame = frame::encode(&context.service.call(&context.peer, call).await);
    if frame.len() > context.limits.call_bytes_max {
        tracing::error!(bytes = frame.len(), "an answer exceeds what a link carries");
        frame = frame::encode(&Answer {
            status: 500,
            ..Answer::default()
        });
    }
    // A caller that gave up has stopped the stream: nobody is left to tell.
    if send.write_chunk(frame).await.is_ok() && send.finish().is_ok() {
        let _: Result<_, _> = timeout(FLUSH, send.stopped()).await;
    }
}
