use std::time::Duration;

use bytes::Bytes;
use http::Response;
use mimi::Encode as _;
use mimi::mls::{Credential, ExternalSender};
use peer::{Directory, Endpoint, PeerError};

use crate::puppet::{Setup, World, provider};

async fn after(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn response(document: &Directory, cache: &str) -> Response<Bytes> {
    let response = Response::builder().header("cache-control", cache);
    response.body(serde_json::to_vec(document).unwrap().into()).unwrap()
}

#[tokio::test]
async fn e_5_a_directory_is_fetched_once_and_again_when_it_is_old() {
    let world = World::new(Setup::default()).await;
    let document = Directory::publish("mimi.b.example", Endpoint::ALL, None).unwrap();
    *world.server.directory.lock().unwrap() = response(&document, "max-age=60");
    let b = provider("b.example");
    let all = tokio::join!(
        world.peers.directory(&b),
        world.peers.directory(&b),
        world.peers.directory(&b)
    );
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok());
    assert_eq!(*world.peers.directory(&b).await.unwrap(), document);
    assert_eq!(world.server.asked().1, 1);
    after(Duration::from_secs(61)).await;
    world.peers.directory(&b).await.unwrap();
    assert_eq!(world.server.asked().1, 2);
}

#[tokio::test]
async fn e_5_an_endpoint_that_is_gone_is_looked_up_again() {
    let world = World::new(Setup::default()).await;
    world.server.reply(|asked| {
        let status = if asked.host == "mimi.b.example" { 410 } else { 200 };
        Some(Response::builder().status(status).body(Bytes::new()).unwrap())
    });
    assert_eq!(world.update(b"octets").await.unwrap().status, 410);
    assert_eq!(world.server.asked().1, 1, "fetched a moment ago");
    let moved = Directory::publish("b.example", Endpoint::ALL, None).unwrap();
    world.server.publish(&moved);
    after(Duration::from_secs(11)).await;
    assert_eq!(world.update(b"octets").await.unwrap().status, 200);
    assert_eq!(world.server.asked().1, 2);
}

#[tokio::test]
async fn e_5_a_directory_may_name_no_host_of_somebody_else() {
    let elsewhere = Directory::publish("victim.example", [Endpoint::Update], None).unwrap();
    let world = World::new(Setup::default()).await;
    world.server.publish(&elsewhere);
    assert!(matches!(world.update(b"octets").await, Err(PeerError::Directory(_))));

    let setup = Setup {
        hosts: vec!["victim.example".into()],
        ..Setup::default()
    };
    let world = World::new(setup).await;
    world.server.publish(&elsewhere);
    // Allowed by configuration, and then it must prove to be that host.
    assert!(matches!(world.update(b"octets").await, Err(PeerError::Unreachable(_))));
}

#[tokio::test]
async fn e_5_what_is_no_directory_is_refused_and_not_asked_for_at_once_again() {
    let world = World::new(Setup::default()).await;
    let b = provider("b.example");
    for document in [
        Response::new(Bytes::from_static(b"<html>")),
        Response::new(Bytes::from_static(b"[1, 2]")),
        Response::builder().status(404).body(Bytes::new()).unwrap(),
    ] {
        *world.server.directory.lock().unwrap() = document;
        let before = world.server.asked().1;
        assert!(matches!(world.peers.directory(&b).await, Err(PeerError::Directory(_))));
        assert!(matches!(world.peers.directory(&b).await, Err(PeerError::Directory(_))));
        assert_eq!(world.server.asked().1, before + 1);
        after(Duration::from_secs(2)).await;
    }
    *world.server.directory.lock().unwrap() = Response::new(vec![b' '; 70_000].into());
    assert!(matches!(
        world.peers.directory(&b).await,
        Err(PeerError::TooLarge { .. })
    ));
    after(Duration::from_secs(2)).await;
    let only = Directory::publish("b.example", [Endpoint::Notify], None).unwrap();
    world.server.publish(&only);
    assert_eq!(
        world.update(b"octets").await.unwrap_err(),
        PeerError::NoEndpoint("update".into())
    );
}

#[tokio::test]
async fn e_5_an_old_directory_serves_while_no_new_one_can_be_had() {
    let world = World::new(Setup::default()).await;
    let b = provider("b.example");
    let first = world.peers.directory(&b).await.unwrap();
    *world.server.directory.lock().unwrap() = Response::builder().status(500).body(Bytes::new()).unwrap();
    after(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(world.peers.directory(&b).await.unwrap(), first);
    assert_eq!(world.server.asked().1, 2);
    after(Duration::from_secs(23 * 3_600)).await;
    assert!(
        matches!(world.peers.directory(&b).await, Err(PeerError::Directory(_))),
        "a day is the most"
    );
}

#[tokio::test]
async fn the_key_of_a_hub_is_known_without_waiting_once_its_directory_is() {
    let world = World::new(Setup::default()).await;
    let b = provider("b.example");
    let sender = |domain: &'static str| ExternalSender {
        signature_key: Bytes::from_static(b"key"),
        credential: Credential::basic(domain),
    };
    let of_b = sender("mimi://b.example");
    let senders = [
        (1, of_b.encode().into()),
        (2, sender("mimi://c.example").encode().into()),
        (3, Bytes::from_static(b"no sender")),
    ];
    let directory = Directory::publish("mimi.b.example", Endpoint::ALL, None).unwrap();
    world.server.publish(&directory.with_hub_senders(senders));
    assert_eq!(
        world.peers.hub_sender(&b, 1),
        None,
        "nobody has asked yet, and nobody waits"
    );
    let known = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(sender) = world.peers.hub_sender(&b, 1) {
                break sender;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(known.await.unwrap(), of_b);
    for suite in [2, 3, 4] {
        assert_eq!(
            world.peers.hub_sender(&b, suite),
            None,
            "{suite}: another's, none, not named"
        );
    }
    assert_eq!(world.peers.hub_sender(&provider("c.example"), 1), None);
    assert_eq!(world.server.asked().1, 1);
}
