//! submitMessage (mimi-protocol §5.4): application messages on their way to the hub, and its answer.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, wire};
use crate::identifier::IdentifierUri;
use crate::key_material::Protocol;
use crate::mls::{CipherSuite, Message};

/// SubmitMessageRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitMessageRequest {
    /// mls10.
    pub protocol: Protocol,
    /// The message; that it is a PrivateMessage with application data is the room's to check.
    pub app_message: Message,
    /// Who sends it. Never passed on.
    pub sending_uri: IdentifierUri,
}
wire!(SubmitMessageRequest {
    protocol,
    app_message,
    sending_uri
});

/// Frank (§5.4.1): lets a receiver prove to the hub what was sent through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frank {
    /// HMAC under the hub's key.
    pub server_frank: [u8; 32],
    /// Suite of the signature.
    pub franking_signature_ciphersuite: CipherSuite,
    /// The hub's signature.
    pub franking_integrity_signature: Bytes,
}
wire!(Frank {
    server_frank,
    franking_signature_ciphersuite,
    franking_integrity_signature
});

/// Fields of a SubmitMessageResponse that depend on its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// Accepted, and will be distributed.
    Accepted {
        /// Milliseconds since the UNIX epoch.
        accepted_timestamp: u64,
        /// The frank, if the message asked for one.
        frank: Option<Frank>,
    },
    /// Against the room's rules.
    NotAllowed,
    /// The epoch of the message is too long ago.
    EpochTooOld {
        /// The room's epoch.
        current_epoch: u64,
    },
}

/// SubmitMessageResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitMessageResponse {
    /// mls10.
    pub protocol: Protocol,
    /// How it ended.
    pub outcome: SubmitOutcome,
}

impl From<SubmitOutcome> for SubmitMessageResponse {
    fn from(outcome: SubmitOutcome) -> Self {
        Self {
            protocol: Protocol::Mls10,
            outcome,
        }
    }
}

impl Encode for SubmitMessageResponse {
    fn write(&self, writer: &mut Writer) {
        self.protocol.write(writer);
        match &self.outcome {
            SubmitOutcome::Accepted {
                accepted_timestamp,
                frank,
            } => {
                0u8.write(writer);
                accepted_timestamp.write(writer);
                frank.write(writer);
            }
            SubmitOutcome::NotAllowed => 1u8.write(writer),
            SubmitOutcome::EpochTooOld { current_epoch } => {
                2u8.write(writer);
                current_epoch.write(writer);
            }
        }
    }
}

impl Decode for SubmitMessageResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol = Protocol::decode(reader)?;
        let outcome = match u8::decode(reader)? {
            0 => SubmitOutcome::Accepted {
                accepted_timestamp: u64::decode(reader)?,
                frank: Option::decode(reader)?,
            },
            1 => SubmitOutcome::NotAllowed,
            2 => SubmitOutcome::EpochTooOld {
                current_epoch: u64::decode(reader)?,
            },
            value => {
                return Err(DecodeError::Unknown {
                    what: "submit response code",
                    value: value.into(),
                });
            }
        };
        Ok(Self { protocol, outcome })
    }
}
