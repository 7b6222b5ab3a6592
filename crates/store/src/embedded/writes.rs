//! A transaction's own writes: in order, for the commit, and as a layer over what it reads.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::OnceLock;

use super::engine::{EngineError, View};
use crate::backend::{Bounds, Mutation, Rows};
use crate::error::Error;
use crate::key::{KeyRange, Versionstamp, after};
use crate::limits::CHUNK_ROWS;

#[derive(Debug, Default)]
pub(crate) struct Writes {
    ordered: Vec<Mutation>,
    /// Made by the first read behind a write: most transactions never read again once they write.
    layer: OnceLock<Layer>,
}

/// The writes as somebody sees them who reads.
#[derive(Debug, Default)]
struct Layer {
    /// Keys written one by one; later than any range in `cleared` that covers them.
    points: BTreeMap<Bytes, Option<Bytes>>,
    /// Ranges taken away: begin → end, disjoint.
    cleared: BTreeMap<Bytes, Bytes>,
    /// What a versionstamp makes unknown until the commit.
    unreadable: Vec<KeyRange>,
}

/// What the writes say about a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Written(Option<Bytes>),
    Untouched,
}

impl Writes {
    pub(crate) const fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    pub(crate) fn into_ordered(self) -> Vec<Mutation> {
        self.ordered
    }

    pub(crate) fn add(&mut self, mutation: Mutation) {
        if let Some(layer) = self.layer.get_mut() {
            layer.add(&mutation);
        }
        self.ordered.push(mutation);
    }

    /// `None` while nothing was written.
    fn layer(&self) -> Option<&Layer> {
        let made = || {
            let mut layer = Layer::default();
            self.ordered.iter().for_each(|mutation| layer.add(mutation));
            layer
        };
        (!self.is_empty()).then(|| self.layer.get_or_init(made))
    }

    /// What was written to `key`.
    pub(crate) fn seen(&self, key: &[u8]) -> Result<Seen, Error> {
        self.layer().map_or(Ok(Seen::Untouched), |layer| layer.seen(key))
    }

    /// Whether nothing in `range` waits for its versionstamp.
    pub(crate) fn check_readable(&self, range: &KeyRange) -> Result<(), Error> {
        self.layer().map_or(Ok(()), |layer| layer.check_readable(range))
    }

    /// Rows of `range` in `view` with the writes laid over them.
    pub(crate) fn over(&self, view: &dyn View, range: &KeyRange, bounds: Bounds) -> Result<Rows, EngineError> {
        match self.layer() {
            Some(layer) => layer.over(view, range, bounds),
            None => view.range(range, bounds),
        }
    }
}

