//! Bounds on what is accepted from outside. Each is a default beyond the drafts, large enough for any honest use.

/// Octets of a request or response body: a commit with the ratchet tree of 10,000 clients fits.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Octets of a /notify body: a whole body of another provider's hub and what was batched with it fits.
pub const NOTIFY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Elements of a list that has no bound of its own: more than any registry has entries.
pub const LIST_MAX: usize = 65_536;

/// Rooms in one question for their heads.
pub const HEADS_MAX: usize = 100;

/// Proposals in one commit or one bundle: adding 1,000 clients at once fits.
pub const PROPOSALS_MAX: usize = 1_024;

/// FanoutMessages in one /notify body.
pub const FANOUT_MESSAGES_MAX: usize = 4_096;

/// KeyPackages in one consent grant.
pub const GRANT_KEY_PACKAGES_MAX: usize = 256;

/// Clients of one user in a KeyMaterialResponse.
pub const USER_CLIENTS_MAX: usize = 256;

/// Elements of one identifier query.
pub const QUERY_ELEMENTS_MAX: usize = 16;

/// Messages attached to one abuse report.
pub const ABUSIVE_MESSAGES_MAX: usize = 64;

/// Octets of an encoded AppDataDictionary: the list of 5,000 participants takes about 230 kB.
pub const DICTIONARY_BYTES_MAX: usize = 1024 * 1024;

/// Participants of a room, and operations of one participant-list update.
pub const PARTICIPANTS_MAX: usize = 50_000;

/// Roles that one room defines.
pub const ROLES_MAX: usize = 256;

/// Nodes of a ratchet tree: 131,072 leaves.
pub const TREE_NODES_MAX: usize = 262_144;

/// Octets of a text meant for people, such as an error description.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Octets of an encoded message content: larger things travel as external parts.
pub const CONTENT_BYTES_MAX: usize = 1024 * 1024;

/// Parts of a message content, each with a part index: the multiparts count too (mimi-content §9.1).
pub const CONTENT_PARTS_MAX: usize = 1_024;

/// Levels of nested parts, and levels of the extensions with their map as the first (mimi-content §6.3).
pub const CONTENT_DEPTH_MAX: usize = 4;

/// Octets of a topic id (mimi-content §9.1).
pub const TOPIC_BYTES_MAX: usize = 4_096;

/// Extensions of one message content.
pub const EXTENSIONS_MAX: usize = 256;

/// Octets of an extension's value: of its string if it is one, else of its encoding (mimi-content §4.3).
pub const EXTENSION_BYTES_MAX: usize = 4_095;

/// Octets of an extension's name (mimi-content §4.3).
pub const EXTENSION_NAME_BYTES_MAX: usize = 255;

/// Messages in one status report.
pub const STATUSES_MAX: usize = 4_096;

/// Join links of a room.
pub const JOIN_LINKS_MAX: usize = 1_024;

/// Bots that a room allows.
pub const BOTS_MAX: usize = 256;

/// Providers of which an asset policy names the domains.
pub const UPLOAD_DOMAINS_MAX: usize = 4_096;
