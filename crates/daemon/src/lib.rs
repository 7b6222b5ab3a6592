//! What each service shares, and nothing of the domain: a process that starts from a checked configuration, tells how it
//! is, and stops without dropping work.

pub mod admin;
pub mod certificates;
pub mod config;
pub mod descriptors;
pub mod drain;
pub mod files;
pub mod health;
pub mod memory;
pub mod telemetry;
pub mod tokens;
pub mod traces;

pub use health::{Health, Latch};
pub use telemetry::Telemetry;
