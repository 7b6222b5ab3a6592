use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, Version};
use peer::{Call, Numbers, PeerError, PeerLimits, succeeded};

use crate::puppet::{Ca, ROOM, Setup, World, provider};

#[tokio::test]
async fn e_2_e_4_e_6_a_request_arrives_as_the_draft_wants_it() {
    let world = World::new(Setup::default()).await;
    let answer = world.update(b"octets").await.unwrap();
    assert!(succeeded(&answer));
    assert_eq!(&answer.body[..], b"octets");
    let (posts, _) = world.server.asked();
    let [post] = &posts[..] else { panic!("one request") };
    assert_eq!(post.path, "/v1/update/mimi%3A%2F%2Fb.example%2Fr%2Fclubhouse");
    assert_eq!(post.host, "mimi.b.example");
    assert_eq!(post.version, Version::HTTP_2);
    assert_eq!(post.headers["from"], "mimi@a.example");
    assert_eq!(post.headers["content-type"], "application/octet-stream");
    assert_eq!(&post.body[..], b"octets");
}

#[tokio::test]
async fn e_3_e_7_a_notification_goes_to_the_rooms_endpoint() {
    let world = World::new(Setup::default()).await;
    world
        .server
        .reply(|_| Some(Response::builder().status(202).body(Bytes::new()).unwrap()));
    let room = ROOM.parse().unwrap();
    let numbers = Numbers {
        first: 7,
        last: 7,
        head: 9,
    };
    for numbers in [Some(numbers), None] {
        let entry = Bytes::from_static(b"entry");
        let to = provider("b.example");
        let answer = world.peers.notify(&to, &room, entry, numbers).await.unwrap();
        assert!(succeeded(&answer), "any 2xx is what the draft calls 201 Accepted");
    }
    let (posts, _) = world.server.asked();
    assert_eq!(posts[0].path, "/v1/notify/mimi%3A%2F%2Fb.example%2Fr%2Fclubhouse");
    assert_eq!(posts[0].headers["mimi-room-seq"], "7-7");
    assert_eq!(posts[0].headers["mimi-room-head"], "9");
    for header in ["mimi-room-seq", "mimi-room-head"] {
        assert!(!posts[1].headers.contains_key(header));
    }
    assert_eq!(posts[0].headers["content-type"], "application/octet-stream");
}

#[tokio::test]
async fn one_connection_serves_many_requests_in_either_http() {
    for (alpn, version) in [
        (b"h2".as_slice(), Version::HTTP_2),
        (b"http/1.1".as_slice(), Version::HTTP_11),
    ] {
        let setup = Setup {
            alpn: vec![alpn],
            names: vec!["b.example"],
            ..Setup::default()
        };
        let world = World::new(setup).await;
        let directory = peer::Directory::publish("b.example", peer::Endpoint::ALL, None).unwrap();
        world.server.publish(&directory);
        for _ in 0..20 {
            world.update(b"again").await.unwrap();
        }
        let (posts, gets) = world.server.asked();
        assert_eq!((posts.len(), gets), (20, 1));
        assert!(
            posts
                .iter()
                .all(|post| post.version == version && post.host == "b.example")
        );
        assert_eq!(world.server.connections.load(Ordering::SeqCst), 1, "{version:?}");
    }
}

#[tokio::test]
async fn e_7_a_refusal_is_an_answer_and_says_when_to_come_back() {
    let world = World::new(Setup::default()).await;
    world.server.reply(|_| {
        let response = Response::builder().status(503).header("retry-after", "7");
        Some(response.body(Bytes::from_static(b"busy")).unwrap())
    });
    let answer = world.update(b"octets").await.unwrap();
    assert!(!succeeded(&answer));
    assert_eq!(
        (answer.status, answer.retry_after_ms, &answer.body[..]),
        (503, 7_000, &b"busy"[..])
    );
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let world = World::new(Setup::default()).await;
    world.server.reply(|_| {
        let response = Response::builder()
            .status(307)
            .header("location", "https://b.example/elsewhere");
        Some(response.body(Bytes::new()).unwrap())
    });
    assert_eq!(world.update(b"octets").await.unwrap().status, 307);
    assert_eq!(world.server.asked().0.len(), 1);
}

#[tokio::test]
async fn an_endless_answer_and_a_late_one_are_cut_off() {
    let setup = Setup {
        limits: PeerLimits {
            answer_bytes_max: 1_000,
            request_timeout: Duration::from_millis(300),
            ..PeerLimits::default()
        },
        ..Setup::default()
    };
    let world = World::new(setup).await;
    world.peers.directory(&provider("b.example")).await.unwrap();
    world.server.reply(|_| Some(Response::new(vec![0; 1_001].into())));
    assert_eq!(
        world.update(b"octets").await.unwrap_err(),
        PeerError::TooLarge { max: 1_000 }
    );
    world.server.reply(|_| Some(Response::new(vec![0; 1_000].into())));
    assert_eq!(world.update(b"octets").await.unwrap().body.len(), 1_000);
    world.server.reply(|_| None);
    assert_eq!(world.update(b"octets").await.unwrap_err(), PeerError::TimedOut);
}

#[tokio::test]
async fn only_known_providers_and_named_endpoints_are_asked() {
    let world = World::new(Setup::default()).await;
    let call = |endpoint: &str| Call {
        endpoint: endpoint.into(),
        ..Call::default()
    };
    let unknown = world.peers.request(&provider("c.example"), call("update")).await;
    assert_eq!(unknown.unwrap_err(), PeerError::Unknown(provider("c.example")));
    let unnamed = world.peers.request(&provider("b.example"), call("shutdown")).await;
    assert_eq!(unnamed.unwrap_err(), PeerError::NoEndpoint("shutdown".into()));
    assert!(world.peers.knows(&provider("b.example")) && !world.peers.knows(&provider("c.example")));
    assert!(world.server.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn e_1_a_server_must_have_the_name_dialled_under_the_roots_of_its_provider() {
    let world = World::new(Setup::default()).await;
    // The same server, trusted no longer.
    let other = Ca::new();
    let replaced = [
        (provider("b.example"), vec![other.root()]),
        (provider("a.example"), vec![world.a.root()]),
    ];
    world.roots.replace(replaced.into()).unwrap();
    assert!(matches!(world.update(b"octets").await, Err(PeerError::Unreachable(_))));
    assert!(world.server.asked.lock().unwrap().is_empty());

    let setup = Setup {
        names: vec!["mimi.b.example"],
        ..Setup::default()
    };
    let world = World::new(setup).await;
    let unreachable = world.update(b"octets").await;
    assert!(
        matches!(unreachable, Err(PeerError::Unreachable(_))),
        "the domain itself is not on the certificate"
    );
    assert!(world.server.asked.lock().unwrap().is_empty());
}
