//! Minimal-metadata rooms (mimi-protocol §6): the credential of a client under pseudonyms, and what links it to the real
//! client, for those who can decrypt it. Nothing is encrypted or signed here.

use bytes::Bytes;

use super::Credential;
use crate::codec::{Encode as _, wire};
use crate::identifier::IdentifierUri;
use crate::uri::{ClientUri, UriError, UserUri};

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

    /// What the real client signs.
    pub fn tbs(&self) -> PseudonymousCredentialTbs {
        PseudonymousCredentialTbs {
            client_pseudonym: self.client_pseudonym.clone(),
            user_pseudonym: self.user_pseudonym.clone(),
            signature_public_key: self.signature_public_key.clone(),
        }
    }

    /// The credential of these fields.
    pub fn credential(&self) -> Credential {
        Credential {
            credential_type: Credential::PSEUDONYMOUS,
            content: self.encode().into(),
        }
    }
}

impl UserUri {
    /// Whether it has the form of a user's pseudonym: its name is a UUID.
    pub fn is_pseudonym(&self) -> bool {
        self.as_str().rsplit('/').next().is_some_and(is_uuid)
    }
}

/// PseudonymousCredentialTBS: the credential without its link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PseudonymousCredentialTbs {
    /// As in the credential.
    pub client_pseudonym: IdentifierUri,
    /// As in the credential.
    pub user_pseudonym: IdentifierUri,
    /// As in the credential.
    pub signature_public_key: Bytes,
}
wire!(PseudonymousCredentialTbs {
    client_pseudonym,
    user_pseudonym,
    signature_public_key
});

impl PseudonymousCredentialTbs {
    /// What the signature is made with (SignWithLabel, RFC 9420 §5.1.2).
    pub const LABEL: &'static str = "PseudonymousCredentialTBS";
}

/// IdentityLinkTBE: what is encrypted into a credential's identity_link_ciphertext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityLinkTbe {
    /// By the real client, over [`PseudonymousCredentialTbs`].
    pub pseudonymous_credential_signature: Bytes,
    /// Of the real client.
    pub client_credential: Credential,
    /// Added here: the key that the signature verifies with. A basic credential says nothing of one.
    pub client_signature_key: Bytes,
}
wire!(IdentityLinkTbe {
    pseudonymous_credential_signature,
    client_credential,
    client_signature_key
});

/// Whether a name is a UUID in its one canonical spelling (RFC 9562 §4, in lower case). Which version it says is not asked.
fn is_uuid(name: &str) -> bool {
    let digit = |octet: u8| octet.is_ascii_digit() || (b'a'..=b'f').contains(&octet);
    let fits = |(at, octet)| match at {
        8 | 13 | 18 | 23 => octet == b'-',
        _ => digit(octet),
    };
    name.len() == 36 && name.bytes().enumerate().all(fits)
}
