//! The edge answers other providers and our own clients, and keeps nothing: a request is authenticated, bounded and
//! checked for shape here, decided by the hub or the follower behind, and answered with what they said. Any edge can
//! answer any request, and none can reach the store of rooms.
//!
//! * Federation: the endpoints of mimi-protocol §5 over HTTPS with mutual TLS and over the QUIC link, both
//!   through one function from (provider, request) to answer.
//! * Assets: what messages refer to, stored for our users and fetched for them and for other providers.
//! * Provider API: what our own users' clients call, gRPC over TLS with a bearer token.

mod api;
mod assets;
pub mod config;
mod federation;
mod heard;
mod hubs;
mod limits;
mod metrics;
mod rates;
mod relay;
mod reply;
mod run;
mod serve;
mod tokens;

pub use assets::{
    AssetBody, AssetLimits, AssetParts, AssetStore, GatewaySecret, S3Error, S3Options, full as asset_body,
};
pub use config::Config;
pub use hubs::{Dialer, Hubs};
pub use limits::{Limits, Rate, RateLimits};
pub use relay::{FetchError, Relay, Unreachable};
pub use run::{EdgeParts, Listeners, run};
pub use serve::{serve, work};
pub use tokens::Tokens;
