//! Small MLS structures whose fields the drafts use by themselves.

use bytes::Bytes;

use super::PseudonymousCredential;
use crate::codec::{Decode as _, DecodeError, wire};
use crate::uri::{ClientUri, Provider, UriError};

/// Credential (RFC 9420 §5.3). Every defined type holds one vector, which is kept as its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// CredentialType.
    pub credential_type: u16,
    /// The vector: the identity of a basic credential, the certificates of an x509 one, the fields of a pseudonymous one.
    pub content: Bytes,
}
wire!(Credential {
    credential_type,
    content
});

impl Credential {
    /// CredentialType basic.
    pub const BASIC: u16 = 1;
    /// CredentialType x509.
    pub const X509: u16 = 2;
    /// CredentialType multi.
    pub const MULTI: u16 = 3;
    /// CredentialType weak-multi.
    pub const WEAK_MULTI: u16 = 4;
    /// CredentialType of a [`PseudonymousCredential`]: a private number until one is assigned.
    pub const PSEUDONYMOUS: u16 = 0xf0a1;

    /// A basic credential.
    pub fn basic(identity: impl Into<Bytes>) -> Self {
        Self {
            credential_type: Self::BASIC,
            content: identity.into(),
        }
    }

    /// The identity of a basic credential.
    pub fn basic_identity(&self) -> Option<&[u8]> {
        (self.credential_type == Self::BASIC).then_some(&*self.content)
    }

    /// The provider that a basic credential names, as those of external senders do: its domain by itself, or as
    /// `mimi://domain` (mimi-protocol §7.4 shows the latter).
    pub fn provider(&self) -> Option<Provider> {
        let identity = std::str::from_utf8(self.basic_identity()?).ok()?;
        identity.strip_prefix("mimi://").unwrap_or(identity).parse().ok()
    }

    /// The fields of a pseudonymous credential; none: it is of another type.
    pub fn pseudonymous(&self) -> Option<Result<PseudonymousCredential, DecodeError>> {
        let is_pseudonymous = self.credential_type == Self::PSEUDONYMOUS;
        is_pseudonymous.then(|| PseudonymousCredential::decode_shared(&self.content))
    }

    /// The client that a basic credential names, or a pseudonymous one, by its pseudonym; other types name none.
    pub fn client(&self) -> Result<ClientUri, UriError> {
        match self.pseudonymous() {
            Some(fields) => fields.map_err(|_| UriError::Pseudonym)?.client(),
            None => ClientUri::from_octets(self.basic_identity().ok_or(UriError::Shape('d'))?),
        }
    }
}

/// RequiredCapabilities (RFC 9420 §11.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredCapabilities {
    /// ExtensionTypes.
    pub extension_types: Vec<u16>,
    /// ProposalTypes.
    pub proposal_types: Vec<u16>,
    /// CredentialTypes.
    pub credential_types: Vec<u16>,
}
wire!(RequiredCapabilities {
    extension_types,
    proposal_types,
    credential_types
});

/// ExternalSender (RFC 9420 §12.1.8.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSender {
    /// SignaturePublicKey.
    pub signature_key: Bytes,
    /// Whose key it is.
    pub credential: Credential,
}
wire!(ExternalSender {
    signature_key,
    credential
});

/// HPKECiphertext (RFC 9420 §7.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HpkeCiphertext {
    /// The encapsulated key.
    pub kem_output: Bytes,
    /// The ciphertext.
    pub ciphertext: Bytes,
}
wire!(HpkeCiphertext { kem_output, ciphertext });
