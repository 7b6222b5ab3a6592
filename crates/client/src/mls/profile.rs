//! What a new room is like: the extensions every member must support, the participant list, the roles and the rules, all
//! agreed in the GroupContext from the first epoch on.

use std::collections::BTreeMap;

use bytes::Bytes;
use mimi::app_data::ComponentsList;
use mimi::codec::{Decode as _, Encode as _};
use mimi::franking::FrankingAgentData;
use mimi::metadata::{RoomMetaData, Text};
use mimi::operational::{AppMessagePolicy, OperationalParameters, PendingProposalPolicy, TimeRange};
use mimi::role::RoleChangeTargets;
use mimi::{BaseRoomPolicy, ComponentId, ParticipantList, Role, RoleData, RoomUri, UserUri};
use openmls::extensions::{AppDataDictionary, AppDataDictionaryExtension};
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{
    Ciphersuite, CredentialType, Extension, ExtensionType, Extensions, ExternalSender, GroupId,
    MIXED_PLAINTEXT_WIRE_FORMAT_POLICY, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig, ProposalType,
    RequiredCapabilitiesExtension, SenderRatchetConfiguration,
};

use policy::Preset;
use policy::preset::UnknownPreset;
use policy::pseudonyms::PSEUDONYMOUS;

use super::identity::{Identity, content_media_types};
use super::{CIPHERSUITE, MemberError, wire};

/// Role of a user who is kept out.
pub const BANNED: u32 = 1;
/// Role of a user without further rights.
pub const ORDINARY: u32 = 2;
/// Role of a user who looks after the others.
pub const MODERATOR: u32 = 3;
/// Role of a user who may do everything.
pub const ADMIN: u32 = 4;

/// Epochs whose messages are still decrypted after a newer one began.
const PAST_EPOCHS: usize = 8;
/// How far messages of one sender may overtake each other.
const OUT_OF_ORDER: u32 = 256;
/// How many messages of one sender may be missing.
const SKIPPED: u32 = 4_096;
/// For how many seconds a client lets wait what came before its epoch.
const WAITING: TimeRange = TimeRange {
    minimum: 0,
    default: 60,
    maximum: 600,
};
/// How many messages it lets wait.
const WAITING_MAX: u32 = 256;

/// Choices for a new room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomProfile {
    /// Its name, for people.
    pub name: String,
    /// Whether anybody may come in as an ordinary user (mimi-room-policy: canOpenJoin).
    pub open: bool,
    /// How many epochs back the hub still accepts messages.
    pub epoch_tolerance: u8,
    /// The founder's role.
    pub founder: u32,
    /// The example policy that its roles follow; `open` has no effect then. Otherwise they are like those of
    /// [`Preset::Cooperative`].
    pub preset: Option<Preset>,
    /// Its cipher suite, one of [`CIPHERSUITES`](super::CIPHERSUITES).
    pub suite: Ciphersuite,
    /// Whether the hub is its franking agent (mimi-protocol §5.4.1), and messages carry what that needs.
    pub franked: bool,
    /// Whether application data says what it is (component content_media_types).
    pub framed: bool,
    /// Who is in its list from the beginning beside the founder, as ordinary users.
    pub participants: Vec<UserUri>,
    /// Whether it is a minimal-metadata room (mimi-protocol §6): everybody in it goes by a pseudonym.
    pub minimal_metadata: bool,
    /// The room of the same hub that it depends on: whoever leaves that one leaves this one as well (mimi-room-policy §5).
    pub parent: Option<RoomUri>,
    /// More components of its policy, as they are encoded; those that there are anyway are replaced.
    pub policies: BTreeMap<ComponentId, Bytes>,
}

impl Default for RoomProfile {
    fn default() -> Self {
        Self {
            name: String::new(),
            open: false,
            epoch_tolerance: 8,
            founder: ADMIN,
            preset: None,
            suite: CIPHERSUITE,
            franked: true,
            framed: true,
            participants: Vec::new(),
            minimal_metadata: false,
            parent: None,
            policies: BTreeMap::new(),
        }
    }
}

impl RoomProfile {
    /// A room that follows an example policy of mimi-room-policy, appendix A, with its founder as super_admin. The hub is
    /// its policy enforcer.
    ///
    /// # Errors
    /// No preset has this name.
    pub fn preset(name: &str) -> Result<Self, UnknownPreset> {
        let preset: Preset = name.parse()?;
        Ok(Self {
            founder: preset.founder(),
            preset: Some(preset),
            ..Self::default()
        })
    }

