//! The memory tail: the newest entries of a shard, without a gap, up to its head. Bounded by whoever calls
//! [`Tail::excess`].

use std::collections::VecDeque;
use std::sync::Arc;

use ledger::Offset;

use crate::Entry;

#[derive(Debug)]
pub(crate) struct Tail {
    start: u64,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Tail {
    pub(crate) fn new(start: Offset) -> Self {
        Self {
            start: start.0,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The first offset held, or the head when nothing is.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// The offset that the next entry will have.
    pub(crate) fn head(&self) -> u64 {
        self.start + self.entries.len() as u64
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        assert_eq!(entry.offset.0, self.head(), "the log has no gaps");
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
    }

    pub(crate) fn entry(&self, offset: u64) -> Option<&Arc<Entry>> {
        let index = offset.checked_sub(self.start)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// Drops everything below `until`.
    pub(crate) fn drop_below(&mut self, until: u64) {
        while self.start < until {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= entry.bytes();
            self.start += 1;
        }
    }

    /// Where the tail would start so that it holds at most three quarters of both bounds; `None` while it is within them.
    pub(crate) fn excess(&self, entries_max: usize, bytes_max: usize) -> Option<u64> {
        if self.entries.len() <= entries_max && self.bytes <= bytes_max {
            return None;
        }
        let (mut entries, mut bytes, mut until) = (self.entries.len(), self.bytes, self.start);
        for entry in &self.entries {
            if entries <= entries_max / 4 * 3 && bytes <= bytes_max / 4 * 3 {
                break;
            }
            entries -= 1;
            bytes -= entry.bytes();
            until += 1;
        }
        Some(until)
    }
}
