//! A room as one of its followers may read it: where it stands, and its entries by their seq. What is read is durable, so
//! it may be told by whoever reads it; what was never due to the follower is not read.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use mimi::{Provider, RoomUri};
use room::{Chain, Epoch, Row, RowId, Seq};
use route::ShardId;
use store::{Bounds, Isolation, Transaction};

use crate::read::{ReadError, ReadLimit, corrupt, retried};
use crate::value::BadValue;
use crate::{Ledger, LogEntry, Offset, keys, records, rows};

/// Rows of the log read beside each other: what comes of them is held before it is known how much of it is wanted.
const ROWS_AT_ONCE: usize = 32;

/// Octets of offsets that one read looks at.
const PLACES_BYTES: usize = 256 << 10;

/// Most entries of one read.
const ENTRIES_MAX: usize = 1_024;

/// Where a room stands, for a provider to which its entries are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowedRoom {
    /// Of the last entry; 0 in a room without entries.
    pub seq: Seq,
    /// The room's epoch after it.
    pub epoch: Epoch,
    /// The chain after it.
    pub chain: Chain,
    /// The first entry that is due to the provider.
    pub since: Seq,
}

/// What a follower is told of a room's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomEntries {
    /// There is no such room, or nothing of it is due to the provider.
    Unknown,
    /// The first entry that was asked for is not in the log any more.
    Expired(FollowedRoom),
    /// Entries in a row, the first that was asked for first; none if the room has no more.
    Found(FollowedRoom, Vec<LogEntry>),
}

impl Ledger {
    /// Where a room stands, if its entries are due to `follower`.
    pub async fn followed_room(&self, room: &RoomUri, follower: &Provider) -> Result<Option<FollowedRoom>, ReadError> {
        let shard = self.shards().of(room.as_str());
        retried!(self, transaction => find_followed(&transaction, shard, room, follower))
    }

    /// Entries of a room from `from` on, or from the first that is due to `follower` if that comes later; all of them are
    /// due to it.
    pub async fn followed_entries(
        &self,
        room: &RoomUri,
        follower: &Provider,
        from: Seq,
        limit: ReadLimit,
    ) -> Result<RoomEntries, ReadError> {
        let shard = self.shards().of(room.as_str());
        retried!(self, transaction => self.find_followed_entries(&transaction, shard, room, follower, from, limit))
    }

    async fn find_followed_entries(
        &self,
        transaction: &Transaction,
        shard: ShardId,
        room: &RoomUri,
        follower: &Provider,
        from: Seq,
        limit: ReadLimit,
    ) -> Result<RoomEntries, ReadError> {
        let Some(standing) = find_followed(transaction, shard, room, follower).await? else {
            return Ok(RoomEntries::Unknown);
        };
        let from = from.max(standing.since).max(Seq(1));
        if from > standing.seq {
            return Ok(RoomEntries::Found(standing, Vec::new()));
        }
        let entries = limit.entries.clamp(1, ENTRIES_MAX);
        let places = find_places(transaction, shard, room, from, entries).await?;
        let mut found: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        'pages: for page in places.chunks(ROWS_AT_ONCE) {
            let rows = page.iter().map(|offset| async move {
                let key = keys::log(shard, *offset);
                let row = transaction.snapshot_get(&key).await?;
                Ok::<_, store::Error>((key, row))
            });
            for (key, row) in try_join_all(rows).await? {
                let next = Seq(from.0.saturating_add(found.len() as u64));
                let Some(row) = row else { break 'pages };
                if bytes >= limit.bytes && !found.is_empty() {
                    break 'pages;
                }
                let entry = self.whole_entry(transaction, shard, &key, &row).await?;
                if entry.room != *room || entry.seq != next {
                    let why = BadValue("not the entry that its room's index names");
                    return Err(corrupt(&key)(why).into());
                }
                bytes += entry.message.len();
                found.push(entry);
            }
        }
        Ok(match found.is_empty() {
            true => RoomEntries::Expired(standing),
            false => RoomEntries::Found(standing, found),
        })
    }
}

async fn find_followed(
    transaction: &Transaction,
    shard: ShardId,
    room: &RoomUri,
    follower: &Provider,
) -> Result<Option<FollowedRoom>, ReadError> {
    let due = find_row(transaction, shard, room, RowId::Follower(follower.clone())).await?;
    let head = find_row(transaction, shard, room, RowId::Head).await?;
    Ok(match (due, head) {
        (Some(Row::Follower { since }), Some(Row::Head { seq, epoch, chain, .. })) => Some(FollowedRoom {
            seq,
            epoch,
            chain,
            since,
        }),
        _ => None,
    })
}

async fn find_row(
    transaction: &Transaction,
    shard: ShardId,
    room: &RoomUri,
    id: RowId,
) -> Result<Option<Row>, ReadError> {
    let key = keys::row(shard, room, &id);
    let row = transaction.snapshot_get(&key).await?;
    let row = row.map(|row: Bytes| rows::decode(&id, &row));
    Ok(row.transpose().map_err(corrupt(&key))?)
}

/// Offsets of the room's entries from `from` on, as far as they are known without a gap.
async fn find_places(
    transaction: &Transaction,
    shard: ShardId,
    room: &RoomUri,
    from: Seq,
    max: usize,
) -> Result<Vec<Offset>, ReadError> {
    // Each row names one entry at least.
    let bounds = Bounds {
        rows: max,
        octets: PLACES_BYTES,
        reverse: false,
    };
    let range = keys::room_index_from(shard, room, from);
    let found = transaction.read(range, bounds, Isolation::Snapshot).await?;
    let mut places: BTreeMap<Seq, Offset> = BTreeMap::new();
    for (key, row) in found.rows {
        let offsets = records::decode_index(&row).map_err(corrupt(&key))?;
        let last = keys::last_u64(&key).unwrap_or_default();
        let first = last
            .checked_add(1)
            .and_then(|next| next.checked_sub(offsets.len() as u64));
        let first = first.ok_or_else(|| corrupt(&key)(BadValue("more entries than the room had")))?;
        places.extend((first..=last).map(Seq).zip(offsets));
        if places.len() > max + crate::IndexBlock::OFFSETS_MAX {
            break;
        }
    }
    let wanted = (from.0..).map(Seq).take(max);
    Ok(wanted.map_while(|seq| places.get(&seq).copied()).collect())
}
