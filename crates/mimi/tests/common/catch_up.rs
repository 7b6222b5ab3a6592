//! What followers ask hubs, and what those sign.

use mimi::catch_up::{
    RoomEventsForm, RoomEventsRequest, RoomHead, RoomHeadAnswer, RoomHeadsRequest, RoomHeadsResponse,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::octets;
use super::values::{Sample, identifier};

pub(crate) fn room_head() -> Sample<RoomHead> {
    (
        identifier(),
        any::<[u8; 16]>(),
        any::<[u64; 2]>(),
        any::<[u8; 32]>(),
        any::<u16>(),
        octets(),
    )
        .prop_map(
            |(room, ledger, [seq, epoch], chain, cipher_suite, signature)| RoomHead {
                room,
                ledger,
                seq,
                chain,
                epoch,
                cipher_suite,
                signature,
            },
        )
        .boxed()
}

pub(crate) fn room_heads_request() -> Sample<RoomHeadsRequest> {
    (vec(identifier(), 0..4), any::<u32>())
        .prop_map(|(rooms, step)| RoomHeadsRequest { rooms, step })
        .boxed()
}

pub(crate) fn room_heads_response() -> Sample<RoomHeadsResponse> {
    let answer = prop_oneof![
        room_head().prop_map(RoomHeadAnswer::Head),
        Just(RoomHeadAnswer::Unknown),
        Just(RoomHeadAnswer::NotKept),
    ];
    vec(answer, 0..4)
        .prop_map(|answers| RoomHeadsResponse { answers })
        .boxed()
}

pub(crate) fn room_events_request() -> Sample<RoomEventsRequest> {
    let form = prop_oneof![Just(RoomEventsForm::Messages), Just(RoomEventsForm::Items)];
    (any::<u64>(), any::<u32>(), form)
        .prop_map(|(after_seq, max, form)| RoomEventsRequest { after_seq, max, form })
        .boxed()
}
