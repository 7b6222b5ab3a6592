//! Bodies that decode. MLS structures are written by hand: the edge looks at their shape only.

use bytes::Bytes;
use mimi::abuse::AbuseReport;
use mimi::catch_up::{EntriesExpired, RoomEventsForm, RoomEventsRequest, RoomHeadsRequest};
use mimi::consent::{ConsentEntry, ConsentOperation};
use mimi::group_info::GroupInfoRequest;
use mimi::identifier::{IdentifierRequest, QueryElement, Search};
use mimi::key_material::{KeyMaterialRequest, Protocol};
use mimi::mls::{Credential, Message, RequiredCapabilities};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::SubmitMessageRequest;
use mimi::{AppDataDictionary, Decode, Encode, IdentifierUri};

pub const ROOM: &str = "mimi://a.example/r/clubhouse";

pub fn uri(text: &str) -> IdentifierUri {
    IdentifierUri(Bytes::copy_from_slice(text.as_bytes()))
}

/// A PrivateMessage with application data.
pub fn message() -> Message {
    let octets = b"\x00\x01\x00\x02\x05group\x00\x00\x00\x00\x00\x00\x00\x07\x01\x00\x02sd\x0aciphertext";
    Message::decode_exact(octets).unwrap()
}

pub fn submit(sender: &str) -> Bytes {
    let request = SubmitMessageRequest {
        protocol: Protocol::Mls10,
        app_message: message(),
        sending_uri: uri(sender),
    };
    request.encode().into()
}

/// A bundle with one SelfRemove of leaf 3.
pub fn update() -> Bytes {
    let proposal =
        b"\x00\x01\x00\x01\x05group\x00\x00\x00\x00\x00\x00\x00\x07\x01\x00\x00\x00\x03\x00\x02\x00\x0a\x03sig\x03tag";
    let mut octets = proposal.to_vec();
    octets.push(0);
    octets.into()
}

pub fn group_info(client: &str) -> Bytes {
    let request = GroupInfoRequest {
        protocol: Protocol::Mls10,
        cipher_suite: 1,
        requesting_signature_key: Bytes::from_static(b"key"),
        requesting_credential: Credential::basic(client.to_owned()),
        group_info_public_key: Bytes::from_static(b"hpke"),
        joining_code: None,
        signature: Bytes::from_static(b"signature"),
    };
    request.encode().into()
}

pub fn key_material(requester: &str, target: &str, room: &str) -> Bytes {
    let request = KeyMaterialRequest {
        protocol: Protocol::Mls10,
        requesting_user: uri(requester),
        target_user: uri(target),
        room_id: uri(room),
        acceptable_ciphersuites: vec![1],
        required_capabilities: RequiredCapabilities::default(),
        requester_signature_key: Bytes::from_static(b"key"),
        requester_credential: Credential::basic(requester.to_owned()),
        signature: Bytes::from_static(b"signature"),
    };
    request.encode().into()
}

/// A KeyPackage with this credential, of which nothing else is of any use.
pub fn key_package(credential: &Credential) -> Bytes {
    let leaf = [
        &b"\x03enc\x03key"[..],
        &credential.encode(),
        &[0; 5],
        &[1],
        &[0; 16],
        b"\0\x03sig",
    ]
    .concat();
    [&b"\x00\x01\x00\x01\x04init"[..], &leaf, b"\0\x03sig"].concat().into()
}

pub fn notify() -> Bytes {
    let fanout = FanoutMessage {
        timestamp: 1,
        content: FanoutContent::Application {
            message: message(),
            frank: None,
        },
    };
    [fanout.encode(), fanout.encode()].concat().into()
}

/// An entry without extensions, for any room where none is given.
pub fn consent(operation: ConsentOperation, requester: &str, target: &str, room: Option<&str>) -> Bytes {
    let entry = ConsentEntry {
        operation,
        requester: uri(requester),
        target: uri(target),
        room: room.map(uri),
        extensions: AppDataDictionary::default(),
    };
    entry.encode().into()
}

/// Who has the nick `alice`?
pub fn query() -> Bytes {
    let request = IdentifierRequest {
        elements: vec![QueryElement {
            search: Search::Nick,
            value: Bytes::from_static(b"alice"),
        }],
        extensions: AppDataDictionary::default(),
    };
    request.encode().into()
}

/// A report without messages of what carol is said to have done.
pub fn report(reporter: &str) -> Bytes {
    let report = AbuseReport {
        reporting_user: uri(reporter),
        alleged_abuser: uri("mimi://c.example/u/carol"),
        reason_code: 0,
        note: Bytes::from_static(b"spam"),
        messages: Vec::new(),
        extensions: AppDataDictionary::default(),
    };
    report.encode().into()
}

/// The entries behind the seventh.
pub fn room_events(form: RoomEventsForm) -> Bytes {
    let request = RoomEventsRequest {
        after_seq: 7,
        max: 100,
        form,
    };
    request.encode().into()
}

/// Where does the room stand?
pub fn entries_expired() -> Bytes {
    let notice = EntriesExpired {
        ledger: [7; 16],
        shard: 3,
    };
    notice.encode().into()
}

pub fn room_heads() -> Bytes {
    let request = RoomHeadsRequest {
        rooms: vec![uri(ROOM)],
        step: 0,
    };
    request.encode().into()
}

/// One good request of b.example for each endpoint of a.example: name, target, body.
pub fn one_of_each() -> [(&'static str, &'static str, Bytes); 12] {
    let alice = "mimi://a.example/u/alice";
    let bob = "mimi://b.example/u/bob";
    [
        (
            "keyMaterial",
            "mimi://a.example/u/alice",
            key_material(bob, "mimi://a.example/u/alice", ROOM),
        ),
        ("update", ROOM, update()),
        ("submitMessage", ROOM, submit(bob)),
        ("notify", "mimi://b.example/r/other", notify()),
        ("groupInfo", ROOM, group_info("mimi://b.example/d/bob/phone")),
        (
            "requestConsent",
            "a.example",
            consent(ConsentOperation::Request, bob, alice, Some(ROOM)),
        ),
        (
            "updateConsent",
            "a.example",
            consent(ConsentOperation::Grant(Vec::new()), alice, bob, None),
        ),
        ("identifierQuery", "a.example", query()),
        ("reportAbuse", ROOM, report(bob)),
        ("x-roomEvents", ROOM, room_events(RoomEventsForm::Messages)),
        ("x-roomHeads", "a.example", room_heads()),
        ("x-entriesExpired", "a.example", entries_expired()),
    ]
}
