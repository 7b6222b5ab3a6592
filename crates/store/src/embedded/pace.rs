//! When a commit is made on its caller's own thread: waking the commit thread and being woken by it takes about as long as
//! a sync on a fast disk, and spares nobody anything while there is one small commit at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A sync that takes longer than this is no reason to keep a caller's thread.
const BRIEF: Duration = Duration::from_micros(500);

/// What writes more octets than this was gathered from many, so that its caller has more to do meanwhile.
const SMALL: usize = 8 * 1_024;

/// What commits have been like lately.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Commits that were asked for and have no answer yet.
    outstanding: AtomicUsize,
    /// The last group took no longer than [`BRIEF`].
    brief: AtomicBool,
}

/// A commit that was asked for, until it is answered.
#[derive(Debug)]
pub(crate) struct Asked<'a>(&'a Pace);

impl Pace {
    /// A commit is asked for.
    pub(crate) fn ask(&self) -> Asked<'_> {
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Asked(self)
    }

    /// Makes a group, and learns from how long it takes.
    pub(crate) fn time<T>(&self, group: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let made = group();
        self.brief.store(begun.elapsed() <= BRIEF, Ordering::Relaxed);
        made
    }
}

impl Asked<'_> {
    /// Whether the caller makes a commit of so many octets itself. Whatever else is about to run on its thread is let go
    /// first, so that commits that could share a sync are seen to be several.
    pub(crate) async fn is_for_the_caller(&self, octets: usize) -> bool {
        let alone = || self.0.outstanding.load(Ordering::Relaxed) == 1;
        if octets > SMALL || !self.0.brief.load(Ordering::Relaxed) || !alone() {
            return false;
        }
        tokio::task::yield_now().await;
        alone()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
    }
}
