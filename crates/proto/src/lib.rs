//! The types generated from the files in `proto/`, one module per file, and nothing else: what a message means is said
//! in its `.proto` file.

#[allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    reason = "generated code"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

/// Frames between two providers on one QUIC connection.
pub use generated::nave::link::v1 as link;

/// Edge to hub.
pub use generated::nave::hub::v1 as hub;

/// Edge and courier to follower.
pub use generated::nave::follower::v1 as follower;

/// The provider API.
pub use generated::nave::provider::v1 as provider;

/// Operator to hub.
pub use generated::nave::admin::v1 as admin;
