//! A room with its rows and real clients around it. Whatever is done to it, the room opened afresh from its rows equals the
//! live one, and its entries stand in order.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, reason = "tests")]

pub mod keys;
pub mod raw;

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use client::mls::{Answered, CIPHERSUITE, Member, Received, RoomProfile};
use keys::Signers;
use mimi::codec::{Decode as _, Encode as _};
use mimi::group_info::{GroupInfoRatchetTreeTbe, GroupInfoResponse, GroupInfoSuccess};
use mimi::key_material::{ClientKeyMaterial, ClientStatus, KeyMaterialResponse, KeyMaterialUserCode};
use mimi::mls::label::{encrypt_context, sign_content};
use mimi::mls::{Credential, ExternalSender, HpkeCiphertext, KeyPackage};
use mimi::notify::FanoutMessage;
use mimi::{Protocol, Provider, RoomUri, UserUri};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::signatures::Signer as _;
use room::command::GroupInfoGrant;
use room::{
    Answer, Applied, Command, Decision, Digest, Entry, Founding, Keys, Millis, NoKeys, Refusal, Room, Row, RowId, Shown,
};

pub fn id() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

pub fn provider(domain: &str) -> Provider {
    domain.parse().unwrap()
}

/// `user@device` at `domain`, as `b.example/d/bob/phone`.
pub fn member(path: &str) -> Member {
    Member::new(format!("mimi://{path}").parse().unwrap()).unwrap()
}

pub struct World {
    pub room: Room,
    pub rows: BTreeMap<RowId, Row>,
    pub log: Vec<Entry>,
    pub now: Millis,
    /// What the hub signs with, and whose keys it knows: nothing, unless a test says so.
    pub keys: Rc<dyn Keys>,
    shown: BTreeMap<String, usize>,
    signer: Rc<SignatureKeyPair>,
    crypto: OpenMlsRustCrypto,
}

/// What a hub's founder hands in, and the founder.
pub fn founding(profile: &RoomProfile) -> (Member, Founding, SignatureKeyPair) {
    let signer = SignatureKeyPair::new(CIPHERSUITE.signature_algorithm()).unwrap();
    let hub = ExternalSender {
        signature_key: Bytes::copy_from_slice(signer.public()),
        credential: Credential::basic("mimi://a.example"),
    };
    let mut alice = member("a.example/d/alice/phone");
    let founding = alice.create_room(&id(), &hub.encode(), profile).unwrap();
    let founding = Founding {
        from: provider("a.example"),
        group_info: founding.group_info,
        ratchet_tree: founding.ratchet_tree,
    };
    (alice, founding, signer)
}

impl World {
    /// Alice's room at a.example.
    pub fn found(profile: &RoomProfile) -> (Self, Member) {
        let (alice, founding, signer) = founding(profile);
        (Self::of(founding, signer), alice)
    }

    /// A room that somebody founds, at a hub that signs with this.
    pub fn of(founding: Founding, signer: SignatureKeyPair) -> Self {
        let now = Millis(1_000_000);
        let signer = Rc::new(signer);
        let (room, applied) = Room::found(id(), founding, now, &Signers::of(&signer)).unwrap();
        let mut world = Self {
            room,
            rows: BTreeMap::new(),
            log: Vec::new(),
            now,
            keys: Rc::new(NoKeys),
            shown: BTreeMap::new(),
            signer,
            crypto: OpenMlsRustCrypto::default(),
        };
        assert_eq!(world.keep(applied), Answer::Founded);
        world
    }

    /// Makes what was applied durable, and checks what has to hold then.
    fn keep(&mut self, applied: Applied) -> Answer {
        for entry in &applied.entries {
            let last = self.log.last();
            assert_eq!(entry.seq.0, last.map_or(1, |last| last.seq.0 + 1), "no gap");
            assert!(
                last.is_none_or(|last| entry.accepted > last.accepted),
                "accepted times increase"
            );
            let chain = last.map(|last| last.chain).unwrap_or_default();
            assert_eq!(entry.chain, chain.then(entry.seq, &Digest::of(&entry.message)));
            assert_eq!(
                FanoutMessage::decode_exact(&entry.message).unwrap().timestamp,
                entry.accepted.0
            );
            self.log.push(entry.clone());
        }
        let mut ids: Vec<_> = applied.rows.iter().map(|change| change.id.clone()).collect();
        ids.dedup();
        assert_eq!(ids.len(), applied.rows.len(), "one change for each row");
        for change in applied.rows {
            match change.row {
                Some(row) => self.rows.insert(change.id, row),
                None => self.rows.remove(&change.id),
            };
        }
        assert_eq!(
            self.reopened().canonical(),
            self.room.canonical(),
            "reopened equals live"
        );
        applied.answer
    }

