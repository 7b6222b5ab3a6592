//! The provider API: a token's user, its own clients, and nobody else.

use std::net::SocketAddr;

use bytes::Bytes;
use daemon::certificates::DevelopmentCa;
use hyper_util::rt::TokioIo;
use mimi::mls::{Credential, PseudonymousCredential};
use nave_edge::{Limits, Rate};
use proto::follower::{EventAck, EventsRequest, Open, Pseudonym, PseudonymousKeyPackage, events_request};
use proto::hub::room_request::Body;
use proto::provider::provider_client::ProviderClient;
use proto::provider::{
    CreateRoomRequest, FollowCall, HubSender, RegisterPseudonymRequest, RoomCall, UploadKeyPackagesRequest,
    WhoAmIRequest, WhoAmIResponse,
};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::bodies::{ROOM, group_info, key_material, key_package, report, submit, update, uri};
use crate::world::{ALICE, ALICE_TOKEN, NAMESAKE, World};

const PHONE: &str = "mimi://a.example/d/alice/phone";
const ELSEWHERE: &str = "mimi://b.example/r/other";

async fn client(world: &World) -> ProviderClient<Channel> {
    ProviderClient::new(channel(world).await)
}

/// A connection to the provider API.
pub async fn channel(world: &World) -> Channel {
    channel_to(&world.ca, world.api).await
}

