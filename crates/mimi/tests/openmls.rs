//! What an MLS implementation makes is walked to its end, kept to the octet, and says the same in its clear fields.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use mimi::mls::{
    ContentType, Credential, KeyPackage, Message, ProposalKind, ProposalOrRef, ProposalView, RatchetTree, Sender,
    extension_type, wire_format,
};
use mimi::{AppDataDictionary, AppDataOperation, AppDataUpdate, ComponentId, Decode, Encode};
use openmls::extensions::{AppDataDictionaryExtension, Extension, ExtensionType, Extensions};
use openmls::prelude::tls_codec::Serialize;
use openmls::prelude::{
    AppDataUpdateOperation, BasicCredential, Capabilities, Ciphersuite, CredentialType, CredentialWithKey, GroupId,
    KeyPackage as MlsKeyPackage, KeyPackageBundle, MIXED_PLAINTEXT_WIRE_FORMAT_POLICY, MlsGroup, MlsGroupCreateConfig,
    OpenMlsProvider, ProposalType,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
const ALICE: &str = "mimi://a.example/d/alice/phone";
const BOB: &str = "mimi://b.example/d/bob/laptop";

struct Client {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
}

impl Client {
    fn new(uri: &str) -> Self {
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
        Self {
            provider: OpenMlsRustCrypto::default(),
            credential: CredentialWithKey {
                credential: BasicCredential::new(uri.as_bytes().to_vec()).into(),
                signature_key: signer.to_public_vec().into(),
            },
            signer,
        }
    }

    fn capabilities() -> Capabilities {
        Capabilities::new(
            None,
            Some(&[SUITE]),
            Some(&[ExtensionType::AppDataDictionary]),
            Some(&[ProposalType::AppDataUpdate, ProposalType::SelfRemove]),
            Some(&[CredentialType::Basic]),
        )
    }

    fn key_package(&self) -> KeyPackageBundle {
        MlsKeyPackage::builder()
            .leaf_node_capabilities(Self::capabilities())
            .build(SUITE, &self.provider, &self.signer, self.credential.clone())
            .unwrap()
    }

    fn group(&self) -> MlsGroup {
        let mut dictionary = openmls::extensions::AppDataDictionary::new();
        dictionary.insert(ComponentId::ROOM_METADATA.0, b"metadata".to_vec());
        let extension = Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary));
        let config = MlsGroupCreateConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .ciphersuite(SUITE)
            .capabilities(Self::capabilities())
            .with_group_context_extensions(Extensions::from_vec(vec![extension]).unwrap())
            .build();
        let id = GroupId::from_slice(b"a group");
        MlsGroup::new_with_group_id(&self.provider, &self.signer, &config, id, self.credential.clone()).unwrap()
    }
}

/// The octets that OpenMLS makes of a value, decoded, and found to be kept.
fn walked<T: Decode + Encode>(value: &impl Serialize) -> T {
    let octets = Bytes::from(value.tls_serialize_detached().unwrap());
    let walked = T::decode_shared(&octets).unwrap();
    assert_eq!(walked.encode(), octets);
    walked
}

#[test]
fn a_key_package_tells_its_client_and_its_name() {
    let bob = Client::new(BOB);
    let made = bob.key_package();
    let key_package: KeyPackage = walked(made.key_package());
    assert_eq!(key_package.cipher_suite(), 1);
    assert_eq!(key_package.credential(), Credential::basic(BOB));
    assert_eq!(key_package.credential().client().unwrap().as_str(), BOB);
    let reference = made.key_package().hash_ref(bob.provider.crypto()).unwrap();
    assert_eq!(key_package.reference().unwrap(), reference.as_slice());
    let lifetime = made.key_package().life_time();
    assert_eq!(key_package.not_after(), Some(lifetime.not_after()));
    let view = key_package.view();
    assert_eq!(view.leaf.signature_key, bob.signer.public());
    assert!(
        view.leaf
            .capabilities
            .proposals
            .contains(ProposalKind::AppDataUpdate as u16)
    );
    assert!(!view.leaf.capabilities.proposals.contains(0x1234));
}