    /// Founds the room's group with `identity` alone in it. Whoever holds `hub_sender` is its hub, its policy enforcer
    /// and, if it is franked, its franking agent.
    pub(super) fn found(
        &self,
        identity: &Identity,
        room: &RoomUri,
        hub_sender: &[u8],
    ) -> Result<MlsGroup, MemberError> {
        let malformed = || MemberError::Malformed("the hub's ExternalSender");
        let sender = ExternalSender::tls_deserialize_exact_bytes(hub_sender).map_err(|_| malformed())?;
        let hub = mimi::mls::ExternalSender::decode_exact(hub_sender).map_err(|_| malformed())?;
        let mut dictionary = AppDataDictionary::new();
        for (component, data) in self.components(identity, room, &hub)? {
            dictionary.insert(component.0, data);
        }
        let (extensions, proposals, credentials) = required(identity);
        let extensions = Extensions::from_vec(vec![
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
                &extensions,
                &proposals,
                &credentials,
            )),
            Extension::ExternalSenders(vec![sender]),
            Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
        ])
        .map_err(MemberError::mls)?;
        let config = MlsGroupCreateConfig::builder()
            .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
            .ciphersuite(self.suite)
            .capabilities(identity.capabilities())
            .with_leaf_node_extensions(Identity::leaf_extensions()?)
            .map_err(MemberError::mls)?
            .max_past_epochs(PAST_EPOCHS)
            .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER, SKIPPED))
            .use_ratchet_tree_extension(false)
            .with_group_context_extensions(extensions)
            .build();
        let signing = identity.signing(self.suite);
        MlsGroup::new_with_group_id(
            &identity.provider,
            &signing.signer,
            &config,
            group_id(room),
            signing.credential.clone(),
        )
        .map_err(MemberError::mls)
    }

    /// Every component of the room, and, in app_components, which those are.
    fn components(
        &self,
        identity: &Identity,
        room: &RoomUri,
        hub: &mimi::mls::ExternalSender,
    ) -> Result<BTreeMap<ComponentId, Vec<u8>>, MemberError> {
        let mut components = self.policy(hub)?;
        let participants = ParticipantList {
            participants: std::iter::once(wire::participant(&identity.uri.user(), self.founder))
                .chain(self.participants.iter().map(|user| wire::participant(user, ORDINARY)))
                .collect(),
        };
        let metadata = RoomMetaData {
            room_uri: room.into(),
            room_name: Text(self.name.clone()),
            ..RoomMetaData::default()
        };
        components.insert(ComponentId::PARTICIPANT_LIST, participants.encode());
        components.insert(ComponentId::ROOM_METADATA, metadata.encode());
        if self.framed {
            components.insert(ComponentId::CONTENT_MEDIA_TYPES, content_media_types().encode());
        }
        if self.franked {
            let agent = FrankingAgentData {
                franking_signature_key: hub.signature_key.clone(),
                credential: hub.credential.clone(),
            };
            let safe_aad = ComponentsList {
                ids: vec![ComponentId::FRANK_AAD],
            };
            components.insert(ComponentId::FRANKING_AGENT, agent.encode());
            components.insert(ComponentId::SAFE_AAD, safe_aad.encode());
        }
        let listed = ComponentsList {
            ids: components.keys().copied().collect(),
        };
        components.insert(ComponentId::APP_COMPONENTS, listed.encode());
        Ok(components)
    }

    /// The components that are rules.
    fn policy(&self, hub: &mimi::mls::ExternalSender) -> Result<BTreeMap<ComponentId, Vec<u8>>, MemberError> {
        let mut operation = OperationalParameters {
            handshake_formats: vec![mimi::mls::wire_format::PUBLIC_MESSAGE],
            external_proposal_allowed: true,
            external_commit_allowed: true,
            pending_proposal_policy: PendingProposalPolicy::ImmediateCommit,
            app_message_policy: AppMessagePolicy {
                epoch_tolerance: self.epoch_tolerance,
                pad_to_size: 0,
                max_generations_skipahead: SKIPPED,
            },
            buffer_incoming_message_time: WAITING,
            max_buffered_messages: WAITING_MAX,
            ..OperationalParameters::default()
        };
        if self.minimal_metadata {
            operation.mandatory_capabilities.credentials = vec![PSEUDONYMOUS];
        }
        let preset = self.preset.unwrap_or(Preset::Cooperative);
        let mut components = preset.components(&hub.credential, &operation);
        if self.preset.is_none() {
            components.insert(ComponentId::ROLES_LIST, self.roles().encode().into());
        }
        if self.minimal_metadata || self.parent.is_some() || !self.policies.is_empty() {
            let base = &components[&ComponentId::BASE_ROOM_POLICY];
            let mut base =
                BaseRoomPolicy::decode_exact(base).map_err(|_| MemberError::Malformed("a preset's base policy"))?;
            let new = self.policies.keys().filter(|id| !components.contains_key(id));
            base.policy_component_ids.extend(new);
            base.pseudonyms_allowed |= self.minimal_metadata;
            if let Some(parent) = &self.parent {
                base.parent_dependant = true;
                base.parent_room = vec![parent.into()];
            }
            components.insert(ComponentId::BASE_ROOM_POLICY, base.encode().into());
        }
        components.extend(self.policies.clone());
        Ok(components
            .into_iter()
            .map(|(component, value)| (component, value.to_vec()))
            .collect())
    }

    /// The cooperatively administered room of mimi-room-policy, appendix A.1; an administrator is not required, so that
    /// the last one can leave. The policy enforcer's role is the preset's, because its preauthorization repeats it.
    fn roles(&self) -> RoleData {
        let nobody = Role {
            index: 0,
            name: Bytes::from_static(b"no_role"),
            capabilities: if self.open { vec![CAN_OPEN_JOIN] } else { Vec::new() },
            maximum_active_participants: Some(0),
            authorized_role_changes: if self.open { moves(&[(0, &[2])]) } else { Vec::new() },
            ..Role::default()
        };
        let banned = Role {
            index: BANNED,
            name: Bytes::from_static(b"banned"),
            maximum_active_participants: Some(0),
            ..Role::default()
        };
        let user = Role {
            index: ORDINARY,
            name: Bytes::from_static(b"ordinary_user"),
            capabilities: USER.to_vec(),
            authorized_role_changes: moves(&[(0, &[2]), (2, &[0])]),
            ..Role::default()
        };
        let moderator = Role {
            index: MODERATOR,
            name: Bytes::from_static(b"group_admin"),
            capabilities: [USER, MODERATION].concat(),
            authorized_role_changes: moves(&[(0, &[1, 2, 3]), (1, &[0, 2, 3]), (2, &[0, 1, 3]), (3, &[0, 1, 2])]),
            ..Role::default()
        };
        let admin = Role {
            index: ADMIN,
            name: Bytes::from_static(b"super_admin"),
            capabilities: [USER, MODERATION, ADMINISTRATION].concat(),
            authorized_role_changes: moves(&[
                (0, &[1, 2, 3, 4]),
                (1, &[0, 2, 3, 4]),
                (2, &[0, 1, 3, 4]),
                (3, &[0, 1, 2, 4]),
                (4, &[0, 1, 2, 3]),
            ]),
            ..Role::default()
        };
        let enforcer = Preset::Cooperative.roles();
        let enforcer = enforcer.role(Preset::Cooperative.enforcer()).cloned();
        let mut roles = vec![nobody, banned, user, moderator, admin];
        roles.extend(enforcer);
        RoleData { roles }
    }
}

