//! reportAbuse (mimi-protocol §5.9), and the inbox of those who read the reports.

use bytes::Bytes;
use proto::hub::room_request::Body;
use proto::hub::room_response::Outcome;
use proto::hub::{CloseAbuseRequest, ListAbuseRequest, Refused};
use proto::provider::RoomCall;
use proto::provider::moderation_client::ModerationClient;
use proto::provider::provider_client::ProviderClient;
use tonic::{Code, Status};

use crate::bodies::{ROOM, report};
use crate::provider::{alices, channel, with_token};
use crate::world::{ALICE, MODERATOR_TOKEN, World};

const BOB: &str = "mimi://b.example/u/bob";
const ELSEWHERE: &str = "mimi://b.example/r/other";

#[tokio::test]
async fn r_1_a_report_is_answered_201_and_with_nothing_else() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    // With and without a name.
    for reporter in [BOB, ""] {
        let answer = peer.post("reportAbuse", ROOM, report(reporter)).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (201, 0));
        let asked = world.hub.0.asked().pop().unwrap();
        assert_eq!((asked.room.as_str(), asked.source.as_str()), (ROOM, "b.example"));
        assert_eq!(asked.body, Some(Body::ReportAbuse(report(reporter))));
    }
}

#[tokio::test]
async fn r_1_whether_there_is_such_a_room_is_not_told() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let mut answers = Vec::new();
    for status in [403, 404] {
        world.hub.0.say(Ok(Outcome::Refused(Refused {
            status,
            reason: "some reason".to_owned(),
            retry_after_ms: 0,
        })));
        let answer = peer.post("reportAbuse", ROOM, report(BOB)).await;
        answers.push((answer.status.as_u16(), answer.body));
    }
    assert_eq!(answers[0].0, 403);
    assert_eq!(answers[0], answers[1]);
    world.hub.0.say(Err(Status::unavailable("no store")));
    assert_eq!(peer.post("reportAbuse", ROOM, report(BOB)).await.status, 503);
}

#[tokio::test]
async fn r_4_a_provider_reports_for_its_own_users_in_our_rooms_only() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (room, body, status) in [
        (ROOM, report("mimi://c.example/u/carol"), 403),
        (ROOM, report(ALICE), 403),
        (ROOM, report("bob"), 400),
        (ELSEWHERE, report(BOB), 421),
        ("b.example", report(BOB), 400),
    ] {
        assert_eq!(peer.post("reportAbuse", room, body).await.status, status, "{room}");
    }
    assert!(world.hub.0.asked().is_empty());
}

#[tokio::test]
async fn r_4_a_local_user_reports_as_itself_or_without_a_name() {
    let world = World::start().await;
    let mut api = ProviderClient::new(channel(&world).await);
    let call = |room: &str, body: Bytes| {
        alices(RoomCall {
            client: "mimi://a.example/d/alice/phone".to_owned(),
            room: room.to_owned(),
            body,
        })
    };
    for body in [report(ALICE), report("")] {
        let answer = api.report_abuse(call(ROOM, body.clone())).await.unwrap().into_inner();
        assert_eq!((answer.status, answer.body.len()), (201, 0));
        let asked = world.hub.0.asked().pop().unwrap();
        assert_eq!(
            (asked.source.as_str(), asked.body),
            ("a.example", Some(Body::ReportAbuse(body)))
        );
    }
    let answer = api.report_abuse(call(ELSEWHERE, report(ALICE))).await.unwrap();
    assert_eq!(answer.into_inner().status, 200, "whatever the other provider says");
    let (to, asked) = world.peers.calls.asked().pop().unwrap();
    assert_eq!(
        (to.as_str(), &*asked.endpoint, &*asked.target),
        ("b.example", "reportAbuse", ELSEWHERE)
    );
    for body in [report("mimi://a.example/u/dave"), report(BOB)] {
        for room in [ROOM, ELSEWHERE] {
            let answer = api.report_abuse(call(room, body.clone())).await.unwrap();
            assert_eq!(answer.into_inner().status, 403);
        }
    }
    assert_eq!((world.hub.0.asked().len(), world.peers.calls.asked().len()), (2, 1));
}

#[tokio::test]
async fn reports_are_shown_to_moderators_and_to_nobody_else() {
    let world = World::start().await;
    let mut api = ModerationClient::new(channel(&world).await);
    let list = ListAbuseRequest {
        after: "before".to_owned(),
        max: 7,
    };
    let close = CloseAbuseRequest { id: "case".to_owned() };
    let listed = api.list_abuse(with_token(MODERATOR_TOKEN, list.clone())).await.unwrap();
    assert_eq!(listed.into_inner().cases[0].id, "case");
    assert_eq!(world.hub.1.asked().pop().as_ref(), Some(&list));
    api.close_abuse(with_token(MODERATOR_TOKEN, close.clone()))
        .await
        .unwrap();
    assert_eq!(world.hub.2.asked().pop().as_ref(), Some(&close));

    let refused = api.list_abuse(alices(list.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = api.close_abuse(alices(close.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = api.list_abuse(with_token("guess", list)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!((world.hub.1.asked().len(), world.hub.2.asked().len()), (1, 1));

    world.hub.2.say(Status::not_found("no such case"));
    let missing = api.close_abuse(with_token(MODERATOR_TOKEN, close)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}
