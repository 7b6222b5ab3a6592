//! The endpoints of rooms when all is well, and what a room that says no looks like.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use mimi::group_info::{GroupInfoRefusal, GroupInfoResponse};
use mimi::key_material::{KeyMaterialResponse, KeyMaterialUserCode};
use mimi::submit::{SubmitMessageResponse, SubmitOutcome};
use mimi::update::{UpdateOutcome, UpdateRoomResponse};
use mimi::{Decode, Encode};
use proto::hub::{Refused, room_request::Body, room_response::Outcome};
use serde_json::json;

use crate::bodies::{ROOM, notify, one_of_each, submit, update, uri};
use crate::world::{World, over_http2, post};

#[tokio::test]
async fn e_3_e_5_the_directory_lists_what_works_and_nothing_else() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let request = Request::get(peer::WELL_KNOWN)
        .header("host", "a.example")
        .body(Full::default())
        .unwrap();
    let answer = peer.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "max-age=3600");
    let at = |path: &str| format!("https://a.example:{}/v1/{path}", world.https.port());
    let expected = json!({
        "keyMaterial": at("keyMaterial/{targetUser}"),
        "update": at("update/{roomId}"),
        "submitMessage": at("submitMessage/{roomId}"),
        "notify": at("notify/{roomId}"),
        "groupInfo": at("groupInfo/{roomId}"),
        "requestConsent": at("requestConsent/{targetDomain}"),
        "updateConsent": at("updateConsent/{requesterDomain}"),
        "identifierQuery": at("identifierQuery/{domain}"),
        "reportAbuse": at("reportAbuse/{roomId}"),
        "proxyDownload": at("proxyDownload/{downloadUrl}"),
        "x-roomEvents": at("x-roomEvents/{roomId}"),
        "x-roomHeads": at("x-roomHeads/{domain}"),
        "x-entriesExpired": at("x-entriesExpired/{domain}"),
        "ohttpGateway": format!("https://a.example:{}/.well-known/ohttp-gateway", world.https.port()),
        "hubSenders": {"1": hex::encode("hub sender"), "3": hex::encode("another")},
        "naveLink": world.link.to_string(),
    });
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap(),
        expected
    );
}

#[tokio::test]
async fn e_6_e_7_f_50_a_room_of_ours_is_asked_in_the_name_of_the_asking_provider() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for endpoint in ["update", "submitMessage", "groupInfo"] {
        let (_, target, body) = one_of_each().into_iter().find(|(name, ..)| *name == endpoint).unwrap();
        let answer = peer.post(endpoint, target, body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (200, &b"hub"[..]),
            "{endpoint}"
        );
        assert_eq!(answer.headers["content-type"], "application/octet-stream");
        let asked = world.hub.0.asked().pop().unwrap();
        assert_eq!((asked.room.as_str(), asked.source.as_str()), (ROOM, "b.example"));
        let (Body::Update(passed) | Body::Submit(passed) | Body::GroupInfo(passed)) = asked.body.unwrap() else {
            panic!("{endpoint}: another request");
        };
        assert_eq!(passed, body);
    }
}

#[tokio::test]
async fn e_7_f_40_a_notification_is_answered_201_once_the_follower_has_it() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let answer = peer.post("notify", "mimi://b.example/r/other", notify()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (201, 0));
    let [notified] = &world.follower.notified.asked()[..] else {
        panic!("not one notification");
    };
    assert_eq!(
        (notified.hub.as_str(), notified.room.as_str()),
        ("b.example", "mimi://b.example/r/other")
    );
    assert_eq!(notified.body, notify());

    world.follower.notified.say(tonic::Status::unavailable("no store"));
    let answer = peer.post("notify", "mimi://b.example/r/other", notify()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (503, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_provider_that_comes_to_us_is_told_to_the_hub_whose_couriers_may_wait_for_it() {
    let world = World::start().await;
    for name in ["b.example", "c.example"] {
        let mut peer = world.peer(name).await;
        for _ in 0..2 {
            let request = post(name, "notify", ROOM).body(Full::new(notify()));
            peer.send(request.unwrap()).await;
        }
        let told = || world.hub.3.asked().into_iter().flat_map(|woken| woken.followers);
        let heard = async {
            while !told().any(|told| told == name) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
        assert_eq!(told().filter(|told| told == name).count(), 1);
    }
}

#[tokio::test]
async fn f_42_only_a_rooms_hub_may_notify_of_it() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for room in ["mimi://c.example/r/other", ROOM] {
        assert_eq!(peer.post("notify", room, notify()).await.status, 403, "{room}");
    }
    assert_eq!(world.follower.notified.asked().len(), 0);
}

#[tokio::test]
async fn e_2_a_room_of_another_hub_is_misdirected() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    assert_eq!(peer.post("update", "mimi://c.example/r/x", update()).await.status, 421);
    assert_eq!(world.hub.0.asked().len(), 0);
}

#[tokio::test]
async fn e_4_the_identifier_in_the_path_may_be_escaped_or_not_and_without_scheme() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let forms = [
        "mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse",
        "mimi%3a%2f%2fa.example%2fr%2fclubhouse",
        "a.example%2Fr%2Fclubhouse",
        "a.example/r/clubhouse",
        "mimi://a.example/r/clubhouse",
    ];
    for form in forms {
        let request = Request::post(format!("/v1/update/{form}"))
            .header("host", "a.example")
            .header("from", "mimi@b.example");
        let answer = peer.send(request.body(Full::new(update())).unwrap()).await;
        assert_eq!(answer.status, 200, "{form}");
        assert_eq!(world.hub.0.asked().pop().unwrap().room, ROOM);
    }
    for form in [
        "",
        "a.example",
        "a.example/r",
        "a.example/r/x/y",
        "a.example/u/x",
        "%FF",
        "a.example/r/%2e%2e",
    ] {
        let request = Request::post(format!("/v1/update/{form}"))
            .header("host", "a.example")
            .header("from", "mimi@b.example");
        let answer = peer.send(request.body(Full::new(update())).unwrap()).await;
        assert_eq!(answer.status, 400, "{form}");
    }
}

