//! What hubs bring and users ask for, with real MLS messages.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "shared by test files, each of which uses its part"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::mls::{Member, RoomProfile};
use ledger::{Chain, Digest, LedgerId, Offset, Seq};
use mimi::key_material::KeyMaterialResponse;
use mimi::mls::{Credential, ExternalSender, Message};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::SubmitMessageRequest;
use mimi::update::{HandshakeBundle, UpdateRequest};
use mimi::{ClientUri, Decode as _, Encode as _, Provider, RoomUri, UserUri};
use nave_follower::{Body, Events, Follower, Item};
use proto::follower::Event;
use route::ShardId;
use store::Database;

pub const LEDGER: LedgerId = LedgerId([7; 16]);
pub const SHARD: ShardId = ShardId(3);
/// Some moment; KeyPackages made by the tests are valid by the system's clock.
pub static SOON: AtomicU64 = AtomicU64::new(0);

pub fn provider(name: &str) -> Provider {
    format!("{name}.example").parse().unwrap()
}

pub fn room() -> RoomUri {
    "mimi://a.example/r/club".parse().unwrap()
}

pub fn user(name: &str) -> UserUri {
    format!("mimi://b.example/u/{name}").parse().unwrap()
}

pub fn client(name: &str, device: &str) -> ClientUri {
    format!("mimi://b.example/d/{name}/{device}").parse().unwrap()
}

/// The follower of b.example.
pub fn follower() -> Follower {
    Follower::new(provider("b"), Database::memory(), Follower::system_clock())
}

pub fn hub_sender() -> Vec<u8> {
    let credential = Credential::basic(&b"mimi://a.example"[..]);
    ExternalSender {
        signature_key: Bytes::from_static(&[9; 32]),
        credential,
    }
    .encode()
}

/// A user of a.example with a room of its own.
pub fn inviter(name: &str) -> Member {
    let mut member = Member::new(format!("mimi://a.example/d/{name}/phone").parse().unwrap()).unwrap();
    member
        .create_room(&room(), &hub_sender(), &RoomProfile::default())
        .unwrap();
    member
}

pub fn response(octets: &Bytes) -> KeyMaterialResponse {
    KeyMaterialResponse::decode_exact(octets).unwrap()
}

/// A member's next application message, as a hub distributes it.
pub fn message(member: &mut Member, text: &str) -> Bytes {
    let request = member.send(&room(), text.as_bytes()).unwrap();
    let message = SubmitMessageRequest::decode_exact(&request).unwrap().app_message;
    let content = FanoutContent::Application { message, frank: None };
    fanout(content)
}

pub fn fanout(content: FanoutContent) -> Bytes {
    let timestamp = SOON.fetch_add(1, Ordering::Relaxed);
    FanoutMessage { timestamp, content }.encode().into()
}

/// The Welcome of an update request.
pub fn welcome(request: &[u8]) -> Bytes {
    let HandshakeBundle::Commit {
        welcome, ratchet_tree, ..
    } = UpdateRequest::decode_exact(request).unwrap().bundle
    else {
        panic!("not a commit");
    };
    let message = Message::from_welcome(welcome.unwrap());
    fanout(FanoutContent::Welcome { message, ratchet_tree })
}

/// What a hub's courier brings: entries of one room, each with the chain after it.
pub struct Courier {
    seq: u64,
    chain: Chain,
}

impl Courier {
    pub fn new() -> Self {
        Self {
            seq: 0,
            chain: Chain::default(),
        }
    }

    pub fn item(&mut self, body: Body) -> Item {
        let previous = Seq(self.seq);
        self.seq += 1;
        let digest = match &body {
            Body::Message(octets) => Digest::of(octets),
            Body::Digest(digest) => *digest,
        };
        self.chain = self.chain.then(Seq(self.seq), &digest);
        let (seq, chain) = (Seq(self.seq), self.chain);
        Item {
            offset: Offset(10 * self.seq),
            room: room(),
            seq,
            previous,
            chain,
            body,
        }
    }

    pub fn message(&mut self, octets: &Bytes) -> Item {
        self.item(Body::Message(octets.clone()))
    }
}

pub async fn events(events: &mut Events, count: usize) -> Vec<Event> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(events.recv().await.unwrap().unwrap());
    }
    seen
}

pub fn messages(events: &[Event]) -> Vec<Bytes> {
    events.iter().map(|event| event.message.clone()).collect()
}
