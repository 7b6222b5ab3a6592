//! What one transaction makes durable.

use std::collections::HashSet;

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use room::{Entry, RowChange};
use store::{KeyRange, Transaction};

use crate::cursor::{CursorChange, IndexBlock};
use crate::{LogEntry, Offset, SetAside, Tie};

/// Octets that interning one follower takes, at most and roughly.
const FOLLOWER_BYTES: usize = 700;

/// Octets that it takes to say where an entry lies, beside three times the room's name: a row for each room of a batch, so
/// this much only of a room's first entry in it.
const PLACE_BYTES: usize = 64;

/// Octets that it takes to pause a follower, or to forget that an entry was set aside for it, at most and roughly.
const ORDER_BYTES: usize = 800;

/// Octets that it takes to remember that an entry was set aside, at most and roughly.
const SET_ASIDE_BYTES: usize = 2_000;

/// What one decision of a room makes durable: `room::Applied`, without the answer. Either part may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The room.
    pub room: RoomUri,
    /// Its new entries, in order.
    pub entries: Vec<Entry>,
    /// Its rows that change, in order.
    pub rows: Vec<RowChange>,
    /// What changes between it and other rooms.
    pub ties: Vec<Tie>,
}

/// A change ready to be written, or to be staged first. See [`Rooms::prepare`](crate::Rooms::prepare).
#[derive(Debug)]
pub enum Prepared {
    /// It fits into a batch.
    Ready(Write),
    /// Something is larger than a value of the store: [`Rooms::stage`](crate::Rooms::stage) it first.
    Blobs(Unstaged),
}

/// A change whose large parts are not durable yet.
#[derive(Debug)]
pub struct Unstaged {
    pub(crate) write: Write,
    pub(crate) blobs: Vec<Blob>,
}

impl Unstaged {
    /// Octets to stage.
    pub fn bytes(&self) -> usize {
        self.blobs.iter().map(|blob| blob.octets.len()).sum()
    }
}

/// Octets that one value does not hold, and the keys of their chunks.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) keys: KeyRange,
    pub(crate) octets: Bytes,
}

/// A change as keys and values. All that it refers to is durable already.
#[derive(Debug)]
pub struct Write {
    pub(crate) room: RoomUri,
    pub(crate) entries: Vec<NewEntry>,
    pub(crate) ops: Vec<Op>,
    bytes: usize,
    due: bool,
}

/// An entry that has no offset yet.
#[derive(Debug)]
pub(crate) struct NewEntry {
    /// Its offset means nothing yet.
    pub(crate) entry: LogEntry,
    pub(crate) value: Bytes,
    /// Its recipient set's encoding, unless that is known to be durable.
    pub(crate) set: Option<Bytes>,
}

impl Write {
    pub(crate) fn new(room: RoomUri, entries: Vec<NewEntry>, ops: Vec<Op>) -> Self {
        let entry_bytes = |new: &NewEntry| {
            let followers = new.set.as_ref().map_or(0, |_| new.entry.recipients.0.len());
            let place = 3 * new.entry.room.as_str().len() + PLACE_BYTES;
            64 + place + new.value.len() + new.set.as_ref().map_or(0, Bytes::len) + followers * FOLLOWER_BYTES
        };
        let bytes = entries.iter().map(entry_bytes).sum::<usize>() + ops.iter().map(Op::bytes).sum::<usize>();
        Self {
            room,
            entries,
            ops,
            bytes,
            due: false,
        }
    }

    /// The same, after which something is due ([`Ledger::due`](crate::Ledger::due)).
    pub(crate) fn with_due(self, due: bool) -> Self {
        Self { due, ..self }
    }

    /// Whether something is due once this is durable ([`Ledger::due`](crate::Ledger::due)).
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// The room.
    pub fn room(&self) -> &RoomUri {
        &self.room
    }

    /// How many entries it appends.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Octets that it takes of a transaction, at most and roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What one transaction of a shard makes durable, in the order in which it was pushed.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) writes: Vec<Write>,
    /// Cursors that changed.
    pub cursors: Vec<CursorChange>,
    /// Where entries that leave the memory tail are found from now on.
    pub index: Vec<IndexBlock>,
    /// What followers refuse for good.
    pub set_aside: Vec<SetAside>,
    /// What is set aside no more, for whom.
    pub settled: Vec<(Provider, Offset)>,
    /// To whom nothing is brought from then on (`true`), or what is due again.
    pub pauses: Vec<(Provider, bool)>,
    /// Everything below is indexed; `None` leaves it as it is. Never moves down.
    pub tail_start: Option<Offset>,
}

