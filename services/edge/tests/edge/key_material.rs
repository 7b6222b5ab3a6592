//! keyMaterial: who is asked for what, by which way.

use bytes::Bytes;
use nave_edge::Unreachable;
use proto::hub::room_request::Body;
use proto::hub::room_response::Outcome;
use proto::link::Answer;

use crate::bodies::{ROOM, key_material};
use crate::world::World;

const BOB: &str = "mimi://b.example/u/bob";
const ALICE: &str = "mimi://a.example/u/alice";
const CAROL: &str = "mimi://c.example/u/carol";

fn authorized(world: &World) {
    world.hub.0.say(Ok(Outcome::Answer(Bytes::new())));
}

#[tokio::test]
async fn h_1_h_2_h_3_h_4_a_hub_authorizes_asks_the_target_and_records_before_it_answers() {
    let world = World::start().await;
    authorized(&world);
    let mut peer = world.peer("b.example").await;
    let body = key_material(BOB, CAROL, ROOM);
    let answer = peer.post("keyMaterial", CAROL, body.clone()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"hub"[..]));

    let [authorize, record] = &world.hub.0.asked()[..] else {
        panic!("not two questions");
    };
    assert_eq!(authorize.body, Some(Body::AuthorizeKeyMaterial(body.clone())));
    let Some(Body::RecordKeyMaterial(recorded)) = &record.body else {
        panic!("not recorded");
    };
    assert_eq!(
        (&recorded.request, recorded.target.as_str(), &*recorded.response),
        (&body, "c.example", &b"peer"[..])
    );
    for question in [authorize, record] {
        assert_eq!((question.room.as_str(), question.source.as_str()), (ROOM, "b.example"));
    }
    let [(to, call)] = &world.peers.calls.asked()[..] else {
        panic!("not one request");
    };
    assert_eq!(
        (to.as_str(), call.endpoint.as_str(), call.target.as_str()),
        ("c.example", "keyMaterial", CAROL)
    );
    assert_eq!(call.body, body, "passed on as it came");
}

#[tokio::test]
async fn h_1_a_user_of_the_hub_is_claimed_at_its_own_follower() {
    let world = World::start().await;
    authorized(&world);
    let mut peer = world.peer("b.example").await;
    let body = key_material(BOB, ALICE, ROOM);
    assert_eq!(peer.post("keyMaterial", ALICE, body.clone()).await.status, 200);
    let [claimed] = &world.follower.claimed.asked()[..] else {
        panic!("not one claim");
    };
    assert_eq!((claimed.source.as_str(), &claimed.request), ("a.example", &body));
    let Some(Body::RecordKeyMaterial(recorded)) = world.hub.0.asked().pop().unwrap().body else {
        panic!("not recorded");
    };
    assert_eq!(
        (recorded.target.as_str(), &*recorded.response),
        ("a.example", &b"claimed"[..])
    );
    assert!(world.peers.calls.asked().is_empty());
}

#[tokio::test]
async fn h_2_a_refusal_of_the_room_is_answered_and_nobody_else_asked() {
    let world = World::start().await;
    world.hub.0.say(Ok(Outcome::Answer(Bytes::from_static(b"no consent"))));
    let mut peer = world.peer("b.example").await;
    let answer = peer.post("keyMaterial", CAROL, key_material(BOB, CAROL, ROOM)).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"no consent"[..]));
    assert_eq!(world.hub.0.asked().len(), 1);
    assert!(world.peers.calls.asked().is_empty());
}

#[tokio::test]
async fn h_1_a_target_that_does_not_answer_is_no_answer() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let answers = [
        (Err(Unreachable::Now("gone".to_owned())), 503),
        (Ok((429, 2_000)), 503),
        (Ok((503, 2_000)), 503),
        (Ok((403, 0)), 502),
        (Ok((500, 0)), 502),
    ];
    for (said, status) in answers {
        authorized(&world);
        world.peers.calls.say(said.map(|(status, retry_after_ms)| Answer {
            status,
            retry_after_ms,
            body: Bytes::new(),
        }));
        let answer = peer.post("keyMaterial", CAROL, key_material(BOB, CAROL, ROOM)).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers.contains_key("retry-after"), status == 503);
    }
    let recorded = world.hub.0.asked();
    assert!(
        recorded
            .iter()
            .all(|asked| matches!(asked.body, Some(Body::AuthorizeKeyMaterial(_))))
    );
}

#[tokio::test]
async fn h_3_f_10_a_hub_claims_for_its_room_and_a_provider_without_a_room() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    // b.example as hub, for a user of c.example; then for its own user, without a room.
    for body in [
        key_material(CAROL, ALICE, "mimi://b.example/r/x"),
        key_material(BOB, ALICE, ""),
    ] {
        let answer = peer.post("keyMaterial", ALICE, body.clone()).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"claimed"[..]));
        let claimed = world.follower.claimed.asked().pop().unwrap();
        assert_eq!((claimed.source.as_str(), claimed.request), ("b.example", body));
    }
    assert!(world.hub.0.asked().is_empty());
}

#[tokio::test]
async fn f_10_whoever_is_not_to_be_asked_or_may_not_ask_says_so() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let cases = [
        // Another target in the path.
        ("mimi://a.example/u/mallory", key_material(BOB, ALICE, ROOM), 400),
        // A room of neither.
        (ALICE, key_material(BOB, ALICE, "mimi://c.example/r/x"), 403),
        // Not our user.
        (CAROL, key_material(BOB, CAROL, ""), 421),
        (CAROL, key_material(BOB, CAROL, "mimi://b.example/r/x"), 421),
        // Another provider's user.
        (ALICE, key_material(CAROL, ALICE, ""), 403),
        // Not URIs.
        (ALICE, key_material("bob", ALICE, ROOM), 400),
        (ALICE, key_material(BOB, ALICE, "clubhouse"), 400),
    ];
    for (target, body, status) in cases {
        assert_eq!(
            peer.post("keyMaterial", target, body.clone()).await.status,
            status,
            "{body:?}"
        );
    }
    assert!(world.hub.0.asked().is_empty() && world.follower.claimed.asked().is_empty());
}