/// Extensions, proposals and credentials that every client of a room must support.
pub(super) fn required(identity: &Identity) -> (Vec<ExtensionType>, Vec<ProposalType>, Vec<CredentialType>) {
    (
        vec![ExtensionType::AppDataDictionary],
        vec![
            ProposalType::AppDataUpdate,
            ProposalType::AppEphemeral,
            ProposalType::SelfRemove,
        ],
        vec![identity.credential_type()],
    )
}

/// How this client takes part in a group that it did not found.
pub(super) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(MIXED_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(PAST_EPOCHS)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER, SKIPPED))
        .use_ratchet_tree_extension(false)
        .build()
}

/// As in mimi-protocol's examples: the room's URI with `g` for `r`. Nobody relies on it.
fn group_id(room: &RoomUri) -> GroupId {
    GroupId::from_slice(room.as_str().replacen("/r/", "/g/", 1).as_bytes())
}

fn moves(moves: &[(u32, &[u32])]) -> Vec<RoleChangeTargets> {
    moves
        .iter()
        .map(|(from, targets)| RoleChangeTargets {
            from: *from,
            targets: targets.to_vec(),
        })
        .collect()
}

// Capabilities by their numbers (mimi-room-policy §10.2).

const CAN_OPEN_JOIN: u16 = 0x0004;

/// Add and remove participants, add and remove own clients, remove oneself; everything about one's own messages; assets
/// and links; name, avatar, subject and mood of the room.
const USER: &[u16] = &[
    0x0000, 0x0001, 0x0002, 0x0003, 0x0006, 0x0100, 0x0101, 0x0102, 0x0103, 0x0104, 0x0105, 0x0107, 0x0109, 0x010a,
    0x010c, 0x010d, 0x010e, 0x0200, 0x0201, 0x0202, 0x0203, 0x0204, 0x0205, 0x0206, 0x0207, 0x0208, 0x0209, 0x020a,
    0x020b, 0x0300, 0x0302, 0x0303, 0x0304,
];

/// Ban, unban, kick, change roles; others' messages and topics; the room's description.
const MODERATION: &[u16] = &[0x000a, 0x000b, 0x000c, 0x000f, 0x010b, 0x010f, 0x0301];

/// Destroy the room; change its style, its roles and who is preauthorized.
const ADMINISTRATION: &[u16] = &[0x0501, 0x0502, 0x0503, 0x0504];
