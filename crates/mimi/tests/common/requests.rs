//! What providers say to each other.

use bytes::Bytes;
use mimi::abuse::{AbuseReport, AbusiveMessage};
use mimi::consent::{ConsentEntry, ConsentOperation};
use mimi::group_info::{
    GroupInfoRatchetTreeTbe, GroupInfoRefusal, GroupInfoRequest, GroupInfoResponse, GroupInfoSuccess, PendingProposal,
};
use mimi::identifier::{
    FieldSource, IdentifierQueryCode, IdentifierRequest, IdentifierResponse, ProfileField, QueryElement, Search,
    UserProfile,
};
use mimi::key_material::{
    ClientKeyMaterial, ClientStatus, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode,
};
use mimi::mls::{Capabilities, Extensions, ExternalSender, HpkeCiphertext, RequiredCapabilities};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::{Frank, SubmitMessageRequest, SubmitMessageResponse, SubmitOutcome};
use mimi::update::{
    GroupInfoOption, HandshakeBundle, PartialGroupInfo, RatchetTreeOption, RatchetTreePresence, UpdateOutcome,
    UpdateRequest, UpdateRoomResponse,
};
use mimi::{Decode, Protocol};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::values::{Sample, dictionary, identifier, numbers, text};
use super::{mls, octets};

fn capabilities() -> Sample<Capabilities> {
    [numbers(), numbers(), numbers(), numbers(), numbers()]
        .prop_map(
            |[versions, cipher_suites, extensions, proposals, credentials]| Capabilities {
                versions,
                cipher_suites,
                extensions,
                proposals,
                credentials,
            },
        )
        .boxed()
}

pub(crate) fn key_material_request() -> Sample<KeyMaterialRequest> {
    let required = [numbers(), numbers(), numbers()].prop_map(|[extension_types, proposal_types, credential_types]| {
        RequiredCapabilities {
            extension_types,
            proposal_types,
            credential_types,
        }
    });
    (
        [identifier(), identifier(), identifier()],
        vec(any::<u16>(), 1..3),
        required,
        octets(),
        mls::credentials(),
        octets(),
    )
        .prop_map(
            |([requesting_user, target_user, room_id], suites, required, key, credential, signature)| {
                KeyMaterialRequest {
                    protocol: Protocol::Mls10,
                    requesting_user,
                    target_user,
                    room_id,
                    acceptable_ciphersuites: suites,
                    required_capabilities: required,
                    requester_signature_key: key,
                    requester_credential: credential,
                    signature,
                }
            },
        )
        .boxed()
}

pub(crate) fn key_material_response() -> Sample<KeyMaterialResponse> {
    let status = prop_oneof![
        mls::key_packages().prop_map(ClientStatus::Success),
        Just(ClientStatus::Exhausted),
        of(capabilities()).prop_map(ClientStatus::NothingCompatible),
    ];
    let client = (status, identifier()).prop_map(|(status, client)| ClientKeyMaterial { status, client });
    let code = (0u8..8).prop_map(|code| KeyMaterialUserCode::decode_exact(&[code]).unwrap());
    (code, identifier(), vec(client, 0..3))
        .prop_map(|(user_status, user, clients)| KeyMaterialResponse {
            protocol: Protocol::Mls10,
            user_status,
            user,
            clients,
        })
        .boxed()
}

fn ratchet_tree_option() -> Sample<RatchetTreeOption> {
    prop_oneof![
        mls::trees().prop_map(RatchetTreeOption::Full),
        octets().prop_map(RatchetTreeOption::HttpsUri),
        Just(RatchetTreeOption::OutOfBand),
        Just(RatchetTreeOption::DistributionService),
    ]
    .boxed()
}

fn group_info_option() -> Sample<GroupInfoOption> {
    let partial = (0u8..4, octets()).prop_map(|(presence, signature)| PartialGroupInfo {
        ratchet_tree_presence: RatchetTreePresence::decode_exact(&[presence]).unwrap(),
        group_info_extensions: Extensions::none(),
        signature,
    });
    prop_oneof![
        mls::group_infos().prop_map(GroupInfoOption::Full),
        partial.prop_map(GroupInfoOption::Partial),
    ]
    .boxed()
}

