//! The rooms of one shard: from what a room decided to keys and values, and from those back to its rows.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mimi::RoomUri;
use room::{Entry, Recipients, Row, RowChange, RowId};
use route::ShardId;
use shard::{FenceError, Tenure};

use crate::batch::{Blob, Change, NewEntry, Op, Prepared, Unstaged, Write};
use crate::keys::{self, Generation};
use crate::log::AppendError;
use crate::ties::{Claim, Membership, Tie};
use crate::value::{BLOB_BYTES_MAX, Reference, VALUE_BYTES_MAX};
use crate::{Ledger, LogEntry, Offset, SetId, records, rows};

/// Octets of chunks in one transaction of [`Rooms::stage`].
const STAGE_BYTES: usize = 8 * VALUE_BYTES_MAX;

/// Recipient sets remembered as durable, and rooms whose last one is remembered. All are forgotten when there are more:
/// the next entries write their sets again.
const REMEMBERED_MAX: usize = 16_384;

/// What a shard's rooms need of the ledger. Cheap to clone, and usable while an append is in flight; belongs to one open
/// [`ShardLog`](crate::ShardLog).
#[derive(Debug, Clone)]
pub struct Rooms {
    ledger: Ledger,
    shard: ShardId,
    /// Which opening of the log this belongs to: its term, and its number in that.
    opened: (u64, u64),
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug)]
struct Memory {
    /// Of the next blob.
    generation: Generation,
    durable: HashSet<SetId>,
    last: HashMap<RoomUri, (SetId, Arc<Recipients>)>,
}

impl Rooms {
    /// `opening` is unique in the term, hence so are the generations.
    pub(crate) fn new(ledger: Ledger, shard: ShardId, term: u64, opening: u64) -> Self {
        let generation = Generation {
            term,
            number: opening << 40,
        };
        let memory = Memory {
            generation,
            durable: HashSet::new(),
            last: HashMap::new(),
        };
        Self {
            ledger,
            shard,
            opened: (term, opening),
            memory: Arc::new(Mutex::new(memory)),
        }
    }

    /// Encodes a change. To be called in the order of the room's decisions; the results go into batches in that order too.
    pub fn prepare(&self, change: Change) -> Prepared {
        let mut memory = self.memory();
        let mut preparing = Preparing {
            shard: self.shard,
            memory: &mut memory,
            ops: Vec::new(),
            blobs: Vec::new(),
        };
        let room = change.room;
        let entries = change.entries.into_iter().map(|entry| preparing.entry(entry)).collect();
        for row in change.rows {
            preparing.row(&room, row);
        }
        let Preparing { mut ops, blobs, .. } = preparing;
        let due = change.ties.iter().any(|tie| matches!(tie, Tie::Due { .. }));
        ops.extend(change.ties.into_iter().map(|tie| tie.op(&room)));
        let write = Write::new(room, entries, ops).with_due(due);
        if blobs.is_empty() {
            Prepared::Ready(write)
        } else {
            Prepared::Blobs(Unstaged { write, blobs })
        }
    }

    /// Makes the large parts of a change durable, in fenced transactions of their own. Nothing refers to them before the
    /// change is appended; if it never is, a later tenure's [`Rooms::load`] takes them away.
    pub async fn stage(&self, tenure: &Tenure, unstaged: Unstaged) -> Result<Write, AppendError> {
        assert_eq!(tenure.shard(), self.shard, "a tenure is of the shard it writes to");
        let Unstaged { write, blobs } = unstaged;
        if let Some(blob) = blobs.iter().find(|blob| blob.octets.len() > BLOB_BYTES_MAX) {
            let bytes = blob.octets.len();
            return Err(AppendError::TooLarge { bytes });
        }
        let mut ops = Vec::new();
        let mut bytes = 0;
        for op in blobs.iter().flat_map(|blob| spread(&blob.keys, &blob.octets)) {
            bytes += op.bytes();
            ops.push(op);
            if bytes >= STAGE_BYTES {
                self.write_fenced(tenure, &ops).await?;
                ops.clear();
                bytes = 0;
            }
        }
        if !ops.is_empty() {
            self.write_fenced(tenure, &ops).await?;
        }
        Ok(write)
    }

    /// The rows of a room, blobs resolved; `None` if there is no such room. Takes away what former tenures staged for it and
    /// never referred to. To be called before the room decides anything.
    pub async fn load(&self, tenure: &Tenure, room: &RoomUri) -> Result<Option<Vec<(RowId, Row)>>, AppendError> {
        assert_eq!(tenure.shard(), self.shard, "a tenure is of the shard it writes to");
        let found = self.ledger.read_room(room).await?;
        let stale: Vec<Op> = found
            .unreferenced
            .into_iter()
            .filter(|(generation, _)| generation.term < tenure.term().0)
            .map(|(_, keys)| Op::ClearRange(keys))
            .collect();
        if !stale.is_empty() {
            tracing::info!(%room, blobs = stale.len(), "clearing what a former owner staged");
            self.write_fenced(tenure, &stale).await?;
        }
        Ok((!found.rows.is_empty()).then_some(found.rows))
    }

