//! Gaps and signed heads over gRPC.

use mimi::catch_up::RoomHead;
use mimi::limits::HEADS_MAX;
use mimi::{Decode as _, Encode as _};
use proto::follower::{Delivered, Delivery, FollowedRoom, Gap, KeepHeadsRequest, ListHeadsResponse};
use proto::link::{Acknowledge, ItemRefusal};
use route::ShardId;
use tonic::Status;

use crate::{AsIs, Fault, Stored};

/// Whose gaps are taken as they are. A name that is no room's is nobody's.
pub(super) fn as_is(delivery: &Delivery) -> AsIs {
    match delivery.as_is {
        true => AsIs::All,
        false => AsIs::Rooms(
            delivery
                .as_is_rooms
                .iter()
                .filter_map(|room| room.parse().ok())
                .collect(),
        ),
    }
}

pub(super) fn delivered(shard: ShardId, stored: Stored) -> Delivered {
    let refused = stored.refused.into_iter().map(|refused| ItemRefusal {
        offset: refused.offset.0,
        status: refused.status.into(),
        reason: refused.reason.to_owned(),
    });
    let acknowledge = Acknowledge {
        shard: shard.0,
        next_offset: stored.next.0,
        refused: refused.collect(),
    };
    Delivered {
        acknowledge: Some(acknowledge),
        gap: stored.gap.map(|gap| Gap {
            room: gap.room.as_str().to_owned(),
            have: gap.have.0,
            until: gap.until.0,
        }),
    }
}

/// The head that the octets are; none if there are none.
pub(super) fn head(octets: &[u8]) -> Result<Option<RoomHead>, Status> {
    let decode = || RoomHead::decode_exact(octets).map_err(|_| Status::from(Fault::Malformed("head")));
    (!octets.is_empty()).then(decode).transpose()
}

pub(super) fn heads(request: &KeepHeadsRequest) -> Result<Vec<RoomHead>, Status> {
    if request.heads.len() > HEADS_MAX {
        return Err(Fault::TooMuch("heads").into());
    }
    let heads: Result<Vec<_>, Status> = request.heads.iter().map(|octets| head(octets)).collect();
    Ok(heads?.into_iter().flatten().collect())
}

pub(super) fn listed(rooms: Vec<crate::FollowedRoom>, more: bool) -> ListHeadsResponse {
    let rooms = rooms.into_iter().map(|room| FollowedRoom {
        room: room.room.as_str().to_owned(),
        seq: room.seq.0,
        chain: room.chain.0.to_vec().into(),
        head: room.head.map_or_else(Vec::new, |head| head.encode()).into(),
        lost: room.lost.0,
    });
    ListHeadsResponse {
        rooms: rooms.collect(),
        more,
    }
}
