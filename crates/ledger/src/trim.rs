//! Trimming a shard's log: what nobody is due any more goes, oldest first, one bounded piece at a time.

use std::collections::BTreeMap;

use mimi::RoomUri;
use room::{Millis, Seq};
use route::ShardId;
use shard::Tenure;
use store::{Bounds, Isolation, Transaction};

use crate::cursor::FollowerId;
use crate::keys;
use crate::log::AppendError;
use crate::read::{ReadError, corrupt, retried};
use crate::records;
use crate::value::BadValue;
use crate::{Ledger, Offset};

/// Entries that one pass takes away at most, and octets of rows after which it reads no further one.
const ENTRIES_MAX: usize = 512;
const BYTES_MAX: usize = 1 << 20;

const BOUNDS: Bounds = Bounds {
    rows: ENTRIES_MAX,
    octets: BYTES_MAX,
    reverse: false,
};

/// What a pass may take away: entries below the one and accepted before the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Nobody is due anything below.
    pub floor: Offset,
    /// What was accepted at that time or later stays, and so does what is behind it.
    pub before: Millis,
}

/// What a pass took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Everything below is gone.
    pub below: Offset,
    /// How many entries went.
    pub entries: usize,
    /// Octets of their messages.
    pub bytes: u64,
    /// Whether another pass may find more at once.
    pub more: bool,
}

/// Trims one shard's log. Its transactions are fenced and apart from the log's own: neither hinders the other.
#[derive(Debug)]
pub struct Trimmer {
    ledger: Ledger,
    shard: ShardId,
    /// Whose index blocks the next pass looks at; all are looked at in turn.
    chunk: u32,
}

impl Trimmer {
    /// Of one shard.
    pub fn new(ledger: Ledger, shard: ShardId) -> Self {
        Self {
            ledger,
            shard,
            chunk: 0,
        }
    }

    /// Takes away the oldest entries that `cut` allows, at most 512 of them, and index blocks that name nothing but what
    /// is gone: those of their rooms, and of at most 512 followers, with what was set aside for these. Never takes an entry that is not below the durable start of the tail.
    ///
    /// Entries are ordered by offset, and by time only roughly: the first that has to stay keeps all behind it.
    ///
    /// # Errors
    /// [`AppendError::Fenced`] when the shard has another owner; the store's, after it was tried again; a row that is not
    /// of this release. Trimming again is harmless after each of them.
    pub async fn pass(&mut self, tenure: &Tenure, cut: Cut) -> Result<Trimmed, AppendError> {
        assert_eq!(tenure.shard(), self.shard, "a tenure is of the shard it writes to");
        let mut attempt = 1;
        loop {
            match self.attempt(tenure, cut).await {
                Err(AppendError::Store(error)) => {
                    if tenure.is_lost() {
                        return Err(AppendError::Fenced);
                    }
                    if !self.ledger.database().again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                Ok((trimmed, chunk)) => {
                    self.chunk = chunk;
                    return Ok(trimmed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Up to where the log is older than `before`, as far as a pass reads from `from` on: the first entry accepted at that
    /// time or later, or the one behind what was read.
    ///
    /// # Errors
    /// The store's, after it was tried again; a row that is not of this release.
    pub async fn overdue(&self, from: Offset, before: Millis) -> Result<Offset, ReadError> {
        retried!(self.ledger, transaction => find_overdue(&transaction, self.shard, from, before))
    }

    async fn attempt(&self, tenure: &Tenure, cut: Cut) -> Result<(Trimmed, u32), AppendError> {
        let shard = self.shard;
        let mut transaction = self.ledger.database().begin();
        tenure.fence(&transaction).await?;
        let watermark = keys::trimmed(shard);
        let from = match transaction.get(&watermark).await? {
            Some(row) => records::decode_offset(&row).map_err(corrupt(&watermark))?,
            None => Offset::default(),
        };
        let key = keys::tail_start(shard);
        let tail_start = match transaction.snapshot_get(&key).await? {
            Some(row) => records::decode_offset(&row).map_err(corrupt(&key))?,
            None => Offset::default(),
        };
        let floor = cut.floor.min(tail_start);
        let mut trimmed = Trimmed {
            below: from,
            ..Trimmed::default()
        };
        if floor <= from {
            return Ok((trimmed, self.chunk));
        }
        let page = transaction
            .read(keys::log_between(shard, from, floor), BOUNDS, Isolation::Snapshot)
            .await?;
        trimmed.more = page.more;
        let mut rooms: BTreeMap<RoomUri, Seq> = BTreeMap::new();
        for (key, row) in page.rows {
            let offset = keys::last_u64(&key)
                .map(Offset)
                .ok_or_else(|| corrupt(&key)(BadValue("not an offset")))?;
            let (entry, blob) = records::decode_entry(offset, &row).map_err(corrupt(&key))?;
            if entry.accepted >= cut.before {
                trimmed.more = false;
                break;
            }
            trimmed.bytes += entry.message.len() as u64;
            if let Some(blob) = blob {
                trimmed.bytes += blob.bytes as u64;
                transaction.clear_range(keys::entry_blob(shard, &entry.room, entry.seq, blob.generation));
            }
            trimmed.entries += 1;
            trimmed.below = offset.plus(1);
            rooms.insert(entry.room, entry.seq);
        }
        if trimmed.entries == 0 {
            return Ok((trimmed, self.chunk));
        }
        transaction.clear_range(keys::log_between(shard, from, trimmed.below));
        for (room, Seq(last)) in rooms {
            transaction.clear_range(keys::room_index_below(shard, &room, Seq(last.saturating_add(1))));
        }
        transaction.set(watermark, records::encode_offset(trimmed.below));
        let last = transaction.snapshot_range(keys::followers(shard), 1, true).await?.pop();
        let last = last.and_then(|(key, _)| keys::first_u32(&key)).unwrap_or_default();
        let first = self.chunk * FollowerId::PER_CHUNK;
        let end = first.saturating_add(FollowerId::PER_CHUNK - 1).min(last);
        for id in first..=end {
            transaction.clear_range(keys::index_below(shard, FollowerId(id), trimmed.below));
            transaction.clear_range(keys::set_aside_below(shard, FollowerId(id), trimmed.below));
        }
        let chunk = if end >= last { 0 } else { self.chunk + 1 };
        transaction.commit().await?;
        Ok((trimmed, chunk))
    }
}

async fn find_overdue(
    transaction: &Transaction,
    shard: ShardId,
    from: Offset,
    before: Millis,
) -> Result<Offset, ReadError> {
    let range = keys::log_from(shard, from);
    let mut until = from;
    for (key, row) in transaction.read(range, BOUNDS, Isolation::Snapshot).await?.rows {
        let offset = keys::last_u64(&key)
            .map(Offset)
            .ok_or_else(|| corrupt(&key)(BadValue("not an offset")))?;
        let (entry, _) = records::decode_entry(offset, &row).map_err(corrupt(&key))?;
        if entry.accepted >= before {
            break;
        }
        until = offset.plus(1);
    }
    Ok(until)
}
