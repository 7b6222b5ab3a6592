//! What a room's components hold.

use mimi::app_data::{AppDataOperation, ComponentsList, SafeAad};
use mimi::content::ApplicationFraming;
use mimi::metadata::{RichDescription, RoomMetaData, Text};
use mimi::operational::{
    AppMessagePolicy, ExtendedCapabilities, MediaType, MediaTypeParameter, OperationalParameters,
    PendingProposalPolicy, TimeRange,
};
use mimi::role::{Claim, PreAuthData, PreAuthRoleEntry, RoleChangeTargets};
use mimi::{
    AppDataDictionary, AppDataUpdate, BaseRoomPolicy, ComponentId, IdentifierUri, Participant, ParticipantList,
    ParticipantListUpdate, Role, RoleChange, RoleData,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use super::octets;

pub(crate) type Sample<T> = BoxedStrategy<T>;

pub(crate) fn identifier() -> Sample<IdentifierUri> {
    octets().prop_map(IdentifierUri).boxed()
}

pub(crate) fn text() -> Sample<String> {
    "[a-zé]{0,4}".boxed()
}

fn component() -> impl Strategy<Value = ComponentId> {
    any::<u16>().prop_map(ComponentId)
}

pub(crate) fn numbers<T: Arbitrary + 'static>() -> Sample<Vec<T>> {
    vec(any::<T>(), 0..3).boxed()
}

pub(crate) fn dictionary() -> Sample<AppDataDictionary> {
    btree_map(component(), octets(), 0..3)
        .prop_map(AppDataDictionary)
        .boxed()
}

pub(crate) fn safe_aad() -> Sample<SafeAad> {
    btree_map(component(), octets(), 0..3).prop_map(SafeAad).boxed()
}

pub(crate) fn components() -> Sample<ComponentsList> {
    vec(component(), 0..4).prop_map(|ids| ComponentsList { ids }).boxed()
}

pub(crate) fn app_data_update() -> Sample<AppDataUpdate> {
    let operation = prop_oneof![
        octets().prop_map(AppDataOperation::Update),
        Just(AppDataOperation::Remove)
    ];
    (component(), operation)
        .prop_map(|(component, operation)| AppDataUpdate { component, operation })
        .boxed()
}

fn participant() -> Sample<Participant> {
    (identifier(), any::<u32>())
        .prop_map(|(user, role)| Participant { user, role })
        .boxed()
}

pub(crate) fn participant_list() -> Sample<ParticipantList> {
    vec(participant(), 0..4)
        .prop_map(|participants| ParticipantList { participants })
        .boxed()
}

pub(crate) fn participant_list_update() -> Sample<ParticipantListUpdate> {
    let change = any::<(u32, u32)>().prop_map(|(user_index, role)| RoleChange { user_index, role });
    (vec(change, 0..3), numbers(), vec(participant(), 0..3))
        .prop_map(|(changed, removed, added)| ParticipantListUpdate {
            changed,
            removed,
            added,
        })
        .boxed()
}

pub(crate) fn metadata() -> Sample<RoomMetaData> {
    let description = (octets(), octets(), octets()).prop_map(|(media_type, language_tag, content)| RichDescription {
        media_type,
        language_tag,
        content,
    });
    let words = || text().prop_map(Text);
    (
        identifier(),
        words(),
        vec(description, 0..3),
        identifier(),
        words(),
        words(),
    )
        .prop_map(
            |(room_uri, room_name, room_descriptions, room_avatar, room_subject, room_mood)| RoomMetaData {
                room_uri,
                room_name,
                room_descriptions,
                room_avatar,
                room_subject,
                room_mood,
            },
        )
        .boxed()
}

pub(crate) fn role() -> Sample<Role> {
    let targets = (any::<u32>(), numbers()).prop_map(|(from, targets)| RoleChangeTargets { from, targets });
    let bounds = || (any::<u32>(), of(any::<u32>()));
    (
        any::<u32>(),
        octets(),
        octets(),
        numbers(),
        bounds(),
        bounds(),
        vec(targets, 0..3),
    )
        .prop_map(
            |(index, name, description, capabilities, all, active, authorized_role_changes)| Role {
                index,
                name,
                description,
                capabilities,
                minimum_participants: all.0,
                maximum_participants: all.1,
                minimum_active_participants: active.0,
                maximum_active_participants: active.1,
                authorized_role_changes,
            },
        )
        .boxed()
}

pub(crate) fn role_data() -> Sample<RoleData> {
    vec(role(), 0..3).prop_map(|roles| RoleData { roles }).boxed()
}

