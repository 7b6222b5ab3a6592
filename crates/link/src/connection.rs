//! A link that we dialled.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mimi::Provider;
use prost::Message;
use proto::link::{Answer, Call, CallStream, FanoutStream, StreamHeader, stream_header};
use tokio::time::timeout;

use crate::frame::{self, FrameReader};
use crate::{Code, Fanout, LedgerId, Limits, LinkError};

/// An open link to a provider whose certificate has been verified. Clones share it; it is closed when the last clone
/// and the last [`Fanout`] on it are dropped.
#[derive(Debug, Clone)]
pub struct Connection {
    peer: Provider,
    quinn: quinn::Connection,
    limits: Arc<Limits>,
}

impl Connection {
    pub(crate) fn new(peer: Provider, quinn: quinn::Connection, limits: Arc<Limits>) -> Self {
        Self { peer, quinn, limits }
    }

    /// The provider dialled, which the other end has proved to be.
    pub fn peer(&self) -> &Provider {
        &self.peer
    }

    /// Sends one request and waits for its answer, for at most [`Limits::call_timeout`]. On an error the request may
    /// have been carried out nonetheless.
    pub async fn call(&self, call: Call) -> Result<Answer, LinkError> {
        let bytes = call.encoded_len();
        let max = self.limits.call_bytes_max;
        if bytes > max {
            return Err(LinkError::TooLarge { bytes, max });
        }
        match timeout(self.limits.call_timeout, self.exchange(&call)).await {
            Ok(answered) => answered,
            Err(_) => Err(LinkError::TimedOut),
        }
    }

    /// Opens a stream for the entries of one ledger's shards.
    pub async fn fanout(&self, ledger: LedgerId) -> Result<Fanout, LinkError> {
        let ledger_id = Bytes::copy_from_slice(&ledger);
        let header = opening(stream_header::Kind::Fanout(FanoutStream { ledger: ledger_id }));
        let (mut send, recv) = self.quinn.open_bi().await.map_err(lost)?;
        send.write_chunk(header).await.map_err(unwritten)?;
        Ok(Fanout::start(ledger, send, recv, &self.limits))
    }

    /// Whether the link still stands, as far as is known.
    pub fn is_open(&self) -> bool {
        self.quinn.close_reason().is_none()
    }

    /// Completes when the link is gone, with the reason.
    pub async fn closed(&self) -> LinkError {
        lost(self.quinn.closed().await)
    }

    /// Closes the link at once, whatever is under way on it.
    pub fn close(&self, code: Code) {
        self.quinn.close(code.varint(), b"");
    }

    /// The current estimate of the round trip.
    pub fn rtt(&self) -> Duration {
        self.quinn.rtt()
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, LinkError> {
        let (mut send, recv) = self.quinn.open_bi().await.map_err(lost)?;
        let header = opening(stream_header::Kind::Call(CallStream {}));
        let mut both = BytesMut::from(header);
        both.extend_from_slice(&frame::encode(call));
        let mut frames = FrameReader::new(recv);
        match send.write_chunk(both.freeze()).await {
            // A peer that stopped the stream may say why in the other direction.
            Ok(()) | Err(quinn::WriteError::Stopped(_)) => {
                let _ = send.finish();
            }
            Err(error) => return Err(unwritten(error)),
        }
        let answer = frames.expect(self.limits.call_bytes_max).await.and_then(frame::decode);
        answer.map_err(|error| {
            frames.stop(error.code());
            error.into()
        })
    }
}

fn opening(kind: stream_header::Kind) -> Bytes {
    frame::encode(&StreamHeader { kind: Some(kind) })
}

pub(crate) fn lost(error: quinn::ConnectionError) -> LinkError {
    LinkError::Lost(match error {
        quinn::ConnectionError::ApplicationClosed(close) => Code::from(close.error_code).to_string(),
        error => error.to_string(),
    })
}

pub(crate) fn unwritten(error: quinn::WriteError) -> LinkError {
    match error {
        quinn::WriteError::Stopped(code) => LinkError::Closed(code.into()),
        quinn::WriteError::ConnectionLost(error) => lost(error),
        error => LinkError::Lost(error.to_string()),
    }
}
