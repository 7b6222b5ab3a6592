//! Optimistic concurrency: which keys the recent commits wrote, and whether a transaction read one of them before.
//!
//! It remembers as much as transactions may be old, within bounds; what it has forgotten it refuses as too old, so that
//! forgetting can cost a retry and never an anomaly.

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use tokio::time::Instant;

use crate::error::Error;
use crate::key::{KeyRange, Version};
use crate::limits::{REMEMBERED_KEYS_MAX, REMEMBERED_OCTETS_MAX, TRANSACTION_AGE_MAX};

/// What a commit wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    Key(Bytes),
    Range(KeyRange),
}

impl From<KeyRange> for Touched {
    fn from(range: KeyRange) -> Self {
        match range.as_key() {
            Some(key) => Self::Key(key.clone()),
            None => Self::Range(range),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Resolver {
    /// Writes up to this version may be forgotten; later ones are all remembered.
    floor: Version,
    /// Single keys: the last version that wrote them. Without order, which hundreds of thousands of keys would pay for with
    /// each write; who read a range looks through the commits that came after instead, and they are few.
    keys: HashMap<Bytes, Version>,
    /// Ranges: the last version that wrote them, from each key to the next one in the map.
    steps: BTreeMap<Bytes, Version>,
    /// What to forget, oldest first.
    commits: VecDeque<Remembered>,
    remembered_keys: usize,
    remembered_octets: usize,
    expired_ranges: usize,
}

#[derive(Debug)]
struct Remembered {
    version: Version,
    at: Instant,
    keys: Vec<Bytes>,
    ranges: usize,
    octets: usize,
}

impl Resolver {
    /// A resolver of a database whose commits up to `version` are nobody's concern any more.
    pub(crate) fn new(version: Version) -> Self {
        Self {
            floor: version,
            keys: HashMap::new(),
            steps: BTreeMap::from([(Bytes::new(), Version(0))]),
            commits: VecDeque::new(),
            remembered_keys: 0,
            remembered_octets: 0,
            expired_ranges: 0,
        }
    }

    /// Whether nobody wrote into `reads` after `version`.
    pub(crate) fn check(&self, version: Version, reads: &[KeyRange]) -> Result<(), Error> {
        if reads.is_empty() {
            return Ok(());
        }
        if version < self.floor {
            return Err(Error::TooOld);
        }
        if reads.iter().any(|range| self.written_after(version, range)) {
            return Err(Error::Conflict);
        }
        Ok(())
    }

    /// Remembers that `version`, later than any before, wrote `writes`.
    pub(crate) fn remember(&mut self, version: Version, at: Instant, writes: impl IntoIterator<Item: Into<Touched>>) {
        let mut remembered = Remembered {
            version,
            at,
            keys: Vec::new(),
            ranges: 0,
            octets: 0,
        };
        for write in writes {
            match write.into() {
                Touched::Key(key) => {
                    remembered.octets += key.len();
                    self.keys.insert(key.clone(), version);
                    remembered.keys.push(key);
                }
                Touched::Range(range) => {
                    remembered.octets += range.octets();
                    self.step(&range, version);
                    remembered.ranges += 1;
                }
            }
        }
        self.remembered_keys += remembered.keys.len() + remembered.ranges;
        self.remembered_octets += remembered.octets;
        self.commits.push_back(remembered);
    }

    /// Forgets what no transaction may depend on any more at `now`, and what exceeds the bounds.
    pub(crate) fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.commits.front() {
            let expired = now.saturating_duration_since(oldest.at) > TRANSACTION_AGE_MAX;
            let too_much = self.remembered_keys > REMEMBERED_KEYS_MAX || self.remembered_octets > REMEMBERED_OCTETS_MAX;
            if !expired && !too_much {
                break;
            }
            self.forget_oldest();
        }
        // Each range takes two steps: swept once as many are expired as live, which keeps the cost per range constant.
        if self.expired_ranges * 4 > self.steps.len() {
            self.sweep();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.commits.pop_front() else { return };
        self.floor = oldest.version;
        self.remembered_keys -= oldest.keys.len() + oldest.ranges;
        self.remembered_octets -= oldest.octets;
        self.expired_ranges += oldest.ranges;
        for key in oldest.keys {
            if self.keys.get(&key) == Some(&oldest.version) {
                self.keys.remove(&key);
            }
        }
    }

    fn written_after(&self, version: Version, range: &KeyRange) -> bool {
        if range.is_empty() {
            return false;
        }
        let at_begin = (Bound::Unbounded, Bound::Included(range.begin.as_ref()));
        let inside = (
            Bound::Excluded(range.begin.as_ref()),
            Bound::Excluded(range.end.as_ref()),
        );
        let in_keys = match range.as_key() {
            Some(key) => self.keys.get(key).is_some_and(|written| *written > version),
            None => self
                .commits
                .iter()
                .rev()
                .take_while(|commit| commit.version > version)
                .any(|commit| commit.keys.iter().any(|key| range.contains(key))),
        };
        in_keys
            || self
                .steps
                .range::<[u8], _>(at_begin)
                .next_back()
                .is_some_and(|(_, written)| *written > version)
            || self
                .steps
                .range::<[u8], _>(inside)
                .any(|(_, written)| *written > version)
    }

    fn step(&mut self, range: &KeyRange, version: Version) {
        if range.is_empty() {
            return;
        }
        let upto_end = (Bound::Unbounded, Bound::Included(range.end.as_ref()));
        let behind = self
            .steps
            .range::<[u8], _>(upto_end)
            .next_back()
            .map_or(Version(0), |(_, written)| *written);
        let inside = (
            Bound::Included(range.begin.as_ref()),
            Bound::Excluded(range.end.as_ref()),
        );
        let covered: Vec<_> = self
            .steps
            .range::<[u8], _>(inside)
            .map(|(key, _)| key.clone())
            .collect();
        for key in covered {
            self.steps.remove(&key);
        }
        self.steps.insert(range.begin.clone(), version);
        self.steps.entry(range.end.clone()).or_insert(behind);
    }

    /// Joins neighbouring ranges whose writes are forgotten.
    fn sweep(&mut self) {
        let floor = self.floor;
        let mut forgotten_before = false;
        self.steps.retain(|_, written| {
            let forgotten = *written <= floor;
            let keep = !(forgotten && forgotten_before);
            forgotten_before = forgotten;
            keep
        });
        self.expired_ranges = 0;
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