#[tokio::test]
async fn e_2_http2_carries_the_host_as_authority() {
    let world = World::start().await;
    for (host, status) in [("a.example:8443", 200), ("MIMI.a.example", 200), ("c.example", 421)] {
        let stream = world.tls(&world.ca, "b.example", b"h2").await.unwrap();
        let uri = format!("https://{host}/v1/submitMessage/a.example%2Fr%2Fclubhouse");
        let body = Full::new(submit("mimi://b.example/u/bob"));
        let request = Request::post(uri).header("from", "mimi@b.example").body(body).unwrap();
        assert_eq!(over_http2(stream, request).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn f_20_f_50_a_provider_cannot_act_for_users_of_another() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let (carol, room) = ("mimi://c.example/u/carol", "mimi://a.example/r/clubhouse");
    let requests = [
        ("submitMessage", room, submit(carol)),
        (
            "groupInfo",
            room,
            crate::bodies::group_info("mimi://c.example/d/carol/phone"),
        ),
        (
            "keyMaterial",
            "mimi://a.example/u/alice",
            crate::bodies::key_material(carol, "mimi://a.example/u/alice", room),
        ),
    ];
    for (endpoint, target, body) in requests {
        assert_eq!(peer.post(endpoint, target, body).await.status, 403, "{endpoint}");
    }
    assert_eq!(world.hub.0.asked().len(), 0);
}

#[tokio::test]
async fn h_2_h_52_a_room_that_there_is_not_answers_as_one_that_knows_no_such_provider() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let strangers_answers: [(&str, Vec<u8>); 4] = [
        (
            "keyMaterial",
            KeyMaterialResponse::refusal(KeyMaterialUserCode::NoConsent, uri("mimi://a.example/u/alice")).encode(),
        ),
        (
            "update",
            UpdateRoomResponse {
                outcome: UpdateOutcome::NotAllowed,
                error_description: "not a participant".to_owned(),
            }
            .encode(),
        ),
        (
            "submitMessage",
            SubmitMessageResponse::from(SubmitOutcome::NotAllowed).encode(),
        ),
        ("groupInfo", {
            let mut octets = vec![1, ROOM.len().try_into().unwrap()];
            octets.extend_from_slice(ROOM.as_bytes());
            octets.push(2);
            let decoded = GroupInfoResponse::decode_exact(&octets).unwrap();
            assert_eq!(decoded.outcome, Err(GroupInfoRefusal::NotAuthorized));
            octets
        }),
    ];
    for (endpoint, expected) in strangers_answers {
        let (_, target, body) = one_of_each().into_iter().find(|(name, ..)| *name == endpoint).unwrap();
        for status in [403, 404] {
            world.hub.0.say(Ok(Outcome::Refused(Refused {
                status,
                reason: "no such room".to_owned(),
                retry_after_ms: 0,
            })));
            let answer = peer.post(endpoint, target, body.clone()).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body),
                (200, Bytes::from(expected.clone())),
                "{endpoint}"
            );
        }
    }
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut world = World::start().await;
    let mut peer = world.peer("b.example").await;
    assert_eq!(peer.post("update", ROOM, update()).await.status, 200);
    world.cancel.cancel();
    (&mut world.running).await.unwrap();
    assert!(tokio::net::TcpStream::connect(world.https).await.is_err());
}
