//! Every bound of a link in one place.

use std::collections::BTreeMap;
use std::time::Duration;

use mimi::Provider;

/// The bounds of one endpoint. The defaults suit the Internet; both sides may differ, each enforces its own.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections accepted at a time; more are refused.
    pub connections_max: usize,
    /// Connections accepted at a time from one provider; more are closed with [`Code::TooMany`](crate::Code::TooMany).
    pub connections_per_peer_max: usize,
    /// Streams that a peer may have open at a time on one connection: calls under way and fan-out streams.
    pub streams_max: u32,
    /// Fan-out streams that a peer may have open at a time on one connection.
    pub fanout_streams_max: usize,
    /// Shards that may be resumed on one fan-out stream.
    pub shards_max: usize,
    /// Octets of a Call or Answer frame. A body over HTTPS has at most 8 MiB.
    pub call_bytes_max: usize,
    /// Octets of a Deliver frame. A `/notify` body has at most 16 MiB.
    pub deliver_bytes_max: usize,
    /// Octets of Deliver frames of one shard that may be waiting here for the service, as long as few shards are
    /// active: all shards of a stream together start from [`credit_total_bytes`](Self::credit_total_bytes).
    pub credit_bytes: usize,
    /// Octets of credit over which shards resumed later get a smaller share, on one fan-out stream.
    pub credit_total_bytes: usize,
    /// Octets of QUIC flow control per stream, and of the send window of a connection: what a peer that stops reading
    /// makes this side hold.
    pub window_bytes: u32,
    /// A peer that has not finished a call's request, or not answered it, in this time is given up.
    pub call_timeout: Duration,
    /// A handshake not done in this time is given up.
    pub connect_timeout: Duration,
    /// Idle connections are kept by a packet this often.
    pub keep_alive: Duration,
    /// A connection is lost when nothing is heard for this long.
    pub idle_timeout: Duration,
    /// On draining, how long calls and deliveries under way may still take.
    pub drain_timeout: Duration,
    /// Octets of the largest UDP payload tried. Raise it (to 6,400 at most, ten segments share 64 KiB) only on
    /// networks known to carry jumbo frames.
    pub mtu_max: u16,
    /// The same for single peers that are dialled.
    pub mtu_max_to: BTreeMap<Provider, u16>,
    /// Octets asked for the socket's send and receive buffers; the system may grant less, which is logged.
    pub socket_buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_peer_max: 64,
            streams_max: 256,
            fanout_streams_max: 16,
            shards_max: 1_024,
            call_bytes_max: (8 << 20) + (64 << 10),
            deliver_bytes_max: (16 << 20) + (64 << 10),
            credit_bytes: 256 << 10,
            credit_total_bytes: 32 << 20,
            window_bytes: 1 << 20,
            call_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(5),
            mtu_max: 1_452,
            mtu_max_to: BTreeMap::new(),
            socket_buffer_bytes: 4 << 20,
        }
    }
}

impl Limits {
    /// Octets of the largest UDP payload that is tried to `peer`.
    pub(crate) fn mtu_max_to(&self, peer: &Provider) -> u16 {
        self.mtu_max_to.get(peer).copied().unwrap_or(self.mtu_max)
    }
}
