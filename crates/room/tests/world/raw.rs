//! A client that sends whatever it is told to, rules or not: MLS is kept, the room's policy need not be.

use bytes::Bytes;
use client::mls::CIPHERSUITE;
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::mls::label::{hash, sign_content};
use mimi::mls::{GroupInfo, Message, RatchetTree, Welcome};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::update::{GroupInfoOption, HandshakeBundle, RatchetTreeOption, UpdateRequest};
use mimi::{AppDataDictionary, AppDataOperation, AppDataUpdate, ClientUri, ComponentId, ParticipantListUpdate};
use openmls::component::ComponentData;
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::Signer as _;

use room::Founding;

use super::keys::bundle;
use super::{World, id, shown};

pub struct Raw {
    pub uri: ClientUri,
    pub provider: OpenMlsRustCrypto,
    pub signer: SignatureKeyPair,
    pub group: Option<MlsGroup>,
    /// Instead of its basic credential.
    pub credential: Option<mimi::mls::Credential>,
    brought: usize,
}

/// What a commit of [`Raw`] holds.
#[derive(Default)]
pub struct Wish {
    pub adds: Vec<KeyPackage>,
    pub removes: Vec<u32>,
    pub list: Option<ParticipantListUpdate>,
    pub others: Vec<Proposal>,
    /// Leaves what is pending out.
    pub ignore_pending: bool,
    /// Gives the committer this credential.
    pub credential: Option<CredentialWithKey>,
}

/// A commit and what comes with it, before it is encoded.
pub struct Parts {
    pub commit: Message,
    pub welcome: Option<Welcome>,
    pub group_info: GroupInfo,
    pub tree: RatchetTree,
}

impl Parts {
    pub fn body(&self) -> Bytes {
        self.with(
            GroupInfoOption::Full(self.group_info.clone()),
            RatchetTreeOption::Full(self.tree.clone()),
        )
    }

    pub fn with(&self, group_info: GroupInfoOption, ratchet_tree: RatchetTreeOption) -> Bytes {
        let bundle = HandshakeBundle::Commit {
            commit: self.commit.clone(),
            welcome: self.welcome.clone(),
            group_info,
            ratchet_tree,
        };
        UpdateRequest { bundle }.encode().into()
    }
}

impl Raw {
    pub fn new(path: &str) -> Self {
        Self {
            uri: format!("mimi://{path}").parse().unwrap(),
            provider: OpenMlsRustCrypto::default(),
            signer: SignatureKeyPair::new(CIPHERSUITE.signature_algorithm()).unwrap(),
            group: None,
            credential: None,
            brought: 0,
        }
    }

    pub fn group(&mut self) -> &mut MlsGroup {
        self.group.as_mut().unwrap()
    }

    pub fn key_package(&self) -> Bytes {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .build(CIPHERSUITE, &self.provider, &self.signer, self.credential())
            .unwrap();
        bundle.key_package().tls_serialize_detached().unwrap().into()
    }

    fn credential(&self) -> CredentialWithKey {
        let basic = || mimi::mls::Credential::basic(self.uri.as_str().to_owned());
        let credential = self.credential.clone().unwrap_or_else(basic);
        CredentialWithKey {
            credential: Credential::new(credential.credential_type.into(), credential.content.to_vec()),
            signature_key: self.signer.public().into(),
        }
    }

    /// A group of its own, which is not yet the one that it is in.
    pub fn found(&self, name: &[u8], extensions: Extensions<GroupContext>) -> (Founding, MlsGroup) {
        let config = MlsGroupCreateConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .ciphersuite(CIPHERSUITE)
            .capabilities(capabilities())
            .use_ratchet_tree_extension(false)
            .with_group_context_extensions(extensions)
            .build();
        let name = GroupId::from_slice(name);
        let group =
            MlsGroup::new_with_group_id(&self.provider, &self.signer, &config, name, self.credential()).unwrap();
        let info = group
            .export_group_info(self.provider.crypto(), &self.signer, false)
            .unwrap();
        let info = Message::decode_exact(&info.to_bytes().unwrap()).unwrap();
        let tree = group.export_ratchet_tree().tls_serialize_detached().unwrap();
        let tree = RatchetTreeOption::Full(RatchetTree::decode_exact(&tree).unwrap());
        let founding = Founding {
            from: self.uri.provider().clone(),
            group_info: info.group_info().unwrap().octets().clone(),
            ratchet_tree: tree.encode().into(),
        };
        (founding, group)
    }

