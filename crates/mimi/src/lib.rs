//! Wire types and identifiers of the MIMI drafts: whatever is decoded here is bounded and canonical, and encodes back to
//! the same octets. Nothing here does I/O, cryptography or MLS; an embedded MLS structure is its octets.

pub mod uri;

pub use uri::{ClientUri, Provider, RoomUri, UriError, UserUri};
