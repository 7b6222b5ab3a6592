//! A large group without a large cast: one founder who commits, and the few members whose commits fill the founder's
//! copath, so that a commit has the size that it has in a room that lives.
#![allow(unreachable_pub, dead_code, clippy::unwrap_used, reason = "benchmarks")]

pub mod store;

use std::collections::BTreeMap;

use bytes::Bytes;
use mimi::codec::{Decode as _, Encode as _};
use mimi::mls::{
    Credential as MimiCredential, GroupInfo as MimiGroupInfo, Message, RatchetTree, Welcome as MimiWelcome,
};
use mimi::operational::{AppMessagePolicy, OperationalParameters};
use mimi::submit::SubmitMessageRequest;
use mimi::update::{GroupInfoOption, HandshakeBundle, RatchetTreeOption, UpdateRequest};
use mimi::{
    AppDataDictionary, AppDataOperation, AppDataUpdate, ComponentId, Participant, ParticipantList,
    ParticipantListUpdate, Protocol, Provider, RoomUri,
};
use openmls::component::ComponentData;
use openmls::extensions::{AppDataDictionary as MlsDictionary, AppDataDictionaryExtension};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::*;
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use policy::Preset;
use room::{Answer, Applied, Command, Decision, Founding, Millis, NoKeys, Room, Row, RowId};

pub const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;
/// Adds in one commit.
const BULK: usize = 900;
const ORDINARY: u32 = 2;
const ADMIN: u32 = 4;

pub fn id() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

pub fn provider() -> Provider {
    "a.example".parse().unwrap()
}

/// A client with what it needs to be in a group.
pub struct Client {
    pub mls: OpenMlsRustCrypto,
    pub signer: SignatureKeyPair,
    pub credential: CredentialWithKey,
    pub group: Option<MlsGroup>,
}

/// Client `n` of the room: every user has two.
fn uri(n: usize) -> String {
    format!("mimi://a.example/d/user-{:05}/device-{}", n / 2, n % 2)
}

fn user(n: usize) -> String {
    format!("mimi://a.example/u/user-{:05}", n / 2)
}

fn capabilities() -> Capabilities {
    Capabilities::builder()
        .ciphersuites(vec![SUITE])
        .extensions(vec![ExtensionType::AppDataDictionary])
        .proposals(vec![
            ProposalType::AppDataUpdate,
            ProposalType::AppEphemeral,
            ProposalType::SelfRemove,
        ])
        .credentials(vec![CredentialType::Basic])
        .build()
}

impl Client {
    pub fn new(n: usize) -> Self {
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
        let credential = CredentialWithKey {
            credential: BasicCredential::new(uri(n).into_bytes()).into(),
            signature_key: signer.public().into(),
        };
        Self {
            mls: OpenMlsRustCrypto::default(),
            signer,
            credential,
            group: None,
        }
    }

    fn key_package(&self) -> KeyPackage {
        let bundle = KeyPackage::builder().leaf_node_capabilities(capabilities()).build(
            SUITE,
            &self.mls,
            &self.signer,
            self.credential.clone(),
        );
        bundle.unwrap().key_package().clone()
    }

    fn join(&mut self, welcome: &Welcome, tree: &RatchetTreeIn) {
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .build();
        let staged = StagedWelcome::new_from_welcome(&self.mls, &config, welcome.clone(), Some(tree.clone())).unwrap();
        self.group = Some(staged.into_group(&self.mls).unwrap());
    }

