//! requestConsent and updateConsent from other providers: who may say what, and the one answer.

use bytes::Bytes;
use mimi::consent::ConsentOperation;
use nave_edge::{Limits, Rate};
use tonic::Status;

use crate::bodies::{ROOM, consent, update};
use crate::world::{ALICE, World};

const BOB: &str = "mimi://b.example/u/bob";
const CAROL: &str = "mimi://c.example/u/carol";
const US: &str = "a.example";

fn grant() -> ConsentOperation {
    ConsentOperation::Grant(Vec::new())
}

#[tokio::test]
async fn c_4_what_is_said_is_answered_201_when_the_follower_has_it() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let entries = [
        ("requestConsent", consent(ConsentOperation::Request, BOB, ALICE, None)),
        (
            "requestConsent",
            consent(ConsentOperation::Cancel, BOB, ALICE, Some(ROOM)),
        ),
        ("updateConsent", consent(grant(), ALICE, BOB, None)),
        (
            "updateConsent",
            consent(ConsentOperation::Revoke, ALICE, BOB, Some(ROOM)),
        ),
        // Nobody knows such a user.
        (
            "requestConsent",
            consent(ConsentOperation::Request, BOB, "mimi://a.example/u/nobody", None),
        ),
    ];
    for (endpoint, body) in entries {
        let answer = peer.post(endpoint, US, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (201, 0), "{body:?}");
        let received = world.follower.consent_received.asked().pop().unwrap();
        assert_eq!((received.source.as_str(), received.entry), ("b.example", body));
    }
    world.follower.consent_received.say(Status::unavailable("no store"));
    let answer = peer.post("updateConsent", US, consent(grant(), ALICE, BOB, None)).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn c_1_each_endpoint_takes_its_own_operations_only() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (endpoint, body) in [
        ("requestConsent", consent(grant(), ALICE, BOB, None)),
        ("requestConsent", consent(ConsentOperation::Revoke, ALICE, BOB, None)),
        ("requestConsent", consent(grant(), BOB, ALICE, None)),
        ("updateConsent", consent(ConsentOperation::Request, BOB, ALICE, None)),
        ("updateConsent", consent(ConsentOperation::Cancel, BOB, ALICE, None)),
    ] {
        assert_eq!(peer.post(endpoint, US, body.clone()).await.status, 400, "{body:?}");
    }
    assert!(world.follower.consent_received.asked().is_empty());
}

#[tokio::test]
async fn c_2_a_provider_speaks_for_its_own_users_to_ours_only() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (endpoint, body) in [
        // In the name of another provider's user, or of ours.
        ("requestConsent", consent(ConsentOperation::Request, CAROL, ALICE, None)),
        ("requestConsent", consent(ConsentOperation::Request, ALICE, BOB, None)),
        ("updateConsent", consent(grant(), ALICE, CAROL, None)),
        ("updateConsent", consent(grant(), BOB, ALICE, None)),
        // To a user who is not ours.
        ("requestConsent", consent(ConsentOperation::Cancel, BOB, CAROL, None)),
        ("updateConsent", consent(ConsentOperation::Revoke, CAROL, BOB, None)),
    ] {
        assert_eq!(peer.post(endpoint, US, body.clone()).await.status, 403, "{body:?}");
    }
    assert!(world.follower.consent_received.asked().is_empty());
}

#[tokio::test]
async fn the_path_names_our_domain_or_a_user_of_ours_and_nothing_else() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let body = consent(ConsentOperation::Request, BOB, ALICE, None);
    for (target, status) in [
        (US, 201),
        (ALICE, 201),
        ("c.example", 421),
        (CAROL, 421),
        ("A.example", 400),
        (ROOM, 400),
    ] {
        assert_eq!(
            peer.post("requestConsent", target, body.clone()).await.status,
            status,
            "{target}"
        );
    }
}

#[tokio::test]
async fn what_are_no_uris_are_answered_400() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for body in [
        consent(ConsentOperation::Request, "bob", ALICE, None),
        consent(ConsentOperation::Request, BOB, "mimi://a.example/d/alice/phone", None),
        consent(ConsentOperation::Request, BOB, ALICE, Some("")),
        consent(ConsentOperation::Request, BOB, ALICE, Some(BOB)),
        update(),
        Bytes::from_static(b"\x04"),
    ] {
        assert_eq!(
            peer.post("requestConsent", US, body.clone()).await.status,
            400,
            "{body:?}"
        );
    }
    assert!(world.follower.consent_received.asked().is_empty());
}

#[tokio::test]
async fn e_9_consent_has_low_rates_of_its_own() {
    let mut limits = Limits::default();
    limits.rates.request_consent = Rate::new(1, 2);
    let world = World::with(limits).await;
    let mut peer = world.peer("b.example").await;
    let request = || consent(ConsentOperation::Request, BOB, ALICE, None);
    for status in [201, 201, 429] {
        assert_eq!(peer.post("requestConsent", US, request()).await.status, status);
    }
    let answer = peer.post("requestConsent", US, request()).await;
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(world.follower.consent_received.asked().len(), 2);
    let grant = consent(grant(), ALICE, BOB, None);
    assert_eq!(peer.post("updateConsent", US, grant).await.status, 201);
}
