//! `nave-hub`: rooms, ordered, durable, fanned out. [`HubService::start`] puts the hub's crates together, serves the edge
//! over gRPC and brings entries to followers; the all-in-one binary and `nave-hub` itself use the same constructor.

mod abuse;
mod admin;
mod carrier;
mod catch_up;
pub mod config;
mod keys;
mod limits;
mod metrics;
pub mod plane;
mod reply;
mod serve;
mod service;

pub use abuse::Moderation;
pub use admin::AdminService;
pub use carrier::Carrier;
pub use hub::frank::{FrankingError, FrankingOptions};
pub use hub::keys::{BadKeys, HubKeys, NoRandomness, UnsupportedSuite};
pub use hub::seal::SealError;
pub use hub::{Arbiters, Clock, LocalTasks, Options, Spawner, SystemClock};
pub use limits::GRPC_BYTES_MAX;
pub use serve::{open_ledger, serve, work, work_on};
pub use service::{HubParts, HubService, StartError};
pub use shard::{BadSite, Incarnation, NodeOptions, Ownership, Site};