    /// Takes another member's commit.
    fn take(&mut self, commit: &[u8]) {
        let group = self.group.as_mut().unwrap();
        let message = MlsMessageIn::tls_deserialize_exact_bytes(commit).unwrap();
        let processed = group.process_message(&self.mls, message.try_into_protocol_message().unwrap());
        match processed.unwrap().into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                group.merge_staged_commit(&self.mls, *staged).unwrap();
            }
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let updates: Vec<_> = unresolved.app_data_update_proposals().map(read).collect();
                let mut updater = group.app_data_dictionary_updater();
                for (component, value) in policy::apply_components(&dictionary(group), &updates).unwrap() {
                    updater.set(ComponentData::from_parts(component.0, value.unwrap().to_vec().into()));
                }
                let changes = updater.changes();
                let staged = group.stage_app_data_commit(&self.mls, *unresolved, changes).unwrap();
                group.merge_staged_commit(&self.mls, staged).unwrap();
            }
            _ => panic!("not a commit"),
        }
    }

    /// A commit of these clients and whoever of their users is new, merged here.
    fn commit(&mut self, adds: Vec<KeyPackage>, list: Option<ParticipantListUpdate>, path: bool) -> Made {
        let group = self.group.as_mut().unwrap();
        let before = dictionary(group);
        let tree = group.export_ratchet_tree();
        let list = list.map(|list| {
            let update = AppDataUpdateProposal::update(ComponentId::PARTICIPANT_LIST.0, list.encode());
            Proposal::AppDataUpdate(Box::new(update))
        });
        let mut builder = group
            .commit_builder()
            .force_self_update(path)
            .propose_adds(adds)
            .add_proposals(list)
            .load_psks(self.mls.storage())
            .unwrap();
        let updates: Vec<_> = builder.app_data_update_proposals().map(read).collect();
        let mut updater = builder.app_data_dictionary_updater();
        for (component, value) in policy::apply_components(&before, &updates).unwrap() {
            updater.set(ComponentData::from_parts(component.0, value.unwrap().to_vec().into()));
        }
        let changes = updater.changes();
        builder.with_app_data_dictionary_updates(changes);
        let bundle = builder
            .create_group_info(true)
            .use_ratchet_tree_extension(false)
            .build(self.mls.rand(), self.mls.crypto(), &self.signer, |_| true)
            .unwrap()
            .stage_commit(&self.mls)
            .unwrap();
        let group = self.group.as_mut().unwrap();
        let pending = group.pending_commit().unwrap();
        let tree = pending.export_ratchet_tree(self.mls.crypto(), tree).unwrap().unwrap();
        let (commit, welcome, group_info) = bundle.into_contents();
        group.merge_pending_commit(&self.mls).unwrap();
        Made {
            commit: commit.to_bytes().unwrap(),
            welcome,
            group_info: group_info.unwrap().tls_serialize_detached().unwrap(),
            tree: tree.tls_serialize_detached().unwrap(),
        }
    }
}

/// A commit and what comes with it, encoded.
pub struct Made {
    pub commit: Vec<u8>,
    pub welcome: Option<Welcome>,
    pub group_info: Vec<u8>,
    pub tree: Vec<u8>,
}

impl Made {
    /// UpdateRequest; the hub has the tree itself.
    pub fn request(&self) -> Bytes {
        let welcome = self
            .welcome
            .as_ref()
            .map(|welcome| welcome.tls_serialize_detached().unwrap());
        let bundle = HandshakeBundle::Commit {
            commit: Message::decode_exact(&self.commit).unwrap(),
            welcome: welcome.map(|octets| MimiWelcome::decode_exact(&octets).unwrap()),
            group_info: GroupInfoOption::Full(MimiGroupInfo::decode_exact(&self.group_info).unwrap()),
            ratchet_tree: RatchetTreeOption::DistributionService,
        };
        UpdateRequest { bundle }.encode().into()
    }
}

/// A group of `leaves` clients, two of each user, with its founder.
pub struct Grown {
    pub founder: Client,
    pub leaves: usize,
    next: usize,
}