    /// Whether no other room has this membership to itself. From then on `room` has it, until either its change with
    /// [`Tie::Holds`] is durable, or this opening of the log is over.
    pub async fn claim(&self, tenure: &Tenure, room: &RoomUri, membership: &Membership) -> Result<bool, AppendError> {
        assert_eq!(tenure.shard(), self.shard, "a tenure is of the shard it writes to");
        let claim = Claim {
            room: room.clone(),
            opened: Some(self.opened),
        };
        let mut attempt = 1;
        loop {
            match self.ledger.try_claim(tenure, &claim, membership).await {
                Err(AppendError::Store(error)) => {
                    if !self.ledger.database().again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                settled => return settled,
            }
        }
    }

    /// Writes `ops`, which may be written twice without harm.
    async fn write_fenced(&self, tenure: &Tenure, ops: &[Op]) -> Result<(), AppendError> {
        let mut attempt = 1;
        loop {
            match self.try_write(tenure, ops).await {
                Err(FenceError::Store(error)) => {
                    if !self.ledger.database().again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                settled => return Ok(settled?),
            }
        }
    }

    async fn try_write(&self, tenure: &Tenure, ops: &[Op]) -> Result<(), FenceError> {
        let mut transaction = self.ledger.database().begin();
        tenure.fence(&transaction).await?;
        for op in ops {
            op.write(&mut transaction);
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Whether the set need not be written again.
    pub(crate) fn is_durable(&self, set: SetId) -> bool {
        self.memory().durable.contains(&set)
    }

    /// Takes note of sets that became durable.
    pub(crate) fn remember(&self, sets: impl IntoIterator<Item = SetId>) {
        let mut memory = self.memory();
        if memory.durable.len() >= REMEMBERED_MAX {
            memory.durable.clear();
        }
        memory.durable.extend(sets);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value too long for one key, cut into as many as it takes.
pub(crate) fn spread<'a>(keys: &'a store::KeyRange, octets: &'a Bytes) -> impl Iterator<Item = Op> + 'a {
    let parts = octets.len().div_ceil(VALUE_BYTES_MAX);
    (0..parts).map(move |n| {
        let at = n * VALUE_BYTES_MAX;
        let part = octets.slice(at..octets.len().min(at + VALUE_BYTES_MAX));
        let n = u32::try_from(n).expect("no value has 2^32 parts");
        Op::set(keys::part(keys, n), part)
    })
}

struct Preparing<'a> {
    shard: ShardId,
    memory: &'a mut Memory,
    ops: Vec<Op>,
    blobs: Vec<Blob>,
}

impl Preparing<'_> {
    fn entry(&mut self, entry: Entry) -> NewEntry {
        let (set, recipients, set_octets) = self.recipients(&entry.room, entry.recipients);
        let entry = LogEntry {
            offset: Offset::default(),
            room: entry.room,
            seq: entry.seq,
            kind: entry.kind,
            accepted: entry.accepted,
            epoch: entry.epoch,
            message: entry.message,
            chain: entry.chain,
            set,
            recipients,
        };
        let blob = (entry.message.len() > VALUE_BYTES_MAX).then(|| {
            let reference = Reference::to(&entry.message, self.generation());
            let keys = keys::entry_blob(self.shard, &entry.room, entry.seq, reference.generation);
            self.blobs.push(Blob {
                keys,
                octets: entry.message.clone(),
            });
            reference
        });
        NewEntry {
            value: records::encode_entry(&entry, blob.as_ref()),
            entry,
            set: set_octets,
        }
    }

    /// A room's recipients rarely change, so most of the time they are those of its last entry.
    fn recipients(&mut self, room: &RoomUri, recipients: Recipients) -> (SetId, Arc<Recipients>, Option<Bytes>) {
        let last = self.memory.last.get(room).filter(|(_, last)| **last == recipients);
        if let Some((set, recipients)) = last
            && self.memory.durable.contains(set)
        {
            return (*set, recipients.clone(), None);
        }
        let (set, octets) = records::encode_set(&recipients);
        let recipients = Arc::new(recipients);
        if self.memory.last.len() >= REMEMBERED_MAX {
            self.memory.last.clear();
        }
        self.memory.last.insert(room.clone(), (set, recipients.clone()));
        let unknown = !self.memory.durable.contains(&set);
        (set, recipients, unknown.then_some(octets))
    }

    fn row(&mut self, room: &RoomUri, change: RowChange) {
        let RowChange { id, row } = change;
        let key = keys::row(self.shard, room, &id);
        let Some(row) = row else {
            self.ops.push(Op::Clear(key.into()));
            if rows::may_be_large(&id) {
                self.clear_blobs(room, &id);
            }
            return;
        };
        let value = rows::encode(&row);
        if value.len() <= VALUE_BYTES_MAX {
            self.ops.push(Op::set(key, value));
            if rows::is_rewritten(&id) {
                self.clear_blobs(room, &id);
            }
            return;
        }
        let generation = self.clear_blobs(room, &id);
        let reference = Reference::to(&value, generation);
        self.ops.push(Op::set(key, reference.encode()));
        self.blobs.push(Blob {
            keys: keys::row_blob(self.shard, room, &id, generation),
            octets: value,
        });
    }

    /// Clears every blob that the row had up to now, and none that it gets later: those may be durable before this is.
    fn clear_blobs(&mut self, room: &RoomUri, id: &RowId) -> Generation {
        let now = self.generation();
        let before = keys::row_blobs_before(self.shard, room, id, now);
        self.ops.push(Op::ClearRange(before));
        now
    }

    fn generation(&mut self) -> Generation {
        self.memory.generation.number += 1;
        self.memory.generation
    }
}
