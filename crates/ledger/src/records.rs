//! The rows of a ledger and of a shard's log as octets.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use prost::Message;
use room::{EntryKind, Epoch, Millis, Recipient, Recipients, Seq, Shown};
use route::Shards;
use sha2::{Digest as _, Sha256};

use crate::cursor::{Cursor, FollowerId, IndexBlock};
use crate::rows::{chain_of, provider_of};
use crate::value::{self, BadValue, Reference, ReferenceMessage};
use crate::{LedgerId, LogEntry, Offset, SetId};

#[derive(Clone, PartialEq, Message)]
struct LedgerRow {
    #[prost(bytes = "bytes", tag = "1")]
    id: Bytes,
}

pub(crate) fn encode_ledger(id: LedgerId) -> Bytes {
    value::encode(&LedgerRow {
        id: Bytes::copy_from_slice(&id.0),
    })
}

pub(crate) fn decode_ledger(octets: &Bytes) -> Result<LedgerId, BadValue> {
    let LedgerRow { id } = value::decode(octets)?;
    id[..]
        .try_into()
        .map(LedgerId)
        .map_err(|_| BadValue("not a ledger's incarnation"))
}

#[derive(Clone, PartialEq, Message)]
struct ShardsRow {
    #[prost(uint32, tag = "1")]
    count: u32,
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
}

pub(crate) fn encode_shards(shards: &Shards) -> Bytes {
    value::encode(&ShardsRow {
        count: shards.count(),
        key: Bytes::copy_from_slice(shards.key()),
    })
}

pub(crate) fn decode_shards(octets: &Bytes) -> Result<Shards, BadValue> {
    let ShardsRow { count, key } = value::decode(octets)?;
    let key = key[..].try_into().map_err(|_| BadValue("not a hash key"))?;
    Shards::new(count, key).map_err(|_| BadValue("not a number of shards"))
}

/// Where a shard's log ends, and who wrote last. Each open log of a term has its own `opening`, each of its batches its
/// own number: so the tail after a batch is like no other tail ever, and finding it proves the batch.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tail {
    pub(crate) term: u64,
    pub(crate) opening: u64,
    pub(crate) batch: u64,
    pub(crate) next: Offset,
}

#[derive(Clone, PartialEq, Message)]
struct TailRow {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    opening: u64,
    #[prost(uint64, tag = "3")]
    batch: u64,
    #[prost(uint64, tag = "4")]
    next: u64,
}

pub(crate) fn encode_tail(tail: &Tail) -> Bytes {
    value::encode(&TailRow {
        term: tail.term,
        opening: tail.opening,
        batch: tail.batch,
        next: tail.next.0,
    })
}

pub(crate) fn decode_tail(octets: &Bytes) -> Result<Tail, BadValue> {
    let TailRow {
        term,
        opening,
        batch,
        next,
    } = value::decode(octets)?;
    Ok(Tail {
        term,
        opening,
        batch,
        next: Offset(next),
    })
}

#[derive(Clone, PartialEq, Message)]
struct OffsetRow {
    #[prost(uint64, tag = "1")]
    offset: u64,
}

pub(crate) fn encode_offset(offset: Offset) -> Bytes {
    value::encode(&OffsetRow { offset: offset.0 })
}

pub(crate) fn decode_offset(octets: &Bytes) -> Result<Offset, BadValue> {
    value::decode(octets).map(|OffsetRow { offset }| Offset(offset))
}

#[derive(Clone, PartialEq, Message)]
struct LogRow {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(uint64, tag = "4")]
    accepted: u64,
    #[prost(uint64, tag = "5")]
    epoch: u64,
    #[prost(bytes = "bytes", tag = "6")]
    chain: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    set: Bytes,
    /// Empty if it is in chunks.
    #[prost(bytes = "bytes", tag = "8")]
    message: Bytes,
    /// Where the chunks of a large message are.
    #[prost(message, optional, tag = "9")]
    blob: Option<ReferenceMessage>,
}

