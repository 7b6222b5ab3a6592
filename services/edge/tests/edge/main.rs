//! The edge over loopback sockets, with a hub, a follower and other providers that say what a test tells them to.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unreachable_pub, reason = "one test binary of several files")]

mod abuse;
mod assets;
mod bad_input;
mod bodies;
mod bucket;
mod catch_up;
mod consent;
mod contacts;
mod federation;
mod identity;
mod key_material;
mod links;
mod oblivious;
mod overload;
mod provider;
mod query;
mod scenario;
mod services;
mod world;
