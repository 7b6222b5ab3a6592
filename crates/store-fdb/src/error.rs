//! FoundationDB's errors as the store's. Which ones can be retried and which leave a commit open is for the client to say
//! (`fdb_error_predicate`); only what the contract names itself is told apart by its code.

use foundationdb::FdbError;
use store::Error;
use store::limits::{KEY_OCTETS_MAX, TRANSACTION_OCTETS_MAX, VALUE_OCTETS_MAX};

/// Codes of FoundationDB's API, <https://apple.github.io/foundationdb/api-error-codes.html>.
pub(crate) mod code {
    pub(crate) const TRANSACTION_TOO_OLD: i32 = 1007;
    pub(crate) const NOT_COMMITTED: i32 = 1020;
    pub(crate) const TRANSACTION_CANCELLED: i32 = 1025;
    pub(crate) const TRANSACTION_TIMED_OUT: i32 = 1031;
    pub(crate) const TOO_MANY_WATCHES: i32 = 1032;
    pub(crate) const ACCESSED_UNREADABLE: i32 = 1036;
    pub(crate) const OPERATION_CANCELLED: i32 = 1101;
    pub(crate) const KEY_OUTSIDE_LEGAL_RANGE: i32 = 2004;
    pub(crate) const TRANSACTION_TOO_LARGE: i32 = 2101;
    pub(crate) const KEY_TOO_LARGE: i32 = 2102;
    pub(crate) const VALUE_TOO_LARGE: i32 = 2103;
}

/// What a read or the beginning of a transaction met: nothing was sent that could be committed.
pub(crate) fn of_read(error: FdbError) -> Error {
    match error.code() {
        code::TRANSACTION_TIMED_OUT => Error::Busy,
        _ => named(error).unwrap_or_else(|| {
            if error.is_retryable() {
                Error::Busy
            } else {
                fatal(error)
            }
        }),
    }
}

/// What a commit met.
pub(crate) fn of_commit(error: FdbError, octets: usize) -> Error {
    match error.code() {
        code::TRANSACTION_TIMED_OUT => Error::TimedOut,
        code::TRANSACTION_TOO_LARGE => Error::TooLarge {
            octets,
            max: TRANSACTION_OCTETS_MAX,
        },
        _ if error.is_maybe_committed() => Error::Unknown,
        _ => named(error).unwrap_or_else(|| {
            if error.is_retryable_not_committed() {
                Error::Busy
            } else {
                fatal(error)
            }
        }),
    }
}

/// How a watch ended. The commit that would have begun it tells its own error; here it is only known not to have come.
pub(crate) fn of_watch(error: FdbError) -> Error {
    match error.code() {
        code::NOT_COMMITTED | code::TRANSACTION_TOO_OLD | code::OPERATION_CANCELLED => Error::Cancelled,
        _ if error.is_maybe_committed() => Error::Unknown,
        _ => of_read(error),
    }
}

/// The errors that the contract has a name for.
fn named(error: FdbError) -> Option<Error> {
    Some(match error.code() {
        code::NOT_COMMITTED => Error::Conflict,
        code::TRANSACTION_TOO_OLD => Error::TooOld,
        code::TRANSACTION_CANCELLED => Error::Cancelled,
        code::TOO_MANY_WATCHES => Error::TooManyWatches,
        code::ACCESSED_UNREADABLE => Error::Unreadable,
        code::KEY_OUTSIDE_LEGAL_RANGE => Error::IllegalKey,
        // `store` has checked lengths, and the transaction those that the client checks more strictly: beyond them there is
        // no length to tell but the first that is too much.
        code::KEY_TOO_LARGE => Error::KeyTooLarge {
            octets: KEY_OCTETS_MAX + 1,
            max: KEY_OCTETS_MAX,
        },
        code::VALUE_TOO_LARGE => Error::ValueTooLarge {
            octets: VALUE_OCTETS_MAX + 1,
            max: VALUE_OCTETS_MAX,
        },
        _ => return None,
    })
}

fn fatal(error: FdbError) -> Error {
    Error::Fatal(format!("{} (FoundationDB's error {})", error.message(), error.code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32) -> FdbError {
        FdbError::from_code(code)
    }

    #[test]
    fn what_was_certainly_not_committed_is_told_so() {
        assert_eq!(of_commit(error(code::NOT_COMMITTED), 0), Error::Conflict);
        assert_eq!(of_commit(error(code::TRANSACTION_TOO_OLD), 0), Error::TooOld);
        // database_locked, commit_proxy_memory_limit_exceeded, process_behind, tag_throttled
        for code in [1038, 1042, 1037, 1213] {
            assert_eq!(of_commit(error(code), 0), Error::Busy, "{code}");
        }
    }

    #[test]
    fn a_commit_that_may_have_happened_is_told_so() {
        // commit_unknown_result, cluster_version_changed
        for code in [1021, 1039] {
            assert_eq!(of_commit(error(code), 0), Error::Unknown, "{code}");
        }
        assert_eq!(of_commit(error(code::TRANSACTION_TIMED_OUT), 0), Error::TimedOut);
        // internal_error: nobody knows.
        assert!(of_commit(error(4100), 0).maybe_committed());
    }

    #[test]
    fn a_read_never_leaves_a_commit_open() {
        // future_version, commit_unknown_result, transaction_timed_out, cluster_version_changed
        for code in [1009, 1021, 1031, 1039] {
            assert_eq!(of_read(error(code)), Error::Busy, "{code}");
        }
        assert_eq!(of_read(error(code::TRANSACTION_TOO_OLD)), Error::TooOld);
        assert_eq!(of_read(error(code::ACCESSED_UNREADABLE)), Error::Unreadable);
    }

    #[test]
    fn a_transaction_that_is_too_large_tells_its_size() {
        let refused = of_commit(error(code::TRANSACTION_TOO_LARGE), 11_000_000);
        assert!(matches!(refused, Error::TooLarge { octets: 11_000_000, .. }));
    }

    #[test]
    fn a_watch_without_its_commit_is_cancelled() {
        for code in [
            code::NOT_COMMITTED,
            code::TRANSACTION_TOO_OLD,
            code::TRANSACTION_CANCELLED,
        ] {
            assert_eq!(of_watch(error(code)), Error::Cancelled, "{code}");
        }
        assert_eq!(of_watch(error(1021)), Error::Unknown);
        assert_eq!(of_watch(error(code::TOO_MANY_WATCHES)), Error::TooManyWatches);
    }
}