impl Batch {
    /// Adds a change, behind those already there.
    pub fn push(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// How many entries it appends.
    pub fn entries(&self) -> usize {
        self.writes.iter().map(Write::entries).sum()
    }

    /// Octets that it takes of a transaction, at most and roughly.
    pub fn bytes(&self) -> usize {
        let writes: usize = self.writes.iter().map(Write::bytes).sum();
        let index: usize = self.index.iter().map(|block| 96 + 10 * block.offsets().len()).sum();
        let orders = ORDER_BYTES * (self.settled.len() + self.pauses.len());
        writes + index + 128 * self.cursors.len() + SET_ASIDE_BYTES * self.set_aside.len() + orders
    }

    /// Whether something is due once this is durable ([`Ledger::due`](crate::Ledger::due)).
    pub fn is_due(&self) -> bool {
        self.writes.iter().any(Write::is_due)
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let nothing = self.cursors.is_empty() && self.index.is_empty() && self.set_aside.is_empty();
        let nothing = nothing && self.settled.is_empty() && self.pauses.is_empty();
        nothing && self.writes.is_empty() && self.tail_start.is_none()
    }
}

/// One write of a transaction. Made once, so that a retry writes the same octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Set(Bytes, Bytes),
    Clear(Bytes),
    ClearRange(KeyRange),
}

impl Op {
    pub(crate) fn set(key: Vec<u8>, value: Bytes) -> Self {
        Self::Set(key.into(), value)
    }

    pub(crate) fn write(&self, transaction: &mut Transaction) {
        match self.clone() {
            Self::Set(key, value) => transaction.set(key, value),
            Self::Clear(key) => transaction.clear(key),
            Self::ClearRange(range) => transaction.clear_range(range),
        }
    }

    /// The only key that it writes; `None` of a range.
    fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Set(key, _) | Self::Clear(key) => Some(key),
            Self::ClearRange(_) => None,
        }
    }

    /// `ops` without those whose key is written again behind them: of many entries of one room only the last head row is.
    pub(crate) fn without_superseded(mut ops: Vec<Self>) -> Vec<Self> {
        let mut later = HashSet::with_capacity(ops.len());
        let last: Vec<bool> = ops
            .iter()
            .rev()
            .map(|op| op.key().is_none_or(|key| later.insert(key)))
            .collect();
        let mut last = last.into_iter().rev();
        ops.retain(|_| last.next().unwrap_or(true));
        ops
    }

    /// As the store counts.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Set(key, value) => 3 * key.len() + value.len(),
            Self::Clear(key) => 3 * key.len(),
            Self::ClearRange(range) => 2 * (range.begin.len() + range.end.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// What the store holds after `ops`, begun with every key at 0.
    fn applied(ops: &[Op]) -> BTreeMap<Bytes, Bytes> {
        let zero = Bytes::from_static(&[0]);
        let mut rows: BTreeMap<_, _> = (0..6_u8).map(|key| (Bytes::from(vec![key]), zero.clone())).collect();
        for op in ops {
            match op.clone() {
                Op::Set(key, value) => drop(rows.insert(key, value)),
                Op::Clear(key) => drop(rows.remove(&key)),
                Op::ClearRange(range) => rows.retain(|key, _| !range.contains(key)),
            }
        }
        rows
    }

    fn op() -> impl Strategy<Value = Op> {
        let key = || (0..6_u8).prop_map(|key| Bytes::from(vec![key]));
        prop_oneof![
            4 => (key(), 1..9_u8).prop_map(|(key, value)| Op::Set(key, vec![value].into())),
            2 => key().prop_map(Op::Clear),
            1 => (0..6_u8, 0..6_u8).prop_map(|(begin, length)| Op::ClearRange(([begin]..[begin + length]).into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_superseded_is_not_missed(ops in prop::collection::vec(op(), 0..30)) {
            let last = Op::without_superseded(ops.clone());
            prop_assert_eq!(applied(&last), applied(&ops));
            let keys: Vec<_> = last.iter().filter_map(Op::key).collect();
            prop_assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        }
    }
}
