//! The MLS group of a room as its hub sees it: who is in it and at which epoch. Everything here is checked by OpenMLS or
//! against what it computed; nothing of a room's rules is known.

pub(crate) mod codec;
pub(crate) mod senders;
pub(crate) mod tree_hash;

use std::sync::LazyLock;

use bytes::Bytes;
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::mls::{self, GroupInfo, Message, RatchetTree, extension_type, label};
use mimi::update::{GroupInfoOption, RatchetTreeOption, RatchetTreePresence};
use mimi::{AppDataDictionary, AppDataOperation, AppDataUpdate, ClientUri, ComponentId};
use openmls::component::ComponentData;
use openmls::group::{ProposalStore, PublicGroup, QueuedProposal};
use openmls::key_packages::KeyPackageIn;
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{
    AppDataUpdateOperation, Ciphersuite, Credential, CredentialType, GroupId, LeafNode, LeafNodeIndex, MlsMessageIn,
    OpenMlsCrypto, ProcessedMessageContent, ProposalType, ProtocolMessage, ProtocolVersion, RatchetTreeIn,
    StagedCommit,
};
use openmls_rust_crypto::RustCrypto;
use policy::apply_components;
use tls_codec::{DeserializeBytes as _, Serialize as _};

use crate::{Digest, Epoch, Refusal};
use codec::{CodecError, KeptDictionary, Shelf};

/// Only ever verifies and hashes: its random source is not touched.
static CRYPTO: LazyLock<RustCrypto> = LazyLock::new(RustCrypto::default);

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    mls: PublicGroup,
}