#[test]
fn a_commit_tells_its_sender_and_what_it_changes() {
    let (alice, bob) = (Client::new(ALICE), Client::new(BOB));
    let mut group = alice.group();
    let key_package = bob.key_package();
    let (commit, welcome, _) = group
        .add_members(&alice.provider, &alice.signer, &[key_package.key_package().clone()])
        .unwrap();

    let commit: Message = walked(&commit);
    assert_eq!(commit.wire_format(), wire_format::PUBLIC_MESSAGE);
    assert_eq!(commit.group_id().unwrap(), b"a group".as_slice());
    assert_eq!(commit.epoch(), Some(0));
    assert_eq!(commit.sender(), Some(Sender::Member(0)));
    assert_eq!(commit.content_type(), Some(ContentType::Commit));
    assert_eq!(commit.confirmation_tag().unwrap().len(), 32);
    let content = commit.commit().unwrap();
    assert_eq!(
        content.leaf.as_ref().unwrap().view().credential(),
        Credential::basic(ALICE)
    );
    let [ProposalOrRef::Proposal(add)] = content.proposals.as_slice() else {
        panic!("one Add by value: {:?}", content.proposals);
    };
    let ProposalView::Add(added) = add.view() else {
        panic!("an Add: {add:?}");
    };
    assert_eq!(added.leaf.credential(), Credential::basic(BOB));

    let welcome: Message = walked(&welcome);
    let reference = key_package.key_package().hash_ref(bob.provider.crypto()).unwrap();
    let references: Vec<&[u8]> = welcome.welcome().unwrap().key_package_refs().collect();
    assert_eq!(references, [reference.as_slice()]);
    assert_eq!(Message::from_welcome(welcome.welcome().unwrap().clone()), welcome);

    group.merge_pending_commit(&alice.provider).unwrap();
    let group_info = group
        .export_group_info(alice.provider.crypto(), &alice.signer, false)
        .unwrap();
    let group_info: Message = walked(&group_info);
    let view = group_info.group_info().unwrap().view();
    assert_eq!((view.group_context.epoch, view.signer), (1, 0));
    assert_eq!(view.group_context.group_id, b"a group");
    assert_eq!(view.confirmation_tag, commit.confirmation_tag().unwrap());
    let dictionary = view.group_context.extensions.find(extension_type::APP_DATA_DICTIONARY);
    let dictionary = AppDataDictionary::decode_exact(dictionary.unwrap()).unwrap();
    assert_eq!(
        dictionary.component(ComponentId::ROOM_METADATA).unwrap(),
        b"metadata".as_slice()
    );

    let tree: RatchetTree = walked(&group.export_ratchet_tree());
    let leaves: Vec<_> = tree.leaves().map(|(index, leaf)| (index, leaf.credential())).collect();
    assert_eq!(leaves, [(0, Credential::basic(ALICE)), (1, Credential::basic(BOB))]);
}

#[test]
fn h_20_a_proposal_has_the_name_by_which_a_commit_calls_it() {
    let alice = Client::new(ALICE);
    let mut group = alice.group();
    let update = AppDataUpdateOperation::Update(b"new".to_vec().into());
    let (proposal, reference) = group
        .propose_app_data_update(&alice.provider, &alice.signer, ComponentId::ROOM_METADATA.0, update)
        .unwrap();
    let proposal: Message = walked(&proposal);
    assert_eq!(proposal.content_type(), Some(ContentType::Proposal));
    assert_eq!(proposal.proposal().unwrap().kind(), ProposalKind::AppDataUpdate);
    assert_eq!(
        proposal.proposal().unwrap().view(),
        ProposalView::AppDataUpdate(AppDataUpdate {
            component: ComponentId::ROOM_METADATA,
            operation: AppDataOperation::Update(Bytes::from_static(b"new")),
        })
    );
    assert_eq!(proposal.proposal_ref(1).unwrap().unwrap(), reference.as_slice());
    assert!(proposal.proposal_ref(0xffff).unwrap().is_err());
}

#[test]
fn a_self_remove_is_walked() {
    let (alice, bob) = (Client::new(ALICE), Client::new(BOB));
    let mut group = alice.group();
    let key_package = bob.key_package();
    group
        .add_members(&alice.provider, &alice.signer, &[key_package.key_package().clone()])
        .unwrap();
    group.merge_pending_commit(&alice.provider).unwrap();
    let proposal = group
        .leave_group_via_self_remove(&alice.provider, &alice.signer)
        .unwrap();
    let proposal: Message = walked(&proposal);
    assert_eq!(proposal.proposal().unwrap().kind(), ProposalKind::SelfRemove);
}

#[test]
fn an_application_message_shows_only_its_frame() {
    let alice = Client::new(ALICE);
    let mut group = alice.group();
    group.set_aad(b"seen by all".to_vec());
    let message = group
        .create_message(&alice.provider, &alice.signer, b"seen by members")
        .unwrap();
    let message: Message = walked(&message);
    assert_eq!(message.wire_format(), wire_format::PRIVATE_MESSAGE);
    assert_eq!(message.content_type(), Some(ContentType::Application));
    assert_eq!(message.authenticated_data().unwrap(), b"seen by all".as_slice());
    assert_eq!(message.group_id().unwrap(), b"a group".as_slice());
    assert_eq!(message.epoch(), Some(0));
    assert_eq!(message.sender(), None);
}