/// A connection to a provider API whose certificate is from `ca`.
pub async fn channel_to(ca: &DevelopmentCa, address: SocketAddr) -> Channel {
    let mut roots = rustls::RootCertStore::empty();
    for root in link::tls::certificates_from_pem(ca.certificate_pem().as_bytes()).unwrap() {
        roots.add(root).unwrap();
    }
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    let mut tls = rustls::ClientConfig::builder_with_provider(crypto.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(std::sync::Arc::new(tls));
    let connect = tower::service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("api.a.example").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    let endpoint = Endpoint::from_static("http://api.a.example");
    endpoint.connect_with_connector(connect).await.unwrap()
}

pub fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

pub fn alices<T>(message: T) -> Request<T> {
    with_token(ALICE_TOKEN, message)
}

fn call(client: &str, room: &str, body: Bytes) -> RoomCall {
    RoomCall {
        client: client.to_owned(),
        room: room.to_owned(),
        body,
    }
}

#[tokio::test]
async fn a_token_names_its_user_and_no_other_token_does() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let expected = WhoAmIResponse {
        provider: "a.example".to_owned(),
        user: ALICE.to_owned(),
        hub_sender: Bytes::from_static(b"hub sender"),
        hub_senders: [(1, &b"hub sender"[..]), (3, b"another")]
            .map(|(cipher_suite, sender)| HubSender {
                cipher_suite,
                sender: Bytes::from_static(sender),
            })
            .to_vec(),
        minimal_metadata: true,
    };
    let answer = api.who_am_i(alices(WhoAmIRequest {})).await.unwrap();
    assert_eq!(answer.into_inner(), expected);

    let missing = Request::new(WhoAmIRequest {});
    for request in [
        missing,
        with_token("guess", WhoAmIRequest {}),
        with_token("", WhoAmIRequest {}),
    ] {
        assert_eq!(api.who_am_i(request).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let refused = api.update(with_token("guess", call(PHONE, ROOM, update()))).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    assert!(world.hub.0.asked().is_empty());
}

#[tokio::test]
async fn clients_of_other_users_are_refused_everywhere() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let foreign = [
        "mimi://a.example/d/bob/phone",
        "mimi://b.example/d/alice/phone",
        "mimi://a.example/d/alicex/phone",
    ];
    for client in foreign {
        let room = || alices(call(client, ROOM, update()));
        let follow = || FollowCall {
            client: client.to_owned(),
            room: ROOM.to_owned(),
        };
        let upload = UploadKeyPackagesRequest {
            client: client.to_owned(),
            ..UploadKeyPackagesRequest::default()
        };
        let create = CreateRoomRequest {
            client: client.to_owned(),
            room: ROOM.to_owned(),
            ..CreateRoomRequest::default()
        };
        let opened = EventsRequest {
            kind: Some(events_request::Kind::Open(Open {
                client: client.to_owned(),
            })),
        };
        let codes = [
            api.update(room()).await.unwrap_err().code(),
            api.submit(room()).await.unwrap_err().code(),
            api.group_info(room()).await.unwrap_err().code(),
            api.key_material(room()).await.unwrap_err().code(),
            api.follow(alices(follow())).await.unwrap_err().code(),
            api.unfollow(alices(follow())).await.unwrap_err().code(),
            api.upload_key_packages(alices(upload)).await.unwrap_err().code(),
            api.create_room(alices(create)).await.unwrap_err().code(),
            api.events(alices(tokio_stream::iter([opened])))
                .await
                .unwrap_err()
                .code(),
        ];
        assert_eq!(codes, [Code::PermissionDenied; 9], "{client}");
    }
    let malformed = api.update(alices(call("alice", ROOM, update()))).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    assert!(world.hub.0.asked().is_empty() && world.follower.followed.asked().is_empty());
}

#[tokio::test]
async fn a_call_goes_to_our_hub_when_the_room_is_ours_and_else_to_its_provider() {
    let world = World::start().await;
    let mut api = client(&world).await;
    for (room, body) in [(ROOM, &b"hub"[..]), (ELSEWHERE, b"peer")] {
        let answers = [
            api.update(alices(call(PHONE, room, update()))).await,
            api.submit(alices(call(PHONE, room, submit(ALICE)))).await,
            api.group_info(alices(call(PHONE, room, group_info(PHONE)))).await,
        ];
        for answer in answers {
            let answer = answer.unwrap().into_inner();
            assert_eq!((answer.status, &*answer.body), (200, body));
        }
    }
    let hub = world.hub.0.asked();
    assert!(
        hub.len() == 3
            && hub
                .iter()
                .all(|asked| asked.room == ROOM && asked.source == "a.example")
    );
    let peers = world.peers.calls.asked();
    let relayed: Vec<_> = peers
        .iter()
        .map(|(to, call)| (to.as_str(), call.endpoint.as_str(), call.target.as_str()))
        .collect();
    let expected = ["update", "submitMessage", "groupInfo"].map(|endpoint| ("b.example", endpoint, ELSEWHERE));
    assert_eq!(relayed, expected);
    assert_eq!(peers[0].1.body, update());
}

#[tokio::test]
async fn key_material_goes_through_the_rooms_hub_or_directly_without_a_room() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let carol = "mimi://c.example/u/carol";
    for (room, hub) in [(ELSEWHERE, "b.example"), ("", "c.example")] {
        let body = key_material(ALICE, carol, room);
        let answer = api.key_material(alices(call(PHONE, room, body.clone()))).await.unwrap();
        assert_eq!(answer.into_inner().body, "peer");
        let (to, relayed) = world.peers.calls.asked().pop().unwrap();
        assert_eq!((to.as_str(), relayed.target.as_str(), relayed.body), (hub, carol, body));
    }
    // Our room, our user: authorised, claimed, recorded.
    world
        .hub
        .0
        .say(Ok(proto::hub::room_response::Outcome::Answer(Bytes::new())));
    let bob = "mimi://a.example/u/bob";
    let answer = api
        .key_material(alices(call(PHONE, ROOM, key_material(ALICE, bob, ROOM))))
        .await;
    assert_eq!(answer.unwrap().into_inner().body, "hub");
    assert_eq!(world.follower.claimed.asked().len(), 1);

    let cases = [
        // In the name of another user; for another room than the call's; garbage.
        (ROOM, key_material(bob, carol, ROOM), 403),
        (ROOM, key_material(ALICE, carol, ELSEWHERE), 400),
        (ROOM, update(), 400),
    ];
    for (room, body, status) in cases {
        let answer = api.key_material(alices(call(PHONE, room, body))).await.unwrap();
        assert_eq!(answer.into_inner().status, status);
    }
}

#[tokio::test]
async fn nobody_sends_or_joins_as_another_user_of_the_same_provider() {
    let world = World::start().await;
    let mut api = client(&world).await;
    for room in [ROOM, ELSEWHERE] {
        let sent = api
            .submit(alices(call(PHONE, room, submit("mimi://a.example/u/bob"))))
            .await;
        assert_eq!(sent.unwrap().into_inner().status, 403);
        for other in ["mimi://a.example/d/bob/phone", "mimi://a.example/d/alice/laptop"] {
            let joined = api.group_info(alices(call(PHONE, room, group_info(other)))).await;
            assert_eq!(joined.unwrap().into_inner().status, 403);
        }
    }
    let sent = api.submit(alices(call(PHONE, ROOM, update()))).await;
    assert_eq!(sent.unwrap().into_inner().status, 400);
    assert!(world.hub.0.asked().is_empty() && world.peers.calls.asked().is_empty());
}