pub(crate) fn update_request() -> Sample<UpdateRequest> {
    let commit = (
        mls::commit_messages(),
        of(mls::welcomes()),
        group_info_option(),
        ratchet_tree_option(),
    )
        .prop_map(|(commit, welcome, group_info, ratchet_tree)| HandshakeBundle::Commit {
            commit,
            welcome,
            group_info,
            ratchet_tree,
        });
    let proposals = vec(mls::proposal_messages(), 1..4).prop_map(|proposals| HandshakeBundle::Proposals { proposals });
    prop_oneof![commit, proposals]
        .prop_map(|bundle| UpdateRequest { bundle })
        .boxed()
}

pub(crate) fn update_response() -> Sample<UpdateRoomResponse> {
    let outcome = prop_oneof![
        any::<u64>().prop_map(|accepted_timestamp| UpdateOutcome::Success { accepted_timestamp }),
        any::<u64>().prop_map(|current_epoch| UpdateOutcome::WrongEpoch { current_epoch }),
        Just(UpdateOutcome::NotAllowed),
        vec(octets(), 0..3).prop_map(|invalid_proposals| UpdateOutcome::InvalidProposal { invalid_proposals }),
    ];
    (outcome, text())
        .prop_map(|(outcome, error_description)| UpdateRoomResponse {
            outcome,
            error_description,
        })
        .boxed()
}

fn frank() -> Sample<Frank> {
    (any::<[u8; 32]>(), any::<u16>(), octets())
        .prop_map(|(server_frank, suite, signature)| Frank {
            server_frank,
            franking_signature_ciphersuite: suite,
            franking_integrity_signature: signature,
        })
        .boxed()
}

pub(crate) fn submit_request() -> Sample<SubmitMessageRequest> {
    (mls::messages(), identifier())
        .prop_map(|(app_message, sending_uri)| SubmitMessageRequest {
            protocol: Protocol::Mls10,
            app_message,
            sending_uri,
        })
        .boxed()
}

pub(crate) fn submit_response() -> Sample<SubmitMessageResponse> {
    prop_oneof![
        (any::<u64>(), of(frank())).prop_map(|(accepted_timestamp, frank)| SubmitOutcome::Accepted {
            accepted_timestamp,
            frank,
        }),
        Just(SubmitOutcome::NotAllowed),
        any::<u64>().prop_map(|current_epoch| SubmitOutcome::EpochTooOld { current_epoch }),
    ]
    .prop_map(SubmitMessageResponse::from)
    .boxed()
}

pub(crate) fn fanout_message() -> Sample<FanoutMessage> {
    // Proposals and commits as PrivateMessage decode too: whether a room wants them is the room's.
    let content = prop_oneof![
        (mls::application_messages(), of(frank()))
            .prop_map(|(message, frank)| FanoutContent::Application { message, frank }),
        (mls::welcome_messages(), ratchet_tree_option())
            .prop_map(|(message, ratchet_tree)| FanoutContent::Welcome { message, ratchet_tree }),
        vec(mls::proposal_messages(), 1..3).prop_map(|proposals| FanoutContent::Proposals { proposals }),
        (mls::commit_messages(), vec(mls::proposal_messages(), 0..2)).prop_map(|(commit, external_proposals)| {
            FanoutContent::Commit {
                commit,
                external_proposals,
            }
        }),
    ];
    (any::<u64>(), content)
        .prop_map(|(timestamp, content)| FanoutMessage { timestamp, content })
        .boxed()
}

pub(crate) fn group_info_request() -> Sample<GroupInfoRequest> {
    (
        any::<u16>(),
        octets(),
        mls::credentials(),
        octets(),
        of(octets()),
        octets(),
    )
        .prop_map(
            |(cipher_suite, key, credential, public_key, joining_code, signature)| GroupInfoRequest {
                protocol: Protocol::Mls10,
                cipher_suite,
                requesting_signature_key: key,
                requesting_credential: credential,
                group_info_public_key: public_key,
                joining_code,
                signature,
            },
        )
        .boxed()
}

