//! Reads: each in one transaction, hence of one moment. They need no tenure and hinder no write.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use room::{Recipients, Row, RowId, Seq};
use route::ShardId;
use store::{Bounds, Isolation, KeyRange, Transaction};

use crate::cursor::{Cursor, FollowerId};
use crate::keys::{self, Generation};
use crate::ledger::Sets;
use crate::records;
use crate::value::{BadValue, Reference, Value};
use crate::{Ledger, LogEntry, Offset, SetId, rows};

/// Rows, and octets, read in one go.
const PAGE_ROWS: usize = 1_000;
const PAGE_BYTES: usize = 1_000_000;

/// The most index blocks read in one go.
const BLOCKS_MAX: usize = 256;

/// Recipient sets kept after they were read; all are forgotten when there are more.
const SETS_KEPT_MAX: usize = 1_024;

/// A row that no release up to this one wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the row {key} is not readable: {why}")]
pub struct CorruptRow {
    /// Its key, escaped.
    pub key: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Why something was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store's, after it was tried again where that could help.
    #[error("could not read from the store")]
    Store(#[from] store::Error),
    /// What is there is not of this release.
    #[error(transparent)]
    Corrupt(#[from] CorruptRow),
}

impl store::Retry for ReadError {
    fn store_error(&self) -> Option<&store::Error> {
        match self {
            Self::Store(error) => Some(error),
            Self::Corrupt(_) => None,
        }
    }
}

pub(crate) fn corrupt(key: &[u8]) -> impl FnOnce(BadValue) -> CorruptRow + '_ {
    move |BadValue(why)| CorruptRow {
        key: key.escape_ascii().to_string(),
        why,
    }
}

/// How much of the log is read at once. One entry always is, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most entries.
    pub entries: usize,
    /// No further entry once their messages have this many octets.
    pub bytes: usize,
}

/// Where a shard's log begins to be indexed, and where it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The offset of the next entry.
    pub head: Offset,
    /// Every entry below is indexed.
    pub tail_start: Offset,
    /// Every entry below is gone, and reads begin there. See [`Trimmer`](crate::Trimmer).
    pub trimmed: Offset,
}

/// What [`Ledger::read_room`] finds.
pub(crate) struct FoundRoom {
    pub(crate) rows: Vec<(RowId, Row)>,
    /// Blobs that nothing refers to, or only something later than all entries.
    pub(crate) unreferenced: BTreeMap<Generation, KeyRange>,
}

