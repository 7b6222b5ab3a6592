//! Links over loopback, with certificates made for the occasion.
#![allow(clippy::unwrap_used, reason = "tests")]

mod fanout;
mod handshake;
mod hostile;
mod puppet;
