//! keyMaterial (mimi-protocol §5.2): asking a provider for the KeyPackages of a user's clients.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, codes, wire};
use crate::identifier::IdentifierUri;
use crate::limits;
use crate::mls::{Capabilities, CipherSuite, Credential, KeyPackage, RequiredCapabilities};

codes!(
    /// Protocol: which end-to-end encryption a structure speaks of.
    Protocol, "protocol" {
        /// MLS 1.0.
        Mls10 = 1,
    }
);

/// KeyMaterialRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMaterialRequest {
    /// mls10.
    pub protocol: Protocol,
    /// Who asks.
    pub requesting_user: IdentifierUri,
    /// Whose KeyPackages are asked for.
    pub target_user: IdentifierUri,
    /// The room that the target is to be added to; empty for none.
    pub room_id: IdentifierUri,
    /// Suites that will do; an empty list is malformed.
    pub acceptable_ciphersuites: Vec<CipherSuite>,
    /// What the clients must be able to do.
    pub required_capabilities: RequiredCapabilities,
    /// SignaturePublicKey that verifies the signature.
    pub requester_signature_key: Bytes,
    /// Whose key it is.
    pub requester_credential: Credential,
    /// SignWithLabel(., [`KeyMaterialRequest::LABEL`], [`KeyMaterialRequest::tbs`]).
    pub signature: Bytes,
}

impl KeyMaterialRequest {
    /// Label of the signature.
    pub const LABEL: &str = "KeyMaterialRequestTBS";

    fn write_tbs(&self, writer: &mut Writer) {
        self.protocol.write(writer);
        self.requesting_user.write(writer);
        self.target_user.write(writer);
        self.room_id.write(writer);
        self.acceptable_ciphersuites.write(writer);
        self.required_capabilities.write(writer);
        self.requester_signature_key.write(writer);
        self.requester_credential.write(writer);
    }

    /// KeyMaterialRequestTBS: what is signed.
    pub fn tbs(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write_tbs(&mut writer);
        writer.into_octets()
    }
}

impl Encode for KeyMaterialRequest {
    fn write(&self, writer: &mut Writer) {
        self.write_tbs(writer);
        self.signature.write(writer);
    }
}

impl Decode for KeyMaterialRequest {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let request = Self {
            protocol: Decode::decode(reader)?,
            requesting_user: Decode::decode(reader)?,
            target_user: Decode::decode(reader)?,
            room_id: Decode::decode(reader)?,
            acceptable_ciphersuites: Decode::decode(reader)?,
            required_capabilities: Decode::decode(reader)?,
            requester_signature_key: Decode::decode(reader)?,
            requester_credential: Decode::decode(reader)?,
            signature: Decode::decode(reader)?,
        };
        if request.acceptable_ciphersuites.is_empty() {
            return Err(DecodeError::Invalid("no acceptable cipher suite"));
        }
        Ok(request)
    }
}

codes!(
    /// KeyMaterialUserCode.
    KeyMaterialUserCode, "key material user code" {
        /// A KeyPackage of every client.
        Success = 0,
        /// KeyPackages of some clients.
        PartialSuccess = 1,
        /// The protocol is not spoken.
        IncompatibleProtocol = 2,
        /// No client has a KeyPackage that would do.
        NoCompatibleMaterial = 3,
        /// No such user.
        UserUnknown = 4,
        /// The user did not consent.
        NoConsent = 5,
        /// The user did not consent to this room.
        NoConsentForThisRoom = 6,
        /// The user is gone.
        UserDeleted = 7,
    }
);

/// What is known of one client (KeyMaterialClientCode and its fields).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientStatus {
    /// A KeyPackage, given to nobody else.
    Success(KeyPackage),
    /// All are used up.
    Exhausted,
    /// None would do.
    NothingCompatible(Option<Capabilities>),
}

/// ClientKeyMaterial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKeyMaterial {
    /// What is known of the client.
    pub status: ClientStatus,
    /// The client.
    pub client: IdentifierUri,
}

impl ClientKeyMaterial {
    /// The KeyPackage, if one was given.
    pub fn key_package(&self) -> Option<&KeyPackage> {
        match &self.status {
            ClientStatus::Success(key_package) => Some(key_package),
            ClientStatus::Exhausted | ClientStatus::NothingCompatible(_) => None,
        }
    }
}

impl Encode for ClientKeyMaterial {
    fn write(&self, writer: &mut Writer) {
        let code: u8 = match self.status {
            ClientStatus::Success(_) => 0,
            ClientStatus::Exhausted => 1,
            ClientStatus::NothingCompatible(_) => 2,
        };
        code.write(writer);
        self.client.write(writer);
        match &self.status {
            ClientStatus::Success(key_package) => key_package.write(writer),
            ClientStatus::Exhausted => {}
            ClientStatus::NothingCompatible(capabilities) => capabilities.write(writer),
        }
    }
}

impl Decode for ClientKeyMaterial {
    const LIST_MAX: usize = limits::USER_CLIENTS_MAX;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = u8::decode(reader)?;
        let client = IdentifierUri::decode(reader)?;
        let status = match code {
            0 => ClientStatus::Success(KeyPackage::decode(reader)?),
            1 => ClientStatus::Exhausted,
            2 => ClientStatus::NothingCompatible(Option::decode(reader)?),
            value => {
                return Err(DecodeError::Unknown {
                    what: "key material client code",
                    value: value.into(),
                });
            }
        };
        Ok(Self { status, client })
    }
}

/// KeyMaterialResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMaterialResponse {
    /// mls10.
    pub protocol: Protocol,
    /// What is known of the user.
    pub user_status: KeyMaterialUserCode,
    /// The user asked for.
    pub user: IdentifierUri,
    /// The user's clients; empty unless (partial) success or no compatible material.
    pub clients: Vec<ClientKeyMaterial>,
}
wire!(KeyMaterialResponse {
    protocol,
    user_status,
    user,
    clients
});

impl KeyMaterialResponse {
    /// A refusal: no clients are named.
    pub fn refusal(user_status: KeyMaterialUserCode, user: IdentifierUri) -> Self {
        Self {
            protocol: Protocol::Mls10,
            user_status,
            user,
            clients: Vec::new(),
        }
    }

    /// The KeyPackages given.
    pub fn key_packages(&self) -> impl Iterator<Item = &KeyPackage> {
        self.clients.iter().filter_map(ClientKeyMaterial::key_package)
    }
}