impl Group {
    /// The group of a new room, its snapshot and its dictionary.
    pub(crate) fn found(group_info: &GroupInfo, tree: &RatchetTree) -> Result<(Self, Snapshot), Refusal> {
        let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&tree.encode())
            .map_err(|_| Refusal::Malformed("the ratchet tree"))?;
        let info = VerifiableGroupInfo::tls_deserialize_exact_bytes(group_info.octets())
            .map_err(|_| Refusal::Malformed("the GroupInfo"))?;
        let shelf = Shelf::empty();
        let (mls, _) = PublicGroup::from_external(&*CRYPTO, &shelf, tree, info, ProposalStore::new())
            .map_err(|_| Refusal::NotAllowed("the group does not verify"))?;
        let group = Self { mls };
        let required = group.mls.required_capabilities();
        let demands = |extension, proposal| {
            required.is_some_and(|required| {
                required.extension_types().contains(&extension) && required.proposal_types().contains(&proposal)
            })
        };
        use openmls::prelude::ExtensionType;
        if !demands(ExtensionType::AppDataDictionary, ProposalType::AppDataUpdate) {
            return Err(Refusal::NotAllowed(
                "a group that does not require app_data_dictionary and AppDataUpdate",
            ));
        }
        let senders = group.mls.group_context().extensions().external_senders();
        if senders.is_none_or(|senders| senders.is_empty()) {
            return Err(Refusal::NotAllowed(
                "a group whose external_senders do not name the hub",
            ));
        }
        let (state, dictionary) = group
            .dictionary_of()
            .and_then(|dictionary| shelf.encode(dictionary).ok())
            .ok_or(Refusal::NotAllowed("a group without app_data_dictionary"))?;
        Ok((group, Snapshot { state, dictionary }))
    }

    /// The group of a snapshot, and the digest of its dictionary.
    pub(crate) fn load(
        state: &[u8],
        dictionary: &dyn Fn(&Digest) -> Option<Bytes>,
    ) -> Result<(Self, Digest), CodecError> {
        let (shelf, digest) = Shelf::decode(state, dictionary)?;
        // The shelf holds one group only, whatever its name.
        let mls = PublicGroup::load(&shelf, &GroupId::from_slice(&[]))?.ok_or(CodecError)?;
        Ok((Self { mls }, digest))
    }

    /// Makes a committed change that was kept, and gives the digest of its dictionary.
    pub(crate) fn replay(
        &mut self,
        delta: &[u8],
        dictionary: &dyn Fn(&Digest) -> Option<Bytes>,
    ) -> Result<Digest, CodecError> {
        let (staged, digest) = codec::decode_delta(delta, dictionary)?;
        self.mls
            .merge_commit(&Shelf::nowhere(), staged)
            .map_err(|_| CodecError)?;
        Ok(digest)
    }

    /// Makes a committed change.
    pub(crate) fn merge(&mut self, staged: StagedCommit) {
        self.mls
            .merge_commit(&Shelf::nowhere(), staged)
            .expect("merging writes to nowhere, which cannot fail");
    }

    /// Makes a committed change and takes a snapshot of what comes of it.
    pub(crate) fn merge_into_snapshot(&mut self, staged: StagedCommit) -> Snapshot {
        let shelf = Shelf::empty();
        self.mls
            .merge_commit(&shelf, staged)
            .expect("what was packed as a delta can be packed");
        let dictionary = self.dictionary_of().expect("checked when the commit was staged");
        let (state, dictionary) = shelf
            .encode(dictionary)
            .expect("what was packed as a delta can be packed");
        Snapshot { state, dictionary }
    }

    fn dictionary_of(&self) -> Option<&openmls::extensions::AppDataDictionary> {
        let extension = self.mls.group_context().extensions().app_data_dictionary()?;
        Some(extension.dictionary())
    }

    /// The components of the group.
    pub(crate) fn dictionary(&self) -> AppDataDictionary {
        self.dictionary_of().map(read_dictionary).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> &[u8] {
        self.mls.group_id().as_slice()
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.mls.group_context().epoch().as_u64())
    }

    pub(crate) fn suite(&self) -> mls::CipherSuite {
        self.mls.ciphersuite().into()
    }

    /// The client at a leaf.
    pub(crate) fn client(&self, leaf: u32) -> Option<ClientUri> {
        client_of(self.mls.leaf(LeafNodeIndex::new(leaf))?.credential())
    }

    /// The clients in the group, by leaf; `None` for one whose credential names none.
    pub(crate) fn clients(&self) -> impl Iterator<Item = Option<ClientUri>> {
        self.mls
            .treesync()
            .full_leaves()
            .map(|(_, leaf)| client_of(leaf.credential()))
    }

    /// What the leaves say of their clients.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = Result<policy::Leaf, Refusal>> {
        self.mls.treesync().full_leaves().map(|(_, leaf)| leaf_of(leaf))
    }

    /// RatchetTreeOption with the whole tree.
    pub(crate) fn ratchet_tree(&self) -> RatchetTreeOption {
        let octets = self.mls.export_ratchet_tree().tls_serialize_detached();
        let octets = octets.expect("a tree that was decoded can be encoded");
        RatchetTreeOption::Full(RatchetTree::decode_exact(&octets).expect("bounded when it was accepted"))
    }

    /// Verifies a proposal. Whether anybody may propose it is not asked.
    pub(crate) fn verify_proposal(&self, message: &Message) -> Result<QueuedProposal, Refusal> {
        let processed = self
            .mls
            .process_message(&*CRYPTO, protocol_message(message)?)
            .map_err(|_| Refusal::NotAllowed("the proposal does not verify"))?;
        match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(queued)
            | ProcessedMessageContent::ExternalJoinProposalMessage(queued) => Ok(*queued),
            _ => Err(Refusal::NotAllowed("not a proposal")),
        }
    }

    /// Keeps proposals, so that a commit can refer to them.
    pub(crate) fn keep(&mut self, queued: impl IntoIterator<Item = QueuedProposal>) {
        for proposal in queued {
            self.mls
                .add_proposal(&Shelf::nowhere(), proposal)
                .expect("a queue that is nowhere cannot fail");
        }
    }

    /// Verifies a commit for this epoch, and what it makes of the components.
    pub(crate) fn stage(&self, message: &Message) -> Result<StagedCommit, Refusal> {
        let unverified = Refusal::NotAllowed("the commit does not verify");
        let processed = self
            .mls
            .process_message(&*CRYPTO, protocol_message(message)?)
            .map_err(|_| unverified.clone())?;
        let staged = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let updates: Vec<AppDataUpdate> = unresolved.app_data_update_proposals().map(read_update).collect();
                let changes = apply_components(&self.dictionary(), &updates)
                    .map_err(|violation| Refusal::NotAllowed(violation.why()))?;
                let mut updater = self.mls.app_data_dictionary_updater();
                for (component, value) in changes {
                    match value {
                        Some(value) => updater.set(ComponentData::from_parts(component.0, value.to_vec().into())),
                        None => updater.remove(&component.0),
                    }
                }
                self.mls
                    .stage_app_data_commit(&*CRYPTO, *unresolved, updater.changes())
                    .map_err(|_| unverified)?
            }
            _ => return Err(Refusal::NotAllowed("not a commit")),
        };
        if staged.group_context().extensions().app_data_dictionary().is_none() {
            return Err(Refusal::NotAllowed("a commit that takes the room's components away"));
        }
        Ok(staged)
    }

    /// The leaf of a joiner after its external commit.
    pub(crate) fn joiner_leaf(&self, staged: &StagedCommit) -> Option<u32> {
        self.mls.ext_commit_sender_index(staged).ok().map(|leaf| leaf.u32())
    }

    /// The GroupInfo that came with a commit, whole: it describes the epoch that the commit begins, and its committer
    /// signed it.
    pub(crate) fn check_group_info(
        &self,
        option: &GroupInfoOption,
        staged: &StagedCommit,
        commit: &Message,
        committer: u32,
    ) -> Result<GroupInfo, Refusal> {
        let context = staged
            .group_context()
            .tls_serialize_detached()
            .map_err(|_| Refusal::NotAllowed("the group cannot be encoded"))?;
        let tag = commit
            .confirmation_tag()
            .ok_or(Refusal::NotAllowed("a commit without confirmation tag"))?;
        let group_info = match option {
            // A copy: the octets of the request, the ratchet tree among them, are not kept for it.
            GroupInfoOption::Full(group_info) => {
                GroupInfo::decode_exact(group_info.octets()).map_err(|_| Refusal::Malformed("the GroupInfo"))?
            }
            GroupInfoOption::Partial(partial) => {
                let without = [RatchetTreePresence::NoRatchetTree, RatchetTreePresence::Removed];
                if !without.contains(&partial.ratchet_tree_presence) {
                    return Err(Refusal::NotAllowed("a GroupInfo with a ratchet tree"));
                }
                let mut writer = Writer::default();
                writer.raw(&context);
                partial.group_info_extensions.write(&mut writer);
                tag.write(&mut writer);
                committer.write(&mut writer);
                partial.signature.write(&mut writer);
                GroupInfo::decode_exact(&writer.into_octets()).map_err(|_| Refusal::Malformed("the GroupInfo"))?
            }
        };
        let view = group_info.view();
        if !group_info.octets().starts_with(&context) || view.confirmation_tag != &**tag || view.signer != committer {
            return Err(Refusal::NotAllowed("the GroupInfo is not that of the commit"));
        }
        let has = |wanted| view.extensions.iter().any(|(kind, _)| kind == wanted);
        if has(extension_type::RATCHET_TREE) {
            return Err(Refusal::NotAllowed("a GroupInfo with a ratchet tree"));
        }
        if !has(extension_type::EXTERNAL_PUB) {
            return Err(Refusal::NotAllowed("a GroupInfo without external_pub"));
        }
        let mut signature = Writer::default();
        signature.opaque(view.signature);
        let signed = group_info.octets().len() - signature.into_octets().len();
        let key = match staged.update_path_leaf_node() {
            Some(leaf) => leaf.signature_key().as_slice(),
            None => self.leaf(committer)?.signature_key().as_slice(),
        };
        verify(
            self.suite(),
            "GroupInfoTBS",
            &group_info.octets()[..signed],
            key,
            view.signature,
        )
        .map_err(|Unverified| Refusal::NotAllowed("the GroupInfo is not signed by the committer"))?;
        Ok(group_info)
    }

    fn leaf(&self, leaf: u32) -> Result<&LeafNode, Refusal> {
        let leaf = self.mls.leaf(LeafNodeIndex::new(leaf));
        leaf.ok_or(Refusal::NotAllowed("no client at this leaf"))
    }

    /// Whether a tree that came with a commit is the tree that the commit makes.
    pub(crate) fn check_tree(&self, option: &RatchetTreeOption, staged: &StagedCommit) -> Result<(), Refusal> {
        match option {
            RatchetTreeOption::Full(tree) => match tree_hash::tree_hash(self.suite(), tree) {
                Ok(Some(hash)) if hash == staged.group_context().tree_hash() => Ok(()),
                _ => Err(Refusal::NotAllowed("the ratchet tree is not that of the commit")),
            },
            // The hub has it anyway.
            RatchetTreeOption::DistributionService => Ok(()),
            RatchetTreeOption::HttpsUri(_) | RatchetTreeOption::OutOfBand => {
                Err(Refusal::NotAllowed("a ratchet tree that the hub cannot see"))
            }
        }
    }

    /// Verifies a KeyPackage that was handed out for this group: signed, of the group's suite, able to do what the group
    /// requires, and valid now by the wall clock.
    pub(crate) fn fits(&self, key_package: &mls::KeyPackage) -> bool {
        let Ok(package) = KeyPackageIn::tls_deserialize_exact_bytes(key_package.octets()) else {
            return false;
        };
        let Ok(package) = package.validate(&*CRYPTO, ProtocolVersion::Mls10) else {
            return false;
        };
        // Types that every client knows are not listed (RFC 9420 §7.2).
        let lists = key_package.view().leaf.capabilities;
        let extension = |kind: u16| (1..=5).contains(&kind) || lists.extensions.contains(kind);
        let proposal = |kind: u16| (1..=7).contains(&kind) || lists.proposals.contains(kind);
        let mut context = self.mls.group_context().extensions().iter();
        let required = self.mls.required_capabilities().is_none_or(|required| {
            required.extension_types().iter().all(|kind| extension((*kind).into()))
                && required.proposal_types().iter().all(|kind| proposal((*kind).into()))
                && required
                    .credential_types()
                    .iter()
                    .all(|kind| lists.credentials.contains((*kind).into()))
        });
        required
            && package.ciphersuite() == self.mls.ciphersuite()
            && context.all(|each| extension(each.extension_type().into()))
    }

    /// GroupContext, encoded: what a GroupInfo of this epoch begins with.
    pub(crate) fn context(&self) -> Vec<u8> {
        let context = self.mls.group_context().tls_serialize_detached();
        context.expect("what was decoded can be encoded")
    }

    /// Whether a GroupInfo is that of this epoch.
    pub(crate) fn is_described_by(&self, group_info: &GroupInfo) -> bool {
        let mut tag = Writer::default();
        tag.opaque(group_info.view().confirmation_tag);
        let own = self.mls.confirmation_tag().tls_serialize_detached();
        own.is_ok_and(|own| own == tag.into_octets())
    }

    /// Everything that the group is, in one encoding.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let parts = [
            self.mls.export_ratchet_tree().tls_serialize_detached(),
            self.mls.group_context().tls_serialize_detached(),
            self.mls.confirmation_tag().tls_serialize_detached(),
        ];
        for part in parts {
            writer.opaque(&part.expect("what was decoded can be encoded"));
        }
        writer.into_octets()
    }
}