#[tokio::test]
async fn rooms_are_created_at_the_provider_of_their_uri() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let create = |room: &str| {
        alices(CreateRoomRequest {
            client: PHONE.to_owned(),
            room: room.to_owned(),
            group_info: Bytes::from_static(b"group info"),
            ratchet_tree: Bytes::from_static(b"tree"),
        })
    };
    assert_eq!(api.create_room(create(ROOM)).await.unwrap().into_inner().status, 200);
    let Some(Body::Create(founding)) = world.hub.0.asked().pop().unwrap().body else {
        panic!("not created");
    };
    let founding: proto::hub::CreateRoom = prost::Message::decode(founding).unwrap();
    assert_eq!(
        (&*founding.group_info, &*founding.ratchet_tree),
        (&b"group info"[..], &b"tree"[..])
    );
    let refused = api.create_room(create(ELSEWHERE)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn following_and_uploading_reach_the_follower_with_the_actor() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let follow = || {
        alices(FollowCall {
            client: PHONE.to_owned(),
            room: ELSEWHERE.to_owned(),
        })
    };
    api.follow(follow()).await.unwrap();
    api.unfollow(follow()).await.unwrap();
    let followed = world.follower.followed.asked();
    assert_eq!(followed.iter().map(|(_, on)| *on).collect::<Vec<_>>(), [true, false]);
    assert_eq!(
        (followed[0].0.client.as_str(), followed[0].0.room.as_str()),
        (PHONE, ELSEWHERE)
    );

    let upload = |key_packages| {
        alices(UploadKeyPackagesRequest {
            client: PHONE.to_owned(),
            key_packages,
            ..UploadKeyPackagesRequest::default()
        })
    };
    api.upload_key_packages(upload(Vec::new())).await.unwrap();
    let uploaded = world.follower.uploaded.asked().pop().unwrap();
    assert_eq!((uploaded.user.as_str(), uploaded.client.as_str()), (ALICE, PHONE));
    for key_packages in [vec![Bytes::from_static(b"garbage")], vec![Bytes::new(); 1_001]] {
        let refused = api.upload_key_packages(upload(key_packages)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn the_rate_of_a_user_is_bounded() {
    let mut limits = Limits::default();
    limits.rates.user = Rate::new(1, 2);
    let world = World::with(limits).await;
    let mut api = client(&world).await;
    for expected in [200, 200, 429] {
        let answer = api
            .update(alices(call(PHONE, ROOM, update())))
            .await
            .unwrap()
            .into_inner();
        assert_eq!((answer.status, answer.retry_after_ms > 0), (expected, expected == 429));
    }
    assert_eq!(world.hub.0.asked().len(), 2);
}

fn open() -> EventsRequest {
    EventsRequest {
        kind: Some(events_request::Kind::Open(Open {
            client: PHONE.to_owned(),
        })),
    }
}

fn ack(position: u64) -> EventsRequest {
    EventsRequest {
        kind: Some(events_request::Kind::Ack(EventAck {
            room: ROOM.to_owned(),
            position,
        })),
    }
}

#[tokio::test]
async fn events_and_acknowledgements_pass_until_the_edge_drains() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let (requests, stream) = mpsc::channel(4);
    requests.send(open()).await.unwrap();
    let mut events = api
        .events(alices(ReceiverStream::new(stream)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(events.message().await.unwrap().unwrap().room, PHONE);
    for position in 1..=100 {
        requests.send(ack(position)).await.unwrap();
        assert_eq!(events.message().await.unwrap().unwrap().position, position);
    }
    world.cancel.cancel();
    assert_eq!(events.message().await.unwrap_err().code(), Code::Unavailable);
    drop((requests, events, api));
    world.running.await.unwrap();
}

#[tokio::test]
async fn a_stream_cannot_change_whose_it_is() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let second = EventsRequest {
        kind: Some(events_request::Kind::Open(Open {
            client: "mimi://a.example/d/bob/phone".to_owned(),
        })),
    };
    let requests = tokio_stream::iter([open(), second, ack(1)]);
    let mut events = api.events(alices(requests)).await.unwrap().into_inner();
    let mut rooms = Vec::new();
    while let Ok(Some(event)) = events.message().await {
        rooms.push(event.room);
    }
    assert_eq!(rooms, [PHONE]);
    let seen = world.follower.events.asked();
    assert_eq!(seen, [Some(open()), None]);

    let unopened = api.events(alices(tokio_stream::iter([ack(1)]))).await.unwrap_err();
    assert_eq!(unopened.code(), Code::InvalidArgument);
}

const PSEUDONYM: &str = "mimi://a.example/u/6f1c1ad2-3f6b-4c1d-9d56-0e7f6d1b2a3c";
const CLIENT: &str = "b9d1f7a0-52ce-4ba6-8a3e-94c6f0a1d2e3";
const UNKNOWN: &str = "mimi://a.example/u/00000000-0000-4000-8000-000000000001";

#[tokio::test]
async fn mm_4_a_client_speaks_under_a_pseudonym_of_its_user_and_no_other() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let register = |client: &str| RegisterPseudonymRequest {
        client: client.to_owned(),
        pseudonym: PSEUDONYM.to_owned(),
    };
    let foreign = api
        .register_pseudonym(alices(register("mimi://a.example/d/bob/phone")))
        .await;
    assert_eq!(foreign.unwrap_err().code(), Code::PermissionDenied);
    api.register_pseudonym(alices(register(PHONE))).await.unwrap();
    let registered = Pseudonym {
        user: ALICE.to_owned(),
        pseudonym: PSEUDONYM.to_owned(),
    };
    assert_eq!(world.follower.pseudonyms.asked(), [registered]);

    // Neither another user's name, nor one that is no pseudonym of ours.
    let elsewhere = "mimi://b.example/u/00000000-0000-4000-8000-000000000002";
    for name in [NAMESAKE, ALICE, elsewhere, ""] {
        let register = RegisterPseudonymRequest {
            client: PHONE.to_owned(),
            pseudonym: name.to_owned(),
        };
        let refused = api.register_pseudonym(alices(register)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{name}");
    }
    assert_eq!(world.follower.pseudonyms.asked().len(), 1);

    let bob = "mimi://b.example/u/00000000-0000-4000-8000-00000000000b";
    let (own, unknown, elsewhere) = (200, 403, 403);
    for (name, status) in [(PSEUDONYM, own), (UNKNOWN, unknown), (bob, elsewhere)] {
        let device = format!("{}/phone", name.replace("/u/", "/d/"));
        let answers = [
            api.submit(alices(call(PHONE, ELSEWHERE, submit(name)))).await,
            api.group_info(alices(call(PHONE, ELSEWHERE, group_info(&device))))
                .await,
            api.key_material(alices(call(PHONE, ELSEWHERE, key_material(name, bob, ELSEWHERE))))
                .await,
        ];
        for answer in answers {
            assert_eq!(answer.unwrap().into_inner().status, status, "{name}");
        }
        let reported = api.report_abuse(alices(call(PHONE, ELSEWHERE, report(name)))).await;
        assert_eq!(reported.unwrap().into_inner().status == 403, status == 403, "{name}");
    }
}

#[tokio::test]
async fn mm_3_a_set_is_of_the_users_own_clients_under_pseudonyms() {
    let world = World::start().await;
    let mut api = client(&world).await;
    let member = |client: &str, key_package: &Bytes| PseudonymousKeyPackage {
        client: client.to_owned(),
        key_package: key_package.clone(),
    };
    let mut upload = async |pseudonymous: Vec<PseudonymousKeyPackage>| {
        let upload = UploadKeyPackagesRequest {
            client: PHONE.to_owned(),
            key_packages: Vec::new(),
            pseudonymous,
        };
        api.upload_key_packages(alices(upload))
            .await
            .map(drop)
            .map_err(|status| status.code())
    };
    let under = |user: &str| {
        let fields = PseudonymousCredential {
            client_pseudonym: uri(&format!("{}/{CLIENT}", user.replace("/u/", "/d/"))),
            user_pseudonym: uri(user),
            signature_public_key: Bytes::from_static(b"key"),
            identity_link_ciphertext: Bytes::from_static(b"link"),
        };
        key_package(&fields.credential())
    };
    let (masked, borrowed) = (under(PSEUDONYM), under(NAMESAKE));
    let named = key_package(&Credential::basic(PHONE));
    let laptop = "mimi://a.example/d/alice/laptop";
    assert_eq!(
        upload(vec![member(PHONE, &masked), member(laptop, &masked)]).await,
        Ok(())
    );
    let refused = Err(Code::PermissionDenied);
    assert_eq!(
        upload(vec![member("mimi://a.example/d/bob/phone", &masked)]).await,
        refused
    );
    assert_eq!(
        upload(vec![member(PHONE, &masked), member(PHONE, &named)]).await,
        refused
    );
    assert_eq!(upload(vec![member(PHONE, &borrowed)]).await, refused);
    let stored = world.follower.uploaded.asked();
    let [only] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!(only.pseudonymous.len(), 2);
    assert!(only.key_packages.is_empty());
}
