//! A hub that judges nothing: it answers wrongEpoch, puts what is left in order, and seals GroupInfos.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use client::mls::{Answered, CIPHERSUITE, Member, ORDINARY, Received, RoomProfile};
use mimi::RoomUri;
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::franking::{FrankAad, FrankingIntegrityTbs, ServerFrankingContext};
use mimi::group_info::{
    GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoResponse, GroupInfoSuccess, PendingProposal,
};
use mimi::mls::label::{encrypt_context, sign_content};
use mimi::mls::{Credential, ExternalSender, GroupInfo, HpkeCiphertext, Message};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::{Frank, SubmitMessageRequest};
use mimi::update::{
    GroupInfoOption, HandshakeBundle, RatchetTreeOption, UpdateOutcome, UpdateRequest, UpdateRoomResponse,
};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::Extension;
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::signatures::Signer as _;
use openmls_traits::types::{Ciphersuite, SignatureScheme};

pub fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

pub fn member(path: &str) -> Member {
    Member::new(format!("mimi://{path}").parse().unwrap()).unwrap()
}

/// Everybody in `members` sees the same epoch, and nobody has seen a rule broken.
#[track_caller]
pub fn assert_agreed(room: &RoomUri, members: &[&Member]) {
    let authenticator = members[0].epoch_authenticator(room).unwrap();
    for member in members {
        assert_eq!(member.distrust(room), None, "{member:?}");
        assert_eq!(member.epoch_authenticator(room).unwrap(), authenticator, "{member:?}");
        assert_eq!(member.members(room).unwrap(), members[0].members(room).unwrap());
        assert_eq!(
            member.participants(room).unwrap(),
            members[0].participants(room).unwrap()
        );
    }
}

/// A member's handshake, accepted and answered.
#[track_caller]
pub fn done(relay: &mut Relay, member: &mut Member, request: &Bytes) {
    let answer = relay.update(request);
    assert!(matches!(
        member.on_answer(&room(), &answer).unwrap(),
        Answered::Accepted(_)
    ));
}

/// Alice and her room.
pub fn founded(profile: &RoomProfile) -> (Member, Relay) {
    let mut alice = member("a.example/d/alice/phone");
    let mut relay = Relay::new();
    let hub = relay.sender_of(profile.suite).encode();
    let founding = alice.create_room(&room(), &hub, profile).unwrap();
    relay.state = Some((
        GroupInfo::decode_exact(&founding.group_info).unwrap(),
        RatchetTreeOption::decode_exact(&founding.ratchet_tree).unwrap(),
    ));
    (alice, relay)
}

/// Alice, Bob whom she invited, both caught up.
pub fn invited() -> (Member, Member, Relay) {
    invited_to(&RoomProfile::default())
}

/// The same in a room of this profile.
pub fn invited_to(profile: &RoomProfile) -> (Member, Member, Relay) {
    let (mut alice, mut relay) = founded(profile);
    let mut bob = member("b.example/d/bob/phone");
    let key_packages = bob.key_packages_in(profile.suite, 1).unwrap();
    let update = alice.add_user(&room(), &bob.user(), ORDINARY, &key_packages).unwrap();
    let answer = relay.update(&update);
    assert!(matches!(
        alice.on_answer(&room(), &answer).unwrap(),
        Answered::Accepted(_)
    ));
    relay.bring(&mut alice);
    assert_eq!(
        relay.bring(&mut bob),
        [Received::NotForMe, Received::Joined { epoch: 1 }]
    );
    (alice, bob, relay)
}

/// `newcomer` joins from outside, and `witness` sees it.
pub fn joined(relay: &mut Relay, witness: &mut Member, newcomer: &mut Member, role: Option<u32>) {
    let (request, keys) = newcomer.group_info_request(&room()).unwrap();
    let answer = relay.group_info_of(relay, &request, &room());
    let update = newcomer.join_by_external_commit(&answer, &keys, role).unwrap();
    let answer = relay.update(&update);
    assert!(matches!(
        newcomer.on_answer(&room(), &answer).unwrap(),
        Answered::Accepted(_)
    ));
    relay.bring(newcomer);
    relay.bring(witness);
}

pub struct Relay {
    ed25519: SignatureKeyPair,
    p256: SignatureKeyPair,
    /// Who it says it is.
    pub identity: &'static str,
    provider: OpenMlsRustCrypto,
    pub state: Option<(GroupInfo, RatchetTreeOption)>,
    pending: Vec<Message>,
    /// Everything accepted, in order.
    pub log: Vec<FanoutMessage>,
    shown: BTreeMap<String, usize>,
}

