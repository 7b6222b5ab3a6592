//! OperationalParameters (mimi-room-policy §6, component 0x0024) as they stand on the wire.

use bytes::Bytes;

use crate::app_data::ComponentId;
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, wire};

/// A parameter of a media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaTypeParameter {
    /// Its name.
    pub name: Bytes,
    /// Its value.
    pub value: Bytes,
}
wire!(MediaTypeParameter { name, value });

/// MediaType (draft-ietf-mls-extensions §6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// Type, slash and subtype.
    pub media_type: Bytes,
    /// Its parameters.
    pub parameters: Vec<MediaTypeParameter>,
}
wire!(MediaType { media_type, parameters });

/// ExtendedCapabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtendedCapabilities {
    /// ProtocolVersions.
    pub versions: Vec<u16>,
    /// CipherSuites.
    pub cipher_suites: Vec<u16>,
    /// ExtensionTypes.
    pub extensions: Vec<u16>,
    /// ProposalTypes.
    pub proposals: Vec<u16>,
    /// CredentialTypes.
    pub credentials: Vec<u16>,
    /// WireFormats.
    pub wire_formats: Vec<u16>,
    /// Components.
    pub component_ids: Vec<ComponentId>,
    /// Components with authenticated data.
    pub safe_aad_types: Vec<ComponentId>,
    /// Media types.
    pub media_types: Vec<MediaType>,
    /// ContentTypes.
    pub content_types: Vec<u8>,
}
wire!(ExtendedCapabilities {
    versions,
    cipher_suites,
    extensions,
    proposals,
    credentials,
    wire_formats,
    component_ids,
    safe_aad_types,
    media_types,
    content_types,
});

/// When pending proposals are committed (PendingProposalPolicy).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PendingProposalPolicy {
    /// Not said.
    #[default]
    Unspecified,
    /// At once.
    ImmediateCommit,
    /// After a random time.
    RandomDelay {
        /// Milliseconds, at least.
        minimum_delay_ms: u64,
        /// Milliseconds, at most.
        maximum_delay_ms: u64,
    },
}

impl Encode for PendingProposalPolicy {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Unspecified => 0u8.write(writer),
            Self::ImmediateCommit => 1u8.write(writer),
            Self::RandomDelay {
                minimum_delay_ms,
                maximum_delay_ms,
            } => {
                2u8.write(writer);
                minimum_delay_ms.write(writer);
                maximum_delay_ms.write(writer);
            }
        }
    }
}

impl Decode for PendingProposalPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(Self::Unspecified),
            1 => Ok(Self::ImmediateCommit),
            2 => Ok(Self::RandomDelay {
                minimum_delay_ms: u64::decode(reader)?,
                maximum_delay_ms: u64::decode(reader)?,
            }),
            value => Err(DecodeError::Unknown {
                what: "pending proposal strategy",
                value: value.into(),
            }),
        }
    }
}

/// MinDefaultMaxTime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// At least.
    pub minimum: u64,
    /// When nothing is said.
    pub default: u64,
    /// At most.
    pub maximum: u64,
}
wire!(TimeRange {
    minimum,
    default,
    maximum
});

/// AppMessagePolicy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppMessagePolicy {
    /// How many epochs back a message may be.
    pub epoch_tolerance: u8,
    /// Octets to a multiple of which messages are padded.
    pub pad_to_size: u16,
    /// How far a sender's ratchet may jump.
    pub max_generations_skipahead: u32,
}
wire!(AppMessagePolicy {
    epoch_tolerance,
    pad_to_size,
    max_generations_skipahead
});

/// OperationalParameters (0x0024).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationalParameters {
    /// What every client must support.
    pub mandatory_capabilities: ExtendedCapabilities,
    /// What is used when nothing is said.
    pub default_capabilities: ExtendedCapabilities,
    /// What no client may support.
    pub forbidden_capabilities: ExtendedCapabilities,
    /// WireFormats of handshake messages.
    pub handshake_formats: Vec<u16>,
    /// External proposals are accepted.
    pub external_proposal_allowed: bool,
    /// External commits are accepted.
    pub external_commit_allowed: bool,
    /// When pending proposals are committed.
    pub pending_proposal_policy: PendingProposalPolicy,
    /// How often clients renew their leaves.
    pub leaf_node_update_time: TimeRange,
    /// Rules of application messages.
    pub app_message_policy: AppMessagePolicy,
    /// How long a KeyPackage may be valid.
    pub max_kp_lifetime: u64,
    /// How long a credential may be valid.
    pub max_credential_lifetime: u64,
    /// How long a resumption key is kept.
    pub resumption_psk_lifetime: u64,
    /// How long keys of a sender's ratchet are kept.
    pub sender_nonce_keypair_lifetime: TimeRange,
    /// How many of them are kept.
    pub max_keypairs: u32,
    /// How long messages that came too early are kept.
    pub buffer_incoming_message_time: TimeRange,
    /// How many of them are kept.
    pub max_buffered_messages: u32,
}
wire!(OperationalParameters {
    mandatory_capabilities,
    default_capabilities,
    forbidden_capabilities,
    handshake_formats,
    external_proposal_allowed,
    external_commit_allowed,
    pending_proposal_policy,
    leaf_node_update_time,
    app_message_policy,
    max_kp_lifetime,
    max_credential_lifetime,
    resumption_psk_lifetime,
    sender_nonce_keypair_lifetime,
    max_keypairs,
    buffer_incoming_message_time,
    max_buffered_messages,
});
