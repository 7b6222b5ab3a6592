//! Malformed, truncated, oversized and random bytes: 400 or 413, never a panic, and nothing behind is asked.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use nave_edge::{Limits, Rate};
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bodies::{ROOM, one_of_each, update};
use crate::world::{World, post};

fn nothing_asked(world: &World) -> bool {
    world.hub.0.asked().is_empty()
        && world.follower.notified.asked().is_empty()
        && world.follower.claimed.asked().is_empty()
        && world.follower.consent_received.asked().is_empty()
        && world.follower.queried.asked().is_empty()
        && world.hub.4.asked().is_empty()
        && world.hub.5.asked().is_empty()
}

#[tokio::test]
async fn e_7_bodies_that_do_not_decode_are_answered_400() {
    let mut limits = Limits::default();
    let rates = &mut limits.rates;
    for rate in [
        &mut rates.request_consent,
        &mut rates.update_consent,
        &mut rates.identifier_query,
        &mut rates.report_abuse,
        &mut rates.room_heads,
        &mut rates.entries_expired,
    ] {
        *rate = Rate::new(10_000, 10_000);
    }
    let world = World::with(limits).await;
    let mut peer = world.peer("b.example").await;
    let mut random = rand::rngs::StdRng::seed_from_u64(7);
    for (endpoint, target, good) in one_of_each() {
        let mut bodies: Vec<Bytes> = vec![
            Bytes::new(),
            Bytes::from_static(&[0xff; 64]),
            Bytes::from(vec![0; 4096]),
        ];
        bodies.push([&good[..], b"x"].concat().into());
        for _ in 0..50 {
            let mut octets = vec![0; random.random_range(1..2048)];
            random.fill(&mut octets[..]);
            bodies.push(octets.into());
        }
        // A /notify body cut between two messages is a shorter one.
        let cuts = (0..good.len()).filter(|cut| endpoint != "notify" || *cut != good.len() / 2);
        bodies.extend(cuts.map(|cut| good.slice(..cut)));
        for body in bodies {
            let answer = peer.post(endpoint, target, body.clone()).await;
            assert_eq!(answer.status, 400, "{endpoint} {body:?}");
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
    }
    assert!(nothing_asked(&world));
    for (endpoint, target, good) in one_of_each() {
        let status = peer.post(endpoint, target, good).await.status;
        assert!(status.is_success(), "{endpoint} {status}");
    }
}

#[tokio::test]
async fn e_8_bodies_above_the_limit_are_answered_413_unread() {
    let world = World::start().await;
    for (endpoint, target, _) in one_of_each() {
        let (allowed, too_large) = match endpoint {
            "notify" => (16 << 20, (16 << 20) + 1),
            "requestConsent" | "updateConsent" => (256 << 10, (256 << 10) + 1),
            "identifierQuery" | "x-roomEvents" | "x-roomHeads" | "x-entriesExpired" => (64 << 10, (64 << 10) + 1),
            _ => (8 << 20, (8 << 20) + 1),
        };
        let mut peer = world.peer("b.example").await;
        assert_eq!(
            peer.post(endpoint, target, vec![0; allowed]).await.status,
            400,
            "{endpoint}"
        );
        // The head alone is answered: the body does not come.
        let mut stream = world.tls(&world.ca, "b.example", b"http/1.1").await.unwrap();
        let path = post("b.example", endpoint, target).body(()).unwrap().uri().to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a.example\r\nfrom: mimi@b.example\r\ncontent-length: {too_large}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 413", "{endpoint}");
    }
    assert!(nothing_asked(&world));
}

#[tokio::test]
async fn e_8_a_body_of_unknown_length_is_cut_off_at_the_limit() {
    let world = World::start().await;
    let (mut reading, mut writing) = tokio::io::split(world.tls(&world.ca, "b.example", b"http/1.1").await.unwrap());
    let head = "POST /v1/update/a.example%2Fr%2Fclubhouse HTTP/1.1\r\nhost: a.example\r\nfrom: mimi@b.example\r\n\
                transfer-encoding: chunked\r\n\r\n";
    writing.write_all(head.as_bytes()).await.unwrap();
    let writer = tokio::spawn(async move {
        let chunk = [b"10000\r\n", &vec![0; 0x1_0000][..], b"\r\n"].concat();
        // The edge closes the connection at some time after 8 MiB.
        for _ in 0..4_096 {
            if writing.write_all(&chunk).await.is_err() {
                return true;
            }
        }
        false
    });
    let mut status = [0; 12];
    reading.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    drop(reading);
    assert!(writer.await.unwrap(), "the edge read 256 MiB");
    assert!(nothing_asked(&world));
}

#[tokio::test]
async fn e_7_other_methods_and_paths_are_refused() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let mut request = post("b.example", "update", ROOM).body(Full::new(update())).unwrap();
        *request.method_mut() = method.parse().unwrap();
        let answer = peer.send(request).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["allow"]),
            (405, &"POST".parse().unwrap()),
            "{method}"
        );
    }
    let directory = Request::post(peer::WELL_KNOWN).header("host", "a.example");
    let answer = peer.send(directory.body(Full::default()).unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    for path in [
        "/",
        "/v1",
        "/v1/update",
        "/v2/update/x",
        "/v1/roomEvents/x",
        "/v1/%75pdate/x",
    ] {
        let request = Request::post(path)
            .header("host", "a.example")
            .header("from", "mimi@b.example");
        let answer = peer.send(request.body(Full::new(update())).unwrap()).await;
        assert_eq!(answer.status, 404, "{path}");
    }
    assert!(nothing_asked(&world));
}

#[tokio::test]
async fn octets_that_are_not_http_end_the_connection_and_nothing_else() {
    let world = World::start().await;
    for garbage in [&b"\x16\x03\x01\x00\x00"[..], b"GET / HTTP/9\r\n\r\n", &[0; 64]] {
        let mut stream = world.tls(&world.ca, "b.example", b"http/1.1").await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
        let mut plain = tokio::net::TcpStream::connect(world.https).await.unwrap();
        plain.write_all(garbage).await.unwrap();
    }
    let mut peer = world.peer("b.example").await;
    assert_eq!(peer.post("update", ROOM, update()).await.status, 200);
}
