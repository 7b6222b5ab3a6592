//! Heads and entries for followers that missed something.

use bytes::Bytes;
use ledger::{Chain, Digest, Offset, ReadLimit, Seq};
use mimi::catch_up::{RoomHead, RoomHeadAnswer, RoomHeadsRequest, RoomHeadsResponse};
use mimi::codec::{Decode as _, Encode as _};
use mimi::{IdentifierUri, RoomUri};
use proto::hub::hub_server::Hub as _;
use proto::hub::{Refused, RoomEventsCall, RoomHeadsCall, room_events_reply, room_heads_reply, room_request::Body};
use proto::link::{RoomEvents, item};
use store::KeyRange;
use tonic::Request;

use super::{World, room};

/// A room of alice's with so many messages in it.
async fn world_with(messages: u8) -> World {
    let world = World::new().await;
    let mut alice = world.founded().await;
    for n in 0..messages {
        world
            .answer("a.example", Body::Submit(alice.send(&room(), &[n]).unwrap()))
            .await;
    }
    world
}

async fn events(world: &World, source: &str, room: &str, after_seq: u64, max: u32) -> Result<RoomEvents, Refused> {
    let call = RoomEventsCall {
        source: source.to_owned(),
        room: room.to_owned(),
        after_seq,
        max,
    };
    let reply = world.hub.room_events(Request::new(call)).await.unwrap().into_inner();
    match reply.outcome.unwrap() {
        room_events_reply::Outcome::Events(events) => Ok(events),
        room_events_reply::Outcome::Refused(refused) => Err(refused),
    }
}

async fn asked(world: &World, source: &str, request: Bytes) -> Result<Bytes, Refused> {
    let call = RoomHeadsCall {
        source: source.to_owned(),
        request,
    };
    let reply = world.hub.room_heads(Request::new(call)).await.unwrap().into_inner();
    match reply.outcome.unwrap() {
        room_heads_reply::Outcome::Response(response) => Ok(response),
        room_heads_reply::Outcome::Refused(refused) => Err(refused),
    }
}

async fn heads(world: &World, source: &str, rooms: &[&str], step: u32) -> Vec<RoomHeadAnswer> {
    let rooms = rooms
        .iter()
        .map(|room| IdentifierUri(Bytes::copy_from_slice(room.as_bytes())));
    let request = RoomHeadsRequest {
        rooms: rooms.collect(),
        step,
    };
    let response = asked(world, source, request.encode().into()).await.unwrap();
    RoomHeadsResponse::decode_exact(&response).unwrap().answers
}

/// The log of the room, which is the only one.
async fn log(world: &World) -> Vec<ledger::LogEntry> {
    let limit = ReadLimit {
        entries: 1_000,
        bytes: usize::MAX,
    };
    let shard = world.ledger.shards().of(room().as_str());
    world.ledger.read_log(shard, Offset(0), limit).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn b_1_a_rooms_events_are_those_of_the_log_page_by_page_with_a_signed_head() {
    let world = world_with(9).await;
    let log = log(&world).await;
    let (mut after, mut chain, mut items) = (0, Chain::default(), Vec::new());
    loop {
        let page = events(&world, "a.example", room().as_str(), after, 4).await.unwrap();
        let head = RoomHead::decode_exact(&page.head).unwrap();
        assert!(peer::heads::verifies(&head, &world.keys.external_sender(1).unwrap()));
        assert_eq!((head.seq, head.chain), (9, log[8].chain.0));
        assert_eq!(head.ledger, world.ledger.id().0);
        let Some(last) = page.items.last() else { break };
        assert!(page.items.len() <= 4);
        after = last.seq;
        items.extend(page.items);
    }
    assert_eq!(items.len(), 9);
    for (item, entry) in items.iter().zip(&log) {
        let Some(item::Body::Message(message)) = &item.body else {
            panic!("alice's provider is shown everything");
        };
        assert_eq!(
            (item.seq, item.offset, message),
            (entry.seq.0, entry.offset.0, &entry.message)
        );
        chain = chain.then(Seq(item.seq), &Digest::of(message));
        assert_eq!(item.chain, chain.0.to_vec());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b_1_heads_are_of_the_rooms_that_a_provider_is_in_and_at_the_entry_that_it_names() {
    let world = world_with(9).await;
    let log = log(&world).await;
    let rooms = [room().as_str().to_owned(), "mimi://a.example/r/none".to_owned()];
    let rooms = [&*rooms[0], &*rooms[1], "mimi://b.example/r/x", "nonsense"];
    let head = |answer: &RoomHeadAnswer| match answer {
        RoomHeadAnswer::Head(head) => {
            assert!(peer::heads::verifies(head, &world.keys.external_sender(1).unwrap()));
            assert_eq!(head.room.room().unwrap(), room());
            (head.seq, head.chain, head.epoch)
        }
        other => panic!("{other:?}"),
    };
    for (step, seq) in [(0, 9), (1, 9), (4, 8), (5, 5), (9, 9)] {
        let answers = heads(&world, "a.example", &rooms, step).await;
        let entry = &log[seq as usize - 1];
        assert_eq!(head(&answers[0]), (seq, entry.chain.0, entry.epoch.0), "{step}");
        assert!(answers[1..].iter().all(|answer| *answer == RoomHeadAnswer::Unknown));
    }
    assert_eq!(
        heads(&world, "a.example", &rooms[..1], 10).await,
        [RoomHeadAnswer::NotKept]
    );
    let refused = asked(&world, "a.example", Bytes::from_static(b"\xff"))
        .await
        .unwrap_err();
    assert_eq!(refused.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn b_1_a_stranger_is_told_the_same_of_a_room_as_of_none() {
    let world = world_with(3).await;
    let none: RoomUri = "mimi://a.example/r/none".parse().unwrap();
    let with = events(&world, "m.example", room().as_str(), 0, 0).await.unwrap_err();
    let without = events(&world, "m.example", none.as_str(), 0, 0).await.unwrap_err();
    assert_eq!(with, without);
    assert_eq!(with.status, 404);
    let answers = heads(&world, "m.example", &[room().as_str(), none.as_str()], 0).await;
    assert_eq!(answers, [RoomHeadAnswer::Unknown, RoomHeadAnswer::Unknown]);
    let elsewhere = events(&world, "a.example", "mimi://b.example/r/x", 0, 0).await;
    assert_eq!(elsewhere.unwrap_err().status, 421);
}

#[tokio::test(flavor = "multi_thread")]
async fn b_2_who_asks_for_what_the_log_does_not_keep_is_told_to_join_again() {
    let world = world_with(9).await;
    let shard = world.ledger.shards().of(room().as_str());
    let log = [&b"S"[..], &shard.0.to_be_bytes(), b"l"].concat();
    let mut transaction = world.database.begin();
    transaction.clear_range(KeyRange {
        begin: log.clone().into(),
        end: [&log[..], &5_u64.to_be_bytes()].concat().into(),
    });
    transaction.commit().await.unwrap();
    let refused = events(&world, "a.example", room().as_str(), 3, 0).await.unwrap_err();
    assert_eq!(refused.status, 410);
    assert!(refused.reason.contains("groupInfo"), "{}", refused.reason);
    let kept = events(&world, "a.example", room().as_str(), 5, 0).await.unwrap();
    assert_eq!(kept.items.iter().map(|item| item.seq).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(heads(&world, "a.example", &[room().as_str()], 3).await.len(), 1);
    let [answer] = &heads(&world, "a.example", &[room().as_str()], 5).await[..] else {
        panic!("one room, one answer");
    };
    assert_eq!(*answer, RoomHeadAnswer::NotKept);
}
