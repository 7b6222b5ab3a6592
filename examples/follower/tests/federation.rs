//! The example federates: a real hub adds a user of its provider to a room, and brings it everything that is said there,
//! whether it lives or dies meanwhile.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::api::{Api, Target};
use client::mls::{Member, ORDINARY, Received, RoomProfile};
use link_conformance::Process;
use mimi::key_material::{ClientKeyMaterial, ClientStatus, KeyMaterialResponse, KeyMaterialUserCode, Protocol};
use mimi::mls::KeyPackage;
use mimi::notify::FanoutMessage;
use mimi::{Decode as _, Encode as _, IdentifierUri, RoomUri};
use nave::config::Config;
use nave::demo::party::Party;
use nave::init::{Plan, add_peer};
use nave::ports;
use nave::provider::Running;
use world::World;

const MESSAGES: usize = 60;
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the provider a.example, which knows the example.
fn init(world: &World) -> PathBuf {
    let [listen, api, admin] = ports::free().unwrap();
    let home = world.path("hub");
    let plan = Plan::new(home, "a.example".parse().unwrap(), listen, Some(api), Some(admin)).unwrap();
    let plan = Plan {
        ca: Some(world.path("a")),
        ..plan
    };
    let config = plan.carry_out().unwrap();
    let roots = world.path("b/ca.pem");
    add_peer(&config, &"b.example".parse().unwrap(), world.listen, &roots).unwrap();
    config
}

/// Alice, a user of a.example, through its API.
async fn alice(config: &Config, room: &RoomUri) -> Party {
    let files = config.client.as_ref().unwrap();
    let target = Target {
        address: config.api,
        server_name: config.domain.to_string(),
        roots_pem: std::fs::read(&files.roots).unwrap(),
    };
    let token = std::fs::read_to_string(&files.token).unwrap();
    let api = Api::new(&target, token.trim()).unwrap();
    let client = "mimi://a.example/d/alice/phone".parse().unwrap();
    Party::join_in("alice", api, client, room.clone()).await.unwrap()
}

/// Leaves a KeyPackage of `bob` where the example gives it away.
fn leave_key_package(world: &World, bob: &Member) {
    let key_package = bob.key_packages(1).unwrap().remove(0);
    let response = KeyMaterialResponse {
        protocol: Protocol::Mls10,
        user_status: KeyMaterialUserCode::Success,
        user: IdentifierUri::from(&bob.user()),
        clients: vec![ClientKeyMaterial {
            status: ClientStatus::Success(KeyPackage::decode_exact(&key_package).unwrap()),
            client: IdentifierUri::from(bob.client()),
        }],
    };
    let octets = [format!("{}\n", bob.user()).into_bytes(), response.encode()].concat();
    std::fs::write(world.path("b/data/key-material/1.response"), octets).unwrap();
}

/// Bob, who reads what the example prints.
struct Bob {
    member: Member,
    room: RoomUri,
    /// Entries read.
    taken: usize,
    messages: Vec<String>,
}

impl Bob {
    /// Reads on until he is in the room and has read this many messages.
    async fn reads(&mut self, follower: &Process, messages: usize) {
        let began = Instant::now();
        while self.member.epoch(&self.room).is_none() || self.messages.len() < messages {
            let read = self.messages.len();
            assert!(began.elapsed() < PATIENCE, "{read} of {messages} messages");
            for octets in follower.printed(self.room.as_str()).into_iter().skip(self.taken) {
                self.taken += 1;
                self.take(&octets);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn take(&mut self, octets: &[u8]) {
        let fanout = FanoutMessage::decode_exact(octets).unwrap();
        match self.member.receive(&self.room, &fanout).unwrap() {
            Received::Message(message) => self.messages.push(String::from_utf8(message.data.to_vec()).unwrap()),
            Received::Joined { .. }
            | Received::EpochChanged { .. }
            | Received::Proposals { .. }
            | Received::NotForMe => {}
            other => panic!("entry {}: {other:?}", self.taken),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_written_from_the_document_alone_federates() {
    let world = World::new();
    let config = Config::load(&init(&world)).unwrap();
    let hub = Box::pin(Running::start(config.clone())).await.unwrap();
    let mut follower = world.follower();
    world.hub().reaches(world.listen).await.unwrap();

    let room: RoomUri = "mimi://a.example/r/clubhouse".parse().unwrap();
    let alice = alice(&config, &room).await;
    alice.session.create_room(&room, &RoomProfile::default()).await.unwrap();
    let mut bob = Bob {
        member: Member::new("mimi://b.example/d/bob/phone".parse().unwrap()).unwrap(),
        room: room.clone(),
        taken: 0,
        messages: Vec::new(),
    };
    leave_key_package(&world, &bob.member);
    let user = bob.member.user();
    alice.session.add_user(&room, &user, ORDINARY).await.unwrap();
    bob.reads(&follower, 0).await;
    assert_eq!(bob.member.epoch(&room), Some(alice.epoch()));

    let sent: Vec<String> = (0..MESSAGES).map(|n| format!("message {n}")).collect();
    let (early, late) = sent.split_at(MESSAGES / 2);
    for message in early {
        alice.session.send(&room, message.as_bytes()).await.unwrap();
    }
    bob.reads(&follower, 5).await;
    let before = follower.printed(room.as_str());
    // It dies while some of these may be on their way, is not there for a while, and comes back.
    follower.kill();
    for message in late {
        alice.session.send(&room, message.as_bytes()).await.unwrap();
    }
    follower.start_again().unwrap();
    bob.reads(&follower, MESSAGES).await;
    assert_eq!(bob.messages, sent);
    let after = follower.printed(room.as_str());
    assert_eq!(
        after[..before.len()],
        before,
        "what it had shown is there, and nothing twice"
    );
    assert_eq!(
        bob.member.epoch_authenticator(&room),
        alice.session.member(|member| member.epoch_authenticator(&room))
    );
    assert!(!world.said().contains("ALARM"), "{}", world.said());
    hub.stop().await;
}