    /// A group in the place of the one that ended.
    pub fn succeed(&mut self, founding: &Founding) -> Result<Answer, Refusal> {
        let before = self.room.canonical();
        let keys = Signers::of(&self.signer);
        match self.room.succeed(founding, &keys) {
            Ok(applied) => Ok(self.keep(applied)),
            Err(refusal) => {
                assert_eq!(self.room.canonical(), before, "a refusal changes nothing");
                Err(refusal)
            }
        }
    }

    /// The room looks at its parent. Returns whether anything changed.
    pub fn follow(&mut self, parent: Option<&policy::RoomView>) -> bool {
        self.now.0 += 7;
        let applied = self.room.follow_parent(parent, self.now, &*self.keys);
        let changed = applied.map(|applied| assert_eq!(self.keep(applied), Answer::Followed));
        changed.is_some()
    }

    pub fn reopened(&self) -> Room {
        Room::open(id(), self.rows.clone()).unwrap()
    }

    /// The room's process dies, and another opens it.
    pub fn restart(&mut self) {
        self.room = self.reopened();
    }

    pub fn command(&mut self, command: &Command) -> Result<Answer, Refusal> {
        self.now.0 += 7;
        let before = self.room.canonical();
        let decided = self.room.decide(command, self.now, &*self.keys);
        assert_eq!(self.room.canonical(), before, "deciding changes nothing");
        match decided? {
            Decision::Answer(answer) => Ok(answer),
            Decision::Append(append) => {
                let applied = self.room.apply(*append, &*self.keys);
                Ok(self.keep(applied))
            }
        }
    }

    pub fn update(&mut self, from: &str, body: &Bytes) -> Result<Answer, Refusal> {
        self.command(&Command::Update {
            from: provider(from),
            body: body.clone(),
        })
    }

    pub fn submit(&mut self, from: &str, body: &Bytes) -> Result<Answer, Refusal> {
        self.command(&Command::Submit {
            from: provider(from),
            body: body.clone(),
        })
    }

    /// A member's handshake, whose answer the member is told.
    pub fn handshake(&mut self, member: &mut Member, body: &Bytes) -> Result<(), Refusal> {
        let from = member.client().provider().to_string();
        match self.update(&from, body) {
            Ok(Answer::Update(answer)) => {
                assert!(matches!(
                    member.on_answer(&id(), &answer).unwrap(),
                    Answered::Accepted(_)
                ));
                Ok(())
            }
            Ok(other) => panic!("{other:?} to a handshake"),
            Err(refusal) => {
                member.on_refused(&id()).unwrap();
                Err(refusal)
            }
        }
    }

    /// Brings a member everything that its provider is shown and it was not brought yet.
    pub fn bring(&mut self, member: &mut Member) -> Vec<Received> {
        let from = self.shown.entry(member.client().to_string()).or_default();
        let entries = &self.log[*from..];
        *from = self.log.len();
        let provider = member.client().provider().clone();
        let due = entries.iter().filter(|entry| shown(entry, &provider));
        due.map(|entry| {
            let fanout = FanoutMessage::decode_exact(&entry.message).unwrap();
            member.receive(&id(), &fanout).unwrap()
        })
        .collect()
    }

    /// Alice, or whoever may, adds a user with the clients of these members.
    pub fn invite(&mut self, by: &mut Member, role: u32, clients: &mut [&mut Member]) -> Result<(), Refusal> {
        let user = clients[0].user();
        let packages: Vec<Bytes> = clients.iter().flat_map(|each| each.key_packages(1).unwrap()).collect();
        let body = by.add_user(&id(), &user, role, &packages).unwrap();
        self.handshake(by, &body)?;
        self.bring(by);
        for client in clients {
            let received = self.bring(client);
            assert!(
                received.iter().any(|each| matches!(each, Received::Joined { .. })),
                "{received:?}"
            );
        }
        Ok(())
    }

    /// The KeyPackages of a user's clients, asked for by the drafts' keyMaterial.
    pub fn key_material(&mut self, by: &Member, clients: &[Member]) -> Result<Vec<Bytes>, Refusal> {
        let user = clients[0].user();
        let request = by.key_material_request(&id(), &user).unwrap();
        let from = by.client().provider().clone();
        let authorize = Command::AuthorizeKeyMaterial {
            from: from.clone(),
            body: request.clone(),
        };
        assert_eq!(self.command(&authorize)?, Answer::Authorized);
        let record = Command::RecordKeyMaterial {
            from,
            request,
            target: user.provider().clone(),
            response: material(&user, clients).encode().into(),
        };
        match self.command(&record)? {
            Answer::KeyMaterial(response) => Ok(by.open_key_material(&user, &response).unwrap()),
            other => panic!("{other:?} to key material"),
        }
    }

