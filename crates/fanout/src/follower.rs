//! What one follower is due of one shard: pure state, no I/O.
//!
//! Invariant: every offset addressed to the follower is below `next`, or in `above`, or in `due`, or (only while `indexed`)
//! below the start of the memory tail and in an index row.

use std::collections::{BTreeSet, VecDeque};

use ledger::{Cursor, Offset};

#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// Low watermark: everything below is acknowledged or refused.
    next: u64,
    /// The same, above it.
    above: BTreeSet<u64>,
    /// What is due in the memory tail, ascending.
    due: VecDeque<u64>,
    /// Whether index rows may name something due below the memory tail.
    indexed: bool,
    /// Counts evictions, so that a read of the index knows whether it saw them all.
    evictions: u64,
    /// Entries due below this went before it took them, and it was not told yet.
    expired: Option<u64>,
    /// Where the durable cursor is, while it is below what expired.
    held: Option<u64>,
    /// Whether the cursor differs from the durable one.
    dirty: bool,
}

impl Follower {
    /// As its durable cursor says, with index rows read before anything else.
    pub(crate) fn resumed_from(cursor: &Cursor, tail_start: u64) -> Self {
        let next = cursor.next.0;
        Self {
            next,
            above: cursor.above().map(|offset| offset.0).collect(),
            expired: cursor.expired.then_some(next),
            indexed: next < tail_start,
            ..Self::default()
        }
    }

