//! The simulated cluster: edges, hubs, followers and clients on simulated hosts over a store that refuses, delays and lies, all
//! driven by one seed. Every promise of the design is checked on the record of each run; the same seed gives the same run.
//!
//! It runs the production code of `room`, `ledger`, `shard`, `hub`, `fanout` and `route`, and real MLS clients. What it replaces is
//! what those take as parameters: store, transport, clock, spawner.
//!
//! * [`scenario`] plays one seed: phase one with faults, phase two without until everything has converged.
//! * [`faults`] is the plan that a seed makes; [`store`], [`follower`], [`hubs`], [`edges`] and [`world`] carry it out.
//! * [`trace`] records what happens, [`marks`] which rare branches were reached, [`truth`] what the store holds in the end.
//! * [`checkers`], [`rest`] and [`shadow`] are the promises, as functions of the record; `doctored` shows that each can
//!   fail.
//! * [`campaign`] plays many seeds; [`Sabotage`] breaks the cluster on purpose, so that it is seen whether they notice.
//!
//! `cargo test -p sim` plays [`campaign::SEEDS`] seeds and those in `seeds.txt`, `cargo run --release -p sim -- --seeds 10000`
//! more; a seed that fails prints the command that plays it again.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod campaign;
mod cast;
mod checkers;
#[cfg(test)]
mod doctored;
mod edges;
mod faults;
mod follower;
mod hubs;
mod keys;
mod link;
mod marks;
mod puppet;
mod rest;
#[cfg(test)]
mod runs;
mod scenario;
mod shadow;
mod store;
mod trace;
mod truth;
mod wire;
mod world;
mod written;

pub use crate::store::Sabotage;
