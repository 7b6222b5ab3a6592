//! One client, with OpenMLS.

use openmls::group::{MIXED_PLAINTEXT_WIRE_FORMAT_POLICY, MlsGroupCreateConfig, MlsGroupJoinConfig};
use openmls::messages::proposals::PreSharedKeyProposal;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::*;
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls::treesync::LeafNodeParameters;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

use super::{COMPONENT, OPAQUE, changes, parse, with_opaque};

pub(super) fn capabilities() -> Capabilities {
    Capabilities::builder()
        .extensions(vec![ExtensionType::AppDataDictionary, ExtensionType::Unknown(OPAQUE)])
        .proposals(vec![ProposalType::AppDataUpdate, ProposalType::SelfRemove])
        .build()
}

fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .build()
}

/// What a commit holds by value, and who comes in with it.
#[derive(Default)]
pub struct Plan {
    /// Added by value.
    pub joiners: Vec<Client>,
    /// Added by a pending proposal.
    pub expected: Vec<Client>,
    pub removed: Vec<LeafNodeIndex>,
    pub psk: bool,
    pub opaque: Option<u8>,
    pub component: Option<u8>,
    pub fresh_leaf: bool,
}

pub struct Client {
    suite: Ciphersuite,
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: CredentialWithKey,
    group: Option<MlsGroup>,
}

impl Client {
    pub fn new(suite: Ciphersuite, number: usize) -> Self {
        let provider = OpenMlsRustCrypto::default();
        let signer = SignatureKeyPair::new(suite.signature_algorithm()).unwrap();
        let name = format!("mimi://a.example/d/user{number}/phone");
        let credential = CredentialWithKey {
            credential: BasicCredential::new(name.into_bytes()).into(),
            signature_key: signer.public().into(),
        };
        let client = Self {
            suite,
            provider,
            signer,
            credential,
            group: None,
        };
        client.psk().store(&client.provider, &[7; 32]).unwrap();
        client
    }

    /// The pre-shared key that every client has, with a fresh nonce.
    fn psk(&self) -> PreSharedKeyId {
        let psk = Psk::External(ExternalPsk::new(b"everybody's".to_vec()));
        PreSharedKeyId::new(self.suite, self.provider.rand(), psk).unwrap()
    }

    pub fn group(&self) -> &MlsGroup {
        self.group.as_ref().unwrap()
    }

    pub fn is_member(&self) -> bool {
        self.group().is_active()
    }

    pub fn leaf(&self) -> LeafNodeIndex {
        self.group().own_leaf_index()
    }

    pub(super) fn found(&mut self, config: &MlsGroupCreateConfig) {
        let group = MlsGroup::new(&self.provider, &self.signer, config, self.credential.clone());
        self.group = Some(group.unwrap());
    }

    /// GroupInfo with the ratchet tree, as an MLSMessage.
    pub fn group_info(&self) -> Vec<u8> {
        let info = self
            .group()
            .export_group_info(self.provider.crypto(), &self.signer, true);
        info.unwrap().to_bytes().unwrap()
    }

    pub fn key_package(&self) -> KeyPackage {
        let bundle = KeyPackage::builder().leaf_node_capabilities(capabilities()).build(
            self.suite,
            &self.provider,
            &self.signer,
            self.credential.clone(),
        );
        bundle.unwrap().key_package().clone()
    }