    /// Takes everything that its provider is shown.
    pub fn catch_up(&mut self, world: &World) {
        let entries = &world.log[self.brought..];
        self.brought = world.log.len();
        let own = self.uri.provider().clone();
        for entry in entries.iter().filter(|entry| shown(entry, &own)) {
            let fanout = FanoutMessage::decode_exact(&entry.message).unwrap();
            match (&fanout.content, &mut self.group) {
                (FanoutContent::Welcome { message, ratchet_tree }, None) => {
                    let RatchetTreeOption::Full(tree) = ratchet_tree else {
                        panic!("a Welcome without its tree")
                    };
                    let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&tree.encode()).unwrap();
                    let welcome = match MlsMessageIn::tls_deserialize_exact_bytes(message.octets())
                        .unwrap()
                        .extract()
                    {
                        MlsMessageBodyIn::Welcome(welcome) => welcome,
                        other => panic!("{other:?}"),
                    };
                    let config = MlsGroupJoinConfig::builder()
                        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
                        .build();
                    if let Ok(staged) = StagedWelcome::new_from_welcome(&self.provider, &config, welcome, Some(tree)) {
                        self.group = Some(staged.into_group(&self.provider).unwrap());
                    }
                }
                (
                    FanoutContent::Commit {
                        commit,
                        external_proposals,
                    },
                    Some(_),
                ) => {
                    self.take(commit);
                    external_proposals.iter().for_each(|proposal| self.take(proposal));
                }
                (FanoutContent::Proposals { proposals }, Some(_)) => {
                    proposals.iter().for_each(|proposal| self.take(proposal));
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, message: &Message) {
        let group = self.group.as_mut().unwrap();
        if message.epoch() != Some(group.epoch().as_u64()) {
            return;
        }
        let octets = MlsMessageIn::tls_deserialize_exact_bytes(message.octets()).unwrap();
        let Ok(processed) = group.process_message(&self.provider, octets.try_into_protocol_message().unwrap()) else {
            // Its own proposals it has already; its own commits it merges when they are accepted.
            return;
        };
        match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(proposal)
            | ProcessedMessageContent::ExternalJoinProposalMessage(proposal) => {
                group
                    .store_pending_proposal(self.provider.storage(), *proposal)
                    .unwrap();
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                group.merge_staged_commit(&self.provider, *staged).unwrap();
            }
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let updates: Vec<_> = unresolved.app_data_update_proposals().map(read).collect();
                let changes = policy::apply_components(&dictionary(group), &updates).unwrap();
                let mut updater = group.app_data_dictionary_updater();
                for (component, value) in changes {
                    updater.set(ComponentData::from_parts(component.0, value.unwrap().to_vec().into()));
                }
                let changes = updater.changes();
                let staged = group
                    .stage_app_data_commit(&self.provider, *unresolved, changes)
                    .unwrap();
                group.merge_staged_commit(&self.provider, staged).unwrap();
            }
            _ => {}
        }
    }

    /// What OpenMLS makes of a message.
    pub fn process(&mut self, message: &Message) -> Result<ProcessedMessage, String> {
        let octets = MlsMessageIn::tls_deserialize_exact_bytes(message.octets()).map_err(|error| error.to_string())?;
        let message = octets.try_into_protocol_message().unwrap();
        let group = self.group.as_mut().unwrap();
        let processed = group.process_message(&self.provider, message);
        processed.map_err(|error| error.to_string())
    }

    pub fn leaf_of(&mut self, client: &str) -> u32 {
        let uri = format!("mimi://{client}");
        let members: Vec<_> = self.group().members().collect();
        let found = members
            .iter()
            .find(|member| BasicCredential::try_from(member.credential.clone()).unwrap().identity() == uri.as_bytes());
        found.unwrap().index.u32()
    }

    /// UpdateRequest with one proposal.
    pub fn propose(&mut self, proposal: Propose) -> Bytes {
        let (message, _) = self
            .group
            .as_mut()
            .unwrap()
            .propose(&self.provider, &self.signer, proposal, ProposalOrRefType::Reference)
            .unwrap();
        proposals(&[message])
    }

    pub fn propose_list(&mut self, update: &ParticipantListUpdate) -> Bytes {
        self.propose(Propose::UpdateAppDataComponent {
            component_id: ComponentId::PARTICIPANT_LIST.0,
            update: update.encode(),
        })
    }

