//! groupInfo (mimi-protocol §5.6): what a client needs to join by itself, readable by nobody on the way.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, codes, wire};
use crate::identifier::IdentifierUri;
use crate::key_material::Protocol;
use crate::limits;
use crate::mls::{CipherSuite, Credential, ExternalSender, GroupInfo, HpkeCiphertext, Message};
use crate::update::RatchetTreeOption;

/// GroupInfoRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoRequest {
    /// mls10.
    pub protocol: Protocol,
    /// Suite of the signature and of the encryption of the answer.
    pub cipher_suite: CipherSuite,
    /// SignaturePublicKey that verifies the signature.
    pub requesting_signature_key: Bytes,
    /// Whose key it is.
    pub requesting_credential: Credential,
    /// HPKEPublicKey to which the answer is encrypted.
    pub group_info_public_key: Bytes,
    /// Code that lets its bearer join.
    pub joining_code: Option<Bytes>,
    /// SignWithLabel(., [`GroupInfoRequest::LABEL`], [`GroupInfoRequest::tbs`]).
    pub signature: Bytes,
}
wire!(GroupInfoRequest {
    protocol,
    cipher_suite,
    requesting_signature_key,
    requesting_credential,
    group_info_public_key,
    joining_code,
    signature,
});

impl GroupInfoRequest {
    /// Label of the signature.
    pub const LABEL: &str = "GroupInfoRequestTBS";

    /// GroupInfoRequestTBS: what is signed.
    pub fn tbs(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.protocol.write(&mut writer);
        self.cipher_suite.write(&mut writer);
        self.requesting_signature_key.write(&mut writer);
        self.requesting_credential.write(&mut writer);
        self.group_info_public_key.write(&mut writer);
        self.joining_code.write(&mut writer);
        writer.into_octets()
    }
}

/// PendingProposal: accepted in this epoch and not committed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingProposal {
    /// The proposal.
    pub proposal: Message,
    /// When the hub accepted it, in milliseconds since the UNIX epoch.
    pub hub_accepted_time: u64,
}
wire!(PendingProposal { proposal, hub_accepted_time }, at_most: limits::PROPOSALS_MAX);

/// GroupInfoRatchetTreeTBE: what is encrypted to the asking client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoRatchetTreeTbe {
    /// GroupInfo without the ratchet tree.
    pub group_info: GroupInfo,
    /// The ratchet tree.
    pub ratchet_tree: RatchetTreeOption,
    /// Proposals accepted in this epoch and not committed yet.
    pub pending_proposals: Vec<PendingProposal>,
}
wire!(GroupInfoRatchetTreeTbe {
    group_info,
    ratchet_tree,
    pending_proposals
});

impl GroupInfoRatchetTreeTbe {
    /// Label of the encryption; its context is the octets of the room's URI.
    pub const LABEL: &str = "GroupInfo and ratchet_tree encryption";
}

codes!(
    /// Why a GroupInfoRequest is refused (GroupInfoCode without success).
    GroupInfoRefusal, "group info code" {
        /// The client may not join.
        NotAuthorized = 2,
        /// There is no such room.
        NoSuchRoom = 3,
    }
);

/// What a successful GroupInfoResponse holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoSuccess {
    /// Suite of the signature and the encryption.
    pub cipher_suite: CipherSuite,
    /// The hub and its key.
    pub hub_sender: ExternalSender,
    /// [`GroupInfoRatchetTreeTbe`], encrypted.
    pub encrypted_groupinfo_and_tree: HpkeCiphertext,
    /// SignWithLabel(., [`GroupInfoResponse::LABEL`], [`GroupInfoResponse::tbs`]).
    pub signature: Bytes,
}

/// GroupInfoResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfoResponse {
    /// mls10.
    pub version: Protocol,
    /// The room.
    pub room_id: IdentifierUri,
    /// How it ended.
    pub outcome: Result<GroupInfoSuccess, GroupInfoRefusal>,
}

impl GroupInfoResponse {
    /// Label of the signature.
    pub const LABEL: &str = "GroupInfoResponseTBS";

    fn write_tbs(&self, writer: &mut Writer) {
        self.version.write(writer);
        self.room_id.write(writer);
        match &self.outcome {
            Ok(success) => {
                1u8.write(writer);
                success.cipher_suite.write(writer);
                success.hub_sender.write(writer);
                success.encrypted_groupinfo_and_tree.write(writer);
            }
            Err(refusal) => refusal.write(writer),
        }
    }

    /// GroupInfoResponseTBS: what is signed on success.
    pub fn tbs(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write_tbs(&mut writer);
        writer.into_octets()
    }
}

impl Encode for GroupInfoResponse {
    fn write(&self, writer: &mut Writer) {
        self.write_tbs(writer);
        if let Ok(success) = &self.outcome {
            success.signature.write(writer);
        }
    }
}

impl Decode for GroupInfoResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = Protocol::decode(reader)?;
        let room_id = IdentifierUri::decode(reader)?;
        let outcome = match u8::decode(reader)? {
            1 => Ok(GroupInfoSuccess {
                cipher_suite: Decode::decode(reader)?,
                hub_sender: Decode::decode(reader)?,
                encrypted_groupinfo_and_tree: Decode::decode(reader)?,
                signature: Decode::decode(reader)?,
            }),
            2 => Err(GroupInfoRefusal::NotAuthorized),
            3 => Err(GroupInfoRefusal::NoSuchRoom),
            value => {
                return Err(DecodeError::Unknown {
                    what: "group info code",
                    value: value.into(),
                });
            }
        };
        Ok(Self {
            version,
            room_id,
            outcome,
        })
    }
}
