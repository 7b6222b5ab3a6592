//! Between MLS' octets and the drafts' structures: requests are put together and signed here, answers taken apart and
//! checked.

use bytes::Bytes;
use mimi::codec::{Decode as _, DecodeError, Encode as _};
use mimi::group_info::{GroupInfoRatchetTreeTbe, GroupInfoRefusal, GroupInfoRequest, GroupInfoResponse};
use mimi::key_material::{KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode};
use mimi::mls::{self, ExternalSender, GroupInfo, Message, RatchetTree, RequiredCapabilities};
use mimi::submit::{SubmitMessageRequest, SubmitMessageResponse, SubmitOutcome};
use mimi::update::{
    GroupInfoOption, HandshakeBundle, RatchetTreeOption, UpdateOutcome, UpdateRequest, UpdateRoomResponse,
};
use mimi::{IdentifierUri, Protocol, RoomUri, UserUri};
use openmls::prelude::Ciphersuite;
use openmls::prelude::tls_codec::VLBytes;
use openmls_traits::types::{HpkeCiphertext, HpkeKeyPair};

use super::identity::Identity;
use super::{Answered, MemberError, Submitted, profile};

/// OpenMLS and `mimi` agree on what MLS structures look like; where they do not, nothing is sent.
fn own(_: DecodeError) -> MemberError {
    MemberError::Refused("a structure of this client's own that does not decode")
}

pub(super) fn submit(message: &[u8], user: &UserUri) -> Result<Bytes, MemberError> {
    let request = SubmitMessageRequest {
        protocol: Protocol::Mls10,
        app_message: Message::decode_exact(message).map_err(own)?,
        sending_uri: user.into(),
    };
    Ok(request.encode().into())
}

pub(super) fn submitted(response: &[u8]) -> Result<Submitted, MemberError> {
    let response =
        SubmitMessageResponse::decode_exact(response).map_err(|_| MemberError::Malformed("a SubmitMessageResponse"))?;
    Ok(match response.outcome {
        SubmitOutcome::Accepted { accepted_timestamp, .. } => Submitted::Accepted(accepted_timestamp),
        SubmitOutcome::NotAllowed => Submitted::NotAllowed,
        SubmitOutcome::EpochTooOld { current_epoch } => Submitted::EpochTooOld(current_epoch),
    })
}

pub(super) fn ratchet_tree_option(tree: &[u8]) -> Result<Bytes, MemberError> {
    let tree = RatchetTree::decode_exact(tree).map_err(own)?;
    Ok(RatchetTreeOption::Full(tree).encode().into())
}

/// UpdateRequest with a commit. `welcome`, `group_info` and `tree` are the bare structures.
pub(super) fn commit(
    commit: &[u8],
    welcome: Option<&[u8]>,
    group_info: &[u8],
    tree: &[u8],
) -> Result<Bytes, MemberError> {
    let bundle = HandshakeBundle::Commit {
        commit: Message::decode_exact(commit).map_err(own)?,
        welcome: welcome.map(mls::Welcome::decode_exact).transpose().map_err(own)?,
        group_info: GroupInfoOption::Full(GroupInfo::decode_exact(group_info).map_err(own)?),
        ratchet_tree: RatchetTreeOption::Full(RatchetTree::decode_exact(tree).map_err(own)?),
    };
    Ok(UpdateRequest { bundle }.encode().into())
}

/// UpdateRequest with proposals, each an MLSMessage; at least one.
pub(super) fn proposals(proposals: &[Vec<u8>]) -> Result<Bytes, MemberError> {
    let proposals = proposals
        .iter()
        .map(|octets| Message::decode_exact(octets).map_err(own))
        .collect::<Result<Vec<_>, _>>()?;
    let bundle = HandshakeBundle::Proposals { proposals };
    Ok(UpdateRequest { bundle }.encode().into())
}

pub(super) fn answered(response: &[u8]) -> Result<Answered, MemberError> {
    let response =
        UpdateRoomResponse::decode_exact(response).map_err(|_| MemberError::Malformed("an UpdateRoomResponse"))?;
    Ok(match response.outcome {
        UpdateOutcome::Success { accepted_timestamp } => Answered::Accepted(accepted_timestamp),
        UpdateOutcome::WrongEpoch { current_epoch } => Answered::WrongEpoch(current_epoch),
        UpdateOutcome::NotAllowed => Answered::NotAllowed(response.error_description),
        UpdateOutcome::InvalidProposal { .. } => Answered::InvalidProposal(response.error_description),
    })
}

pub(super) fn key_material_request(
    identity: &Identity,
    target: &UserUri,
    room: &RoomUri,
    suite: Ciphersuite,
) -> Result<Bytes, MemberError> {
    let (extension_types, proposal_types, credential_types) = profile::required(identity);
    let mut request = KeyMaterialRequest {
        protocol: Protocol::Mls10,
        requesting_user: (&identity.uri.user()).into(),
        target_user: target.into(),
        room_id: room.into(),
        acceptable_ciphersuites: vec![suite.into()],
        required_capabilities: RequiredCapabilities {
            extension_types: extension_types.iter().map(|&number| number.into()).collect(),
            proposal_types: proposal_types.iter().map(|&number| number.into()).collect(),
            credential_types: credential_types.iter().map(|&number| number.into()).collect(),
        },
        requester_signature_key: Bytes::copy_from_slice(identity.signing(suite).signer.public()),
        requester_credential: identity.credential(suite),
        signature: Bytes::new(),
    };
    request.signature = identity.sign(suite, KeyMaterialRequest::LABEL, &request.tbs())?.into();
    Ok(request.encode().into())
}