    /// What a shell makes of a grant: encrypted to the client, signed by the hub.
    pub fn seal(&self, grant: &GroupInfoGrant) -> Vec<u8> {
        let info = encrypt_context(GroupInfoRatchetTreeTbe::LABEL, id().as_str().as_bytes());
        let crypto = self.crypto.crypto();
        let sealed = crypto
            .hpke_seal(CIPHERSUITE.hpke_config(), &grant.public_key, &info, b"", &grant.sealed)
            .unwrap();
        let mut success = GroupInfoSuccess {
            cipher_suite: grant.cipher_suite,
            hub_sender: ExternalSender {
                signature_key: Bytes::copy_from_slice(self.signer.public()),
                credential: Credential::basic("mimi://a.example"),
            },
            encrypted_groupinfo_and_tree: HpkeCiphertext {
                kem_output: sealed.kem_output.as_slice().to_vec().into(),
                ciphertext: sealed.ciphertext.as_slice().to_vec().into(),
            },
            signature: Bytes::new(),
        };
        let mut response = GroupInfoResponse {
            version: Protocol::Mls10,
            room_id: (&id()).into(),
            outcome: Ok(success.clone()),
        };
        let signed = sign_content(GroupInfoResponse::LABEL, &response.tbs());
        success.signature = self.signer.sign(&signed).unwrap().into();
        response.outcome = Ok(success);
        response.encode()
    }

    pub fn group_info(&mut self, from: &str, body: &Bytes) -> Result<GroupInfoGrant, Refusal> {
        let command = Command::GroupInfo {
            from: provider(from),
            body: body.clone(),
        };
        match self.command(&command)? {
            Answer::GroupInfo(grant) => Ok(grant),
            other => panic!("{other:?} to a GroupInfoRequest"),
        }
    }

    /// UpdateRequest of an external commit, by what the hub told the member.
    pub fn external_commit(&mut self, member: &mut Member, role: Option<u32>) -> Result<Bytes, Refusal> {
        let (request, keys) = member.group_info_request(&id()).unwrap();
        let from = member.client().provider().to_string();
        let grant = self.group_info(&from, &request)?;
        Ok(member.join_by_external_commit(&self.seal(&grant), &keys, role).unwrap())
    }

    pub fn join(&mut self, member: &mut Member, role: Option<u32>) -> Result<(), Refusal> {
        let body = self.external_commit(member, role)?;
        self.handshake(member, &body)
    }

    /// Everybody in the group agrees with the room.
    pub fn assert_agreed(&self, members: &[&Member]) {
        let mut authenticators = Vec::new();
        for member in members {
            assert_eq!(member.epoch(&id()), Some(self.room.epoch().0), "{}", member.client());
            assert_eq!(&member.participants(&id()).unwrap(), self.room.view().participants());
            authenticators.push(member.epoch_authenticator(&id()));
        }
        authenticators.dedup();
        assert_eq!(authenticators.len(), 1, "one epoch");
        let mut clients = members[0].members(&id()).unwrap();
        clients.sort();
        let view = self.room.view();
        let users: Vec<UserUri> = view.active_users().cloned().collect();
        let mut ours: Vec<_> = users.iter().flat_map(|user| view.clients(user)).cloned().collect();
        ours.sort();
        assert_eq!(ours, clients);
    }
}

/// What a target provider answers: one KeyPackage of each of these clients.
pub fn material(user: &UserUri, clients: &[Member]) -> KeyMaterialResponse {
    let material = clients.iter().map(|client| ClientKeyMaterial {
        status: ClientStatus::Success(KeyPackage::decode_exact(&client.key_packages(1).unwrap()[0]).unwrap()),
        client: client.client().into(),
    });
    KeyMaterialResponse {
        protocol: Protocol::Mls10,
        user_status: KeyMaterialUserCode::Success,
        user: user.into(),
        clients: material.collect(),
    }
}

/// Whether a provider is shown an entry itself.
pub fn shown(entry: &Entry, to: &Provider) -> bool {
    let mut recipients = entry.recipients.0.iter();
    recipients.any(|recipient| recipient.provider == *to && recipient.shown == Shown::Message)
}

/// Recipients as `provider`, `+` before those to whom the room begins here, `#` after those shown a digest.
pub fn recipients(entry: &Entry) -> Vec<String> {
    let describe = |each: &room::Recipient| {
        let first = if each.first { "+" } else { "" };
        let digest = if each.shown == Shown::Digest { "#" } else { "" };
        format!("{first}{}{digest}", each.provider)
    };
    entry.recipients.0.iter().map(describe).collect()
}

/// Refused as against the room's rules, for this reason.
#[track_caller]
pub fn not_allowed<T: std::fmt::Debug>(result: Result<T, Refusal>, why: &str) {
    match result {
        Err(Refusal::NotAllowed(reason)) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// Refused as not this provider's to ask.
#[track_caller]
pub fn forbidden<T: std::fmt::Debug>(result: Result<T, Refusal>) {
    assert!(matches!(result, Err(Refusal::Forbidden(_))), "{result:?}");
}
