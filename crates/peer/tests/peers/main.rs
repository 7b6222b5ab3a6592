//! Calls to a provider on loopback.
#![allow(clippy::unwrap_used, reason = "tests")]

mod assets;
mod directory;
mod links;
mod puppet;
mod requests;