impl Grown {
    /// Brings `leaves` clients together and fills the founder's copath.
    pub fn new(leaves: usize) -> Self {
        let mut founder = Client::new(0);
        founder.group = Some(found(&founder));
        // Leaves 1, 2, 4, 8 …: one in each subtree beside the founder's path.
        let mut helpers: Vec<(usize, Client)> = Vec::new();
        let mut next = 1;
        while next < leaves {
            let last = (next + BULK).min(leaves);
            let clients: Vec<(usize, Client)> = (next..last).map(|n| (n, Client::new(n))).collect();
            let packages = clients.iter().map(|(_, client)| client.key_package()).collect();
            // The founder's user came with the founder.
            let users = clients
                .iter()
                .filter(|(n, _)| n % 2 == 0)
                .map(|(n, _)| participant(*n, ORDINARY));
            let list = ParticipantListUpdate {
                added: users.collect(),
                ..ParticipantListUpdate::default()
            };
            let made = founder.commit(packages, (!list.added.is_empty()).then_some(list), false);
            for (_, helper) in &mut helpers {
                helper.take(&made.commit);
            }
            let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&made.tree).unwrap();
            for (n, mut client) in clients {
                if n.is_power_of_two() {
                    client.join(made.welcome.as_ref().unwrap(), &tree);
                    helpers.push((n, client));
                }
            }
            next = last;
        }
        for committer in (0..helpers.len()).rev() {
            let made = helpers[committer].1.commit(Vec::new(), None, true);
            founder.take(&made.commit);
            for (other, (_, helper)) in helpers.iter_mut().enumerate() {
                if other != committer {
                    helper.take(&made.commit);
                }
            }
        }
        Self {
            founder,
            leaves,
            next: leaves.next_multiple_of(2),
        }
    }

    /// What a hub is given to host the group.
    pub fn founding(&self) -> Founding {
        let group = self.founder.group.as_ref().unwrap();
        let exported = group.export_group_info(self.founder.mls.crypto(), &self.founder.signer, false);
        let message = Message::decode_exact(&exported.unwrap().to_bytes().unwrap()).unwrap();
        let tree = group.export_ratchet_tree().tls_serialize_detached().unwrap();
        Founding {
            from: provider(),
            group_info: message.group_info().unwrap().octets().clone(),
            ratchet_tree: RatchetTreeOption::Full(RatchetTree::decode_exact(&tree).unwrap())
                .encode()
                .into(),
        }
    }

    /// A commit that gives the founder a new leaf and path.
    pub fn update(&mut self) -> Made {
        self.founder.commit(Vec::new(), None, true)
    }

    /// A commit that adds one more user with two clients.
    pub fn add(&mut self) -> Made {
        let clients = [self.next, self.next + 1];
        self.next += 2;
        let packages = clients.map(|n| Client::new(n).key_package()).into();
        let list = ParticipantListUpdate {
            added: vec![participant(clients[0], ORDINARY)],
            ..ParticipantListUpdate::default()
        };
        self.founder.commit(packages, Some(list), true)
    }

    /// SubmitMessageRequest with `bytes` of application data.
    pub fn message(&mut self, bytes: usize) -> Bytes {
        let Client { mls, signer, group, .. } = &mut self.founder;
        let message = group
            .as_mut()
            .unwrap()
            .create_message(mls, signer, &vec![7; bytes])
            .unwrap();
        let request = SubmitMessageRequest {
            protocol: Protocol::Mls10,
            app_message: Message::decode_exact(&message.to_bytes().unwrap()).unwrap(),
            sending_uri: mimi::IdentifierUri(user(0).into()),
        };
        request.encode().into()
    }
}

fn participant(n: usize, role: u32) -> Participant {
    Participant {
        user: mimi::IdentifierUri(user(n).into()),
        role,
    }
}

