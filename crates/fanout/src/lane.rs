//! What is known of a follower of one shard and of its courier.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::follower::Follower;
use crate::orders::Again;

/// A follower and its courier.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) follower: Follower,
    /// Whether its courier task lives.
    pub(crate) running: bool,
    /// Whether the follower's own position was asked since the shard opened and since the last failure.
    pub(crate) resumed: bool,
    pub(crate) wake: Arc<Notify>,
    /// Entries set aside of which there is a row, or will be with the next report.
    pub(crate) set_aside: BTreeSet<u64>,
    /// Those of them that are to be brought once more.
    pub(crate) again: VecDeque<Again>,
    /// Whether one of these was the last that its courier did: what is due has its turn then.
    pub(crate) was_again: bool,
    /// Attempts that failed, in a row.
    pub(crate) failures: u32,
    /// Whether its courier waits to try again.
    pub(crate) resting: bool,
    /// Why the last attempt failed, if it did.
    pub(crate) trouble: String,
    /// Until then what is due gathers, unless it fills a delivery.
    pub(crate) gathers: Option<Instant>,
    /// Whether the follower could not be told what it lost, and has taken nothing since.
    pub(crate) untold: bool,
}

impl Lane {
    /// The follower was reached.
    pub(crate) fn recovered(&mut self) {
        self.failures = 0;
        self.trouble.clear();
    }
}
