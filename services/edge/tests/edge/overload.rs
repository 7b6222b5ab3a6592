//! Too much, too soon, too slow: 429, 503 and 408, with the time to come back.

use std::time::Duration;

use nave_edge::{Limits, Rate};
use proto::hub::{Elsewhere, Refused, room_response::Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Status;

use crate::bodies::{ROOM, one_of_each, submit, update};
use crate::world::World;

#[tokio::test]
async fn e_9_a_rate_exceeded_is_answered_429_before_the_hub_is_asked() {
    let mut limits = Limits::default();
    limits.rates.update = Rate::new(1, 2);
    let world = World::with(limits).await;
    let mut peer = world.peer("b.example").await;
    for _ in 0..2 {
        assert_eq!(peer.post("update", ROOM, update()).await.status, 200);
    }
    let answer = peer.post("update", ROOM, update()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    assert_eq!(world.hub.0.asked().len(), 2);

    // Another endpoint, and another provider, have buckets of their own.
    let sent = peer.post("submitMessage", ROOM, submit("mimi://b.example/u/bob")).await;
    assert_eq!(sent.status, 200);
    let mut other = world.peer("c.example").await;
    let request = crate::world::post("c.example", "update", ROOM);
    let request = request.body(http_body_util::Full::new(update())).unwrap();
    assert_eq!(other.send(request).await.status, 200);
}

#[tokio::test]
async fn e_7_an_overloaded_hub_is_passed_on_with_its_time() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    world.hub.0.say(Ok(Outcome::Refused(Refused {
        status: 503,
        reason: "full".to_owned(),
        retry_after_ms: 2_500,
    })));
    let answer = peer.post("update", ROOM, update()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"3".parse().unwrap())
    );
    for (said, status) in [
        (Status::unavailable("no hub"), 503),
        (Status::resource_exhausted("full"), 503),
        (Status::internal("secret"), 500),
    ] {
        world.hub.0.say(Err(said));
        let answer = peer.post("update", ROOM, update()).await;
        assert_eq!(answer.status, status);
        assert!(!answer.body.windows(6).any(|part| part == b"secret"));
    }
}

#[tokio::test]
async fn a_room_that_changes_its_owner_is_asked_again() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for _ in 0..2 {
        world.hub.0.say(Ok(Outcome::Elsewhere(Elsewhere::default())));
    }
    assert_eq!(peer.post("update", ROOM, update()).await.status, 200);
    assert_eq!(world.hub.0.asked().len(), 3);
}

#[tokio::test]
async fn a_room_without_an_owner_is_given_up_in_time() {
    let limits = Limits {
        answer_ms: 50,
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let mut peer = world.peer("b.example").await;
    for _ in 0..10 {
        world.hub.0.say(Ok(Outcome::Elsewhere(Elsewhere::default())));
    }
    let answer = peer.post("update", ROOM, update()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let limits = Limits {
        body_ms: 50,
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let mut stream = world.tls(&world.ca, "b.example", b"http/1.1").await.unwrap();
    let head = "POST /v1/update/a.example%2Fr%2Fclubhouse HTTP/1.1\r\nhost: a.example\r\nfrom: mimi@b.example\r\n\
                content-length: 9\r\n\r\n1234";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
}

#[tokio::test]
async fn e_8_bodies_held_at_a_time_are_bounded() {
    let limits = Limits {
        bodies_bytes_max: 64 << 10,
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let mut waiting = world.tls(&world.ca, "b.example", b"http/1.1").await.unwrap();
    let head = "POST /v1/update/a.example%2Fr%2Fclubhouse HTTP/1.1\r\nhost: a.example\r\nfrom: mimi@b.example\r\n\
                content-length: 65536\r\nexpect: 100-continue\r\n\r\n";
    waiting.write_all(head.as_bytes()).await.unwrap();
    // "100 Continue" says that the edge has begun to read.
    let mut status = [0; 12];
    waiting.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 100");
    let mut peer = world.peer("b.example").await;
    let answer = peer.post("update", ROOM, update()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    drop(waiting);
    let patience = tokio::time::timeout(Duration::from_secs(10), async {
        while peer.post("update", ROOM, update()).await.status != 200 {
            tokio::task::yield_now().await;
        }
    });
    patience.await.unwrap();
}

#[tokio::test]
async fn connections_of_one_provider_are_bounded() {
    let limits = Limits {
        connections_per_peer_max: 1,
        ..Limits::default()
    };
    let world = World::with(limits).await;
    let mut first = world.peer("b.example").await;
    assert_eq!(first.post("update", ROOM, update()).await.status, 200);
    let mut second = world.tls(&world.ca, "b.example", b"http/1.1").await.unwrap();
    let mut octets = Vec::new();
    let read = second.read_to_end(&mut octets).await;
    assert!(read.is_err() || octets.is_empty());
    let mut other = world.peer("c.example").await;
    let request = crate::world::post("c.example", "update", ROOM);
    let request = request.body(http_body_util::Full::new(update())).unwrap();
    assert_eq!(other.send(request).await.status, 200);
}

/// A peer that floods any endpoint that costs MLS work or tells who exists meets 429 with the time to come back, and what
/// is behind is not asked.
#[tokio::test]
async fn e_9_who_floods_an_endpoint_meets_429_before_any_work() {
    let once = Rate::new(1, 1);
    let mut limits = Limits::default();
    let rates = &mut limits.rates;
    for rate in [
        &mut rates.key_material,
        &mut rates.update,
        &mut rates.submit_message,
        &mut rates.notify,
        &mut rates.group_info,
        &mut rates.request_consent,
        &mut rates.update_consent,
        &mut rates.identifier_query,
        &mut rates.report_abuse,
        &mut rates.room_events,
        &mut rates.room_heads,
        &mut rates.entries_expired,
    ] {
        *rate = once;
    }
    let world = World::with(limits).await;
    let mut peer = world.peer("b.example").await;
    let asked = || {
        let follower = &world.follower;
        world.hub.0.asked().len()
            + world.hub.4.asked().len()
            + world.hub.5.asked().len()
            + follower.claimed.asked().len()
            + follower.notified.asked().len()
            + follower.queried.asked().len()
            + follower.consent_received.asked().len()
            + world.peers.calls.asked().len()
    };
    for (endpoint, target, body) in one_of_each() {
        let status = peer.post(endpoint, target, body.clone()).await.status;
        assert!(status.is_success(), "{endpoint} {status}");
        let before = asked();
        // Whatever the body is: it is not even read.
        for body in [body, bytes::Bytes::from_static(b"x")] {
            let answer = peer.post(endpoint, target, body).await;
            assert_eq!(answer.status, 429, "{endpoint}");
            let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!(seconds >= 1, "{endpoint}");
        }
        assert_eq!(asked(), before, "{endpoint}");
    }
}