pub(crate) fn group_info_response() -> Sample<GroupInfoResponse> {
    let success = (
        any::<u16>(),
        octets(),
        mls::credentials(),
        [octets(), octets(), octets()],
    )
        .prop_map(
            |(cipher_suite, signature_key, credential, [kem_output, ciphertext, signature])| GroupInfoSuccess {
                cipher_suite,
                hub_sender: ExternalSender {
                    signature_key,
                    credential,
                },
                encrypted_groupinfo_and_tree: HpkeCiphertext { kem_output, ciphertext },
                signature,
            },
        );
    let outcome = prop_oneof![
        success.prop_map(Ok),
        Just(Err(GroupInfoRefusal::NotAuthorized)),
        Just(Err(GroupInfoRefusal::NoSuchRoom)),
    ];
    (identifier(), outcome)
        .prop_map(|(room_id, outcome)| GroupInfoResponse {
            version: Protocol::Mls10,
            room_id,
            outcome,
        })
        .boxed()
}

pub(crate) fn group_info_tbe() -> Sample<GroupInfoRatchetTreeTbe> {
    let pending = (mls::proposal_messages(), any::<u64>()).prop_map(|(proposal, hub_accepted_time)| PendingProposal {
        proposal,
        hub_accepted_time,
    });
    (mls::group_infos(), ratchet_tree_option(), vec(pending, 0..3))
        .prop_map(
            |(group_info, ratchet_tree, pending_proposals)| GroupInfoRatchetTreeTbe {
                group_info,
                ratchet_tree,
                pending_proposals,
            },
        )
        .boxed()
}

pub(crate) fn consent_entry() -> Sample<ConsentEntry> {
    let operation = prop_oneof![
        Just(ConsentOperation::Cancel),
        Just(ConsentOperation::Request),
        vec(mls::key_packages(), 0..3).prop_map(ConsentOperation::Grant),
        Just(ConsentOperation::Revoke),
    ];
    (operation, identifier(), identifier(), of(identifier()), dictionary())
        .prop_map(|(operation, requester, target, room, extensions)| ConsentEntry {
            operation,
            requester,
            target,
            room,
            extensions,
        })
        .boxed()
}

pub(crate) fn identifier_request() -> Sample<IdentifierRequest> {
    let search = (1u8..9, octets()).prop_map(|(code, name): (u8, Bytes)| match code {
        1 => Search::Handle,
        2 => Search::Nick,
        3 => Search::Email,
        4 => Search::Phone,
        5 => Search::PartialName,
        6 => Search::WholeProfile,
        7 => Search::OidcStdClaim(name),
        _ => Search::VcardField(name),
    });
    let element = (search, octets()).prop_map(|(search, value)| QueryElement { search, value });
    (vec(element, 0..4), dictionary())
        .prop_map(|(elements, extensions)| IdentifierRequest { elements, extensions })
        .boxed()
}

pub(crate) fn identifier_response() -> Sample<IdentifierResponse> {
    let source = prop_oneof![Just(FieldSource::OidcStdClaim), Just(FieldSource::VcardField)];
    let field = (source, text(), octets()).prop_map(|(source, name, value)| ProfileField { source, name, value });
    let profile = (identifier(), vec(field, 0..3)).prop_map(|(stable_uri, fields)| UserProfile { stable_uri, fields });
    let code = (0u8..5).prop_map(|code| IdentifierQueryCode::decode_exact(&[code]).unwrap());
    (code, vec(identifier(), 0..3), vec(profile, 0..3), dictionary())
        .prop_map(|(code, uris, profiles, extensions)| IdentifierResponse {
            code,
            uris,
            profiles,
            extensions,
        })
        .boxed()
}

pub(crate) fn abuse_report() -> Sample<AbuseReport> {
    let message =
        (octets(), frank(), any::<u64>()).prop_map(|(message_content, frank, accepted_timestamp)| AbusiveMessage {
            message_content,
            frank,
            accepted_timestamp,
        });
    (
        identifier(),
        identifier(),
        any::<u8>(),
        octets(),
        vec(message, 0..3),
        dictionary(),
    )
        .prop_map(
            |(reporting_user, alleged_abuser, reason_code, note, messages, extensions)| AbuseReport {
                reporting_user,
                alleged_abuser,
                reason_code,
                note,
                messages,
                extensions,
            },
        )
        .boxed()
}
