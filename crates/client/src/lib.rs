//! A real MLS client of a provider's users, for demos, load and tests: everything it sends is what a phone would send,
//! and everything it receives is checked as a phone would check it.
//!
//! [`mls::Member`] is one client without any I/O; [`api::Api`] is its provider; [`session::Session`] drives the one
//! against the other. [`asset`] is what messages only refer to.

pub mod api;
pub mod asset;
pub mod mls;
pub mod session;