pub(super) fn key_packages(target: &UserUri, response: &[u8]) -> Result<Vec<Bytes>, MemberError> {
    let response =
        KeyMaterialResponse::decode_exact(response).map_err(|_| MemberError::Malformed("a KeyMaterialResponse"))?;
    if response.user.octets() != target.as_str().as_bytes() {
        return Err(MemberError::Refused("the key material of another user"));
    }
    let refused = match response.user_status {
        KeyMaterialUserCode::Success | KeyMaterialUserCode::PartialSuccess => None,
        KeyMaterialUserCode::IncompatibleProtocol => Some("the user does not speak MLS"),
        KeyMaterialUserCode::NoCompatibleMaterial => Some("no client of the user has a KeyPackage that would do"),
        KeyMaterialUserCode::UserUnknown => Some("no such user"),
        KeyMaterialUserCode::NoConsent => Some("no consent of the user"),
        KeyMaterialUserCode::NoConsentForThisRoom => Some("no consent of the user to this room"),
        KeyMaterialUserCode::UserDeleted => Some("the user is gone"),
    };
    match refused {
        Some(why) => Err(MemberError::Refused(why)),
        None => Ok(response
            .key_packages()
            .map(|key_package| key_package.octets().clone())
            .collect()),
    }
}

pub(super) fn group_info_request(
    identity: &Identity,
    suite: Ciphersuite,
    public_key: &[u8],
    joining_code: Option<Bytes>,
) -> Result<Bytes, MemberError> {
    let mut request = GroupInfoRequest {
        protocol: Protocol::Mls10,
        cipher_suite: suite.into(),
        requesting_signature_key: Bytes::copy_from_slice(identity.signing(suite).signer.public()),
        requesting_credential: identity.credential(suite),
        group_info_public_key: Bytes::copy_from_slice(public_key),
        joining_code,
        signature: Bytes::new(),
    };
    request.signature = identity.sign(suite, GroupInfoRequest::LABEL, &request.tbs())?.into();
    Ok(request.encode().into())
}

/// What a GroupInfoResponse let this client see. Only the signature was checked.
pub(super) struct Grant {
    pub(super) group_info: Bytes,
    /// `optional<Node> ratchet_tree<V>`.
    pub(super) ratchet_tree: Vec<u8>,
    /// Pending proposals, each an MLSMessage.
    pub(super) pending: Vec<Bytes>,
    /// Whose signature the answer has.
    pub(super) hub_sender: ExternalSender,
}

pub(super) fn group_info_response(
    identity: &Identity,
    room: &RoomUri,
    suite: Ciphersuite,
    keys: &HpkeKeyPair,
    response: &[u8],
) -> Result<Grant, MemberError> {
    let response =
        GroupInfoResponse::decode_exact(response).map_err(|_| MemberError::Malformed("a GroupInfoResponse"))?;
    if response.room_id.octets() != room.as_str().as_bytes() {
        return Err(MemberError::Refused("the GroupInfo of another room"));
    }
    let success = match &response.outcome {
        Ok(success) => success,
        Err(GroupInfoRefusal::NotAuthorized) => return Err(MemberError::Refused("this client may not join")),
        Err(GroupInfoRefusal::NoSuchRoom) => return Err(MemberError::Refused("no such room")),
    };
    if success.cipher_suite != u16::from(suite) {
        return Err(MemberError::Refused("an answer in another cipher suite"));
    }
    let key = &success.hub_sender.signature_key;
    identity.verify(
        suite,
        GroupInfoResponse::LABEL,
        &response.tbs(),
        key,
        &success.signature,
    )?;
    let sealed = HpkeCiphertext {
        kem_output: VLBytes::from(success.encrypted_groupinfo_and_tree.kem_output.to_vec()),
        ciphertext: VLBytes::from(success.encrypted_groupinfo_and_tree.ciphertext.to_vec()),
    };
    let context = room.as_str().as_bytes();
    let opened = identity.open(suite, keys, GroupInfoRatchetTreeTbe::LABEL, context, &sealed)?;
    let opened = GroupInfoRatchetTreeTbe::decode_shared(&opened.into())
        .map_err(|_| MemberError::Malformed("a GroupInfoRatchetTreeTBE"))?;
    let RatchetTreeOption::Full(tree) = opened.ratchet_tree else {
        return Err(MemberError::Refused("a GroupInfo without its ratchet tree"));
    };
    Ok(Grant {
        group_info: opened.group_info.octets().clone(),
        ratchet_tree: tree.encode(),
        pending: opened
            .pending_proposals
            .iter()
            .map(|pending| pending.proposal.octets().clone())
            .collect(),
        hub_sender: success.hub_sender.clone(),
    })
}

/// A participant as an update of the list adds it.
pub(super) fn participant(user: &UserUri, role: u32) -> mimi::Participant {
    mimi::Participant {
        user: IdentifierUri::from(user),
        role,
    }
}
