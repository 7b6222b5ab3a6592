//! The service as an edge sees it: over its gRPC face, with a real follower of its own.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "service/catch_up.rs"]
mod catch_up;
#[path = "service/lacking.rs"]
mod lacking;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use client::mls::{Answered, Member, Received, RoomProfile, Submitted};
use daemon::certificates::DevelopmentCa;
use futures::StreamExt;
use ledger::{Founding, Ledger, LedgerId};
use link::{Identity, Roots};
use mimi::codec::{Decode, Encode};
use mimi::content::NestedPart;
use mimi::notify::FanoutMessage;
use mimi::{ClientUri, Provider, RoomUri};
use nave_follower::Follower;
use nave_hub::{Arbiters, HubKeys, HubParts, HubService, Incarnation, Moderation, NodeOptions, Options, SystemClock};
use peer::{PeerLimits, Peers, PeersConfig};
use prost::Message as _;
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_server::Hub;
use proto::hub::{
    AbuseVerdict, CloseAbuseRequest, CreateRoom, ListAbuseRequest, ListAbuseResponse, RoomRequest, ShardsRequest,
    room_request::Body, room_response::Outcome,
};
use route::Shards;
use store::Database;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::InterceptorLayer;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Status};

struct World {
    hub: HubService,
    /// Nobody gets through to the follower.
    cut_off: Arc<AtomicBool>,
    follower: Follower,
    keys: Arc<HubKeys>,
    database: Database,
    ledger: Ledger,
}

fn us() -> Provider {
    "a.example".parse().unwrap()
}

fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

fn client(uri: &str) -> ClientUri {
    uri.parse().unwrap()
}