/// An entry's row; with `blob` the message is elsewhere.
pub(crate) fn encode_entry(entry: &LogEntry, blob: Option<&Reference>) -> Bytes {
    value::encode(&LogRow {
        room: entry.room.as_str().into(),
        seq: entry.seq.0,
        kind: match entry.kind {
            EntryKind::Commit => 1,
            EntryKind::Proposals => 2,
            EntryKind::Message => 3,
            EntryKind::Welcome => 4,
        },
        accepted: entry.accepted.0,
        epoch: entry.epoch.0,
        chain: Bytes::copy_from_slice(&entry.chain.0),
        set: Bytes::copy_from_slice(&entry.set.0),
        message: if blob.is_some() {
            Bytes::new()
        } else {
            entry.message.clone()
        },
        blob: blob.map(ReferenceMessage::from),
    })
}

/// The entry but for its recipients, which its set says, and a large message, which is where the reference says.
pub(crate) fn decode_entry(offset: Offset, octets: &Bytes) -> Result<(LogEntry, Option<Reference>), BadValue> {
    let row: LogRow = value::decode(octets)?;
    let entry = LogEntry {
        offset,
        room: row.room.parse::<RoomUri>().map_err(|_| BadValue("not a room"))?,
        seq: Seq(row.seq),
        kind: match row.kind {
            1 => EntryKind::Commit,
            2 => EntryKind::Proposals,
            3 => EntryKind::Message,
            4 => EntryKind::Welcome,
            _ => return Err(BadValue("not a kind of entry")),
        },
        accepted: Millis(row.accepted),
        epoch: Epoch(row.epoch),
        message: row.message,
        chain: chain_of(&row.chain)?,
        set: row.set[..]
            .try_into()
            .map(SetId)
            .map_err(|_| BadValue("not a set's name"))?,
        recipients: Arc::default(),
    };
    Ok((entry, row.blob.map(Reference::try_from).transpose()?))
}

#[derive(Clone, PartialEq, Message)]
struct SetRow {
    #[prost(message, repeated, tag = "1")]
    recipients: Vec<RecipientMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct RecipientMessage {
    #[prost(string, tag = "1")]
    provider: String,
    /// Only the digest is shown.
    #[prost(bool, tag = "2")]
    digest: bool,
    #[prost(bool, tag = "3")]
    first: bool,
}

/// A recipient set's encoding, before it is cut into parts, and its name.
pub(crate) fn encode_set(recipients: &Recipients) -> (SetId, Bytes) {
    let recipients = recipients.0.iter().map(|recipient| RecipientMessage {
        provider: recipient.provider.as_str().into(),
        digest: recipient.shown == Shown::Digest,
        first: recipient.first,
    });
    let octets = value::encode(&SetRow {
        recipients: recipients.collect(),
    });
    (name_of_set(&octets), octets)
}

fn name_of_set(octets: &[u8]) -> SetId {
    let digest: [u8; 32] = Sha256::digest(octets).into();
    SetId(*digest.first_chunk().expect("32 octets begin with 16"))
}

pub(crate) fn decode_set(set: SetId, octets: &Bytes) -> Result<Recipients, BadValue> {
    if name_of_set(octets) != set {
        return Err(BadValue("a recipient set is missing or not what was written"));
    }
    let SetRow { recipients } = value::decode(octets)?;
    let recipients = recipients.into_iter().map(|recipient| {
        Ok(Recipient {
            provider: provider_of(&recipient.provider)?,
            shown: if recipient.digest {
                Shown::Digest
            } else {
                Shown::Message
            },
            first: recipient.first,
        })
    });
    recipients.collect::<Result<_, _>>().map(Recipients)
}

#[derive(Clone, PartialEq, Message)]
struct FollowerNameRow {
    #[prost(string, tag = "1")]
    provider: String,
}

pub(crate) fn encode_follower(provider: &Provider) -> Bytes {
    value::encode(&FollowerNameRow {
        provider: provider.as_str().into(),
    })
}

pub(crate) fn decode_follower(octets: &Bytes) -> Result<Provider, BadValue> {
    let FollowerNameRow { provider } = value::decode(octets)?;
    provider_of(&provider)
}

#[derive(Clone, PartialEq, Message)]
struct FollowerIdRow {
    #[prost(uint32, tag = "1")]
    id: u32,
}

pub(crate) fn encode_follower_id(id: FollowerId) -> Bytes {
    value::encode(&FollowerIdRow { id: id.0 })
}

pub(crate) fn decode_follower_id(octets: &Bytes) -> Result<FollowerId, BadValue> {
    value::decode(octets).map(|FollowerIdRow { id }| FollowerId(id))
}

#[derive(Clone, PartialEq, Message)]
struct CursorsRow {
    #[prost(message, repeated, tag = "1")]
    cursors: Vec<CursorMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct CursorMessage {
    #[prost(uint32, tag = "1")]
    slot: u32,
    #[prost(uint64, tag = "2")]
    next: u64,
    /// Each as the distance from the one before, the first from `next`.
    #[prost(uint64, repeated, tag = "3")]
    above: Vec<u64>,
    #[prost(bool, tag = "4")]
    expired: bool,
}

/// A chunk of cursors by slot, before it is cut into parts.
pub(crate) fn encode_cursors<'a>(cursors: impl Iterator<Item = (u32, &'a Cursor)>) -> Bytes {
    let cursors = cursors.map(|(slot, cursor)| {
        let mut before = cursor.next.0;
        let above = cursor
            .above()
            .map(|offset| offset.0 - std::mem::replace(&mut before, offset.0));
        CursorMessage {
            slot,
            next: cursor.next.0,
            above: above.collect(),
            expired: cursor.expired,
        }
    });
    value::encode(&CursorsRow {
        cursors: cursors.collect(),
    })
}

