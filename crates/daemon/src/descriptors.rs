//! How many files and sockets a process may have open. Most systems allow far fewer than a service has connections, unless
//! it asks for more, which needs no privilege up to the hard limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process may have open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Before.
    pub before: u64,
    /// From now on.
    pub now: u64,
}

/// Raises the soft limit of this process (RLIMIT_NOFILE) to the hard one. What is raised already stays as it is.
///
/// # Errors
/// The system refuses.
pub fn raise() -> std::io::Result<Descriptors> {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if before < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(Descriptors { before, now: hard })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes_and_stays_there() {
        let raised = raise().unwrap();
        assert!(raised.before <= raised.now);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, hard), (raised.now, raised.now));
        let again = raise().unwrap();
        assert_eq!((again.before, again.now), (raised.now, raised.now));
    }
}
