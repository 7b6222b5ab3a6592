//! Calls to other providers: whoever answers has proved to be the provider asked, over a link when it offers one and
//! over HTTPS otherwise. What an answer means is the caller's business; nothing here retries what a peer has refused.
//!
//! * [`Peers`]: the providers known here. [`Peers::request`] asks one, [`Peers::fanout`] and [`Peers::notify`] bring it
//!   entries, [`Peers::fetch_asset`] fetches what messages refer to.
//! * [`Directory`]: where a provider takes which request (mimi-protocol §5.1); the edge publishes its own with it.
//! * [`heads`]: whether a hub signed what it says of its rooms.
//! * [`Template`]: the URIs in it, expanded by a caller, taken apart by the edge.

mod addresses;
mod assets;
pub mod directory;
pub mod heads;
mod https;
mod known;
mod links;
mod peers;
pub mod template;

pub use assets::{AssetUrl, BadAssetUrl, Wanted};
pub use directory::{Directory, Endpoint};
pub use peers::{Numbers, PeerConfig, PeerError, PeerLimits, Peers, PeersConfig, Way, succeeded};
pub use proto::link::{Answer, Call};
pub use template::Template;

/// Where a provider's directory document is found.
pub const WELL_KNOWN: &str = "/.well-known/mimi-protocol-directory";

/// The header that says which of a room's entries a body is of: the numbers of the first and the last one, `first-last`.
/// No draft has it; whoever does not know it ignores it.
pub const ROOM_SEQ: &str = "mimi-room-seq";

/// The header that says the number of a room's last entry. As [`ROOM_SEQ`].
pub const ROOM_HEAD: &str = "mimi-room-head";

/// Where a provider's oblivious gateway is found, and its keys (RFC 9540 §4).
pub const WELL_KNOWN_GATEWAY: &str = "/.well-known/ohttp-gateway";
