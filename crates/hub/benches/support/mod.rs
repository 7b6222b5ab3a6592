//! A crowd of real MLS members at one hub, what is compared with it, and the table of both.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "benchmarks")]

pub mod bare;
#[cfg(feature = "fdb")]
pub mod cluster;
pub mod crowd;
pub mod figures;