    /// A commit that is staged at this client and not merged.
    pub fn commit(&mut self, wish: Wish) -> Parts {
        let group = self.group.as_mut().unwrap();
        let before = dictionary(group);
        let tree = group.export_ratchet_tree();
        let update = wish.list.map(|list| {
            let update = AppDataUpdateProposal::update(ComponentId::PARTICIPANT_LIST.0, list.encode());
            Proposal::AppDataUpdate(Box::new(update))
        });
        let mut builder = group
            .commit_builder()
            .consume_proposal_store(!wish.ignore_pending)
            .leaf_node_parameters(
                wish.credential
                    .map(|credential| {
                        LeafNodeParameters::builder()
                            .with_credential_with_key(credential)
                            .build()
                    })
                    .unwrap_or_default(),
            )
            .propose_adds(wish.adds)
            .propose_removals(wish.removes.into_iter().map(LeafNodeIndex::new))
            .add_proposals(update)
            .add_proposals(wish.others)
            .load_psks(self.provider.storage())
            .unwrap();
        let updates: Vec<_> = builder.app_data_update_proposals().map(read).collect();
        let mut updater = builder.app_data_dictionary_updater();
        // Lists that no member would make are made anyhow, as far as they can be.
        if let Ok(changes) = policy::apply_components(&before, &updates) {
            for (component, value) in changes {
                updater.set(ComponentData::from_parts(component.0, value.unwrap().to_vec().into()));
            }
        } else {
            let list = before.component(ComponentId::PARTICIPANT_LIST).unwrap().to_vec();
            updater.set(ComponentData::from_parts(ComponentId::PARTICIPANT_LIST.0, list.into()));
        }
        let changes = updater.changes();
        builder.with_app_data_dictionary_updates(changes);
        let bundle = builder
            .create_group_info(true)
            .use_ratchet_tree_extension(false)
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        let group = self.group.as_mut().unwrap();
        let tree = group
            .pending_commit()
            .unwrap()
            .export_ratchet_tree(self.provider.crypto(), tree);
        let (commit, welcome, group_info) = bundle.into_contents();
        Parts {
            commit: Message::decode_exact(&commit.to_bytes().unwrap()).unwrap(),
            welcome: welcome.map(|welcome| Welcome::decode_exact(&welcome.tls_serialize_detached().unwrap()).unwrap()),
            group_info: GroupInfo::decode_exact(&group_info.unwrap().tls_serialize_detached().unwrap()).unwrap(),
            tree: RatchetTree::decode_exact(&tree.unwrap().unwrap().tls_serialize_detached().unwrap()).unwrap(),
        }
    }

    /// A commit without path that OpenMLS would not make, of `proposals` as they stand on the wire. Its tags are made up,
    /// which no hub can see.
    pub fn commit_by_hand(&mut self, proposals: &[u8]) -> Parts {
        let group = self.group.as_mut().unwrap();
        let leaf = group.own_leaf_index().u32();
        let info = group
            .export_group_info(self.provider.crypto(), &self.signer, false)
            .unwrap();
        let info = Message::decode_exact(&info.to_bytes().unwrap()).unwrap();
        let octets = info.group_info().unwrap().octets();
        let context = VerifiableGroupInfo::tls_deserialize_exact_bytes(octets)
            .unwrap()
            .group_context()
            .clone();
        let info = info.group_info().unwrap().view();
        let tree = group.export_ratchet_tree();

        let mut content = Writer::default();
        content.opaque(context.group_id().as_slice());
        context.epoch().as_u64().write(&mut content);
        1u8.write(&mut content);
        leaf.write(&mut content);
        // SafeAAD without items.
        content.opaque(b"\0");
        3u8.write(&mut content);
        content.opaque(proposals);
        false.write(&mut content);
        let content = content.into_octets();
        let framed = [&[0, 1, 0, 1][..], &content].concat();
        let tbs = [&*framed, &context.tls_serialize_detached().unwrap()].concat();
        let signature = self.signer.sign(&sign_content("FramedContentTBS", &tbs)).unwrap();
        let tag = [7u8; 32];
        let mut message = Writer::default();
        message.raw(&framed);
        message.opaque(&signature);
        message.opaque(&tag);
        message.opaque(&tag);

        let suite: u16 = CIPHERSUITE.into();
        let mut interim = Writer::default();
        interim.raw(context.confirmed_transcript_hash());
        interim.opaque(info.confirmation_tag);
        let mut confirmed = Writer::default();
        confirmed.raw(&hash(suite, &interim.into_octets()).unwrap());
        confirmed.raw(&framed[2..]);
        confirmed.opaque(&signature);
        let mut next = Writer::default();
        1u16.write(&mut next);
        suite.write(&mut next);
        next.opaque(context.group_id().as_slice());
        (context.epoch().as_u64() + 1).write(&mut next);
        next.opaque(context.tree_hash());
        next.opaque(&hash(suite, &confirmed.into_octets()).unwrap());
        next.raw(&context.extensions().tls_serialize_detached().unwrap());
        next.vector(|extensions| {
            for (kind, data) in info.extensions.iter() {
                kind.write(extensions);
                extensions.opaque(data);
            }
        });
        next.opaque(&tag);
        leaf.write(&mut next);
        let tbs = next.into_octets();
        let mut group_info = Writer::default();
        group_info.raw(&tbs);
        group_info.opaque(&self.signer.sign(&sign_content("GroupInfoTBS", &tbs)).unwrap());
        Parts {
            commit: Message::decode_exact(&message.into_octets()).unwrap(),
            welcome: None,
            group_info: GroupInfo::decode_exact(&group_info.into_octets()).unwrap(),
            tree: RatchetTree::decode_exact(&tree.tls_serialize_detached().unwrap()).unwrap(),
        }
    }