/// Runs a read again while the store says that it helps.
macro_rules! retried {
    ($ledger:expr, $transaction:ident => $read:expr) => {{
        let mut attempt = 1;
        loop {
            let $transaction = $ledger.database().begin();
            match $read.await {
                Err(ReadError::Store(error)) => {
                    if !$ledger.database().again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                settled => return settled,
            }
        }
    }};
}

pub(crate) use retried;

impl Ledger {
    /// The rows of a room, blobs resolved; `None` if there is no such room.
    pub async fn room(&self, room: &RoomUri) -> Result<Option<Vec<(RowId, Row)>>, ReadError> {
        let found = self.read_room(room).await?;
        Ok((!found.rows.is_empty()).then_some(found.rows))
    }

    pub(crate) async fn read_room(&self, room: &RoomUri) -> Result<FoundRoom, ReadError> {
        let shard = self.shards().of(room.as_str());
        retried!(self, transaction => find_room(&transaction, shard, room))
    }

    /// Entries of a shard's log from `from` on, in order. Empty at the head. What is trimmed is left out
    /// ([`Position::trimmed`]).
    pub async fn read_log(&self, shard: ShardId, from: Offset, limit: ReadLimit) -> Result<Vec<LogEntry>, ReadError> {
        retried!(self, transaction => self.find_entries(&transaction, shard, from, limit))
    }

    /// The offsets from `from` on that are indexed for `follower`, ascending, of at most so many blocks.
    pub async fn read_index(
        &self,
        shard: ShardId,
        follower: &Provider,
        from: Offset,
        blocks: usize,
    ) -> Result<Vec<Offset>, ReadError> {
        retried!(self, transaction => find_index(&transaction, shard, follower, from, blocks.min(BLOCKS_MAX)))
    }

    /// Where a shard's log begins and ends.
    pub async fn position(&self, shard: ShardId) -> Result<Position, ReadError> {
        retried!(self, transaction => find_position(&transaction, shard))
    }

    /// All followers of a shard's rooms, ever, and how far they are.
    pub async fn cursors(&self, shard: ShardId) -> Result<BTreeMap<Provider, Cursor>, ReadError> {
        let followers = self.followers(shard).await?;
        let mut cursors = self.cursors_by_id(shard).await?;
        let named = followers
            .into_iter()
            .filter_map(|(id, provider)| Some((provider, cursors.remove(&id)?)));
        Ok(named.collect())
    }

    pub(crate) async fn followers(&self, shard: ShardId) -> Result<BTreeMap<FollowerId, Provider>, ReadError> {
        retried!(self, transaction => find_followers(&transaction, shard))
    }

    pub(crate) async fn cursors_by_id(&self, shard: ShardId) -> Result<BTreeMap<FollowerId, Cursor>, ReadError> {
        retried!(self, transaction => find_cursors(&transaction, shard))
    }

    async fn find_entries(
        &self,
        transaction: &Transaction,
        shard: ShardId,
        from: Offset,
        limit: ReadLimit,
    ) -> Result<Vec<LogEntry>, ReadError> {
        let bounds = Bounds {
            rows: limit.entries.clamp(1, PAGE_ROWS),
            octets: limit.bytes,
            reverse: false,
        };
        let found = transaction
            .read(keys::log_from(shard, from), bounds, Isolation::Snapshot)
            .await?;
        let mut entries = Vec::with_capacity(found.rows.len());
        let mut bytes = 0;
        for (key, row) in found.rows {
            if bytes >= limit.bytes && !entries.is_empty() {
                break;
            }
            let entry = self.whole_entry(transaction, shard, &key, &row).await?;
            bytes += entry.message.len();
            entries.push(entry);
        }
        Ok(entries)
    }

    /// An entry from its row, with its recipients and its message, wherever that is.
    pub(crate) async fn whole_entry(
        &self,
        transaction: &Transaction,
        shard: ShardId,
        key: &[u8],
        row: &Bytes,
    ) -> Result<LogEntry, ReadError> {
        let offset = keys::last_u64(key).map(Offset).unwrap_or_default();
        let (mut entry, blob) = records::decode_entry(offset, row).map_err(corrupt(key))?;
        if let Some(blob) = blob {
            let chunks = keys::entry_blob(shard, &entry.room, entry.seq, blob.generation);
            entry.message = find_blob(transaction, &chunks, &blob).await?;
        }
        entry.recipients = self.find_set(transaction, shard, entry.set).await?;
        Ok(entry)
    }

    async fn find_set(
        &self,
        transaction: &Transaction,
        shard: ShardId,
        set: SetId,
    ) -> Result<Arc<Recipients>, ReadError> {
        let kept = |sets: &Sets| sets.get(&(shard, set)).cloned();
        if let Some(recipients) = kept(&self.sets.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(recipients);
        }
        let range = keys::set(shard, set);
        let octets = joined(all(transaction, range.clone()).await?);
        let recipients = records::decode_set(set, &octets).map_err(corrupt(&range.begin))?;
        let recipients = Arc::new(recipients);
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.len() >= SETS_KEPT_MAX {
            sets.clear();
        }
        sets.insert((shard, set), recipients.clone());
        Ok(recipients)
    }
}

/// All rows of a range, page by page.
async fn all(transaction: &Transaction, mut range: KeyRange) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
    let bounds = Bounds {
        rows: PAGE_ROWS,
        octets: PAGE_BYTES,
        reverse: false,
    };
    let mut rows = Vec::new();
    loop {
        let page = transaction.read(range.clone(), bounds, Isolation::Snapshot).await?;
        match page.rows.last() {
            Some((last, _)) if page.more => range.begin = [last, &b"\0"[..]].concat().into(),
            _ => {
                rows.extend(page.rows);
                return Ok(rows);
            }
        }
        rows.extend(page.rows);
    }
}

/// The parts of one value, in a row.
fn joined(parts: Vec<(Bytes, Bytes)>) -> Bytes {
    match <[_; 1]>::try_from(parts) {
        Ok([(_, whole)]) => whole,
        Err(parts) => parts.into_iter().flat_map(|(_, part)| part).collect(),
    }
}

async fn find_blob(transaction: &Transaction, chunks: &KeyRange, blob: &Reference) -> Result<Bytes, ReadError> {
    let found = transaction
        .snapshot_range(chunks.clone(), blob.chunks() + 1, false)
        .await?;
    let whole = blob.join(found.into_iter().map(|(_, chunk)| chunk));
    Ok(whole.map_err(corrupt(&chunks.begin))?)
}

