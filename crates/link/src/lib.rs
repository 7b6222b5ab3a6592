//! Authenticated QUIC links between providers: whoever is at the other end of a [`Connection`] has proved its domain
//! under the roots configured for that domain, and no frame from it can make this side panic or hold more memory than
//! [`Limits`] allows. Nothing here knows what a frame is for: requests go to a [`Service`], entries are octets.
//!
//! * [`tls`]: identities, trust roots per peer, TLS configurations (the edge's HTTPS uses them too).
//! * [`Endpoint`]: one UDP socket; [`Endpoint::connect`] dials, [`serve`] accepts.
//! * [`Connection::call`]: one request; [`Connection::fanout`]: the [`Fanout`] of one ledger's shards to a follower.
//!
//! A connection that ends stays ended: who dialled it dials again (crate `peer`).

mod code;
mod connection;
mod credit;
#[cfg(test)]
mod document;
mod endpoint;
mod fanout;
mod follow;
mod frame;
mod framed;
mod limits;
mod serve;
pub mod tls;

pub use code::Code;
pub use connection::Connection;
pub use endpoint::{ConnectError, Endpoint, SocketFacts};
pub use fanout::{Delivery, Fanout};
pub use frame::decode_room_events;
#[doc(hidden)]
pub use frame::read_frames;
pub use framed::Framed;
pub use limits::Limits;
pub use proto::link::{Acknowledge, Answer, Call, Deliver, Item, ItemRefusal, item};
pub use serve::{Service, Unavailable, serve};
pub use tls::{Identity, Peer, Roots};

/// The ALPN protocol name of the link.
pub const ALPN: &[u8] = b"nave-link/1";

/// A ledger incarnation: offsets count only together with it.
pub type LedgerId = [u8; 16];

/// Why a connection or a stream of it is of no more use.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The connection is gone. Dial again.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The peer closed this stream, and says why.
    #[error("closed by the peer: {0}")]
    Closed(Code),
    /// The peer sent what the protocol does not allow; the stream was closed.
    #[error("the peer broke the protocol: {0}")]
    Violation(&'static str),
    /// What was to be sent exceeds a limit of the link. Send it another way.
    #[error("{bytes} octets where {max} are the most")]
    TooLarge {
        /// Octets that it has.
        bytes: usize,
        /// Octets that it may have.
        max: usize,
    },
    /// More shards than one fan-out stream carries. Open another.
    #[error("no more shards on this stream")]
    TooManyShards,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
}
