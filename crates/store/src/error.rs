//! One error for all that a transaction can meet, classified as FoundationDB classifies its own.

/// Why a read or a commit did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something the transaction read was written by another one since: nothing was committed, try again.
    #[error("transaction conflicts with another")]
    Conflict,
    /// The transaction is older than the store remembers (5 s at most): nothing was committed, try again.
    #[error("transaction is too old")]
    TooOld,
    /// The store cannot serve this now: nothing was committed, try again later.
    #[error("store is busy")]
    Busy,
    /// The transaction was committed or it was not; only reading what it would have written tells.
    #[error("commit result is unknown")]
    Unknown,
    /// A deadline passed first; the transaction may have been committed.
    #[error("transaction timed out")]
    TimedOut,
    /// Keys, values and conflict ranges are larger together than a transaction may be. The caller's fault.
    #[error("transaction of {octets} octets is larger than {max}")]
    TooLarge { octets: usize, max: usize },
    /// A key is longer than allowed. The caller's fault.
    #[error("key of {octets} octets is longer than {max}")]
    KeyTooLarge { octets: usize, max: usize },
    /// A value is longer than allowed. The caller's fault.
    #[error("value of {octets} octets is longer than {max}")]
    ValueTooLarge { octets: usize, max: usize },
    /// A key is empty or begins with 0xff, which is the store's own. The caller's fault.
    #[error("key is empty or begins with 0xff")]
    IllegalKey,
    /// The transaction read what it wrote with a versionstamp, which is not known before the commit; it cannot be
    /// committed any more. The caller's fault.
    #[error("read of a value that is known only after the commit")]
    Unreadable,
    /// The transaction that the watch belongs to was not committed.
    #[error("watch was cancelled with its transaction")]
    Cancelled,
    /// More watches are waiting than the store allows.
    #[error("too many watches")]
    TooManyWatches,
    /// The database was closed.
    #[error("database is closed")]
    Closed,
    /// The engine failed and the database serves nothing any more: restart the process. What was being committed at
    /// that moment may or may not be there.
    #[error("database stopped: {0}")]
    Fatal(String),
}

impl Error {
    /// Whether running the whole transaction again can help. True for [`Error::Unknown`] as well, where the caller has to be
    /// ready to find its effects already there.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict | Self::TooOld | Self::Busy | Self::Unknown)
    }

    /// Whether the transaction may have been committed in spite of the error.
    pub const fn maybe_committed(&self) -> bool {
        matches!(self, Self::Unknown | Self::TimedOut | Self::Fatal(_))
    }
}
