//! Entries that a follower refuses for good. They are passed over, so that they hold up nothing, and remembered for whoever
//! operates the hub. And what that operator decided about followers: to bring nothing to them for now.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use prost::Message;
use room::Seq;
use route::ShardId;
use store::{Bounds, Isolation, Transaction};

use crate::cursor::FollowerId;
use crate::read::{ReadError, corrupt, retried};
use crate::value::{self, BadValue};
use crate::{Ledger, Offset, keys, records};

/// Entries of one follower and shard that one read tells of.
const ROWS_MAX: usize = 1_024;

/// Entries of one shard, over all followers, of which is told where they lie.
const OFFSETS_MAX: usize = 65_536;

/// Paused followers of one shard that one read tells of. Writers stay below.
const PAUSED_MAX: usize = 4_096;

/// Rows, and octets, read in one go.
const PAGE: Bounds = Bounds {
    rows: 1_000,
    octets: 1_000_000,
    reverse: false,
};

/// An entry that a follower did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Who did not.
    pub follower: Provider,
    /// Where the entry lies in its shard's log.
    pub offset: Offset,
    /// Its room.
    pub room: RoomUri,
    /// Its place in the room.
    pub seq: Seq,
    /// Why, as an HTTP status (4xx).
    pub status: u16,
    /// Why, in the follower's words, of which the first [`SetAside::REASON_CHARS_MAX`] characters are kept.
    pub reason: String,
    /// How often it was brought.
    pub tries: u32,
}

impl SetAside {
    /// Characters of the reason that are kept.
    pub const REASON_CHARS_MAX: usize = 200;
}

#[derive(Clone, PartialEq, Message)]
struct SetAsideRow {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(uint32, tag = "3")]
    status: u32,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(uint32, tag = "5")]
    tries: u32,
}

pub(crate) fn encode(aside: &SetAside) -> Bytes {
    value::encode(&SetAsideRow {
        room: aside.room.as_str().to_owned(),
        seq: aside.seq.0,
        status: u32::from(aside.status),
        reason: aside.reason.chars().take(SetAside::REASON_CHARS_MAX).collect(),
        tries: aside.tries,
    })
}

#[derive(Clone, PartialEq, Message)]
struct PausedRow {}

pub(crate) fn encode_paused() -> Bytes {
    value::encode(&PausedRow {})
}

pub(crate) fn decode(follower: &Provider, offset: Offset, octets: &Bytes) -> Result<SetAside, BadValue> {
    let row: SetAsideRow = value::decode(octets)?;
    Ok(SetAside {
        follower: follower.clone(),
        offset,
        room: row.room.parse().map_err(|_| BadValue("not a room"))?,
        seq: Seq(row.seq),
        status: u16::try_from(row.status).map_err(|_| BadValue("not a status"))?,
        reason: row.reason,
        tries: row.tries,
    })
}

impl Ledger {
    /// What was set aside for `follower` in one shard, the oldest 1,024 of it.
    pub async fn set_aside(&self, shard: ShardId, follower: &Provider) -> Result<Vec<SetAside>, ReadError> {
        self.set_aside_from(shard, follower, Offset(0), ROWS_MAX).await
    }

    /// What was set aside for `follower` in one shard from `from` on, ascending: `max` of it, and never more than 1,024.
    pub async fn set_aside_from(
        &self,
        shard: ShardId,
        follower: &Provider,
        from: Offset,
        max: usize,
    ) -> Result<Vec<SetAside>, ReadError> {
        let max = max.clamp(1, ROWS_MAX);
        retried!(self, transaction => find(&transaction, shard, follower, from, max))
    }

    /// Where the entries lie that were set aside in a shard, for each follower the oldest `max`; of at most 65,536 rows.
    pub async fn all_set_aside(
        &self,
        shard: ShardId,
        max: usize,
    ) -> Result<BTreeMap<Provider, BTreeSet<Offset>>, ReadError> {
        let found = self.set_aside_by_id(shard, max).await?;
        if found.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut followers = self.followers(shard).await?;
        let named = found.into_iter();
        Ok(named
            .filter_map(|(id, offsets)| Some((followers.remove(&id)?, offsets)))
            .collect())
    }

    async fn set_aside_by_id(
        &self,
        shard: ShardId,
        max: usize,
    ) -> Result<BTreeMap<FollowerId, BTreeSet<Offset>>, ReadError> {
        retried!(self, transaction => find_all(&transaction, shard, max))
    }

    /// To whom nothing is brought from a shard.
    pub async fn paused(&self, shard: ShardId) -> Result<BTreeSet<Provider>, ReadError> {
        retried!(self, transaction => find_paused(&transaction, shard))
    }
}

async fn find(
    transaction: &Transaction,
    shard: ShardId,
    follower: &Provider,
    from: Offset,
    max: usize,
) -> Result<Vec<SetAside>, ReadError> {
    let name = keys::follower_name(shard, follower);
    let Some(number) = transaction.snapshot_get(&name).await? else {
        return Ok(Vec::new());
    };
    let id: FollowerId = records::decode_follower_id(&number).map_err(corrupt(&name))?;
    let rows = transaction
        .snapshot_range(keys::set_aside_from(shard, id, from), max, false)
        .await?;
    let row = |(key, octets): (Bytes, Bytes)| {
        let offset = keys::last_u64(&key).map(Offset).unwrap_or_default();
        Ok(decode(follower, offset, &octets).map_err(corrupt(&key))?)
    };
    rows.into_iter().map(row).collect()
}

async fn find_all(
    transaction: &Transaction,
    shard: ShardId,
    max: usize,
) -> Result<BTreeMap<FollowerId, BTreeSet<Offset>>, ReadError> {
    let mut range = keys::set_aside_in(shard);
    let mut found: BTreeMap<FollowerId, BTreeSet<Offset>> = BTreeMap::new();
    let mut read = 0;
    loop {
        let page = transaction.read(range.clone(), PAGE, Isolation::Snapshot).await?;
        for (key, _) in &page.rows {
            let place = keys::first_u32(key).zip(keys::last_u64(key));
            let (id, offset) = place.ok_or_else(|| corrupt(key)(BadValue("not a follower and an offset")))?;
            let offsets = found.entry(FollowerId(id)).or_default();
            if offsets.len() < max {
                offsets.insert(Offset(offset));
            }
        }
        read += page.rows.len();
        match page.rows.last() {
            Some((last, _)) if page.more && read < OFFSETS_MAX => range.begin = [last, &b"\0"[..]].concat().into(),
            _ => return Ok(found),
        }
    }
}

async fn find_paused(transaction: &Transaction, shard: ShardId) -> Result<BTreeSet<Provider>, ReadError> {
    let range = keys::all_paused(shard);
    let prefix = range.begin.len();
    let rows = transaction.snapshot_range(range, PAUSED_MAX, false).await?;
    let paused = rows.into_iter().map(|(key, octets)| {
        value::decode::<PausedRow>(&octets).map_err(corrupt(&key))?;
        let provider = keys::last_provider(&key, prefix);
        Ok(provider.ok_or_else(|| corrupt(&key)(BadValue("not a provider")))?)
    });
    paused.collect()
}
