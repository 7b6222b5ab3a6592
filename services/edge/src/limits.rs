//! Every bound of the edge, in one place. Bounds on what a body may hold are `mimi::limits`.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tier::accept::Bounds;

/// Section `edge.limits` of a configuration; `rates` is the section `edge.rates`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections open at a time on one listener; more wait in the system's backlog.
    pub connections_max: usize,
    /// HTTPS connections open at a time from one provider; more are closed after the handshake.
    pub connections_per_peer_max: usize,
    /// Requests under way at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// Octets of request bodies held at a time over HTTPS; more are answered 503.
    pub bodies_bytes_max: usize,
    /// A TLS handshake not done in this time is given up.
    pub handshake_ms: u64,
    /// Request headers not here in this time end the connection.
    pub header_ms: u64,
    /// A request body not here in this time is answered 408.
    pub body_ms: u64,
    /// A hub or follower that has not answered in this time is taken to be overloaded: 503.
    pub answer_ms: u64,
    /// On draining, how long requests under way may still take.
    pub drain_ms: u64,
    /// KeyPackages in one upload.
    pub upload_key_packages_max: usize,
    /// Event streams open at a time.
    pub event_streams_max: usize,
    /// Token buckets.
    #[serde(skip)]
    pub rates: RateLimits,
}

/// Section `edge.rates` of a configuration: how often a provider (or a local user) may ask, per endpoint. What exceeds it is answered 429 before any work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Uses up KeyPackages, and tells who exists: low.
    pub key_material: Rate,
    /// Handshakes: each costs signature checks.
    pub update: Rate,
    /// Messages.
    pub submit_message: Rate,
    /// Fan-out by HTTPS.
    pub notify: Rate,
    /// Costs an encryption of a whole group, and tells which rooms exist: low.
    pub group_info: Rate,
    /// Writes to users' inboxes: low.
    pub request_consent: Rate,
    /// Writes to users' inboxes: low.
    pub update_consent: Rate,
    /// Tells who exists, and searches profiles: low.
    pub identifier_query: Rate,
    /// Makes people work: low.
    pub report_abuse: Rate,
    /// Catch-up: up to a MiB of what was sent before.
    pub room_events: Rate,
    /// Where up to 100 rooms stand.
    pub room_heads: Rate,
    /// What was due to us and is gone: each makes us ask where all rooms of the hub stand.
    pub entries_expired: Rate,
    /// Assets fetched from our store.
    pub asset: Rate,
    /// Assets of other providers fetched for a provider (proxyDownload).
    pub proxy_download: Rate,
    /// The same, through the oblivious gateway, and its keys. Each costs a decryption.
    pub oblivious: Rate,
    /// All calls of one local user together.
    pub user: Rate,
    /// What one local user asks of other users, so that nobody uses up what other providers allow us: low.
    pub contact: Rate,
    /// Assets that one local user stores.
    pub upload: Rate,
    /// Assets that one local user fetches, in whatever way.
    pub download: Rate,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Tokens that come back in a second.
    pub per_second: NonZeroU32,
    /// Tokens that it holds.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A bucket of `burst` tokens, refilled at `per_second`. Zero counts as one.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            per_second: at_least_one(per_second),
            burst: at_least_one(burst),
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            key_material: Rate::new(100, 500),
            update: Rate::new(1_000, 2_000),
            submit_message: Rate::new(20_000, 40_000),
            notify: Rate::new(10_000, 20_000),
            group_info: Rate::new(100, 500),
            request_consent: Rate::new(20, 200),
            update_consent: Rate::new(20, 200),
            identifier_query: Rate::new(10, 100),
            report_abuse: Rate::new(5, 50),
            room_events: Rate::new(100, 1_000),
            room_heads: Rate::new(20, 200),
            entries_expired: Rate::new(1, 50),
            asset: Rate::new(500, 2_000),
            proxy_download: Rate::new(200, 1_000),
            oblivious: Rate::new(100, 500),
            user: Rate::new(2_000, 10_000),
            contact: Rate::new(1, 50),
            upload: Rate::new(1, 100),
            download: Rate::new(20, 500),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_peer_max: 256,
            streams_max: 256,
            bodies_bytes_max: 512 << 20,
            handshake_ms: 5_000,
            header_ms: 10_000,
            body_ms: 30_000,
            answer_ms: 10_000,
            drain_ms: 10_000,
            upload_key_packages_max: 1_000,
            event_streams_max: 10_000,
            rates: RateLimits::default(),
        }
    }
}

impl Limits {
    /// Those of one listener.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            connections_max: self.connections_max,
            streams_max: self.streams_max,
            handshake: Duration::from_millis(self.handshake_ms),
            header: Duration::from_millis(self.header_ms),
            drain: Duration::from_millis(self.drain_ms),
        }
    }

    pub(crate) fn header(&self) -> Duration {
        Duration::from_millis(self.header_ms)
    }

    pub(crate) fn body(&self) -> Duration {
        Duration::from_millis(self.body_ms)
    }

    pub(crate) fn answer(&self) -> Duration {
        Duration::from_millis(self.answer_ms)
    }
}

/// Octets of a gRPC message to or from hub and follower: the largest body, and what is around it.
pub(crate) const GRPC_BYTES_MAX: usize = mimi::limits::NOTIFY_BYTES_MAX + (1 << 20);

/// Octets of a ConsentEntry: the KeyPackages of more clients than people have.
pub(crate) const CONSENT_BYTES_MAX: usize = 256 << 10;

/// Octets of an IdentifierRequest, whose elements are short, and of a question of catch-up.
pub(crate) const QUERY_BYTES_MAX: usize = 64 << 10;

/// Octets of an encapsulated request: a URL and a range, sealed.
pub(crate) const OBLIVIOUS_BYTES_MAX: usize = 16 << 10;

/// Octets of a message of an upload: a MiB of the asset, and what is around it.
pub(crate) const CHUNK_BYTES_MAX: usize = (1 << 20) + (4 << 10);

/// Octets that are more than what stands around the KeyPackages of a ConsentEntry.
pub(crate) const URIS_BYTES: usize = 4 << 10;

/// What a request is told to wait when we are overloaded and know no better.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Event acknowledgements on their way to the follower.
pub(crate) const EVENT_ACKS: usize = 16;
