//! identifierQuery (mimi-protocol §5.8): other providers search among our users, ours among theirs.

use bytes::Bytes;
use mimi::identifier::{IdentifierRequest, QueryElement, Search};
use mimi::{AppDataDictionary, Encode};
use nave_edge::{Limits, Rate};
use proto::link::Answer;
use proto::provider::QueryCall;
use proto::provider::contacts_client::ContactsClient;
use tonic::{Code, Status};

use crate::bodies::query;
use crate::provider::{alices, channel, with_token};
use crate::world::World;

fn call(provider: &str, body: Bytes) -> QueryCall {
    QueryCall {
        provider: provider.to_owned(),
        body,
    }
}

#[tokio::test]
async fn q_4_a_query_about_our_users_goes_to_the_follower_in_the_name_of_who_asks() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let answer = peer.post("identifierQuery", "a.example", query()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"found"[..]));
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let [asked] = &world.follower.queried.asked()[..] else {
        panic!("not one query");
    };
    assert_eq!((asked.source.as_str(), &asked.request), ("b.example", &query()));

    world.follower.queried.say(Status::unavailable("no store"));
    let answer = peer.post("identifierQuery", "a.example", query()).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn q_4_the_domain_of_the_path_must_be_ours() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (domain, status) in [("b.example", 421), ("c.example", 421), ("A.example", 400), ("x/y", 400)] {
        let answer = peer.post("identifierQuery", domain, query()).await;
        assert_eq!(answer.status, status, "{domain}");
    }
    assert!(world.follower.queried.asked().is_empty());
}

#[tokio::test]
async fn e_8_e_10_q_1_elements_are_few_and_extensions_in_order() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let element = QueryElement {
        search: Search::Email,
        value: Bytes::from_static(b"alice@a.example"),
    };
    for (elements, status) in [(1, 200), (16, 200), (17, 400)] {
        let request = IdentifierRequest {
            elements: vec![element.clone(); elements],
            extensions: AppDataDictionary::default(),
        };
        let answer = peer.post("identifierQuery", "a.example", request.encode()).await;
        assert_eq!(answer.status, status, "{elements}");
    }
    let bare = query();
    let bare = bare.strip_suffix(b"\0").unwrap();
    for (extensions, status) in [
        // Unknown components are passed over; out of order or twice they are malformed.
        (&b"\x08\xf0\x01\x01x\xf0\x02\x01y"[..], 200),
        (b"\x08\xf0\x02\x01y\xf0\x01\x01x", 400),
        (b"\x08\xf0\x01\x01x\xf0\x01\x01x", 400),
    ] {
        let answer = peer
            .post("identifierQuery", "a.example", [bare, extensions].concat())
            .await;
        assert_eq!(answer.status, status, "{extensions:?}");
    }
}

#[tokio::test]
async fn a_local_user_searches_here_and_elsewhere() {
    let world = World::start().await;
    let mut api = ContactsClient::new(channel(&world).await);
    let answer = api
        .query(alices(call("a.example", query())))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.status, &*answer.body), (200, &b"found"[..]));
    assert_eq!(world.follower.queried.asked()[0].source, "a.example");
    assert!(world.peers.calls.asked().is_empty());

    let answer = api
        .query(alices(call("b.example", query())))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.status, &*answer.body), (200, &b"peer"[..]));
    let (to, asked) = world.peers.calls.asked().pop().unwrap();
    assert_eq!(
        (to.as_str(), &*asked.endpoint, &*asked.target, asked.body),
        ("b.example", "identifierQuery", "b.example", query())
    );
    world.peers.calls.say(Ok(Answer {
        status: 429,
        retry_after_ms: 2_000,
        body: Bytes::new(),
    }));
    let answer = api
        .query(alices(call("b.example", query())))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.status, answer.retry_after_ms), (429, 2_000));
}

#[tokio::test]
async fn q_6_what_a_local_user_searches_is_bounded_and_must_decode() {
    let mut limits = Limits::default();
    limits.rates.contact = Rate::new(1, 3);
    let world = World::with(limits).await;
    let mut api = ContactsClient::new(channel(&world).await);
    for (provider, body, status) in [
        ("b.example", Bytes::from_static(b"x"), 400),
        ("a.example", Bytes::from_static(b"x"), 400),
        ("b.example", query(), 200),
        ("b.example", query(), 429),
    ] {
        let answer = api.query(alices(call(provider, body))).await.unwrap().into_inner();
        assert_eq!(answer.status, status);
    }
    assert_eq!(world.peers.calls.asked().len(), 1);
    let refused = api.query(alices(call("B example", query()))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = api
        .query(with_token("guess", call("a.example", query())))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
