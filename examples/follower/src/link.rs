//! Connections and streams (docs/link.md, "Connections"): who may open them, and what the first frame says they are for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message as _;
use proto::link::{Answer, Call, FanoutStream, StreamHeader, stream_header};
use quinn::crypto::rustls::QuicServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::fanout::follow;
use crate::frame::{CALL_BYTES_MAX, Code, Frames, HEADER_BYTES_MAX, write};
use crate::inbox::Inbox;
use crate::{calls, tls};

/// The ALPN protocol name of this version of the link.
pub(crate) const ALPN: &[u8] = b"nave-link/1";

const CONNECTIONS_MAX: usize = 64;
const STREAMS_MAX: u32 = 256;
const FANOUT_STREAMS_MAX: usize = 16;
/// Octets that QUIC takes for one stream before we read them; all streams together have eight times that.
const STREAM_WINDOW: u32 = 1 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the header of a stream, and for the whole request of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// For the last octets of a stream to arrive.
const FLUSH: Duration = Duration::from_secs(5);
/// Octets of the endpoint and of the target of a call.
const ENDPOINT_BYTES_MAX: usize = 64;
const TARGET_BYTES_MAX: usize = 1_024;

/// A follower of one hub.
pub(crate) struct Follower {
    pub(crate) hub: String,
    pub(crate) inbox: Arc<Mutex<Inbox>>,
    /// Where KeyMaterialResponses are.
    pub(crate) key_material: PathBuf,
}

/// How QUIC is to be spoken.
pub(crate) fn quic_config(tls: rustls::ServerConfig) -> anyhow::Result<quinn::ServerConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window((8 * STREAM_WINDOW).into())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into()?));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

impl Follower {
    /// Accepts links until the endpoint is closed.
    pub(crate) async fn serve(self: Arc<Self>, endpoint: quinn::Endpoint) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Some(incoming) = endpoint.accept().await {
            let Ok(place) = places.clone().try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            let follower = self.clone();
            tokio::spawn(async move {
                let _place = place;
                follower.connection(incoming).await;
            });
        }
    }

    async fn connection(self: Arc<Self>, incoming: quinn::Incoming) {
        let Ok(connecting) = incoming.accept() else { return };
        let Ok(Ok(connection)) = timeout(CONNECT_TIMEOUT, connecting).await else {
            return;
        };
        if !self.is_of_hub(&connection) {
            return connection.close(Code::Unknown.into(), b"");
        }
        eprintln!("link from {}", connection.remote_address());
        // QUIC forgets a stream as soon as the hub resets it, our task does not: so tasks are counted, too.
        let tasks = Arc::new(Semaphore::new(STREAMS_MAX as usize));
        let fanouts = Arc::new(Semaphore::new(FANOUT_STREAMS_MAX));
        while let Ok(task) = tasks.clone().acquire_owned().await {
            let Ok((send, receive)) = connection.accept_bi().await else {
                break;
            };
            let (follower, fanouts) = (self.clone(), fanouts.clone());
            tokio::spawn(async move {
                let _task = task;
                follower.stream(send, Frames(receive), &fanouts).await;
            });
        }
        eprintln!("link ended: {:?}", connection.close_reason());
    }

    fn is_of_hub(&self, connection: &quinn::Connection) -> bool {
        let chain = connection.peer_identity().and_then(|identity| identity.downcast().ok());
        chain.is_some_and(|chain: Box<Vec<CertificateDer<'static>>>| tls::speaks_for(&chain, &self.hub))
    }

    /// Serves one stream, and ends it: well, or with a code in both directions.
    async fn stream(&self, mut send: quinn::SendStream, mut frames: Frames, fanouts: &Arc<Semaphore>) {
        match self.serve_stream(&mut send, &mut frames, fanouts).await {
            Ok(()) => {
                let _ = send.finish();
                let _ = timeout(FLUSH, send.stopped()).await;
            }
            Err(code) => {
                if code != Code::Done {
                    eprintln!("stream closed: {code:?}");
                }
                // Either may have ended already.
                let _ = frames.0.stop(code.into());
                let _ = send.reset(code.into());
            }
        }
    }

    async fn serve_stream(
        &self,
        send: &mut quinn::SendStream,
        frames: &mut Frames,
        fanouts: &Arc<Semaphore>,
    ) -> Result<(), Code> {
        let header = timeout(CALL_TIMEOUT, frames.expect::<StreamHeader>(HEADER_BYTES_MAX)).await;
        match header.map_err(|_| Code::TimedOut)??.kind {
            Some(stream_header::Kind::Call(_)) => {
                let call = timeout(CALL_TIMEOUT, request(frames)).await;
                let answer = self.answer(call.map_err(|_| Code::TimedOut)??).await?;
                write(send, &answer).await
            }
            Some(stream_header::Kind::Fanout(FanoutStream { ledger })) => {
                let _place: OwnedSemaphorePermit = fanouts.clone().try_acquire_owned().map_err(|_| Code::TooMany)?;
                follow(&self.inbox, &ledger, frames, send).await
            }
            None => Err(Code::Malformed),
        }
    }

    async fn answer(&self, call: Call) -> Result<Answer, Code> {
        let directory = self.key_material.clone();
        let answering = tokio::task::spawn_blocking(move || calls::answer(&directory, &call));
        answering.await.map_err(|_| Code::Unavailable)
    }
}

/// The one Call of a call stream.
async fn request(frames: &mut Frames) -> Result<Call, Code> {
    let frame = frames.next(CALL_BYTES_MAX).await?.ok_or(Code::Malformed)?;
    let call = Call::decode(frame).map_err(|_| Code::Malformed)?;
    if call.endpoint.len() > ENDPOINT_BYTES_MAX || call.target.len() > TARGET_BYTES_MAX {
        return Err(Code::Malformed);
    }
    match frames.next(0).await? {
        None => Ok(call),
        Some(_) => Err(Code::Malformed),
    }
}