/// A group as it is kept.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) state: Bytes,
    pub(crate) dictionary: KeptDictionary,
}

/// KeyPackageRefs and clients that a commit adds.
pub(crate) fn added(staged: &StagedCommit) -> Vec<(Bytes, Option<ClientUri>)> {
    staged
        .add_proposals()
        .map(|add| {
            let package = add.add_proposal().key_package();
            let reference = package
                .hash_ref(&*CRYPTO)
                .expect("a KeyPackage that was decoded can be encoded");
            (
                Bytes::copy_from_slice(reference.as_slice()),
                client_of(package.leaf_node().credential()),
            )
        })
        .collect()
}

/// ProposalRef.
pub(crate) fn reference(queued: &QueuedProposal) -> Bytes {
    Bytes::copy_from_slice(queued.proposal_reference_ref().as_slice())
}

/// The dictionary of the epoch that a commit begins.
pub(crate) fn dictionary_after(staged: &StagedCommit) -> AppDataDictionary {
    let extension = staged.group_context().extensions().app_data_dictionary();
    extension
        .map(|extension| read_dictionary(extension.dictionary()))
        .unwrap_or_default()
}

fn read_dictionary(dictionary: &openmls::extensions::AppDataDictionary) -> AppDataDictionary {
    let entries = dictionary.entries();
    AppDataDictionary(
        entries
            .map(|each| (ComponentId(each.id()), Bytes::copy_from_slice(each.data())))
            .collect(),
    )
}