pub(crate) fn decode_cursors(octets: &Bytes) -> Result<BTreeMap<u32, Cursor>, BadValue> {
    const BAD: BadValue = BadValue("not a cursor");
    let CursorsRow { cursors } = value::decode(octets)?;
    let cursors = cursors.into_iter().map(|message| {
        if message.slot >= FollowerId::PER_CHUNK {
            return Err(BAD);
        }
        let mut cursor = Cursor::at(Offset(message.next));
        cursor.expired = message.expired;
        let mut offset = message.next;
        for distance in message.above {
            offset = offset.checked_add(distance).ok_or(BAD)?;
            cursor.set_aside(Offset(offset)).map_err(|_| BAD)?;
        }
        Ok((message.slot, cursor))
    });
    cursors.collect()
}

#[derive(Clone, PartialEq, Message)]
struct IndexRow {
    /// Each as the distance from the one before, the first from 0.
    #[prost(uint64, repeated, tag = "1")]
    offsets: Vec<u64>,
}

pub(crate) fn encode_index(offsets: &[Offset]) -> Bytes {
    let mut before = 0;
    let offsets = offsets
        .iter()
        .map(|offset| offset.0 - std::mem::replace(&mut before, offset.0));
    value::encode(&IndexRow {
        offsets: offsets.collect(),
    })
}

pub(crate) fn decode_index(octets: &Bytes) -> Result<Vec<Offset>, BadValue> {
    const BAD: BadValue = BadValue("not an index block");
    let IndexRow { offsets: distances } = value::decode(octets)?;
    if distances.len() > IndexBlock::OFFSETS_MAX {
        return Err(BAD);
    }
    let mut offset: u64 = 0;
    let offsets = distances.into_iter().enumerate().map(|(n, distance)| {
        if n > 0 && distance == 0 {
            return Err(BAD);
        }
        offset = offset.checked_add(distance).ok_or(BAD)?;
        Ok(Offset(offset))
    });
    offsets.collect()
}