    /// The last commit was refused.
    pub fn forget(&mut self) {
        let storage = self.provider.storage();
        self.group.as_mut().unwrap().clear_pending_commit(storage).unwrap();
    }

    /// The last proposals were refused.
    pub fn forget_proposals(&mut self) {
        let storage = self.provider.storage();
        self.group.as_mut().unwrap().clear_pending_proposals(storage).unwrap();
    }

    /// The last commit was accepted.
    pub fn merge(&mut self) {
        self.group
            .as_mut()
            .unwrap()
            .merge_pending_commit(&self.provider)
            .unwrap();
    }
}

fn capabilities() -> Capabilities {
    Capabilities::builder()
        .extensions(vec![ExtensionType::AppDataDictionary])
        .proposals(vec![
            ProposalType::AppDataUpdate,
            ProposalType::AppEphemeral,
            ProposalType::SelfRemove,
        ])
        .credentials(vec![
            CredentialType::Basic,
            CredentialType::Other(mimi::mls::Credential::PSEUDONYMOUS),
        ])
        .build()
}

pub fn proposals(messages: &[MlsMessageOut]) -> Bytes {
    let proposals = messages
        .iter()
        .map(|each| Message::decode_exact(&each.to_bytes().unwrap()).unwrap())
        .collect();
    UpdateRequest {
        bundle: HandshakeBundle::Proposals { proposals },
    }
    .encode()
    .into()
}

/// UpdateRequest by which a client outside proposes itself in an epoch. OpenMLS leaves the authenticated data of these
/// empty, which is none where components may put items in (mls-extensions §4.9).
pub fn join(raw: &Raw, world: &World, epoch: u64) -> Bytes {
    let info = world.kept_group_info();
    let mut writer = Writer::default();
    writer.raw(&[0, 1, 0, 1]);
    writer.opaque(info.view().group_context.group_id);
    epoch.write(&mut writer);
    3u8.write(&mut writer);
    writer.opaque(&[0]);
    2u8.write(&mut writer);
    1u16.write(&mut writer);
    writer.raw(&raw.key_package());
    let framed = writer.into_octets();
    let mut writer = Writer::default();
    writer.raw(&framed);
    writer.opaque(&raw.signer.sign(&sign_content("FramedContentTBS", &framed)).unwrap());
    bundle(&[Message::decode_exact(&writer.into_octets()).unwrap()])
}

/// Decodes a KeyPackage.
pub fn key_package(octets: &[u8]) -> KeyPackage {
    KeyPackageIn::tls_deserialize_exact_bytes(octets)
        .unwrap()
        .validate(OpenMlsRustCrypto::default().crypto(), ProtocolVersion::Mls10)
        .unwrap()
}

fn dictionary(group: &MlsGroup) -> AppDataDictionary {
    let extension = group.extensions().app_data_dictionary().unwrap();
    let entries = extension.dictionary().entries();
    AppDataDictionary(
        entries
            .map(|each| (ComponentId(each.id()), Bytes::copy_from_slice(each.data())))
            .collect(),
    )
}

fn read(proposal: &AppDataUpdateProposal) -> AppDataUpdate {
    AppDataUpdate {
        component: ComponentId(proposal.component_id()),
        operation: match proposal.operation() {
            AppDataUpdateOperation::Update(octets) => AppDataOperation::Update(octets.as_slice().to_vec().into()),
            AppDataUpdateOperation::Remove => AppDataOperation::Remove,
        },
    }
}

impl World {
    /// A raw client with a role, brought in by a member.
    pub fn invite_raw(&mut self, by: &mut client::mls::Member, role: u32, path: &str) -> Raw {
        let mut raw = Raw::new(path);
        let body = by.add_user(&id(), &raw.uri.user(), role, &[raw.key_package()]).unwrap();
        self.handshake(by, &body).unwrap();
        self.bring(by);
        raw.catch_up(self);
        assert!(raw.group.is_some());
        raw
    }
}