impl Relay {
    pub fn new() -> Self {
        Self {
            ed25519: SignatureKeyPair::new(SignatureScheme::ED25519).unwrap(),
            p256: SignatureKeyPair::new(SignatureScheme::ECDSA_SECP256R1_SHA256).unwrap(),
            identity: "mimi://a.example",
            provider: OpenMlsRustCrypto::default(),
            state: None,
            pending: Vec::new(),
            log: Vec::new(),
            shown: BTreeMap::new(),
        }
    }

    pub fn sender(&self) -> ExternalSender {
        self.sender_of(CIPHERSUITE)
    }

    fn signer(&self, suite: Ciphersuite) -> &SignatureKeyPair {
        match suite.signature_algorithm() {
            SignatureScheme::ECDSA_SECP256R1_SHA256 => &self.p256,
            _ => &self.ed25519,
        }
    }

    pub fn sender_of(&self, suite: Ciphersuite) -> ExternalSender {
        ExternalSender {
            signature_key: Bytes::copy_from_slice(self.signer(suite).public()),
            credential: Credential::basic(self.identity),
        }
    }

    fn suite(&self) -> Ciphersuite {
        let (group_info, _) = self.state.as_ref().unwrap();
        group_info.view().group_context.cipher_suite.try_into().unwrap()
    }

    /// The frank of a message that has a tag.
    fn frank(&self, request: &SubmitMessageRequest, accepted_timestamp: u64) -> Option<Frank> {
        let tag = FrankAad::of(request.app_message.authenticated_data()?)?;
        let context = ServerFrankingContext {
            sender_uri: request.sending_uri.clone(),
            room_uri: (&room()).into(),
            accepted_timestamp,
        };
        let suite = self.suite();
        let tbs = FrankingIntegrityTbs {
            server_frank: mimi::franking::tag(&[7; 16], &context.framed(&tag.franking_tag)),
            franking_signature_ciphersuite: suite.into(),
            context,
        };
        let content = sign_content(FrankingIntegrityTbs::LABEL, &tbs.encode());
        Some(Frank {
            server_frank: tbs.server_frank,
            franking_signature_ciphersuite: suite.into(),
            franking_integrity_signature: self.signer(suite).sign(&content).unwrap().into(),
        })
    }

    /// The hub proposes something itself: the proposal with its type.
    pub fn propose(&mut self, proposal: &[u8]) {
        let (group_info, _) = self.state.as_ref().unwrap();
        let context = group_info.view().group_context;
        let mut writer = Writer::default();
        writer.raw(&[0, 1, 0, 1]);
        writer.opaque(context.group_id);
        context.epoch.write(&mut writer);
        // The first external sender; SafeAAD without items; a proposal.
        writer.raw(&[2, 0, 0, 0, 0]);
        writer.opaque(b"\0");
        writer.raw(&[2]);
        writer.raw(proposal);
        let mut framed = writer.into_octets();
        let content = sign_content("FramedContentTBS", &framed);
        let mut writer = Writer::default();
        writer.opaque(&self.signer(self.suite()).sign(&content).unwrap());
        framed.extend(writer.into_octets());
        let proposals = vec![Message::decode_exact(&framed).unwrap()];
        self.pending.extend(proposals.iter().cloned());
        self.accept(FanoutContent::Proposals { proposals });
    }

    /// The hub proposes to remove a leaf.
    pub fn propose_removal(&mut self, leaf: u32) {
        self.propose(&[&[0, 3][..], &leaf.to_be_bytes()].concat());
    }

    /// The hub proposes other external senders.
    pub fn propose_senders(&mut self, senders: &[ExternalSender]) {
        let (group_info, _) = self.state.as_ref().unwrap();
        let info = VerifiableGroupInfo::tls_deserialize_exact_bytes(group_info.octets()).unwrap();
        let mut extensions = info.group_context().extensions().clone();
        let senders = senders
            .iter()
            .map(|sender| openmls::prelude::ExternalSender::tls_deserialize_exact_bytes(&sender.encode()).unwrap());
        extensions
            .add_or_replace(Extension::ExternalSenders(senders.collect()))
            .unwrap();
        self.propose(&[&[0, 7][..], &extensions.tls_serialize_detached().unwrap()].concat());
    }

    /// When the next entry is accepted.
    fn next(&self) -> u64 {
        1_000 + self.log.len() as u64
    }

    fn accept(&mut self, content: FanoutContent) -> u64 {
        let timestamp = self.next();
        let fanout = FanoutMessage { timestamp, content };
        // As on the wire.
        self.log.push(FanoutMessage::decode_exact(&fanout.encode()).unwrap());
        timestamp
    }

    fn epoch(&self) -> u64 {
        let (group_info, _) = self.state.as_ref().unwrap();
        group_info.view().group_context.epoch
    }

