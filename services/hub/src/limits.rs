//! Limits of this service.

/// Octets of one gRPC message to or from the hub: a body of the drafts (8 MiB at most) and what is said beside it.
pub const GRPC_BYTES_MAX: usize = 20 << 20;

/// Octets of one report of abuse: many texts and a few pictures.
pub(crate) const REPORT_BYTES_MAX: usize = 2 << 20;

/// Cases of abuse in one answer.
pub(crate) const CASES_LISTED_MAX: usize = 100;

/// Followers, or shards of one, in one answer to an operator.
pub(crate) const FOLLOWERS_LISTED_MAX: usize = 256;

/// Entries that were set aside in one answer to an operator, or that one of its orders is about.
pub(crate) const SET_ASIDE_LISTED_MAX: usize = 64;

/// Orders and questions of operators worked on at a time; more are told to come back.
pub(crate) const OPERATORS_MAX: usize = 8;

/// Followers that one message wakes the couriers of.
pub(crate) const WAKE_FOLLOWERS_MAX: usize = 256;

/// Octets of cases after which an answer takes no further one, so that it fits into [`GRPC_BYTES_MAX`].
pub(crate) const LISTED_BYTES_MAX: usize = 8 << 20;

/// Entries in one answer about a room's events.
pub(crate) const EVENTS_MAX: usize = 512;

/// Octets of messages after which such an answer takes no further entry.
pub(crate) const EVENTS_BYTES: usize = 1 << 20;

/// Questions of catch-up answered at a time; more are told to come back.
pub(crate) const CATCH_UPS_MAX: usize = 32;

/// Rooms of one question that are looked at beside each other.
pub(crate) const HEADS_AT_ONCE: usize = 16;

/// Rooms of one delivery that are notified at the same time over HTTPS.
pub(crate) const NOTIFY_ROOMS_MAX: usize = 8;
