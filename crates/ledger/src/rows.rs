//! Room rows as octets: one message for each kind. Which kind it is stands in the key.

use bytes::Bytes;
use mimi::Provider;
use prost::Message;
use room::{AnswerKind, Chain, Digest, Epoch, Millis, Row, RowId, Seq};

use crate::value::{self, BadValue};

#[derive(Clone, PartialEq, Message)]
struct HeadRow {
    #[prost(uint64, tag = "1")]
    seq: u64,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint64, tag = "3")]
    accepted: u64,
    #[prost(bytes = "bytes", tag = "4")]
    chain: Bytes,
    #[prost(uint64, tag = "5")]
    snapshot: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotRow {
    #[prost(bytes = "bytes", tag = "1")]
    state: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct DeltaRow {
    #[prost(bytes = "bytes", tag = "1")]
    commit: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    staged: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct DictionaryRow {
    #[prost(bytes = "bytes", tag = "1")]
    octets: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct PendingRow {
    #[prost(string, tag = "1")]
    from: String,
    #[prost(uint64, tag = "2")]
    accepted: u64,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    proposals: Vec<Bytes>,
    #[prost(bytes = "bytes", tag = "4")]
    queued: Bytes,
}

/// A row that says something by being there.
#[derive(Clone, PartialEq, Message)]
struct MarkRow {}

#[derive(Clone, PartialEq, Message)]
struct FrozenRow {
    #[prost(bytes = "bytes", tag = "1")]
    successor: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct GroupInfoRow {
    #[prost(bytes = "bytes", tag = "1")]
    group_info: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RouteRow {
    #[prost(string, tag = "1")]
    provider: String,
    #[prost(uint64, tag = "2")]
    expires: u64,
}

#[derive(Clone, PartialEq, Message)]
struct AnswerRow {
    #[prost(uint64, tag = "1")]
    accepted: u64,
    #[prost(bytes = "bytes", tag = "2")]
    answer: Bytes,
    #[prost(uint32, tag = "3")]
    kind: u32,
}

#[derive(Clone, PartialEq, Message)]
struct FollowerRow {
    #[prost(uint64, tag = "1")]
    since: u64,
}

#[derive(Clone, PartialEq, Message)]
struct GrantRow {
    #[prost(bytes = "bytes", tag = "1")]
    code: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    key: Bytes,
}

pub(crate) fn encode(row: &Row) -> Bytes {
    match row.clone() {
        Row::Head {
            seq,
            epoch,
            accepted,
            chain,
            snapshot,
        } => value::encode(&HeadRow {
            seq: seq.0,
            epoch: epoch.0,
            accepted: accepted.0,
            chain: Bytes::copy_from_slice(&chain.0),
            snapshot: snapshot.0,
        }),
        Row::Snapshot { state } => value::encode(&SnapshotRow { state }),
        Row::Delta { commit, staged } => value::encode(&DeltaRow { commit, staged }),
        Row::Dictionary { octets } => value::encode(&DictionaryRow { octets }),
        Row::Pending {
            from,
            accepted,
            proposals,
            queued,
        } => value::encode(&PendingRow {
            from: from.as_str().into(),
            accepted: accepted.0,
            proposals,
            queued,
        }),
        Row::Blocked | Row::Leaving | Row::Orphan | Row::Over => value::encode(&MarkRow {}),
        Row::Frozen { successor } => value::encode(&FrozenRow { successor }),
        Row::GroupInfo { group_info } => value::encode(&GroupInfoRow { group_info }),
        Row::Route { provider, expires } => value::encode(&RouteRow {
            provider: provider.as_str().into(),
            expires: expires.0,
        }),
        Row::Answer { kind, accepted, answer } => value::encode(&AnswerRow {
            accepted: accepted.0,
            answer,
            kind: match kind {
                AnswerKind::Update => 1,
                AnswerKind::Submit => 2,
            },
        }),
        Row::Follower { since } => value::encode(&FollowerRow { since: since.0 }),
        Row::Grant { code, key } => value::encode(&GrantRow {
            code: Bytes::copy_from_slice(&code.0),
            key,
        }),
    }
}

/// Decodes the whole value of the row `id`.
pub(crate) fn decode(id: &RowId, octets: &Bytes) -> Result<Row, BadValue> {
    Ok(match id {
        RowId::Head => {
            let HeadRow {
                seq,
                epoch,
                accepted,
                chain,
                snapshot,
            } = value::decode(octets)?;
            Row::Head {
                seq: Seq(seq),
                epoch: Epoch(epoch),
                accepted: Millis(accepted),
                chain: chain_of(&chain)?,
                snapshot: Epoch(snapshot),
            }
        }
        RowId::Snapshot(_) => {
            let SnapshotRow { state } = value::decode(octets)?;
            Row::Snapshot { state }
        }
        RowId::Delta(_) => {
            let DeltaRow { commit, staged } = value::decode(octets)?;
            Row::Delta { commit, staged }
        }
        RowId::Dictionary(_) => {
            let DictionaryRow { octets } = value::decode(octets)?;
            Row::Dictionary { octets }
        }
        RowId::Pending(_) => {
            let PendingRow {
                from,
                accepted,
                proposals,
                queued,
            } = value::decode(octets)?;
            Row::Pending {
                from: provider_of(&from)?,
                accepted: Millis(accepted),
                proposals,
                queued,
            }
        }
        RowId::Blocked(_) => value::decode(octets).map(|MarkRow {}| Row::Blocked)?,
        RowId::Leaving(_) => value::decode(octets).map(|MarkRow {}| Row::Leaving)?,
        RowId::Orphan(_) => value::decode(octets).map(|MarkRow {}| Row::Orphan)?,
        RowId::Over => value::decode(octets).map(|MarkRow {}| Row::Over)?,
        RowId::Frozen => {
            let FrozenRow { successor } = value::decode(octets)?;
            Row::Frozen { successor }
        }
        RowId::GroupInfo => {
            let GroupInfoRow { group_info } = value::decode(octets)?;
            Row::GroupInfo { group_info }
        }
        RowId::Route(_) => {
            let RouteRow { provider, expires } = value::decode(octets)?;
            Row::Route {
                provider: provider_of(&provider)?,
                expires: Millis(expires),
            }
        }
        RowId::Answer(_) => {
            let AnswerRow { accepted, answer, kind } = value::decode(octets)?;
            Row::Answer {
                kind: match kind {
                    1 => AnswerKind::Update,
                    2 => AnswerKind::Submit,
                    _ => return Err(BadValue("not a kind of answer")),
                },
                accepted: Millis(accepted),
                answer,
            }
        }
        RowId::Follower(_) => {
            let FollowerRow { since } = value::decode(octets)?;
            Row::Follower { since: Seq(since) }
        }
        RowId::Grant(_) => {
            let GrantRow { code, key } = value::decode(octets)?;
            let code = (&*code).try_into().map_err(|_| BadValue("not a digest"))?;
            Row::Grant {
                code: Digest(code),
                key,
            }
        }
    })
}

/// Whether the row's value may be too large for one value of the store, so that a blob may belong to it. An answer is a
/// few dozen octets, and one goes with every message: should a large one ever be kept, its chunks stay until a later
/// tenure loads the room.
pub(crate) fn may_be_large(id: &RowId) -> bool {
    match id {
        RowId::Snapshot(_) | RowId::Delta(_) | RowId::Dictionary(_) | RowId::Pending(_) | RowId::GroupInfo => true,
        RowId::Head
        | RowId::Blocked(_)
        | RowId::Leaving(_)
        | RowId::Frozen
        | RowId::Route(_)
        | RowId::Answer(_)
        | RowId::Follower(_)
        | RowId::Grant(_)
        | RowId::Orphan(_)
        | RowId::Over => false,
    }
}

/// Whether a row is written again with other octets without being deleted in between.
pub(crate) fn is_rewritten(id: &RowId) -> bool {
    matches!(id, RowId::Pending(_) | RowId::GroupInfo)
}

pub(crate) fn chain_of(octets: &[u8]) -> Result<Chain, BadValue> {
    octets.try_into().map(Chain).map_err(|_| BadValue("not a chain"))
}

pub(crate) fn provider_of(text: &str) -> Result<Provider, BadValue> {
    text.parse().map_err(|_| BadValue("not a provider"))
}