    /// UpdateRequest to UpdateRoomResponse.
    pub fn update(&mut self, request: &[u8]) -> Vec<u8> {
        let UpdateRequest { bundle } = UpdateRequest::decode_exact(request).unwrap();
        let current_epoch = self.epoch();
        if bundle.messages()[0].epoch() != Some(current_epoch) {
            return UpdateRoomResponse {
                outcome: UpdateOutcome::WrongEpoch { current_epoch },
                error_description: String::new(),
            }
            .encode();
        }
        let accepted = match bundle {
            HandshakeBundle::Proposals { proposals } => {
                self.pending.extend(proposals.iter().cloned());
                self.accept(FanoutContent::Proposals { proposals })
            }
            HandshakeBundle::Commit {
                commit,
                welcome,
                group_info: GroupInfoOption::Full(group_info),
                ratchet_tree,
            } => {
                let external_proposals = Vec::new();
                let accepted = self.accept(FanoutContent::Commit {
                    commit,
                    external_proposals,
                });
                if let Some(welcome) = welcome {
                    self.accept(FanoutContent::Welcome {
                        message: Message::from_welcome(welcome),
                        ratchet_tree: ratchet_tree.clone(),
                    });
                }
                self.state = Some((group_info, ratchet_tree));
                self.pending.clear();
                assert_eq!(self.epoch(), current_epoch + 1);
                accepted
            }
            HandshakeBundle::Commit { .. } => panic!("a commit without a whole GroupInfo"),
        };
        UpdateRoomResponse::success(accepted).encode()
    }

    /// SubmitMessageRequest. Returns when it was accepted.
    pub fn submit(&mut self, request: &[u8]) -> u64 {
        let request = SubmitMessageRequest::decode_exact(request).unwrap();
        assert!(request.sending_uri.user().is_ok());
        let frank = self.frank(&request, self.next());
        self.accept(FanoutContent::Application {
            message: request.app_message,
            frank,
        })
    }

    /// GroupInfoRequest to GroupInfoResponse, signed by this relay, about the group of `other`.
    pub fn group_info_of(&self, other: &Self, request: &[u8], room: &RoomUri) -> Vec<u8> {
        let request = GroupInfoRequest::decode_exact(request).unwrap();
        let octets = sign_content(GroupInfoRequest::LABEL, &request.tbs());
        let suite = Ciphersuite::try_from(request.cipher_suite).unwrap();
        let scheme = suite.signature_algorithm();
        let crypto = self.provider.crypto();
        crypto
            .verify_signature(scheme, &octets, &request.requesting_signature_key, &request.signature)
            .unwrap();
        let (group_info, ratchet_tree) = other.state.clone().unwrap();
        let sealed = GroupInfoRatchetTreeTbe {
            group_info,
            ratchet_tree,
            pending_proposals: other
                .pending
                .iter()
                .map(|proposal| PendingProposal {
                    proposal: proposal.clone(),
                    hub_accepted_time: 1,
                })
                .collect(),
        };
        let info = encrypt_context(GroupInfoRatchetTreeTbe::LABEL, room.as_str().as_bytes());
        let encrypted = crypto
            .hpke_seal(
                suite.hpke_config(),
                &request.group_info_public_key,
                &info,
                b"",
                &sealed.encode(),
            )
            .unwrap();
        let mut response = GroupInfoResponse {
            version: mimi::Protocol::Mls10,
            room_id: room.into(),
            outcome: Ok(GroupInfoSuccess {
                cipher_suite: suite.into(),
                hub_sender: self.sender_of(suite),
                encrypted_groupinfo_and_tree: HpkeCiphertext {
                    kem_output: Bytes::from(encrypted.kem_output.as_slice().to_vec()),
                    ciphertext: Bytes::from(encrypted.ciphertext.as_slice().to_vec()),
                },
                signature: Bytes::new(),
            }),
        };
        let octets = sign_content(GroupInfoResponse::LABEL, &response.tbs());
        let signature = self.signer(suite).sign(&octets).unwrap();
        if let Ok(success) = &mut response.outcome {
            success.signature = signature.into();
        }
        response.encode()
    }

    /// Brings a member everything that it was not brought yet.
    pub fn bring(&mut self, member: &mut Member) -> Vec<Received> {
        let shown = self.shown.entry(member.client().to_string()).or_default();
        let fresh = &self.log[*shown..];
        *shown = self.log.len();
        fresh
            .iter()
            .map(|fanout| member.receive(&room(), fanout).unwrap())
            .collect()
    }

    /// From now on everything is brought to a member again.
    pub fn rewind(&mut self, member: &Member) {
        self.shown.remove(&member.client().to_string());
    }
}
