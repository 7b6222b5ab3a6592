//! Every bound of the store, each with its reason.

use std::time::Duration;

/// Longest key, in octets (FoundationDB's limit).
pub const KEY_OCTETS_MAX: usize = 10_000;

/// Longest value, in octets (FoundationDB's limit).
pub const VALUE_OCTETS_MAX: usize = 100_000;

/// Largest transaction: keys, values and conflict ranges together, in octets (FoundationDB's limit).
pub const TRANSACTION_OCTETS_MAX: usize = 10_000_000;

/// How long after its first read a transaction may still read, or commit what depends on its reads.
pub const TRANSACTION_AGE_MAX: Duration = Duration::from_secs(5);

/// Most watches waiting at one time on one database.
pub const WATCHES_MAX: usize = 10_000;

/// Most commits waiting for the group commit; further ones wait for a place.
pub const COMMITS_QUEUED_MAX: usize = 4_096;

/// Most octets of transactions waiting for the group commit, in KiB; further ones wait for a place.
pub const COMMITS_QUEUED_KIB_MAX: u32 = 64 * 1_024;

/// Most transactions in one group: bounds how long the first of them waits for the others.
pub const GROUP_TRANSACTIONS_MAX: usize = 1_024;

/// A group takes no further transaction once it holds this many octets.
pub const GROUP_OCTETS_MAX: usize = 16 * 1_024 * 1_024;

/// Most written keys that the resolver remembers. When there are more within [`TRANSACTION_AGE_MAX`], the oldest are
/// forgotten and transactions that began before them are too old.
pub const REMEMBERED_KEYS_MAX: usize = 262_144;

/// Most octets of written keys that the resolver remembers, as [`REMEMBERED_KEYS_MAX`].
pub const REMEMBERED_OCTETS_MAX: usize = 64 * 1_024 * 1_024;

/// Attempts of [`Database::run`](crate::Database::run) before it gives the last error back.
pub const RUN_ATTEMPTS_MAX: u32 = 64;

/// Longest pause between two attempts of [`Database::run`](crate::Database::run).
pub const RUN_DELAY_MAX: Duration = Duration::from_millis(500);

/// Rows that are read from an engine in one go where a transaction's own writes are merged in, or a range is cleared.
pub const CHUNK_ROWS: usize = 1_024;

/// Keys of the last group whose values are named by the commit marker and compared when the directory is opened.
pub const MARKER_KEYS_MAX: usize = 16;
