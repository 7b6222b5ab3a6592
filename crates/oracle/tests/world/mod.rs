//! A group of OpenMLS clients, the hub's view of it as `room` keeps it, and mls-rs beside the hub.
#![allow(unreachable_pub, clippy::unwrap_used, reason = "tests")]

mod client;
mod second;

use openmls::component::ComponentData;
use openmls::group::{
    AppDataDictionaryUpdater, AppDataUpdates, GroupContext, MIXED_PLAINTEXT_WIRE_FORMAT_POLICY, MlsGroupCreateConfig,
    ProposalStore, PublicGroup,
};
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

pub use client::{Client, Plan};
pub use second::Second;

/// An extension of a GroupContext that nothing gives a meaning.
pub const OPAQUE: u16 = 0xf100;
/// A component whose updates are its new value.
pub const COMPONENT: u16 = 0xf200;

/// What is compared: tree hash and confirmed transcript hash.
pub type Hashes = (Vec<u8>, Vec<u8>);

pub fn parse(octets: &[u8]) -> MlsMessageIn {
    MlsMessageIn::tls_deserialize_exact_bytes(octets).unwrap()
}

pub fn hashes(context: &GroupContext) -> Hashes {
    let transcript = context.confirmed_transcript_hash();
    (context.tree_hash().to_vec(), transcript.to_vec())
}

/// What updates of a component make of a dictionary: the last one counts.
pub fn changes<'a>(
    mut updater: AppDataDictionaryUpdater<'_>,
    updates: impl IntoIterator<Item = &'a AppDataUpdateProposal>,
) -> Option<AppDataUpdates> {
    for update in updates {
        if let AppDataUpdateOperation::Update(value) = update.operation() {
            updater.set(ComponentData::from_parts(update.component_id(), value.clone()));
        }
    }
    updater.changes()
}

/// What a new group's GroupContext has: what rooms require, the hub, and one extension more.
fn extensions(hub: ExternalSender) -> Extensions<GroupContext> {
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(COMPONENT, vec![0]);
    Extensions::from_vec(vec![
        Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
            &[ExtensionType::AppDataDictionary, ExtensionType::Unknown(OPAQUE)],
            &[ProposalType::AppDataUpdate, ProposalType::SelfRemove],
            &[CredentialType::Basic],
        )),
        Extension::ExternalSenders(vec![hub]),
        Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
        Extension::Unknown(OPAQUE, UnknownExtension(vec![0])),
    ])
    .unwrap()
}

/// The GroupContext's extensions with another value of [`OPAQUE`].
pub fn with_opaque(extensions: &Extensions<GroupContext>, value: u8) -> Extensions<GroupContext> {
    let mut all: Vec<Extension> = extensions.iter().cloned().collect();
    all.retain(|each| each.extension_type() != ExtensionType::Unknown(OPAQUE));
    all.push(Extension::Unknown(OPAQUE, UnknownExtension(vec![value])));
    Extensions::from_vec(all).unwrap()
}

pub struct World {
    pub suite: Ciphersuite,
    /// The clients in the group.
    pub members: Vec<Client>,
    /// The group as a hub sees it.
    pub hub: PublicGroup,
    /// The hub's key, which is an external sender's.
    pub hub_signer: SignatureKeyPair,
    storage: OpenMlsRustCrypto,
    names: usize,
}

impl World {
    /// A group with one client in it, and what an observer needs to follow it.
    pub fn found(suite: Ciphersuite) -> (Self, Vec<u8>) {
        let hub_signer = SignatureKeyPair::new(suite.signature_algorithm()).unwrap();
        let credential = BasicCredential::new(b"mimi://a.example".to_vec());
        let hub = ExternalSender::new(hub_signer.public().into(), credential.into());
        let mut founder = Client::new(suite, 0);
        let config = MlsGroupCreateConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .ciphersuite(suite)
            .capabilities(client::capabilities())
            .use_ratchet_tree_extension(true)
            .with_group_context_extensions(extensions(hub))
            .build();
        founder.found(&config);
        let info = founder.group_info();
        let storage = OpenMlsRustCrypto::default();
        let MlsMessageBodyIn::GroupInfo(verifiable) = parse(&info).extract() else {
            panic!("no GroupInfo");
        };
        let tree = verifiable.extensions().ratchet_tree().unwrap().ratchet_tree().clone();
        let (hub, _) = PublicGroup::from_external(
            storage.crypto(),
            storage.storage(),
            tree,
            verifiable,
            ProposalStore::new(),
        )
        .unwrap();
        let world = Self {
            suite,
            members: vec![founder],
            hub,
            hub_signer,
            storage,
            names: 0,
        };
        (world, info)
    }