impl Layer {
    fn add(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::Set { key, value } => self.point(key.clone(), Some(value.clone())),
            Mutation::Clear { key } => self.point(key.clone(), None),
            Mutation::ClearRange { range } => self.clear_range(range),
            Mutation::SetStampedKey { prefix, suffix, .. } => self.unreadable.push(stamped_keys(prefix, suffix)),
            Mutation::SetStampedValue { key, .. } => self.unreadable.push(KeyRange::key(key)),
        }
    }

    fn seen(&self, key: &[u8]) -> Result<Seen, Error> {
        if self.unreadable.iter().any(|range| range.contains(key)) {
            return Err(Error::Unreadable);
        }
        if let Some(value) = self.points.get(key) {
            return Ok(Seen::Written(value.clone()));
        }
        Ok(if self.is_cleared(key) {
            Seen::Written(None)
        } else {
            Seen::Untouched
        })
    }

    fn check_readable(&self, range: &KeyRange) -> Result<(), Error> {
        if self.unreadable.iter().any(|unreadable| unreadable.intersects(range)) {
            return Err(Error::Unreadable);
        }
        Ok(())
    }

    fn over(&self, view: &dyn View, range: &KeyRange, bounds: Bounds) -> Result<Rows, EngineError> {
        let mut rest = range.clone();
        let mut taken = Rows::default();
        let mut octets = 0_usize;
        while !rest.is_empty() {
            let chunk = view.range(
                &rest,
                Bounds {
                    rows: bounds.rows.min(CHUNK_ROWS),
                    ..bounds
                },
            )?;
            let (covered, left) = split(&rest, &chunk, bounds.reverse);
            for (key, value) in self.merge(chunk.rows, &covered, bounds) {
                if taken.rows.len() >= bounds.rows || (octets >= bounds.octets && !taken.rows.is_empty()) {
                    taken.more = true;
                    return Ok(taken);
                }
                octets += key.len() + value.len();
                taken.rows.push((key, value));
            }
            rest = left;
        }
        Ok(taken)
    }

    /// One chunk of the view with the writes in what it covers, in order; one row more than asked for at most.
    fn merge(&self, base: Vec<(Bytes, Bytes)>, covered: &KeyRange, bounds: Bounds) -> Vec<(Bytes, Bytes)> {
        let written = self
            .points_in(covered)
            .filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        let most = bounds.rows.saturating_add(1);
        let mut merged: Vec<_> = base
            .into_iter()
            .filter(|(key, _)| !self.points.contains_key(key) && !self.is_cleared(key))
            .collect();
        if bounds.reverse {
            merged.extend(written.rev().take(most));
            merged.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
        } else {
            merged.extend(written.take(most));
            merged.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        }
        merged
    }

    fn points_in(&self, range: &KeyRange) -> impl DoubleEndedIterator<Item = (&Bytes, &Option<Bytes>)> {
        let bounds = (
            Bound::Included(range.begin.as_ref()),
            Bound::Excluded(range.end.as_ref()),
        );
        self.points.range::<[u8], _>(bounds)
    }

    fn point(&mut self, key: Bytes, value: Option<Bytes>) {
        self.unreadable.retain(|range| range.as_key() != Some(&key));
        self.points.insert(key, value);
    }

    fn clear_range(&mut self, range: &KeyRange) {
        self.unreadable
            .retain(|unreadable| unreadable.begin < range.begin || range.end < unreadable.end);
        let covered: Vec<_> = self.points_in(range).map(|(key, _)| key.clone()).collect();
        for key in covered {
            self.points.remove(&key);
        }
        let (mut begin, mut end) = (range.begin.clone(), range.end.clone());
        let touching: Vec<_> = self
            .cleared
            .range(..=end.clone())
            .rev()
            .take_while(|(_, other_end)| **other_end >= begin)
            .map(|(other_begin, other_end)| (other_begin.clone(), other_end.clone()))
            .collect();
        for (other_begin, other_end) in touching {
            self.cleared.remove(&other_begin);
            begin = begin.min(other_begin);
            end = end.max(other_end);
        }
        self.cleared.insert(begin, end);
    }

    fn is_cleared(&self, key: &[u8]) -> bool {
        let before = (Bound::Unbounded, Bound::Included(key));
        self.cleared
            .range::<[u8], _>(before)
            .next_back()
            .is_some_and(|(_, end)| key < end.as_ref())
    }
}

/// What a chunk says about `rest`: the part that it covers and the part still to be read.
fn split(rest: &KeyRange, chunk: &Rows, reverse: bool) -> (KeyRange, KeyRange) {
    let last = chunk.rows.last().filter(|_| chunk.more).map(|(key, _)| key);
    let nothing = KeyRange {
        begin: rest.end.clone(),
        end: rest.end.clone(),
    };
    match last {
        None => (rest.clone(), nothing),
        Some(last) if reverse => (
            KeyRange {
                begin: last.clone(),
                end: rest.end.clone(),
            },
            KeyRange {
                begin: rest.begin.clone(),
                end: last.clone(),
            },
        ),
        Some(last) => (
            KeyRange {
                begin: rest.begin.clone(),
                end: after(last),
            },
            KeyRange {
                begin: after(last),
                end: rest.end.clone(),
            },
        ),
    }
}

/// Every key that `prefix ‖ versionstamp ‖ suffix` can become.
fn stamped_keys(prefix: &[u8], suffix: &[u8]) -> KeyRange {
    let filled = |octet: u8| [prefix, &[octet; Versionstamp::OCTETS], suffix].concat();
    KeyRange {
        begin: filled(0).into(),
        end: after(&filled(0xff)),
    }
}