async fn find_room(transaction: &Transaction, shard: ShardId, room: &RoomUri) -> Result<FoundRoom, ReadError> {
    let range = keys::rows(shard, room);
    let prefix = range.begin.len();
    let mut rows = Vec::new();
    let mut referenced = Vec::new();
    let mut seq = Seq(0);
    for (key, value) in all(transaction, range).await? {
        let bad = |why| corrupt(&key)(BadValue(why));
        let id = keys::parse_row(&key, prefix).ok_or_else(|| bad("not the id of a row"))?;
        let whole = match Value::parse(value).map_err(corrupt(&key))? {
            Value::Inline(whole) => whole,
            Value::Reference(blob) => {
                let chunks = keys::row_blob(shard, room, &id, blob.generation);
                referenced.push(blob.generation);
                find_blob(transaction, &chunks, &blob).await?
            }
        };
        let row = rows::decode(&id, &whole).map_err(corrupt(&key))?;
        if let Row::Head { seq: last, .. } = &row {
            seq = *last;
        }
        rows.push((id, row));
    }
    // Generations are unique in a shard, so they name blobs.
    let mut unreferenced = generations(transaction, keys::room_blobs(shard, room)).await?;
    unreferenced.retain(|generation, _| !referenced.contains(generation));
    let ahead = keys::entry_blobs_from(shard, room, Seq(seq.0.saturating_add(1)));
    unreferenced.extend(generations(transaction, ahead).await?);
    Ok(FoundRoom { rows, unreferenced })
}

/// The blobs in a range. Jumps from each to the next, so that it reads one chunk of each.
async fn generations(
    transaction: &Transaction,
    mut range: KeyRange,
) -> Result<BTreeMap<Generation, KeyRange>, ReadError> {
    let mut found = BTreeMap::new();
    while let Some((key, _)) = transaction.snapshot_range(range.clone(), 1, false).await?.pop() {
        let (generation, chunks) =
            keys::blob_generation(&key).ok_or_else(|| corrupt(&key)(BadValue("not the key of a chunk")))?;
        range.begin = chunks.end.clone();
        found.insert(generation, chunks);
    }
    Ok(found)
}

async fn find_index(
    transaction: &Transaction,
    shard: ShardId,
    follower: &Provider,
    from: Offset,
    blocks: usize,
) -> Result<Vec<Offset>, ReadError> {
    let name = keys::follower_name(shard, follower);
    let Some(row) = transaction.snapshot_get(&name).await? else {
        return Ok(Vec::new());
    };
    let id = records::decode_follower_id(&row).map_err(corrupt(&name))?;
    let range = keys::index_from(shard, id, from);
    let mut offsets = Vec::new();
    for (key, row) in transaction.snapshot_range(range, blocks.max(1), false).await? {
        offsets.extend(records::decode_index(&row).map_err(corrupt(&key))?);
    }
    offsets.retain(|offset| *offset >= from);
    Ok(offsets)
}

async fn find_position(transaction: &Transaction, shard: ShardId) -> Result<Position, ReadError> {
    let mut position = Position::default();
    let key = keys::tail(shard);
    if let Some(row) = transaction.snapshot_get(&key).await? {
        position.head = records::decode_tail(&row).map_err(corrupt(&key))?.next;
    }
    let key = keys::tail_start(shard);
    if let Some(row) = transaction.snapshot_get(&key).await? {
        position.tail_start = records::decode_offset(&row).map_err(corrupt(&key))?;
    }
    let key = keys::trimmed(shard);
    if let Some(row) = transaction.snapshot_get(&key).await? {
        position.trimmed = records::decode_offset(&row).map_err(corrupt(&key))?;
    }
    Ok(position)
}

async fn find_followers(
    transaction: &Transaction,
    shard: ShardId,
) -> Result<BTreeMap<FollowerId, Provider>, ReadError> {
    let mut followers = BTreeMap::new();
    for (key, row) in all(transaction, keys::followers(shard)).await? {
        let id = keys::first_u32(&key).ok_or_else(|| corrupt(&key)(BadValue("not a follower's number")))?;
        followers.insert(FollowerId(id), records::decode_follower(&row).map_err(corrupt(&key))?);
    }
    Ok(followers)
}

async fn find_cursors(transaction: &Transaction, shard: ShardId) -> Result<BTreeMap<FollowerId, Cursor>, ReadError> {
    let mut parts: BTreeMap<u32, Vec<(Bytes, Bytes)>> = BTreeMap::new();
    for (key, row) in all(transaction, keys::cursors(shard)).await? {
        let chunk = keys::first_u32(&key)
            .filter(|chunk| chunk.checked_mul(FollowerId::PER_CHUNK).is_some())
            .ok_or_else(|| corrupt(&key)(BadValue("not a chunk's number")))?;
        parts.entry(chunk).or_default().push((key, row));
    }
    let mut cursors = BTreeMap::new();
    for (chunk, parts) in parts {
        let key = keys::cursor_chunk(shard, chunk).begin;
        let slots = records::decode_cursors(&joined(parts)).map_err(corrupt(&key))?;
        cursors.extend(
            slots
                .into_iter()
                .map(|(slot, cursor)| (FollowerId(chunk * FollowerId::PER_CHUNK + slot), cursor)),
        );
    }
    Ok(cursors)
}