impl World {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let database = Database::memory();
        let follower = Follower::new(us(), database.clone(), Follower::system_clock());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut_off = Arc::new(AtomicBool::new(false));
        let cut = cut_off.clone();
        let barrier = InterceptorLayer::new(move |request| match cut.load(Ordering::SeqCst) {
            true => Err(Status::unavailable("cut off")),
            false => Ok(request),
        });
        let server = Server::builder()
            .layer(barrier)
            .add_service(nave_follower::service::server(follower.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();

        let issued = DevelopmentCa::generate().unwrap().issue(&["a.example"]).unwrap();
        let identity = Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap();
        let peers = PeersConfig {
            us: us(),
            peers: Vec::new(),
            limits: PeerLimits::default(),
        };
        let founding = Founding {
            id: LedgerId([1; 16]),
            shards: Shards::new(4, [0; 16]).unwrap(),
        };
        let keys = Arc::new(HubKeys::generate(us()).unwrap());
        let ledger = Ledger::open(database.clone(), founding).await.unwrap();
        let hub = HubService::start(HubParts {
            provider: us(),
            ledger: ledger.clone(),
            node: NodeOptions::sole(Incarnation([1; 16])),
            peers: Peers::new(peers, &identity, &Roots::new(BTreeMap::new()).unwrap(), None),
            follower: FollowerClient::new(channel),
            keys: keys.clone(),
            moderation: Moderation::default(),
            clock: Arc::new(SystemClock),
            spawner: Arc::new(Arbiters::start(2).unwrap()),
            plane: tokio::runtime::Handle::current().into(),
            seed: 1,
            options,
        });
        Self {
            hub: hub.await.unwrap(),
            cut_off,
            follower,
            keys,
            database,
            ledger,
        }
    }

    async fn call(&self, room: &str, source: &str, body: Body) -> Outcome {
        let request = RoomRequest {
            room: room.into(),
            source: source.into(),
            body: Some(body),
        };
        self.hub
            .call(Request::new(request))
            .await
            .unwrap()
            .into_inner()
            .outcome
            .unwrap()
    }

    async fn answer(&self, source: &str, body: Body) -> Bytes {
        match self.call(room().as_str(), source, body).await {
            Outcome::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn founding(&self, founder: &mut Member, profile: &RoomProfile) -> Body {
        let sender = self.keys.external_sender(1).unwrap().encode();
        let founding = founder.create_room(&room(), &sender, profile).unwrap();
        let create = CreateRoom {
            group_info: founding.group_info,
            ratchet_tree: founding.ratchet_tree,
        };
        Body::Create(create.encode_to_vec().into())
    }

    async fn founded(&self) -> Member {
        let mut alice = Member::new(client("mimi://a.example/d/alice/phone")).unwrap();
        let profile = RoomProfile {
            open: true,
            ..RoomProfile::default()
        };
        let founding = self.founding(&mut alice, &profile);
        assert!(self.answer("a.example", founding).await.is_empty());
        alice
    }
}

fn status(outcome: &Outcome) -> u32 {
    match outcome {
        Outcome::Refused(refused) => refused.status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_submitted_reaches_the_inboxes_of_our_own_clients() {
    let world = World::new().await;
    let mut alice = world.founded().await;
    let tablet = client("mimi://a.example/d/alice/tablet");
    world.follower.follow(&tablet, &room()).await.unwrap();
    let (mut events, _acks) = world.follower.open(tablet).await.unwrap();
    for n in 0..20 {
        let submitted = world
            .answer("a.example", Body::Submit(alice.send(&room(), &[n]).unwrap()))
            .await;
        assert!(matches!(Member::submitted(&submitted).unwrap(), Submitted::Accepted(_)));
    }
    for seq in 1..=20 {
        let event = tokio::time::timeout(Duration::from_secs(30), events.recv())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!((event.seq, event.position), (seq, seq));
        FanoutMessage::decode_exact(&event.message).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h_54_s_6_a_second_client_reads_the_sealed_group_info_and_joins() {
    let world = World::new().await;
    let alice = world.founded().await;
    let mut tablet = Member::new(client("mimi://a.example/d/alice/tablet")).unwrap();
    let (request, keys) = tablet.group_info_request(&room()).unwrap();
    let sealed = world.answer("a.example", Body::GroupInfo(request)).await;
    let commit = tablet.join_by_external_commit(&sealed, &keys, None).unwrap();
    let answer = world.answer("a.example", Body::Update(commit)).await;
    assert!(matches!(
        tablet.on_answer(&room(), &answer).unwrap(),
        Answered::Accepted(_)
    ));
    assert_eq!(tablet.epoch(&room()), alice.epoch(&room()).map(|epoch| epoch + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn h_52_a_stranger_cannot_tell_a_room_from_none() {
    let world = World::new().await;
    world.founded().await;
    let mut mallory = Member::new(client("mimi://m.example/d/mallory/phone")).unwrap();
    let other = World::new().await;
    let theirs = RoomProfile::default();
    let sender = other.keys.external_sender(1).unwrap().encode();
    mallory.create_room(&room(), &sender, &theirs).unwrap();
    let submit = Body::Submit(mallory.send(&room(), b"hello").unwrap());
    let with = world.call(room().as_str(), "m.example", submit.clone()).await;
    let without = other.call(room().as_str(), "m.example", submit).await;
    assert_eq!(with, without);
    assert!(matches!(with, Outcome::Answer(_)));
}

/// The cases that are open, at most `max` of them behind `after`.
async fn listed(world: &World, after: &str, max: u32) -> ListAbuseResponse {
    let after = after.to_owned();
    let listed = world
        .hub
        .list_abuse(Request::new(ListAbuseRequest { after, max }))
        .await;
    listed.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn r_1_r_3_r_5_reports_are_filed_with_their_verdicts_listed_by_pages_and_closed_once() {
    let world = World::new().await;
    let mut alice = world.founded().await;
    let phone = client("mimi://a.example/d/alice/phone");
    world.follower.follow(&phone, &room()).await.unwrap();
    let (mut events, _acks) = world.follower.open(phone).await.unwrap();
    let mut shown = Vec::new();
    for text in ["one", "two"] {
        let content = alice.compose(&room(), NestedPart::text(text)).unwrap();
        let said = alice.send_content(&room(), &content).unwrap();
        world.answer("a.example", Body::Submit(said.request)).await;
        let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await;
        let fanout = FanoutMessage::decode_exact(&event.unwrap().unwrap().unwrap().message).unwrap();
        match alice.receive(&room(), &fanout).unwrap() {
            Received::Message(message) => shown.push(message),
            other => panic!("{other:?}"),
        }
    }
    // Not what was said.
    shown[1].accepted += 1;
    for message in &shown {
        let report = alice.report(&room(), std::slice::from_ref(message), 1, "look").unwrap();
        for _ in 0..2 {
            let told = world.answer("a.example", Body::ReportAbuse(report.clone())).await;
            assert!(
                told.is_empty(),
                "whoever reports is told nothing, the second time as well"
            );
        }
    }
    let first = listed(&world, "", 1).await;
    assert!(first.more);
    let second = listed(&world, &first.cases[0].id, 9).await;
    assert!(!second.more);
    let cases = [&first.cases[..], &second.cases].concat();
    assert_eq!(cases.len(), 2);
    for (message, verdict) in shown.iter().zip([AbuseVerdict::Valid, AbuseVerdict::Invalid]) {
        let mut found = cases.iter().filter(|case| case.messages[0].content == message.data);
        let case = found.next().unwrap();
        assert_eq!(case.messages[0].verdict(), verdict);
        assert_eq!(
            (case.room.as_str(), case.source.as_str()),
            (room().as_str(), "a.example")
        );
        assert_eq!(
            (case.accused.as_str(), case.note.as_str()),
            ("mimi://a.example/u/alice", "look")
        );
    }
    let close = |id: &str| {
        world
            .hub
            .close_abuse(Request::new(CloseAbuseRequest { id: id.to_owned() }))
    };
    close(&cases[0].id).await.unwrap();
    assert_eq!(close(&cases[0].id).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(close("no case").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(listed(&world, "", 0).await.cases, second.cases);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_ours_gets_its_status() {
    let world = World::new().await;
    let mut alice = world.founded().await;
    let nothing = || Body::Submit(Bytes::new());
    assert_eq!(status(&world.call("clubhouse", "a.example", nothing()).await), 400);
    assert_eq!(
        status(&world.call(room().as_str(), "not a domain", nothing()).await),
        400
    );
    assert_eq!(
        status(&world.call("mimi://b.example/r/x", "a.example", nothing()).await),
        421
    );
    assert_eq!(status(&world.call(room().as_str(), "a.example", nothing()).await), 400);
    let garbage = Body::Create(Bytes::from_static(&[0xff; 9]));
    assert_eq!(status(&world.call(room().as_str(), "a.example", garbage).await), 400);
    alice.forget(&room());
    let again = world.founding(&mut alice, &RoomProfile::default());
    assert_eq!(
        status(&world.call(room().as_str(), "a.example", again.clone()).await),
        409
    );
    assert_eq!(
        status(&world.call("mimi://a.example/r/other", "b.example", again).await),
        403
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shard_map_names_every_shard_and_ends_with_the_service() {
    let world = World::new().await;
    let mut alice = world.founded().await;
    let mut maps = world
        .hub
        .shards(Request::new(ShardsRequest {}))
        .await
        .unwrap()
        .into_inner();
    let map = maps.next().await.unwrap().unwrap();
    assert_eq!((map.shards, map.owners.len(), map.hash_key.len()), (4, 4, 16));
    world.hub.drain().await;
    assert!(maps.next().await.is_none());
    let submit = Body::Submit(alice.send(&room(), b"late").unwrap());
    let late = world.call(room().as_str(), "a.example", submit).await;
    assert!(matches!(late, Outcome::Elsewhere(_)), "{late:?}");
}
