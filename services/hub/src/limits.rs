//! Limits of this service.

/// Octets of one gRPC message to or from the hub: a body of the drafts (8 MiB at most) and what is said beside it.
pub const GRPC_BYTES_MAX: usize = 20 << 20;

/// Rooms of one delivery that are notified at the same time over HTTPS.
pub(crate) const NOTIFY_ROOMS_MAX: usize = 8;