fn found(founder: &Client) -> MlsGroup {
    let operational = OperationalParameters {
        handshake_formats: vec![mimi::mls::wire_format::PUBLIC_MESSAGE],
        external_proposal_allowed: true,
        external_commit_allowed: true,
        app_message_policy: AppMessagePolicy {
            epoch_tolerance: 8,
            ..AppMessagePolicy::default()
        },
        ..OperationalParameters::default()
    };
    let hub = MimiCredential::basic("mimi://a.example");
    let mut dictionary = MlsDictionary::new();
    for (component, value) in Preset::Cooperative.components(&hub, &operational) {
        dictionary.insert(component.0, value.to_vec());
    }
    let list = ParticipantList {
        participants: vec![participant(0, ADMIN)],
    };
    dictionary.insert(ComponentId::PARTICIPANT_LIST.0, list.encode());
    let hub_signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
    let hub = ExternalSender::new(
        hub_signer.public().into(),
        BasicCredential::new(b"mimi://a.example".to_vec()).into(),
    );
    let extensions = Extensions::from_vec(vec![
        Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
            &[ExtensionType::AppDataDictionary],
            &[ProposalType::AppDataUpdate, ProposalType::SelfRemove],
            &[CredentialType::Basic],
        )),
        Extension::ExternalSenders(vec![hub]),
        Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
    ]);
    let config = MlsGroupCreateConfig::builder()
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .ciphersuite(SUITE)
        .capabilities(capabilities())
        .use_ratchet_tree_extension(false)
        .with_group_context_extensions(extensions.unwrap())
        .build();
    MlsGroup::new(&founder.mls, &founder.signer, &config, founder.credential.clone()).unwrap()
}

fn dictionary(group: &MlsGroup) -> AppDataDictionary {
    let entries = group.extensions().app_data_dictionary().unwrap().dictionary().entries();
    AppDataDictionary(
        entries
            .map(|each| (ComponentId(each.id()), Bytes::copy_from_slice(each.data())))
            .collect(),
    )
}

pub fn read(proposal: &AppDataUpdateProposal) -> AppDataUpdate {
    AppDataUpdate {
        component: ComponentId(proposal.component_id()),
        operation: match proposal.operation() {
            AppDataUpdateOperation::Update(octets) => AppDataOperation::Update(octets.as_slice().to_vec().into()),
            AppDataUpdateOperation::Remove => AppDataOperation::Remove,
        },
    }
}

/// A hosted room with its rows.
pub struct Hosted {
    pub room: Room,
    pub rows: BTreeMap<RowId, Row>,
    now: Millis,
}

impl Hosted {
    pub fn found(founding: Founding) -> Self {
        let now = Millis(1_800_000_000_000);
        let (room, applied) = Room::found(id(), founding, now, &NoKeys).unwrap();
        let mut hosted = Self {
            room,
            rows: BTreeMap::new(),
            now,
        };
        hosted.keep(applied);
        hosted
    }

    pub fn keep(&mut self, applied: Applied) -> Answer {
        for change in applied.rows {
            match change.row {
                Some(row) => self.rows.insert(change.id, row),
                None => self.rows.remove(&change.id),
            };
        }
        applied.answer
    }

    /// Decides and applies, without keeping the rows.
    pub fn accept(&mut self, command: &Command) -> Applied {
        self.now.0 += 1;
        match self.room.decide(command, self.now, &NoKeys).unwrap() {
            Decision::Append(append) => self.room.apply(*append, &NoKeys),
            Decision::Answer(_) => panic!("an answer without an entry"),
        }
    }

    /// The same room in another life.
    pub fn again(&self) -> Self {
        Self {
            room: self.reopened(),
            rows: self.rows.clone(),
            now: self.now,
        }
    }

    /// The room as it is opened from its rows.
    pub fn reopened(&self) -> Room {
        Room::open(id(), self.rows.clone()).unwrap()
    }
}

pub fn update_command(body: Bytes) -> Command {
    Command::Update { from: provider(), body }
}

pub fn submit_command(body: Bytes) -> Command {
    Command::Submit { from: provider(), body }
}

/// What OpenMLS alone makes of the group, as a hub would hold it.
pub fn public_group(founding: &Founding) -> PublicGroup {
    let RatchetTreeOption::Full(tree) = RatchetTreeOption::decode_exact(&founding.ratchet_tree).unwrap() else {
        panic!("a founding has its tree")
    };
    let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&tree.encode()).unwrap();
    let group_info =
        openmls::messages::group_info::VerifiableGroupInfo::tls_deserialize_exact_bytes(&founding.group_info).unwrap();
    let crypto = OpenMlsRustCrypto::default();
    let (group, _) = PublicGroup::from_external(
        crypto.crypto(),
        &store::Nowhere,
        tree,
        group_info,
        openmls::group::ProposalStore::new(),
    )
    .unwrap();
    group
}
