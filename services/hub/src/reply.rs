//! From what the hub says to what travels: the draft's own body where the draft has one, else a status.

use std::time::Duration;

use bytes::Bytes;
use hub::Outcome;
use hub::keys::HubKeys;
use hub::seal::SealError;
use mimi::RoomUri;
use proto::hub::{Elsewhere, Refused, RoomResponse, ShardMap, ShardOwner, room_response};
use room::{Answer, Command, Refusal, Reply};
use route::Shards;

/// The response to a request, and how it counts.
pub(crate) fn response(
    outcome: Outcome,
    command: Option<&Command>,
    room: &RoomUri,
    keys: &HubKeys,
) -> (RoomResponse, &'static str) {
    match outcome {
        Outcome::Answer(Answer::GroupInfo(grant)) => match keys.seal_group_info(room, &grant) {
            Ok(body) => (answer(body), "answered"),
            Err(SealError::UnsupportedSuite(_)) => {
                refusal(&Refusal::NotAllowed("unsupported cipher suite"), room, command)
            }
            Err(SealError::BadPublicKey) => refusal(&Refusal::Malformed("groupInfoPublicKey"), room, command),
        },
        Outcome::Answer(given) => (answer(given.body().cloned().unwrap_or_default()), "answered"),
        Outcome::Refused(reason) => refusal(&reason, room, command),
        // As to a stranger to the room: whether there is one is not said.
        Outcome::UnknownRoom => refusal(&Refusal::NotAllowed("not a participant"), room, command),
        Outcome::RoomExists => (refused(409, "another room has this name", Duration::ZERO), "refused"),
        Outcome::Elsewhere { node, term } => {
            let outcome = room_response::Outcome::Elsewhere(Elsewhere { node, term });
            (RoomResponse { outcome: Some(outcome) }, "elsewhere")
        }
        Outcome::Overloaded { retry_after } => (refused(503, "overloaded", retry_after), "overloaded"),
        Outcome::Unavailable { retry_after } => (refused(503, "unavailable", retry_after), "unavailable"),
    }
}

pub(crate) fn answer(body: Bytes) -> RoomResponse {
    RoomResponse {
        outcome: Some(room_response::Outcome::Answer(body)),
    }
}

fn refusal(reason: &Refusal, room: &RoomUri, command: Option<&Command>) -> (RoomResponse, &'static str) {
    let reply = match command {
        Some(command) => reason.reply(room, command),
        // Founding is ours alone: the draft has no answer of its own.
        None => Reply::Status(
            if matches!(reason, Refusal::Malformed(_)) {
                400
            } else {
                403
            },
            founding_reason(reason),
        ),
    };
    let response = match reply {
        Reply::Body(body) => answer(body),
        Reply::Status(status, reason) => refused(status, reason, Duration::ZERO),
    };
    (response, "refused")
}

fn founding_reason(reason: &Refusal) -> &'static str {
    match reason {
        Refusal::Malformed(why) | Refusal::Forbidden(why) | Refusal::NotAllowed(why) => why,
        Refusal::InvalidProposal { why, .. } => why,
        Refusal::WrongEpoch { .. } | Refusal::EpochTooOld { .. } => "not at its first epoch",
    }
}

/// A refusal for which the draft has no answer.
pub(crate) fn refused(status: u16, reason: &str, retry_after: Duration) -> RoomResponse {
    let refused = Refused {
        status: status.into(),
        reason: reason.to_owned(),
        retry_after_ms: u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX),
    };
    RoomResponse {
        outcome: Some(room_response::Outcome::Refused(refused)),
    }
}

/// Who serves which shard, as the edge is told.
pub(crate) fn shard_map(shards: &Shards, map: &route::ShardMap) -> ShardMap {
    let owners = map.owners.iter().map(|(shard, owner)| ShardOwner {
        shard: shard.0,
        node: owner.node.clone(),
        term: owner.term,
    });
    ShardMap {
        version: map.version,
        shards: shards.count(),
        hash_key: shards.key().to_vec().into(),
        owners: owners.collect(),
    }
}
