//! The same over a QUIC link.

use std::net::SocketAddr;

use bytes::Bytes;
use link::{Call, Connection, Item, item};
use nave_edge::Limits;

use crate::bodies::{ROOM, one_of_each, update};
use crate::world::{World, identity, provider};

const LEDGER: [u8; 16] = [7; 16];

async fn link(world: &World, domain: &str) -> Connection {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let ours = identity(&world.ca.issue(&[domain]).unwrap());
    let endpoint = link::Endpoint::bind(loopback, ours, world.roots.clone(), link::Limits::default()).unwrap();
    endpoint.connect(&provider("a.example"), world.link).await.unwrap()
}

fn call(endpoint: &str, target: &str, body: Bytes) -> Call {
    Call {
        endpoint: endpoint.to_owned(),
        target: target.to_owned(),
        body,
    }
}

fn entry(offset: u64, room: &str) -> Item {
    Item {
        offset,
        room: room.to_owned(),
        seq: offset,
        previous_seq: offset.saturating_sub(1),
        chain: Bytes::from_static(&[1; 32]),
        recipient_set: Bytes::from_static(&[2; 16]),
        epoch: 1,
        body: Some(item::Body::Message(Bytes::from_static(b"message"))),
    }
}

#[tokio::test]
async fn a_call_is_answered_as_over_https() {
    let world = World::start().await;
    let link = link(&world, "b.example").await;
    let mut peer = world.peer("b.example").await;
    for (endpoint, target, body) in one_of_each() {
        let over_link = link.call(call(endpoint, target, body.clone())).await.unwrap();
        let over_https = peer.post(endpoint, target, body).await;
        assert_eq!(over_link.status, u32::from(over_https.status.as_u16()), "{endpoint}");
        assert_eq!(over_link.body, over_https.body);
        let cut = link
            .call(call(endpoint, target, Bytes::from_static(b"\x01")))
            .await
            .unwrap();
        assert_eq!(cut.status, 400, "{endpoint}");
    }
    for (endpoint, target, status) in [
        ("proxyDownload", ROOM, 404),
        ("roomEvents", ROOM, 404),
        ("update", "", 400),
        ("update", "nowhere", 400),
    ] {
        let answer = link.call(call(endpoint, target, update())).await.unwrap();
        assert_eq!(answer.status, status, "{endpoint} {target}");
    }
    assert!(world.hub.0.asked().iter().all(|asked| asked.source == "b.example"));
}

#[tokio::test]
async fn e_9_the_rate_is_one_for_both_transports() {
    let mut limits = Limits::default();
    limits.rates.update = nave_edge::Rate::new(1, 1);
    let world = World::with(limits).await;
    let link = link(&world, "b.example").await;
    assert_eq!(link.call(call("update", ROOM, update())).await.unwrap().status, 200);
    assert_eq!(
        world
            .peer("b.example")
            .await
            .post("update", ROOM, update())
            .await
            .status,
        429
    );
    let answer = link.call(call("update", ROOM, update())).await.unwrap();
    assert_eq!(answer.status, 429);
    assert!(answer.retry_after_ms > 0);
}

#[tokio::test]
async fn deliveries_reach_the_follower_in_the_name_of_the_hub() {
    let world = World::start().await;
    let link = link(&world, "b.example").await;
    let fanout = link.fanout(LEDGER).await.unwrap();
    assert_eq!(fanout.position(3).await.unwrap(), Some(40));
    let items = vec![entry(40, "mimi://b.example/r/x"), entry(41, "mimi://b.example/r/y")];
    let acknowledged = fanout.deliver(3, items.clone(), "").await.unwrap();
    assert_eq!((acknowledged.next_offset, acknowledged.refused.len()), (42, 0));
    let [delivered] = &world.follower.delivered.asked()[..] else {
        panic!("not one delivery");
    };
    assert_eq!(
        (delivered.hub.as_str(), &delivered.ledger[..]),
        ("b.example", &LEDGER[..])
    );
    assert_eq!(delivered.deliver.as_ref().unwrap().items, items);
}

#[tokio::test]
async fn f_42_entries_of_rooms_of_another_hub_are_refused_one_by_one() {
    let world = World::start().await;
    let link = link(&world, "b.example").await;
    let fanout = link.fanout(LEDGER).await.unwrap();
    fanout.position(3).await.unwrap();
    let items = vec![
        entry(40, ROOM),
        entry(41, "mimi://b.example/r/y"),
        entry(42, "mimi://c.example/r/z"),
    ];
    let acknowledged = fanout.deliver(3, items, "").await.unwrap();
    let refused: Vec<_> = acknowledged
        .refused
        .iter()
        .map(|refused| (refused.offset, refused.status))
        .collect();
    assert_eq!(refused, [(40, 403), (42, 403)]);
    let delivered = world.follower.delivered.asked().pop().unwrap().deliver.unwrap();
    assert_eq!(delivered.items, [entry(41, "mimi://b.example/r/y")]);
}
