//! A hub that judges nothing: it answers wrongEpoch, puts what is left in order, and seals GroupInfos.

#![allow(unreachable_pub, dead_code, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use client::mls::{Answered, CIPHERSUITE, Member, ORDINARY, Received, RoomProfile};
use mimi::RoomUri;
use mimi::codec::{Decode as _, Encode as _};
use mimi::group_info::{
    GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoResponse, GroupInfoSuccess, PendingProposal,
};
use mimi::mls::label::{encrypt_context, sign_content};
use mimi::mls::{Credential, ExternalSender, GroupInfo, HpkeCiphertext, Message};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::SubmitMessageRequest;
use mimi::update::{
    GroupInfoOption, HandshakeBundle, RatchetTreeOption, UpdateOutcome, UpdateRequest, UpdateRoomResponse,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::signatures::Signer as _;

pub fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

pub fn member(path: &str) -> Member {
    Member::new(format!("mimi://{path}").parse().unwrap()).unwrap()
}

/// Alice and her room.
pub fn founded(profile: &RoomProfile) -> (Member, Relay) {
    let mut alice = member("a.example/d/alice/phone");
    let mut relay = Relay::new();
    let founding = alice.create_room(&room(), &relay.sender().encode(), profile).unwrap();
    relay.state = Some((
        GroupInfo::decode_exact(&founding.group_info).unwrap(),
        RatchetTreeOption::decode_exact(&founding.ratchet_tree).unwrap(),
    ));
    (alice, relay)
}

/// Alice, Bob whom she invited, both caught up.
pub fn invited() -> (Member, Member, Relay) {
    let (mut alice, mut relay) = founded(&RoomProfile::default());
    let mut bob = member("b.example/d/bob/phone");
    let key_packages = bob.key_packages(1).unwrap();
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
    signer: SignatureKeyPair,
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
            signer: SignatureKeyPair::new(CIPHERSUITE.signature_algorithm()).unwrap(),
            provider: OpenMlsRustCrypto::default(),
            state: None,
            pending: Vec::new(),
            log: Vec::new(),
            shown: BTreeMap::new(),
        }
    }

    pub fn sender(&self) -> ExternalSender {
        ExternalSender {
            signature_key: Bytes::copy_from_slice(self.signer.public()),
            credential: Credential::basic("mimi://a.example"),
        }
    }

    fn accept(&mut self, content: FanoutContent) -> u64 {
        let timestamp = 1_000 + self.log.len() as u64;
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
        self.accept(FanoutContent::Application {
            message: request.app_message,
            frank: None,
        })
    }

    /// GroupInfoRequest to GroupInfoResponse, signed by this relay, about the group of `other`.
    pub fn group_info_of(&self, other: &Self, request: &[u8], room: &RoomUri) -> Vec<u8> {
        let request = GroupInfoRequest::decode_exact(request).unwrap();
        let octets = sign_content(GroupInfoRequest::LABEL, &request.tbs());
        let scheme = CIPHERSUITE.signature_algorithm();
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
                CIPHERSUITE.hpke_config(),
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
                cipher_suite: CIPHERSUITE.into(),
                hub_sender: self.sender(),
                encrypted_groupinfo_and_tree: HpkeCiphertext {
                    kem_output: Bytes::from(encrypted.kem_output.as_slice().to_vec()),
                    ciphertext: Bytes::from(encrypted.ciphertext.as_slice().to_vec()),
                },
                signature: Bytes::new(),
            }),
        };
        let octets = sign_content(GroupInfoResponse::LABEL, &response.tbs());
        let signature = self.signer.sign(&octets).unwrap();
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
