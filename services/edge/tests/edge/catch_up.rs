//! Catch-up: where rooms of ours stand and what their entries are, over both transports; and gaps before what a hub brings.

use std::net::SocketAddr;

use bytes::Bytes;
use link::{Call, Connection, Item, item};
use mimi::catch_up::{RoomEventsForm, RoomEventsRequest, RoomHead, RoomHeadAnswer, RoomHeadsResponse};
use mimi::{Decode, Encode};
use nave_edge::Unreachable;
use prost::Message as _;
use proto::follower::{FollowedRoom, Gap, ListHeadsResponse};
use proto::hub::{Refused, room_events_reply, room_heads_reply};
use proto::link::{Answer, RoomEvents};

use crate::bodies::{ROOM, entries_expired, notify, room_events, room_heads, uri};
use crate::services::events;
use crate::world::{World, identity, post, provider};

const LEDGER: [u8; 16] = [7; 16];
const THEIRS: &str = "mimi://b.example/r/theirs";

fn item(room: &str, seq: u64, body: item::Body) -> Item {
    Item {
        offset: 100 + seq,
        room: room.to_owned(),
        seq,
        previous_seq: seq - 1,
        chain: Bytes::from_static(&[1; 32]),
        recipient_set: Bytes::from_static(&[2; 16]),
        epoch: 1,
        body: Some(body),
    }
}

fn message(room: &str, seq: u64) -> Item {
    item(room, seq, item::Body::Message(Bytes::from(format!("entry {seq}; "))))
}

fn digest(room: &str, seq: u64) -> Item {
    item(room, seq, item::Body::Digest(Bytes::from_static(&[3; 32])))
}

async fn link(world: &World) -> Connection {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let theirs = identity(&world.ca.issue(&["b.example"]).unwrap());
    let endpoint = link::Endpoint::bind(loopback, theirs, world.roots.clone(), link::Limits::default()).unwrap();
    endpoint.connect(&provider("a.example"), world.link).await.unwrap()
}

fn call(endpoint: &str, target: &str, body: Bytes) -> Call {
    Call {
        endpoint: endpoint.to_owned(),
        target: target.to_owned(),
        body,
    }
}

#[tokio::test]
async fn b_1_a_rooms_entries_are_answered_as_notify_carries_them_with_their_numbers() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let entries = [message(ROOM, 8), message(ROOM, 9), digest(ROOM, 10), message(ROOM, 11)];
    for (skip, body, seqs) in [
        (0, "entry 8; entry 9; ", Some("8-9")),
        (2, "", Some("10-10")),
        (3, "entry 11; ", Some("11-11")),
        (4, "", None),
    ] {
        let told = events(11, entries[skip..].to_vec());
        world.hub.5.say(room_events_reply::Outcome::Events(told));
        let answer = peer
            .post("x-roomEvents", ROOM, room_events(RoomEventsForm::Messages))
            .await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, body.as_bytes()));
        let header = |name| {
            answer
                .headers
                .get(name)
                .map(|value: &http::HeaderValue| value.to_str().unwrap())
        };
        assert_eq!((header("mimi-room-seq"), header("mimi-room-head")), (seqs, Some("11")));
    }
    let asked = world.hub.5.asked().pop().unwrap();
    assert_eq!(
        (asked.source.as_str(), asked.room.as_str(), asked.after_seq, asked.max),
        ("b.example", ROOM, 7, 100)
    );
}

#[tokio::test]
async fn b_1_items_and_heads_are_the_same_over_both_transports() {
    let world = World::start().await;
    let (mut peer, link) = (world.peer("b.example").await, link(&world).await);
    let told = events(9, vec![message(ROOM, 8), digest(ROOM, 9)]);
    for _ in 0..2 {
        world.hub.5.say(room_events_reply::Outcome::Events(told.clone()));
    }
    let ask = || room_events(RoomEventsForm::Items);
    let over_https = peer.post("x-roomEvents", ROOM, ask()).await.body;
    let over_link = link.call(call("x-roomEvents", ROOM, ask())).await.unwrap();
    assert_eq!((over_link.status, &over_link.body), (200, &over_https));
    assert_eq!(link::decode_room_events(over_https, ROOM), Some(told));

    let over_https = peer.post("x-roomHeads", "a.example", room_heads()).await;
    let over_link = link.call(call("x-roomHeads", "a.example", room_heads())).await.unwrap();
    assert_eq!((over_link.status, &*over_link.body), (200, &b"heads"[..]));
    assert_eq!(over_https.body, over_link.body);
    let asked = world.hub.4.asked();
    assert!(
        asked
            .iter()
            .all(|asked| asked.source == "b.example" && asked.request == room_heads())
    );
}