    /// A client that is not in the group yet.
    pub fn newcomer(&mut self) -> Client {
        self.names += 1;
        Client::new(self.suite, self.names)
    }

    /// Shows a message to the hub and to every member but the one who made it. Who is out of the group then is gone.
    pub fn deliver(&mut self, octets: &[u8], but: Option<usize>) {
        self.hub_takes(octets);
        for (index, member) in self.members.iter_mut().enumerate() {
            if Some(index) != but {
                member.receive(octets);
            }
        }
        self.members.retain(Client::is_member);
    }

    fn hub_takes(&mut self, octets: &[u8]) {
        let (crypto, storage) = (self.storage.crypto(), self.storage.storage());
        let message = parse(octets).try_into_protocol_message().unwrap();
        match self.hub.process_message(crypto, message).unwrap().into_content() {
            ProcessedMessageContent::ProposalMessage(proposal) => self.hub.add_proposal(storage, *proposal).unwrap(),
            ProcessedMessageContent::StagedCommitMessage(staged) => self.hub.merge_commit(storage, *staged).unwrap(),
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let updater = self.hub.app_data_dictionary_updater();
                let changes = changes(updater, unresolved.app_data_update_proposals());
                let staged = self.hub.stage_app_data_commit(crypto, *unresolved, changes).unwrap();
                self.hub.merge_commit(storage, staged).unwrap();
            }
            _ => panic!("neither proposal nor commit"),
        }
    }

    /// A member commits to everything pending and to its plan. Gives back the commit.
    pub fn commit(&mut self, by: usize, plan: Plan) -> Vec<u8> {
        let (commit, welcome) = self.members[by].commit(&plan);
        self.deliver(&commit, Some(by));
        let joiners = plan.joiners.into_iter().chain(plan.expected);
        for mut joiner in joiners {
            joiner.join(welcome.as_deref().expect("a commit with Adds has a Welcome"));
            self.members.push(joiner);
        }
        commit
    }

    /// A client joins by external commit; one that is a member already leaves its old leaf by it.
    pub fn join(&mut self, mut joiner: Client, info: &[u8], psk: bool) -> Vec<u8> {
        let commit = joiner.join_by_external_commit(info, psk);
        self.deliver(&commit, None);
        self.members.push(joiner);
        commit
    }

    /// A proposal of the hub, as an external sender.
    pub fn hub_proposes_add(&self, key_package: KeyPackage) -> Vec<u8> {
        let proposal = ExternalProposal::new_add::<OpenMlsRustCrypto>(
            key_package,
            self.hub.group_id().clone(),
            self.hub.group_context().epoch(),
            &self.hub_signer,
            SenderExtensionIndex::new(0),
        );
        proposal.unwrap().to_bytes().unwrap()
    }

    /// As [`Self::hub_proposes_add`].
    pub fn hub_proposes_remove(&self, leaf: LeafNodeIndex) -> Vec<u8> {
        let proposal = ExternalProposal::new_remove::<OpenMlsRustCrypto>(
            leaf,
            self.hub.group_id().clone(),
            self.hub.group_context().epoch(),
            &self.hub_signer,
            SenderExtensionIndex::new(0),
        );
        proposal.unwrap().to_bytes().unwrap()
    }

    /// Hub and members are in one epoch.
    pub fn assert_agreed(&self) {
        let tree = self.hub.export_ratchet_tree();
        for member in &self.members {
            assert_eq!(member.group().epoch(), self.hub.group_context().epoch());
            assert_eq!(member.group().export_ratchet_tree(), tree);
            assert_eq!(
                member.group().epoch_authenticator().as_slice(),
                self.members[0].group().epoch_authenticator().as_slice()
            );
        }
    }
}
