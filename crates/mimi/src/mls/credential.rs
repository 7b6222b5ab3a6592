//! Small MLS structures whose fields the drafts use by themselves.

use bytes::Bytes;

use crate::codec::{Decode as _, DecodeError, Encode as _, wire};
use crate::identifier::IdentifierUri;
use crate::uri::{ClientUri, Provider, UriError, UserUri};

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

/// PseudonymousCredential (mimi-protocol §6.1): a client of a minimal-metadata room. Who it is stands in a ciphertext that
/// is opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PseudonymousCredential {
    /// The client, in one group.
    pub client_pseudonym: IdentifierUri,
    /// Its user: the same for all clients of the user in the group, and in the participant list.
    pub user_pseudonym: IdentifierUri,
    /// SignaturePublicKey of the leaf. The draft leaves out that it is a vector.
    pub signature_public_key: Bytes,
    /// IdentityLinkTBE, encrypted for the room's participants.
    pub identity_link_ciphertext: Bytes,
}
wire!(PseudonymousCredential {
    client_pseudonym,
    user_pseudonym,
    signature_public_key,
    identity_link_ciphertext
});

impl PseudonymousCredential {
    /// The client's pseudonym: `mimi://a.example/d/USER/CLIENT`, where both names are UUIDs and `mimi://a.example/u/USER`
    /// is the pseudonym of the user.
    ///
    /// # Errors
    /// The pseudonyms are not of this form, or not of one user.
    pub fn client(&self) -> Result<ClientUri, UriError> {
        let client = self.client_pseudonym.client()?;
        let is_users = self.user_pseudonym.user()? == client.user();
        let mut names = client.as_str().rsplit('/').take(2);
        match is_users && names.all(is_uuid) {
            true => Ok(client),
            false => Err(UriError::Pseudonym),
        }
    }

    /// The user's pseudonym, if it is that of the client's user.
    ///
    /// # Errors
    /// As [`PseudonymousCredential::client`].
    pub fn user(&self) -> Result<UserUri, UriError> {
        self.client().map(|client| client.user())
    }

    /// The credential of these fields.
    pub fn credential(&self) -> Credential {
        Credential {
            credential_type: Credential::PSEUDONYMOUS,
            content: self.encode().into(),
        }
    }
}

/// Whether a name is a UUID in its one canonical spelling (RFC 9562 §4, in lower case). Which version it says is not asked.
fn is_uuid(name: &str) -> bool {
    let digit = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
    let fits = |(at, octet)| match at {
        8 | 13 | 18 | 23 => octet == b'-',
        _ => digit(octet),
    };
    name.len() == 36 && name.bytes().enumerate().all(fits)
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
