//! What links a pseudonym to the real client behind it (mimi-protocol §6.1): made by that client, and read by whoever has
//! the room's identity key. The draft leaves the key open. Here it is one random key of the room, which its founder makes
//! and which everybody is told with the invitation; as in draft-kohbrok-mimi-metadata-minimalization, each credential is
//! encrypted under a key of its own that comes from it.

use std::fmt;

use bytes::Bytes;
use mimi::ClientUri;
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::mls::{IdentityLinkTbe, PseudonymousCredential, PseudonymousCredentialTbs};
use openmls::prelude::{Ciphersuite, OpenMlsCrypto as _, OpenMlsProvider as _, OpenMlsRand as _};

use super::MemberError;
use super::identity::Identity;

/// The identity key of a minimal-metadata room. Whoever has it can read who is behind each of the room's pseudonyms.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct IdentityKey(Bytes);

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey")
    }
}

/// The real client behind a pseudonym, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) client: ClientUri,
    /// The key with which it signed that it is behind the pseudonym.
    pub(crate) signature_key: Bytes,
}

impl IdentityKey {
    pub(crate) fn random(identity: &Identity, suite: Ciphersuite) -> Result<Self, MemberError> {
        let rand = identity.provider.rand();
        let key = rand.random_vec(suite.hash_length()).map_err(MemberError::mls)?;
        Ok(Self(key.into()))
    }

    pub(crate) fn from_octets(octets: Bytes, suite: Ciphersuite) -> Result<Self, MemberError> {
        match octets.len() == suite.hash_length() {
            true => Ok(Self(octets)),
            false => Err(MemberError::Malformed("an identity key")),
        }
    }

    pub(crate) fn octets(&self) -> &Bytes {
        &self.0
    }

    /// identity_link_ciphertext of a credential of `real`'s.
    pub(crate) fn seal(
        &self,
        real: &Identity,
        suite: Ciphersuite,
        tbs: &PseudonymousCredentialTbs,
    ) -> Result<Vec<u8>, MemberError> {
        let signature = real.sign(suite, PseudonymousCredentialTbs::LABEL, &tbs.encode())?;
        let link = IdentityLinkTbe {
            pseudonymous_credential_signature: signature.into(),
            client_credential: real.credential(suite),
            client_signature_key: Bytes::copy_from_slice(real.signing(suite).signer.public()),
        };
        let (key, nonce) = self.derive(real, suite, tbs)?;
        real.provider
            .crypto()
            .aead_encrypt(suite.aead_algorithm(), &key, &link.encode(), &nonce, &tbs.encode())
            .map_err(MemberError::mls)
    }

    /// Who is behind a pseudonymous credential. `reader` does no more than compute.
    pub(crate) fn open(
        &self,
        reader: &Identity,
        suite: Ciphersuite,
        credential: &PseudonymousCredential,
    ) -> Result<Link, &'static str> {
        let tbs = credential.tbs();
        let unreadable = "encrypted under another key";
        let (key, nonce) = self.derive(reader, suite, &tbs).map_err(|_| unreadable)?;
        let ciphertext = &credential.identity_link_ciphertext;
        let opened = reader
            .provider
            .crypto()
            .aead_decrypt(suite.aead_algorithm(), &key, ciphertext, &nonce, &tbs.encode())
            .map_err(|_| unreadable)?;
        let link = IdentityLinkTbe::decode_exact(&opened).map_err(|_| "not an IdentityLinkTBE")?;
        let signature = &link.pseudonymous_credential_signature;
        reader
            .verify(
                suite,
                PseudonymousCredentialTbs::LABEL,
                &tbs.encode(),
                &link.client_signature_key,
                signature,
            )
            .map_err(|_| "not signed by the real client")?;
        let pseudonym = credential.client().map_err(|_| "not a pseudonym")?;
        match link.client_credential.client() {
            Ok(client) if client.provider() == pseudonym.provider() => Ok(Link {
                client,
                signature_key: link.client_signature_key,
            }),
            _ => Err("of no client of the pseudonym's provider"),
        }
    }

    /// The key and nonce for one credential: identity_link_key, and what is derived from it to encrypt once.
    fn derive(
        &self,
        identity: &Identity,
        suite: Ciphersuite,
        tbs: &PseudonymousCredentialTbs,
    ) -> Result<(Vec<u8>, Vec<u8>), MemberError> {
        let secret = expand(
            identity,
            suite,
            &self.0,
            "IdentityLinkKey",
            &tbs.encode(),
            suite.hash_length(),
        )?;
        let key = expand(identity, suite, &secret, "key", b"", suite.aead_key_length())?;
        let nonce = expand(identity, suite, &secret, "nonce", b"", suite.aead_nonce_length())?;
        Ok((key, nonce))
    }
}

/// ExpandWithLabel (RFC 9420 §8).
fn expand(
    identity: &Identity,
    suite: Ciphersuite,
    secret: &[u8],
    label: &str,
    context: &[u8],
    length: usize,
) -> Result<Vec<u8>, MemberError> {
    let mut info = Writer::default();
    let octets = u16::try_from(length).map_err(|_| MemberError::Refused("a key of that length"))?;
    octets.write(&mut info);
    info.opaque(format!("MLS 1.0 {label}").as_bytes());
    info.opaque(context);
    let expanded = identity
        .provider
        .crypto()
        .hkdf_expand(suite.hash_algorithm(), secret, &info.into_octets(), length);
    Ok(expanded.map_err(MemberError::mls)?.as_slice().to_vec())
}