#[tokio::test]
async fn b_1_b_2_what_the_hub_refuses_is_passed_on() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (status, retry_after_ms) in [(404, 0), (410, 0), (503, 1_500)] {
        let refused = || Refused {
            status,
            reason: "because".to_owned(),
            retry_after_ms,
        };
        world.hub.5.say(room_events_reply::Outcome::Refused(refused()));
        world.hub.4.say(room_heads_reply::Outcome::Refused(refused()));
        let events = peer
            .post("x-roomEvents", ROOM, room_events(RoomEventsForm::Messages))
            .await;
        let heads = peer.post("x-roomHeads", "a.example", room_heads()).await;
        for answer in [events, heads] {
            assert_eq!(u32::from(answer.status.as_u16()), status);
            assert_eq!(answer.headers.contains_key("retry-after"), retry_after_ms > 0);
        }
    }
    let elsewhere = peer
        .post("x-roomEvents", THEIRS, room_events(RoomEventsForm::Messages))
        .await;
    assert_eq!(elsewhere.status, 421);
    assert_eq!(peer.post("x-roomHeads", "c.example", room_heads()).await.status, 421);
}

#[tokio::test]
async fn b_1_the_numbers_of_a_notification_are_passed_on() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (said, understood) in [
        (Some("41-42"), (41, 42)),
        (None, (0, 0)),
        (Some("41"), (0, 0)),
        (Some("x-42"), (0, 0)),
        (Some("41-99999999999999999999"), (0, 0)),
    ] {
        let mut request = post("b.example", "notify", THEIRS);
        if let Some(said) = said {
            request = request.header("Mimi-Room-Seq", said);
        }
        let answer = peer.send(request.body(notify().into()).unwrap()).await;
        assert_eq!(answer.status, 201);
        let told = world.follower.notified.asked().pop().unwrap();
        assert_eq!((told.first_seq, told.last_seq), understood, "{said:?}");
    }
}

fn gap(have: u64, until: u64) -> Gap {
    Gap {
        room: THEIRS.to_owned(),
        have,
        until,
    }
}

fn answer(status: u32, body: Bytes) -> Answer {
    Answer {
        status,
        retry_after_ms: 0,
        body,
    }
}

/// What b.example answers about a room of its own.
fn theirs(head: u64, items: Vec<Item>) -> Bytes {
    let mut events = events(head, items);
    let mut signed = RoomHead::decode_exact(&events.head).unwrap();
    signed.room = uri(THEIRS);
    events.head = signed.encode().into();
    events.encode_to_vec().into()
}

