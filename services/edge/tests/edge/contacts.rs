//! The provider API for consent and profiles: written down by the follower, then told to the other's provider.

use bytes::Bytes;
use mimi::consent::ConsentOperation;
use nave_edge::{Limits, Rate, Unreachable};
use proto::follower::{ConsentBook, ConsentOperation as Operation, ListConsentsResponse, Profile, WhoMayAdd};
use proto::provider::contacts_client::ContactsClient;
use proto::provider::{ListConsentsCall, ReadProfileCall, SayConsentCall, TakeGrantedCall};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::bodies::{ROOM, consent};
use crate::provider::{alices, channel, with_token};
use crate::world::{ALICE, World};

const BOB: &str = "mimi://b.example/u/bob";
const DAVE: &str = "mimi://a.example/u/dave";

async fn client(world: &World) -> ContactsClient<Channel> {
    ContactsClient::new(channel(world).await)
}

fn say(operation: Operation, other: &str) -> SayConsentCall {
    SayConsentCall {
        operation: operation.into(),
        other: other.to_owned(),
        room: ROOM.to_owned(),
        ..SayConsentCall::default()
    }
}

#[tokio::test]
async fn what_a_user_says_is_brought_to_the_others_provider() {
    let world = World::start().await;
    let mut api = client(&world).await;
    for (operation, endpoint, entry) in [
        (
            Operation::Request,
            "requestConsent",
            consent(ConsentOperation::Request, ALICE, BOB, Some(ROOM)),
        ),
        (
            Operation::Cancel,
            "requestConsent",
            consent(ConsentOperation::Cancel, ALICE, BOB, Some(ROOM)),
        ),
        (
            Operation::Grant,
            "updateConsent",
            consent(ConsentOperation::Grant(Vec::new()), BOB, ALICE, Some(ROOM)),
        ),
        (
            Operation::Revoke,
            "updateConsent",
            consent(ConsentOperation::Revoke, BOB, ALICE, Some(ROOM)),
        ),
    ] {
        world.follower.consent_said.say(Ok(entry.clone()));
        let answer = api.say_consent(alices(say(operation, BOB))).await.unwrap().into_inner();
        assert_eq!((answer.status, answer.body.len()), (201, 0));
        let said = world.follower.consent_said.asked().pop().unwrap();
        let scope = said.scope.clone().unwrap();
        assert_eq!(
            (said.operation(), &*scope.user, &*scope.other, &*scope.room),
            (operation, ALICE, BOB, ROOM)
        );
        let (to, call) = world.peers.calls.asked().pop().unwrap();
        assert_eq!(
            (to.as_str(), &*call.endpoint, &*call.target, call.body),
            ("b.example", endpoint, "b.example", entry)
        );
    }
}

#[tokio::test]
async fn between_two_users_of_ours_no_other_provider_is_asked() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let entry = consent(ConsentOperation::Request, ALICE, DAVE, None);
    world.follower.consent_said.say(Ok(entry.clone()));
    let answer = api.say_consent(alices(say(Operation::Request, DAVE))).await.unwrap();
    assert_eq!(answer.into_inner().status, 201);
    let received = world.follower.consent_received.asked().pop().unwrap();
    assert_eq!((received.source.as_str(), received.entry), ("a.example", entry));
    assert!(world.peers.calls.asked().is_empty());
}

#[tokio::test]
async fn c_7_a_silent_revocation_is_told_to_nobody() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let entry = consent(ConsentOperation::Revoke, BOB, ALICE, None);
    world.follower.consent_said.say(Ok(entry));
    let call = SayConsentCall {
        silently: true,
        ..say(Operation::Revoke, BOB)
    };
    assert_eq!(api.say_consent(alices(call)).await.unwrap().into_inner().status, 201);
    assert_eq!(world.follower.consent_said.asked().len(), 1);
    assert!(world.peers.calls.asked().is_empty() && world.follower.consent_received.asked().is_empty());
}