pub(crate) fn preauth_data() -> Sample<PreAuthData> {
    let claim = (any::<u16>(), octets(), octets()).prop_map(|(credential_type, id, value)| Claim {
        credential_type,
        id,
        value,
    });
    let entry = (vec(claim, 0..3), role()).prop_map(|(claims, target_role)| PreAuthRoleEntry { claims, target_role });
    vec(entry, 0..3).prop_map(|entries| PreAuthData { entries }).boxed()
}

pub(crate) fn base_room_policy() -> Sample<BaseRoomPolicy> {
    (
        any::<[bool; 6]>(),
        vec(identifier(), 0..2),
        of(any::<u32>()),
        of(any::<u32>()),
        components(),
    )
        .prop_map(
            |(flags, parent_room, max_clients, max_users, components)| BaseRoomPolicy {
                fixed_membership: flags[0],
                parent_dependant: flags[1],
                parent_room,
                multi_device: flags[2],
                max_clients,
                max_users,
                pseudonyms_allowed: flags[3],
                persistent_room: flags[4],
                discoverable: flags[5],
                policy_component_ids: components.ids,
            },
        )
        .boxed()
}

pub(crate) fn application_framing() -> Sample<ApplicationFraming> {
    let media_type = media_types().prop_map(|mut types| types.pop());
    (media_type, octets())
        .prop_filter_map("a media type", |(media_type, content)| {
            let media_type = media_type?;
            Some(ApplicationFraming { media_type, content })
        })
        .boxed()
}

pub(crate) fn media_types() -> Sample<Vec<MediaType>> {
    let parameter = (octets(), octets()).prop_map(|(name, value)| MediaTypeParameter { name, value });
    let media_type =
        (octets(), vec(parameter, 0..2)).prop_map(|(media_type, parameters)| MediaType { media_type, parameters });
    vec(media_type, 0..2).boxed()
}

fn extended_capabilities() -> Sample<ExtendedCapabilities> {
    (
        [numbers(), numbers(), numbers(), numbers(), numbers(), numbers()],
        components(),
        components(),
        media_types(),
        numbers(),
    )
        .prop_map(
            |(
                [
                    versions,
                    cipher_suites,
                    extensions,
                    proposals,
                    credentials,
                    wire_formats,
                ],
                ids,
                aad,
                media,
                content,
            )| {
                ExtendedCapabilities {
                    versions,
                    cipher_suites,
                    extensions,
                    proposals,
                    credentials,
                    wire_formats,
                    component_ids: ids.ids,
                    safe_aad_types: aad.ids,
                    media_types: media,
                    content_types: content,
                }
            },
        )
        .boxed()
}

pub(crate) fn operational_parameters() -> Sample<OperationalParameters> {
    let times = || {
        any::<[u64; 3]>().prop_map(|[minimum, default, maximum]| TimeRange {
            minimum,
            default,
            maximum,
        })
    };
    let pending = prop_oneof![
        Just(PendingProposalPolicy::Unspecified),
        Just(PendingProposalPolicy::ImmediateCommit),
        any::<(u64, u64)>().prop_map(
            |(minimum_delay_ms, maximum_delay_ms)| PendingProposalPolicy::RandomDelay {
                minimum_delay_ms,
                maximum_delay_ms,
            }
        ),
    ];
    (
        [
            extended_capabilities(),
            extended_capabilities(),
            extended_capabilities(),
        ],
        numbers(),
        any::<(bool, bool)>(),
        pending,
        [times(), times(), times()],
        any::<(u8, u16, u32)>(),
        any::<[u64; 3]>(),
        any::<(u32, u32)>(),
    )
        .prop_map(
            |(capabilities, handshake_formats, external, pending, times, messages, lifetimes, counts)| {
                let [mandatory_capabilities, default_capabilities, forbidden_capabilities] = capabilities;
                let [
                    leaf_node_update_time,
                    sender_nonce_keypair_lifetime,
                    buffer_incoming_message_time,
                ] = times;
                let [max_kp_lifetime, max_credential_lifetime, resumption_psk_lifetime] = lifetimes;
                OperationalParameters {
                    mandatory_capabilities,
                    default_capabilities,
                    forbidden_capabilities,
                    handshake_formats,
                    external_proposal_allowed: external.0,
                    external_commit_allowed: external.1,
                    pending_proposal_policy: pending,
                    leaf_node_update_time,
                    app_message_policy: AppMessagePolicy {
                        epoch_tolerance: messages.0,
                        pad_to_size: messages.1,
                        max_generations_skipahead: messages.2,
                    },
                    max_kp_lifetime,
                    max_credential_lifetime,
                    resumption_psk_lifetime,
                    sender_nonce_keypair_lifetime,
                    max_keypairs: counts.0,
                    buffer_incoming_message_time,
                    max_buffered_messages: counts.1,
                }
            },
        )
        .boxed()
}