#[tokio::test]
async fn b_1_what_a_follower_lacks_is_asked_of_the_hub_and_stored_before_what_is_behind_it() {
    let world = World::start().await;
    let fanout = link(&world).await.fanout(LEDGER).await.unwrap();
    fanout.position(3).await.unwrap();
    world.follower.gaps.lock().unwrap().push_back(gap(4, 7));
    for page in [vec![message(THEIRS, 5), digest(THEIRS, 6)], vec![message(THEIRS, 7)]] {
        world.peers.calls.say(Ok(answer(200, theirs(9, page))));
    }
    let acknowledged = fanout.deliver(3, vec![message(THEIRS, 8)], "").await.unwrap();
    assert_eq!(acknowledged.next_offset, 109);
    let asked = world.peers.calls.asked().into_iter().map(|(to, call)| {
        assert_eq!(
            (to.as_str(), &*call.endpoint, &*call.target),
            ("b.example", "x-roomEvents", THEIRS)
        );
        let request = RoomEventsRequest::decode_exact(&call.body).unwrap();
        (request.after_seq, request.max, request.form)
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [(4, 3, RoomEventsForm::Items), (6, 1, RoomEventsForm::Items)]
    );
    let filled = world.follower.filled.asked();
    assert_eq!(filled.iter().map(|fill| fill.items.len()).collect::<Vec<_>>(), [2, 1]);
    // The key of b.example is not known: its signature says nothing.
    assert!(
        filled
            .iter()
            .all(|fill| fill.hub == "b.example" && fill.head.is_empty())
    );
    let delivered = world.follower.delivered.asked();
    assert!(delivered.iter().all(|delivery| delivery.as_is_rooms.is_empty()));
    assert_eq!(delivered.len(), 2);
}

#[tokio::test]
async fn b_1_a_gap_that_the_hub_does_not_fill_is_taken_as_it_is() {
    let world = World::start().await;
    let fanout = link(&world).await.fanout(LEDGER).await.unwrap();
    fanout.position(3).await.unwrap();
    let other_room = theirs(9, vec![message(ROOM, 5)]);
    let out_of_order = theirs(9, vec![message(THEIRS, 5), message(THEIRS, 7)]);
    let nothing = theirs(9, Vec::new());
    let many = RoomEvents {
        items: vec![Item::default(); 5_000],
        head: Bytes::new(),
    };
    for (n, (status, body)) in [
        (404, Bytes::new()),
        (410, Bytes::new()),
        (200, Bytes::from_static(b"garbage")),
        (200, other_room),
        (200, out_of_order),
        (200, nothing),
        (200, many.encode_to_vec().into()),
    ]
    .into_iter()
    .enumerate()
    {
        world.follower.gaps.lock().unwrap().push_back(gap(4, 7));
        world.peers.calls.say(Ok(answer(status, body)));
        let acknowledged = fanout.deliver(3, vec![message(THEIRS, 8 + n as u64)], "").await;
        assert_eq!(acknowledged.unwrap().next_offset, 109 + n as u64);
        let delivered = world.follower.delivered.asked().pop().unwrap();
        assert_eq!(delivered.as_is_rooms, [THEIRS], "{n}");
    }
}

#[tokio::test]
async fn b_1_while_the_hub_is_too_busy_to_fill_a_gap_nothing_behind_it_is_taken() {
    for answer in [
        Ok(answer(503, Bytes::new())),
        Ok(answer(429, Bytes::new())),
        Err(Unreachable::Now("no answer in time".to_owned())),
    ] {
        let world = World::start().await;
        let link = link(&world).await;
        let fanout = link.fanout(LEDGER).await.unwrap();
        fanout.position(3).await.unwrap();
        world.follower.gaps.lock().unwrap().push_back(gap(4, 7));
        world.peers.calls.say(answer);
        fanout.deliver(3, vec![message(THEIRS, 8)], "").await.unwrap_err();
        assert!(world.follower.filled.asked().is_empty());
        let delivered = world.follower.delivered.asked();
        assert!(delivered.iter().all(|delivery| delivery.as_is_rooms.is_empty()));
        assert_eq!(delivered.len(), 1);
    }
}

/// Where b.example says that rooms of its own stand.
fn stand(rooms: &[(&str, u64)]) -> Bytes {
    let head = |(room, seq): &(&str, u64)| {
        let events = events(*seq, Vec::new());
        let mut head = RoomHead::decode_exact(&events.head).unwrap();
        head.room = uri(room);
        RoomHeadAnswer::Head(head)
    };
    let answers = rooms.iter().map(head).collect();
    RoomHeadsResponse { answers }.encode().into()
}

fn listed(rooms: &[(&str, u64, u64)]) -> ListHeadsResponse {
    let room = |(room, seq, lost): &(&str, u64, u64)| FollowedRoom {
        room: (*room).to_owned(),
        seq: *seq,
        lost: *lost,
        ..FollowedRoom::default()
    };
    ListHeadsResponse {
        rooms: rooms.iter().map(room).collect(),
        more: false,
    }
}

#[tokio::test]
async fn b_2_of_what_is_gone_the_rest_is_fetched_and_where_nothing_is_left_clients_are_told() {
    const LOST: &str = "mimi://b.example/r/lost";
    const TOLD: &str = "mimi://b.example/r/told";
    const WHOLE: &str = "mimi://b.example/r/whole";
    let world = World::start().await;
    let (mut peer, link) = (world.peer("b.example").await, link(&world).await);
    for over_link in [false, true] {
        let rooms = [(LOST, 4, 0), (THEIRS, 6, 0), (TOLD, 4, 9), (WHOLE, 9, 0)];
        world.follower.heads_listed.say(listed(&rooms));
        let heads = stand(&[(LOST, 9), (THEIRS, 7), (TOLD, 9), (WHOLE, 9)]);
        world.peers.calls.say(Ok(answer(200, heads)));
        world.peers.calls.say(Ok(answer(410, Bytes::new())));
        world
            .peers
            .calls
            .say(Ok(answer(200, theirs(7, vec![message(THEIRS, 7)]))));
        let status = match over_link {
            true => {
                let call = call("x-entriesExpired", "a.example", entries_expired());
                link.call(call).await.unwrap().status
            }
            false => u32::from(
                peer.post("x-entriesExpired", "a.example", entries_expired())
                    .await
                    .status
                    .as_u16(),
            ),
        };
        assert_eq!(status, 201);
        let asked = world.peers.calls.asked();
        let asked: Vec<_> = asked.iter().map(|(_, call)| (&*call.endpoint, &*call.target)).collect();
        let expected = [
            ("x-roomHeads", "b.example"),
            ("x-roomEvents", LOST),
            ("x-roomEvents", THEIRS),
        ];
        assert_eq!(asked[asked.len() - 3..], expected);
        assert_eq!(world.follower.heads_listed.asked().pop().unwrap().hub, "b.example");
        let lost = world.follower.lost.asked().pop().unwrap();
        assert_eq!((&*lost.hub, &*lost.room, lost.until), ("b.example", LOST, 9));
        assert_eq!(world.follower.filled.asked().pop().unwrap().room, THEIRS);
    }
    assert_eq!(world.follower.lost.asked().len(), 2);
}

#[tokio::test]
async fn b_2_the_hub_asks_again_where_not_all_could_be_looked_at() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let busy = || Ok(answer(503, Bytes::new()));
    for answers in [vec![busy()], vec![Ok(answer(200, stand(&[(THEIRS, 9)]))), busy()]] {
        world.follower.heads_listed.say(listed(&[(THEIRS, 4, 0)]));
        for answer in answers {
            world.peers.calls.say(answer);
        }
        assert_eq!(
            peer.post("x-entriesExpired", "a.example", entries_expired())
                .await
                .status,
            503
        );
    }
    assert_eq!(
        peer.post("x-entriesExpired", "c.example", entries_expired())
            .await
            .status,
        421
    );
    assert!(world.follower.lost.asked().is_empty());
}
