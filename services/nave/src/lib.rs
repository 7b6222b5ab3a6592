//! A whole provider in one process: edge, hub and follower on one embedded store, talking to each other in memory and to
//! other providers over the network only.
//!
//! * [`init`] makes a provider's directory, [`config`] reads it.
//! * [`provider`] runs what it describes.
//! * [`demo`] lets clients of three providers live through a room's life, and checks what they are shown.

pub mod config;
pub mod demo;
pub mod heads;
pub mod init;
mod memory;
pub mod ports;
pub mod provider;
