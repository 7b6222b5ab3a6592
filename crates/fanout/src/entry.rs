//! An entry on its way out: in memory once, and encoded once, however many followers it has.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ledger::{LogEntry, Seq, Shown};
use proto::link::Item;

use crate::frame;

/// Octets of entries that lie beside each other in memory, at most, unless one alone has more: as long as one of them is
/// needed, all stay.
const RUN_BYTES_MAX: usize = 64 << 10;

/// An entry of the log, encoded as most of its followers are sent it.
#[derive(Debug)]
pub struct Entry {
    logged: LogEntry,
    framed: Piece,
}

/// Octets of an encoded entry within those of its neighbours. What follows in memory can be sent with it as one.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The entries that were encoded together.
    pub run: Bytes,
    /// Where this one is among them.
    pub at: Range<usize>,
}

impl Piece {
    /// What was encoded by itself.
    fn alone(run: Bytes) -> Self {
        Self { at: 0..run.len(), run }
    }
}

impl Entry {
    /// Entries that follow each other, in memory beside each other.
    pub fn encoded(entries: impl IntoIterator<Item = LogEntry>) -> Vec<Arc<Self>> {
        let mut done = Vec::new();
        let (mut run, mut octets) = (Vec::new(), 0);
        for logged in entries {
            let item = frame::item(&logged, Shown::Message, seq_before(&logged));
            let len = frame::framed_len(&item);
            if octets + len > RUN_BYTES_MAX {
                encode(run.drain(..), octets, &mut done);
                octets = 0;
            }
            octets += len;
            run.push((logged, item));
        }
        encode(run.into_iter(), octets, &mut done);
        done
    }

    /// The entry as a field `items` of a Deliver, for a follower that was shown `previous_seq` before. Encoded already where
    /// it is shown whole to a follower that saw the one before it.
    pub(crate) fn framed(&self, shown: Shown, previous_seq: Seq) -> Piece {
        if shown == Shown::Message && previous_seq == seq_before(self) {
            return self.framed.clone();
        }
        let item = frame::item(self, shown, previous_seq);
        let mut octets = BytesMut::with_capacity(frame::framed_len(&item));
        frame::framed(&item, &mut octets);
        Piece::alone(octets.freeze())
    }
}

/// The seq before this one, which is what a follower saw last unless this is its first.
fn seq_before(entry: &LogEntry) -> Seq {
    Seq(entry.seq.0.saturating_sub(1))
}

/// Encodes entries of `octets` together.
fn encode(entries: impl Iterator<Item = (LogEntry, Item)>, octets: usize, done: &mut Vec<Arc<Entry>>) {
    let mut run = BytesMut::with_capacity(octets);
    let placed = entries.map(|(logged, item)| {
        let begin = run.len();
        frame::framed(&item, &mut run);
        (logged, begin..run.len())
    });
    let placed: Vec<(LogEntry, Range<usize>)> = placed.collect();
    let run = run.freeze();
    done.extend(placed.into_iter().map(|(mut logged, at)| {
        // The message is the last of the octets, and is not kept twice.
        let message = run.slice(at.end - logged.message.len()..at.end);
        debug_assert_eq!(message, logged.message);
        logged.message = message;
        let framed = Piece { run: run.clone(), at };
        Arc::new(Entry { logged, framed })
    }));
}

impl From<LogEntry> for Entry {
    fn from(logged: LogEntry) -> Self {
        let mut alone = Self::encoded([logged]);
        let entry = alone.pop().and_then(Arc::into_inner);
        entry.expect("an entry that nobody shares yet")
    }
}

impl Deref for Entry {
    type Target = LogEntry;

    fn deref(&self) -> &LogEntry {
        &self.logged
    }
}
