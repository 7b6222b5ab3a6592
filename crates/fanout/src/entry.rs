//! An entry on its way out: in memory once, and encoded once, however many followers it has.

use std::ops::Deref;

use bytes::Bytes;
use ledger::{LogEntry, Seq, Shown};

use crate::frame;

/// An entry of the log, encoded as most of its followers are sent it.
#[derive(Debug)]
pub struct Entry {
    logged: LogEntry,
    framed: Bytes,
}

impl Entry {
    /// The seq before this one, which is what a follower saw last unless this is its first.
    fn seq_before(&self) -> Seq {
        Seq(self.seq.0.saturating_sub(1))
    }

    /// The entry as a field `items` of a Deliver, for a follower that was shown `previous_seq` before. Encoded already where
    /// it is shown whole to a follower that saw the one before it.
    pub(crate) fn framed(&self, shown: Shown, previous_seq: Seq) -> Bytes {
        if shown == Shown::Message && previous_seq == self.seq_before() {
            return self.framed.clone();
        }
        frame::framed(&frame::item(self, shown, previous_seq))
    }
}

impl From<LogEntry> for Entry {
    fn from(logged: LogEntry) -> Self {
        let mut entry = Self {
            logged,
            framed: Bytes::new(),
        };
        let item = frame::item(&entry, Shown::Message, entry.seq_before());
        entry.framed = frame::framed(&item);
        // The message is the last of the octets, and is not kept twice.
        let message = entry.framed.len() - entry.message.len();
        debug_assert_eq!(entry.framed[message..], entry.message[..]);
        entry.logged.message = entry.framed.slice(message..);
        entry
    }
}

impl Deref for Entry {
    type Target = LogEntry;

    fn deref(&self) -> &LogEntry {
        &self.logged
    }
}
