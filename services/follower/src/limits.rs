//! Every bound of the follower, in one place.

/// KeyPackages in one upload.
pub const UPLOAD_KEY_PACKAGES_MAX: usize = 256;

/// KeyPackages that one client can have waiting; more are refused.
pub const CLIENT_KEY_PACKAGES_MAX: usize = 1_024;

/// KeyPackages of one client that a claim looks at before it says that nothing fits.
pub const CLAIM_CANDIDATES_MAX: usize = 64;

/// KeyPackages in sets that one user can have waiting; more are refused.
pub const USER_SET_KEY_PACKAGES_MAX: usize = 1_024;

/// Pseudonyms that one user can have had: one for each of its minimal-metadata rooms.
pub const USER_PSEUDONYMS_MAX: u64 = 100_000;

/// KeyPackages in sets that a claim looks at before it says that no set fits: some of the largest sets.
pub const CLAIM_SET_CANDIDATES_MAX: usize = 256;

/// For how long the same claim gets the same answer while its KeyPackages are unused, in milliseconds.
pub const CLAIM_REPEAT_MS: u64 = 10 * 60 * 1_000;

/// Items in one delivery.
pub const DELIVERY_ITEMS_MAX: usize = 4_096;

/// Rooms in one answer about those that have inboxes.
pub const ROOMS_LISTED_MAX: usize = mimi::limits::HEADS_MAX;

/// FanoutMessages in one /notify body.
pub const NOTIFY_MESSAGES_MAX: usize = 4_096;

/// Octets of one FanoutMessage: the store takes no more than 10,000,000 with what goes along.
pub const MESSAGE_BYTES_MAX: usize = 9 << 20;

/// Octets of messages that are stored in one transaction; a larger message has one to itself.
pub const TRANSACTION_BYTES: usize = 4 << 20;

/// Rooms that one client can follow.
pub const CLIENT_ROOMS_MAX: usize = 10_000;

/// Events that wait in a stream whose client does not read.
pub const STREAM_EVENTS_MAX: usize = 64;

/// Octets of inbox entries that one stream reads at once.
pub const STREAM_PAGE_BYTES: usize = 256 * 1_024;

/// Between two pages of rooms whose inboxes are trimmed.
pub const TRIM_BREATH: std::time::Duration = std::time::Duration::from_millis(10);

/// Where there are other followers, an event stream looks at everything this often, whatever wakes it: what woke it may have
/// been lost, by a clock that jumped or a follower of a release that wakes nobody.
pub const LOOK_AT_ALL: std::time::Duration = std::time::Duration::from_secs(60);

/// Rooms that changed and wait for a slow stream; past that it looks at everything again.
pub const WAKES_MAX: usize = 1_024;

/// Where there are other followers, what they stored is looked for this often even if nothing says that there is something.
pub const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// For how long what one follower stored is told to others.
pub const RINGS_KEPT: std::time::Duration = std::time::Duration::from_secs(10 * 60);

/// Between two times that what is older is taken away.
pub const RINGS_CLEARED_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// For how long a request for consent stands, in milliseconds; and for how long another request is not shown to a user who
/// has revoked.
pub const CONSENT_REQUEST_MS: u64 = 90 * 24 * 60 * 60 * 1_000;

/// Scopes of one pair of users in a book that others write; the oldest gives way.
pub const CONSENT_PAIR_MAX: usize = 16;

/// Scopes of all users of one provider in a book that others write; the oldest gives way.
pub const CONSENT_PROVIDER_MAX: usize = 256;

/// Rooms for which a user grants or revokes one other user's consent.
pub const CONSENT_ROOMS_MAX: usize = 64;

/// Scopes that a user has in a book that it writes itself.
pub const CONSENT_USER_MAX: usize = 4_096;

/// Changes that one user makes in another's books in [`CONSENT_TURNS_MS`]; more are passed over.
pub const CONSENT_TURNS_MAX: u32 = 64;

/// See [`CONSENT_TURNS_MAX`].
pub const CONSENT_TURNS_MS: u64 = 24 * 60 * 60 * 1_000;

/// Entries of a book in one answer.
pub const CONSENT_PAGE_MAX: usize = 256;

/// Fields of a profile.
pub const PROFILE_FIELDS_MAX: usize = 32;

/// Octets of a field's value.
pub const FIELD_BYTES_MAX: usize = 256;

/// Octets of a profile's searchable values together: a row of the directory for each, or nearly.
pub const SEARCHABLE_BYTES_MAX: usize = 2_048;

/// Users under one term of a query that are looked at; a query that has no narrower term is ambiguous.
pub const QUERY_CANDIDATES_MAX: usize = 128;

/// Terms that one part of a name or profile is looked up by: its beginning.
pub const QUERY_PART_TERMS_MAX: usize = 8;

/// Users in one answer; a query that finds more is ambiguous.
pub const QUERY_FOUND_MAX: usize = 16;