    pub(super) fn receive(&mut self, octets: &[u8]) {
        let group = self.group.as_mut().unwrap();
        let message = parse(octets).try_into_protocol_message().unwrap();
        let processed = group.process_message(&self.provider, message).unwrap();
        match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(proposal) => {
                group
                    .store_pending_proposal(self.provider.storage(), *proposal)
                    .unwrap();
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                group.merge_staged_commit(&self.provider, *staged).unwrap();
            }
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let updater = group.app_data_dictionary_updater();
                let changes = changes(updater, unresolved.app_data_update_proposals());
                let staged = group.stage_app_data_commit(&self.provider, *unresolved, changes);
                group.merge_staged_commit(&self.provider, staged.unwrap()).unwrap();
            }
            _ => panic!("neither proposal nor commit"),
        }
    }

    /// The commit, and its Welcome where it has Adds.
    pub(super) fn commit(&mut self, plan: &Plan) -> (Vec<u8>, Option<Vec<u8>>) {
        let adds: Vec<KeyPackage> = plan.joiners.iter().map(Self::key_package).collect();
        let psk = plan
            .psk
            .then(|| Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(self.psk()))));
        let component = plan.component.map(|value| {
            let update = AppDataUpdateProposal::update(COMPONENT, vec![value]);
            Proposal::AppDataUpdate(Box::new(update))
        });
        let group = self.group.as_mut().unwrap();
        let opaque = plan.opaque.map(|value| with_opaque(group.extensions(), value));
        let mut builder = group
            .commit_builder()
            .force_self_update(plan.fresh_leaf)
            .propose_adds(adds)
            .propose_removals(plan.removed.iter().copied())
            .add_proposals(psk)
            .add_proposals(component);
        if let Some(opaque) = opaque {
            builder = builder.propose_group_context_extensions(opaque).unwrap();
        }
        let mut builder = builder.load_psks(self.provider.storage()).unwrap();
        let updates = changes(
            builder.app_data_dictionary_updater(),
            builder.app_data_update_proposals(),
        );
        builder.with_app_data_dictionary_updates(updates);
        let bundle = builder
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        let (commit, welcome, _) = bundle.into_contents();
        group.merge_pending_commit(&self.provider).unwrap();
        let welcome = welcome.map(|welcome| welcome.tls_serialize_detached().unwrap());
        (commit.to_bytes().unwrap(), welcome)
    }

    pub(super) fn join(&mut self, welcome: &[u8]) {
        let welcome = Welcome::tls_deserialize_exact_bytes(welcome).unwrap();
        let staged = StagedWelcome::new_from_welcome(&self.provider, &join_config(), welcome, None);
        self.group = Some(staged.unwrap().into_group(&self.provider).unwrap());
    }

    pub(super) fn join_by_external_commit(&mut self, info: &[u8], psk: bool) -> Vec<u8> {
        let MlsMessageBodyIn::GroupInfo(info) = parse(info).extract() else {
            panic!("no GroupInfo");
        };
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
        let psk = psk.then(|| PreSharedKeyProposal::new(self.psk()));
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(join_config())
            .build_group(&self.provider, info, self.credential.clone())
            .unwrap()
            .leaf_node_parameters(leaf)
            .add_psk_proposals(psk)
            .load_psks(self.provider.storage())
            .unwrap()
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .finalize(&self.provider)
            .unwrap();
        self.group = Some(group);
        bundle.into_commit().to_bytes().unwrap()
    }

    pub fn proposes_update(&mut self) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let leaf = LeafNodeParameters::default();
        let (proposal, _) = group.propose_self_update(&self.provider, &self.signer, leaf).unwrap();
        proposal.to_bytes().unwrap()
    }

    pub fn proposes_add(&mut self, key_package: &KeyPackage) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let (proposal, _) = group
            .propose_add_member(&self.provider, &self.signer, key_package)
            .unwrap();
        proposal.to_bytes().unwrap()
    }

    pub fn proposes_remove(&mut self, leaf: LeafNodeIndex) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let (proposal, _) = group.propose_remove_member(&self.provider, &self.signer, leaf).unwrap();
        proposal.to_bytes().unwrap()
    }

    pub fn proposes_psk(&mut self) -> Vec<u8> {
        let psk = self.psk();
        let group = self.group.as_mut().unwrap();
        let (proposal, _) = group.propose_pre_shared_key(&self.provider, &self.signer, psk).unwrap();
        proposal.to_bytes().unwrap()
    }

    pub fn proposes_opaque(&mut self, value: u8) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let extensions = with_opaque(group.extensions(), value);
        let (proposal, _) = group
            .propose_group_context_extensions(&self.provider, extensions, &self.signer)
            .unwrap();
        proposal.to_bytes().unwrap()
    }

    pub fn proposes_component(&mut self, value: u8) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let update = Propose::UpdateAppDataComponent {
            component_id: COMPONENT,
            update: vec![value],
        };
        let (proposal, _) = group
            .propose(&self.provider, &self.signer, update, ProposalOrRefType::Reference)
            .unwrap();
        proposal.to_bytes().unwrap()
    }

    pub fn proposes_self_remove(&mut self) -> Vec<u8> {
        let group = self.group.as_mut().unwrap();
        let proposal = group.leave_group_via_self_remove(&self.provider, &self.signer).unwrap();
        proposal.to_bytes().unwrap()
    }
}