#[tokio::test]
async fn what_was_not_written_down_is_not_told_and_what_was_not_told_says_so() {
    let world = World::start().await;
    let mut api = client(&world).await;
    for (refusal, status) in [
        (Status::not_found("no request"), 404),
        (Status::invalid_argument("a KeyPackage"), 400),
        (Status::out_of_range("too much"), 413),
        (Status::unavailable("storage"), 503),
    ] {
        world.follower.consent_said.say(Err(refusal));
        let answer = api.say_consent(alices(say(Operation::Cancel, BOB))).await.unwrap();
        assert_eq!(answer.into_inner().status, status);
    }
    let too_many = SayConsentCall {
        key_packages: vec![Bytes::from(vec![0; 64 << 10]); 4],
        ..say(Operation::Grant, BOB)
    };
    assert_eq!(
        api.say_consent(alices(too_many)).await.unwrap().into_inner().status,
        413
    );
    let malformed = api.say_consent(alices(say(Operation::Request, "bob"))).await.unwrap();
    assert_eq!(malformed.into_inner().status, 400);
    assert!(world.peers.calls.asked().is_empty());

    world
        .follower
        .consent_said
        .say(Ok(consent(ConsentOperation::Request, ALICE, BOB, None)));
    world.peers.calls.say(Err(Unreachable::Now("gone".to_owned())));
    let answer = api.say_consent(alices(say(Operation::Request, BOB))).await.unwrap();
    assert_eq!(answer.into_inner().status, 503);
}

#[tokio::test]
async fn books_grants_and_profile_are_the_tokens_users() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let page = ListConsentsResponse {
        more: true,
        last_other: BOB.to_owned(),
        ..ListConsentsResponse::default()
    };
    world.follower.consents_listed.say(page.clone());
    let list = ListConsentsCall {
        book: ConsentBook::Received.into(),
        after_other: DAVE.to_owned(),
        after_room: ROOM.to_owned(),
    };
    assert_eq!(api.list_consents(alices(list)).await.unwrap().into_inner(), page);
    let listed = world.follower.consents_listed.asked().pop().unwrap();
    assert_eq!(
        (listed.book(), &*listed.user, &*listed.after_other, &*listed.after_room),
        (ConsentBook::Received, ALICE, DAVE, ROOM)
    );

    let take = TakeGrantedCall {
        other: BOB.to_owned(),
        room: String::new(),
    };
    let granted = api.take_granted(alices(take)).await.unwrap().into_inner();
    assert_eq!(granted.key_packages, ["granted"]);
    let taken = world.follower.granted_taken.asked().pop().unwrap();
    assert_eq!((&*taken.user, &*taken.other, &*taken.room), (ALICE, BOB, ""));

    let profile = Profile {
        fields: Vec::new(),
        who_may_add: WhoMayAdd::WithConsent.into(),
    };
    api.set_profile(alices(profile.clone())).await.unwrap();
    assert_eq!(world.follower.profile_set.asked().pop().unwrap().user, ALICE);
    let read = api.read_profile(alices(ReadProfileCall {})).await.unwrap();
    assert_eq!(read.into_inner(), profile);
}

#[tokio::test]
async fn strangers_get_nowhere_and_what_a_user_asks_of_others_is_bounded() {
    let mut limits = Limits::default();
    limits.rates.contact = Rate::new(1, 2);
    let world = World::with(limits).await;
    let mut api = client(&world).await;
    let request = with_token("guess", say(Operation::Request, BOB));
    assert_eq!(
        api.say_consent(request).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    let request = with_token("guess", Profile::default());
    assert_eq!(
        api.set_profile(request).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    for status in [201, 201, 429] {
        world
            .follower
            .consent_said
            .say(Ok(consent(ConsentOperation::Request, ALICE, BOB, None)));
        let answer = api.say_consent(alices(say(Operation::Request, BOB))).await.unwrap();
        assert_eq!(answer.into_inner().status, status);
    }
    assert_eq!(world.follower.consent_said.asked().len(), 2);
}