    /// Met for the first time, at its first entry.
    pub(crate) fn met(next: u64) -> Self {
        Self {
            next,
            dirty: true,
            ..Self::default()
        }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn above(&self) -> impl Iterator<Item = u64> {
        self.above.iter().copied()
    }

    /// As it is to become durable. Of the offsets above the watermark only the first are remembered: the follower gets
    /// the others again if the shard is opened before the watermark passes them.
    pub(crate) fn cursor(&self) -> Cursor {
        let mut cursor = Cursor::at(Offset(self.next));
        for offset in self.above.iter().take(Cursor::ABOVE_MAX) {
            cursor.set_aside(Offset(*offset)).expect("no more than a cursor holds");
        }
        cursor.expired = self.expired.is_some();
        cursor
    }

    pub(crate) fn above_len(&self) -> usize {
        self.above.len()
    }

    pub(crate) fn is_acknowledged(&self, offset: u64) -> bool {
        offset < self.next || self.above.contains(&offset)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.due.is_empty() && !self.indexed && self.expired.is_none()
    }

    /// What it has to be told of: entries due below this are gone.
    pub(crate) fn expired(&self) -> Option<u64> {
        self.expired
    }

    /// Below this the log is still needed, as far as this follower is concerned; `None`: it is not.
    pub(crate) fn needs(&self) -> Option<u64> {
        self.held.or_else(|| self.indexed.then_some(self.next))
    }

    /// Whether it may be due something below `until` that can expire now.
    pub(crate) fn may_expire(&self, until: u64) -> bool {
        self.next < until && self.held.is_none() && (self.indexed || self.due.front().is_some_and(|due| *due < until))
    }

    /// Nothing below `until` is brought to it any more. `named`: an index row names something due there. Returns whether
    /// it lost anything, so that it has to be told; then the log is needed until the cursor is durable.
    pub(crate) fn expire(&mut self, until: u64, named: bool, tail_start: u64, head: u64) -> bool {
        let before = self.next;
        let lost = named || self.due.front().is_some_and(|due| *due < until);
        self.resume(until, tail_start, head);
        if lost {
            self.held = Some(before);
            self.expired = Some(until);
            self.dirty = true;
        }
        lost
    }

    /// The cursor that says so is durable.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// The follower was told that what was due below `until` is gone.
    pub(crate) fn told(&mut self, until: u64) {
        if self.expired == Some(until) {
            self.expired = None;
            self.dirty = true;
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The first offset that it may still be due.
    pub(crate) fn oldest_due(&self) -> Option<u64> {
        match self.indexed {
            true => Some(self.next),
            false => self.due.front().copied(),
        }
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The cursor changed since this was last asked; asking makes it clean.
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// An entry was released to it.
    pub(crate) fn push(&mut self, offset: u64) {
        if !self.is_acknowledged(offset) {
            debug_assert!(self.due.back().is_none_or(|last| *last < offset));
            self.due.push_back(offset);
        }
    }

    /// What is due in memory, oldest first.
    pub(crate) fn due(&self) -> impl Iterator<Item = u64> {
        self.due.iter().copied()
    }

    /// What of the memory tail below `until` it is still due.
    pub(crate) fn due_below(&self, until: u64) -> Vec<u64> {
        self.due.iter().copied().take_while(|offset| *offset < until).collect()
    }

    /// Everything due below `until` is now in index rows, and no longer in memory.
    pub(crate) fn evict(&mut self, until: u64) {
        while self.due.front().is_some_and(|offset| *offset < until) {
            self.due.pop_front();
            self.indexed = true;
        }
        self.evictions += 1;
    }

    /// Of `batch`, which were the oldest offsets due, those for which `acknowledged` holds need not be sent again.
    /// Returns how many that are.
    pub(crate) fn acknowledge(&mut self, batch: &[u64], acknowledged: impl Fn(u64) -> bool, head: u64) -> usize {
        let before = self.above.len();
        self.above
            .extend(batch.iter().copied().filter(|offset| acknowledged(*offset)));
        let count = self.above.len() - before;
        let low = match batch.iter().find(|offset| !self.above.contains(offset)) {
            Some(first) => *first,
            None => batch.last().map_or(self.next, |last| last + 1),
        };
        self.drop_acknowledged(batch.last().copied().unwrap_or_default());
        self.advance(low, head);
        // What expired on its way.
        if self.above.first().is_some_and(|first| *first < self.next) {
            self.above = self.above.split_off(&self.next);
        }
        count
    }

    /// Takes what is acknowledged up to `last` off the list, of which the rest is not looked at: it may be long.
    fn drop_acknowledged(&mut self, last: u64) {
        let looked_at = self.due.partition_point(|offset| *offset <= last);
        let kept: Vec<u64> = self
            .due
            .drain(..looked_at)
            .filter(|offset| !self.above.contains(offset))
            .collect();
        kept.into_iter().rev().for_each(|offset| self.due.push_front(offset));
    }

    /// A read of the index that began after `evictions` found nothing more due below `until`, where the memory tail began.
    pub(crate) fn exhausted(&mut self, evictions: u64, until: u64, head: u64) {
        if evictions == self.evictions {
            self.indexed = false;
            self.advance(until, head);
        }
    }

    /// The follower itself says that everything addressed to it below `position` is stored there.
    pub(crate) fn resume(&mut self, position: u64, tail_start: u64, head: u64) {
        let position = position.min(head);
        if position > self.next {
            while self.due.front().is_some_and(|offset| *offset < position) {
                self.due.pop_front();
            }
            self.indexed = self.indexed && position < tail_start;
            self.advance(position, head);
        }
    }

    /// Raises the low watermark: to `low`, and past everything that is not due when memory knows all that is.
    pub(crate) fn advance(&mut self, low: u64, head: u64) {
        let low = if self.indexed {
            low
        } else {
            self.due.front().copied().unwrap_or(head)
        };
        if low > self.next {
            self.next = low;
            self.above = self.above.split_off(&low);
            self.dirty = true;
        } else if !self.above.is_empty() {
            self.dirty = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_evicted_while_the_index_is_read_is_looked_for_once_more() {
        let mut follower = Follower::resumed_from(&Cursor::at(Offset(0)), 5);
        follower.push(7);
        let read = follower.evictions();
        follower.evict(8);
        follower.exhausted(read, 5, 8);
        assert!(follower.is_indexed(), "the read did not see the row of 7");
        assert_eq!(follower.next(), 0);
        follower.acknowledge(&[7], |_| true, 8);
        follower.exhausted(follower.evictions(), 8, 8);
        assert!(follower.is_idle());
        assert_eq!(follower.next(), 8);
    }

    #[test]
    fn what_expires_is_due_no_more_and_is_remembered_until_it_was_told() {
        let mut follower = Follower::met(3);
        for offset in [3, 4, 8] {
            follower.push(offset);
        }
        assert!(follower.may_expire(5) && !follower.may_expire(3));
        assert!(follower.expire(5, false, 0, 9));
        assert_eq!((follower.next(), follower.needs()), (8, Some(3)), "until it is durable");
        assert!(follower.cursor().expired && !follower.may_expire(9));
        follower.release();
        assert_eq!(follower.needs(), None);
        // What was on its way arrives.
        follower.acknowledge(&[3, 4, 8], |_| true, 9);
        assert_eq!(
            (follower.next(), follower.above_len(), follower.is_idle()),
            (9, 0, false)
        );
        let mut again = Follower::resumed_from(&follower.cursor(), 9);
        assert_eq!(again.expired(), Some(9), "a restart forgets nothing");
        again.told(9);
        follower.told(4);
        assert!(again.is_idle() && !again.cursor().expired && !follower.is_idle());
    }

    #[test]
    fn nothing_is_lost_where_nothing_is_due() {
        let mut follower = Follower::resumed_from(&Cursor::at(Offset(2)), 6);
        follower.push(7);
        assert!(follower.may_expire(6));
        assert!(!follower.expire(6, false, 6, 8));
        assert_eq!((follower.next(), follower.expired(), follower.needs()), (7, None, None));
        let mut named = Follower::resumed_from(&Cursor::at(Offset(2)), 6);
        assert!(named.expire(4, true, 6, 6));
        assert!(named.is_indexed() && named.expired() == Some(4));
    }

    #[test]
    fn what_was_evicted_while_it_was_delivered_is_not_due_again() {
        let mut follower = Follower::met(3);
        follower.push(3);
        follower.push(4);
        follower.evict(5);
        assert_eq!(follower.acknowledge(&[3, 4], |_| true, 6), 2);
        assert_eq!(follower.next(), 5);
        assert!(follower.is_acknowledged(4) && !follower.is_acknowledged(5));
    }

    #[test]
    fn of_a_batch_only_what_is_acknowledged_is_due_no_more() {
        let mut follower = Follower::met(3);
        for offset in [3, 4, 6, 8, 9] {
            follower.push(offset);
        }
        assert_eq!(follower.acknowledge(&[3, 4, 6, 8], |offset| offset % 4 != 0, 10), 2);
        assert_eq!(follower.due().collect::<Vec<_>>(), [4, 8, 9]);
        assert_eq!(follower.next(), 4);
        assert_eq!(follower.acknowledge(&[4, 8], |_| true, 10), 2);
        assert_eq!((follower.next(), follower.above_len()), (9, 0));
    }

    #[test]
    fn a_position_ahead_takes_what_is_below_it_off_the_list_and_one_behind_changes_nothing() {
        let mut follower = Follower::met(3);
        for offset in [3, 5, 8] {
            follower.push(offset);
        }
        follower.resume(6, 0, 9);
        assert_eq!(follower.due().collect::<Vec<_>>(), [8]);
        follower.resume(2, 0, 9);
        assert_eq!(follower.next(), 8);
        follower.resume(100, 0, 9);
        assert_eq!(
            (follower.next(), follower.is_idle()),
            (9, true),
            "no further than the head"
        );
    }
}