pub(crate) fn read_update(proposal: &openmls::prelude::AppDataUpdateProposal) -> AppDataUpdate {
    AppDataUpdate {
        component: ComponentId(proposal.component_id()),
        operation: match proposal.operation() {
            AppDataUpdateOperation::Update(octets) => {
                AppDataOperation::Update(Bytes::copy_from_slice(octets.as_slice()))
            }
            AppDataUpdateOperation::Remove => AppDataOperation::Remove,
        },
    }
}

/// The client that a credential names: a basic one by its URI, a pseudonymous one by its pseudonym.
pub(crate) fn client_of(credential: &Credential) -> Option<ClientUri> {
    let content = credential.serialized_content();
    match credential.credential_type() {
        CredentialType::Basic => ClientUri::from_octets(content).ok(),
        kind => {
            let credential = mls::Credential {
                credential_type: kind.into(),
                content: Bytes::copy_from_slice(content),
            };
            credential.client().ok()
        }
    }
}

/// What a leaf says of its client.
///
/// # Errors
/// The leaf cannot be read, or its credential is of no client or of another leaf.
pub(crate) fn leaf_of(leaf: &LeafNode) -> Result<policy::Leaf, Refusal> {
    let client = client_of(leaf.credential()).ok_or(Refusal::NotAllowed("a credential that names no client"))?;
    let octets = leaf.tls_serialize_detached().ok();
    let leaf = octets.and_then(|octets| mls::LeafNode::decode_exact(&octets).ok());
    let leaf = leaf.ok_or(Refusal::NotAllowed("a leaf that cannot be read"))?;
    policy::Leaf::of(client, &leaf.view()).map_err(|violation| Refusal::NotAllowed(violation.why()))
}

fn protocol_message(message: &Message) -> Result<ProtocolMessage, Refusal> {
    MlsMessageIn::tls_deserialize_exact_bytes(message.octets())
        .map_err(|_| Refusal::Malformed("the MLSMessage"))?
        .try_into_protocol_message()
        .map_err(|_| Refusal::Malformed("the MLSMessage"))
}

/// A signature that does not verify.
#[derive(Debug)]
pub(crate) struct Unverified;

/// VerifyWithLabel (RFC 9420 §5.1.2).
pub(crate) fn verify(
    suite: mls::CipherSuite,
    label: &str,
    content: &[u8],
    key: &[u8],
    signature: &[u8],
) -> Result<(), Unverified> {
    let suite = Ciphersuite::try_from(suite).map_err(|_| Unverified)?;
    let signed = label::sign_content(label, content);
    CRYPTO
        .verify_signature(suite.signature_algorithm(), &signed, key, signature)
        .map_err(|_| Unverified)
}
