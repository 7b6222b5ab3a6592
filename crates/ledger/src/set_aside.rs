//! Entries that a follower refuses for good. They are passed over, so that they hold up nothing, and remembered for whoever
//! operates the hub.

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use prost::Message;
use room::Seq;
use route::ShardId;
use store::Transaction;

use crate::cursor::FollowerId;
use crate::read::{ReadError, corrupt, retried};
use crate::value::{self, BadValue};
use crate::{Ledger, Offset, keys, records};

/// Entries of one follower and shard that one read tells of.
const ROWS_MAX: usize = 1_024;

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
        retried!(self, transaction => find(&transaction, shard, follower))
    }
}

async fn find(transaction: &Transaction, shard: ShardId, follower: &Provider) -> Result<Vec<SetAside>, ReadError> {
    let name = keys::follower_name(shard, follower);
    let Some(number) = transaction.snapshot_get(&name).await? else {
        return Ok(Vec::new());
    };
    let id: FollowerId = records::decode_follower_id(&number).map_err(corrupt(&name))?;
    let rows = transaction
        .snapshot_range(keys::all_set_aside(shard, id), ROWS_MAX, false)
        .await?;
    let row = |(key, octets): (Bytes, Bytes)| {
        let offset = keys::last_u64(&key).map(Offset).unwrap_or_default();
        Ok(decode(follower, offset, &octets).map_err(corrupt(&key))?)
    };
    rows.into_iter().map(row).collect()
}
