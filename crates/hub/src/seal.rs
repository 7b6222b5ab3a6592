//! What the hub signs and encrypts: a GroupInfoResponse (mimi-protocol §5.6) is readable by the asking client alone and
//! names the hub that gave it. Nothing is decided here.

use std::fmt;

use bytes::Bytes;
use mimi::codec::{Encode, Reader, Writer};
use mimi::franking::{ServerFrankingContext, TAG_BYTES};
use mimi::group_info::{GroupInfoRatchetTreeTbe, GroupInfoResponse, GroupInfoSuccess};
use mimi::identifier::IdentifierUri;
use mimi::key_material::Protocol;
use mimi::mls::label::{encrypt_context, sign_content};
use mimi::mls::{CipherSuite, Credential, ExternalSender, HpkeCiphertext};
use mimi::submit::Frank;
use mimi::{Provider, RoomUri};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::signatures::Signer;
use openmls_traits::types::{Ciphersuite, SignatureScheme};
use room::Keys;
use room::command::GroupInfoGrant;

/// Version of the encoding of [`HubKeys`].
const KEYS_VERSION: u8 = 1;

/// One key for each scheme, in the order of their encoding.
const SCHEMES: [SignatureScheme; 2] = [SignatureScheme::ED25519, SignatureScheme::ECDSA_SECP256R1_SHA256];

/// The hub's signature keys, one for each scheme that it signs with (CHOICE A-27). Rooms name the hub by them in
/// external_senders, so they live as long as the rooms do.
pub struct HubKeys {
    provider: Provider,
    keys: Vec<Key>,
}

struct Key {
    pair: SignatureKeyPair,
    private: Vec<u8>,
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The hub has no key for this cipher suite, or cannot encrypt with it.
    #[error("cipher suite {0:#06x} is not supported")]
    UnsupportedSuite(CipherSuite),
    /// The asking client's HPKE key is none.
    #[error("the public key to encrypt to is no key of its cipher suite")]
    BadPublicKey,
    /// Our own key does not sign.
    #[error("the hub's key does not sign")]
    BadHubKey,
}

/// Octets that are no [`HubKeys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the keys of a hub")]
pub struct BadKeys;

/// The keys themselves are left out.
impl fmt::Debug for HubKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubKeys")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl HubKeys {
    /// New keys, from the operating system's random source.
    ///
    /// # Errors
    /// The random source fails.
    pub fn generate(provider: Provider) -> Result<Self, SealError> {
        let crypto = RustCrypto::default();
        let generate = |scheme| {
            let (private, public) = crypto.signature_key_gen(scheme).map_err(|_| SealError::BadHubKey)?;
            let pair = SignatureKeyPair::from_raw(scheme, private.clone(), public);
            Ok(Key { pair, private })
        };
        let keys: Result<_, _> = SCHEMES.into_iter().map(generate).collect();
        Ok(Self { provider, keys: keys? })
    }

    /// Encodes the private keys. Keep them where nobody else reads.
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        KEYS_VERSION.write(&mut writer);
        for key in &self.keys {
            writer.opaque(&key.private);
            writer.opaque(key.pair.public());
        }
        writer.into_octets()
    }

    /// Decodes what [`HubKeys::to_octets`] gave.
    ///
    /// # Errors
    /// The octets are something else, or a private key does not belong to its public one.
    pub fn from_octets(provider: Provider, octets: &[u8]) -> Result<Self, BadKeys> {
        let mut reader = Reader::new(octets);
        if reader.array().map_err(|_| BadKeys)? != [KEYS_VERSION] {
            return Err(BadKeys);
        }
        let mut keys = Vec::new();
        for scheme in SCHEMES {
            let private = reader.opaque().map_err(|_| BadKeys)?.to_vec();
            let public = reader.opaque().map_err(|_| BadKeys)?.to_vec();
            if private.len() != 32 {
                return Err(BadKeys);
            }
            let pair = SignatureKeyPair::from_raw(scheme, private.clone(), public);
            let proof = pair.sign(b"proof").map_err(|_| BadKeys)?;
            let proven = RustCrypto::default().verify_signature(scheme, b"proof", pair.public(), &proof);
            proven.map_err(|_| BadKeys)?;
            keys.push(Key { pair, private });
        }
        reader.finish().map_err(|_| BadKeys)?;
        Ok(Self { provider, keys })
    }

    /// The hub and its key, as a room of this cipher suite names it in external_senders.
    ///
    /// # Errors
    /// The hub has no key for the suite.
    pub fn external_sender(&self, suite: CipherSuite) -> Result<ExternalSender, SealError> {
        Ok(self.sender(self.key(suite)?.1))
    }

    /// The GroupInfoResponse that lets the asking client, and nobody else, join `room` by itself.
    ///
    /// # Errors
    /// The client asks with a suite or key with which nothing can be sealed, or our key fails.
    pub fn seal_group_info(&self, room: &RoomUri, grant: &GroupInfoGrant) -> Result<Bytes, SealError> {
        let (suite, key) = self.key(grant.cipher_suite)?;
        let info = encrypt_context(GroupInfoRatchetTreeTbe::LABEL, room.as_str().as_bytes());
        let crypto = RustCrypto::default();
        let sealed = crypto.hpke_seal(suite.hpke_config(), &grant.public_key, &info, &[], &grant.sealed);
        let sealed = sealed.map_err(|_| SealError::BadPublicKey)?;
        let mut response = GroupInfoResponse {
            version: Protocol::Mls10,
            room_id: IdentifierUri::from(room),
            outcome: Ok(GroupInfoSuccess {
                cipher_suite: grant.cipher_suite,
                hub_sender: self.sender(key),
                encrypted_groupinfo_and_tree: HpkeCiphertext {
                    kem_output: sealed.kem_output.as_slice().to_vec().into(),
                    ciphertext: sealed.ciphertext.as_slice().to_vec().into(),
                },
                signature: Bytes::new(),
            }),
        };
        let content = sign_content(GroupInfoResponse::LABEL, &response.tbs());
        let signature = key.sign(&content).map_err(|_| SealError::BadHubKey)?;
        if let Ok(success) = &mut response.outcome {
            success.signature = signature.into();
        }
        Ok(response.encode().into())
    }

    fn sender(&self, key: &SignatureKeyPair) -> ExternalSender {
        ExternalSender {
            signature_key: Bytes::copy_from_slice(key.public()),
            credential: Credential::basic(Bytes::copy_from_slice(self.provider.as_str().as_bytes())),
        }
    }

    fn key(&self, suite: CipherSuite) -> Result<(Ciphersuite, &SignatureKeyPair), SealError> {
        let unsupported = SealError::UnsupportedSuite(suite);
        let known = Ciphersuite::try_from(suite).map_err(|_| unsupported)?;
        RustCrypto::default().supports(known).map_err(|_| unsupported)?;
        let scheme = known.signature_algorithm();
        let key = self
            .keys
            .iter()
            .map(|key| &key.pair)
            .find(|pair| pair.signature_scheme() == scheme);
        Ok((known, key.ok_or(unsupported)?))
    }
}

/// Rooms are handed these. Other providers' keys are not in them.
impl Keys for HubKeys {
    fn hub(&self, suite: CipherSuite) -> Option<ExternalSender> {
        self.external_sender(suite).ok()
    }

    fn follower(&self, _: &Provider, _: CipherSuite) -> Option<ExternalSender> {
        None
    }

    fn sign(&self, suite: CipherSuite, label: &str, content: &[u8]) -> Option<Bytes> {
        let (_, key) = self.key(suite).ok()?;
        key.sign(&sign_content(label, content)).ok().map(Bytes::from)
    }

    fn frank(&self, _: CipherSuite, _: &[u8; TAG_BYTES], _: &ServerFrankingContext) -> Option<Frank> {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use mimi::codec::Decode;

    use super::*;

    fn keys() -> HubKeys {
        HubKeys::generate("a.example".parse().unwrap()).unwrap()
    }

    fn room() -> RoomUri {
        "mimi://a.example/r/clubhouse".parse().unwrap()
    }

    #[test]
    fn the_asking_client_reads_what_was_sealed_and_sees_who_sealed_it() {
        let (keys, room, crypto) = (keys(), room(), RustCrypto::default());
        for suite in [1u16, 2, 3] {
            let known = Ciphersuite::try_from(suite).unwrap();
            let pair = crypto.derive_hpke_keypair(known.hpke_config(), &[7; 32]).unwrap();
            let grant = GroupInfoGrant {
                cipher_suite: suite,
                public_key: pair.public.clone().into(),
                sealed: Bytes::from_static(b"group info and tree"),
            };
            let response = GroupInfoResponse::decode_exact(&keys.seal_group_info(&room, &grant).unwrap()).unwrap();
            let success = response.outcome.clone().unwrap();
            assert_eq!(success.hub_sender, keys.external_sender(suite).unwrap());

            let content = sign_content(GroupInfoResponse::LABEL, &response.tbs());
            let scheme = known.signature_algorithm();
            crypto
                .verify_signature(scheme, &content, &success.hub_sender.signature_key, &success.signature)
                .unwrap();

            let ciphertext = openmls_traits::types::HpkeCiphertext {
                kem_output: success.encrypted_groupinfo_and_tree.kem_output.to_vec().into(),
                ciphertext: success.encrypted_groupinfo_and_tree.ciphertext.to_vec().into(),
            };
            let info = encrypt_context(GroupInfoRatchetTreeTbe::LABEL, room.as_str().as_bytes());
            let opened = crypto
                .hpke_open(known.hpke_config(), &ciphertext, &pair.private, &info, &[])
                .unwrap();
            assert_eq!(opened, b"group info and tree");
        }
    }

    #[test]
    fn a_key_that_is_none_and_an_unknown_suite_seal_nothing() {
        let grant = |cipher_suite, public_key: &[u8]| GroupInfoGrant {
            cipher_suite,
            public_key: Bytes::copy_from_slice(public_key),
            sealed: Bytes::from_static(b"secret"),
        };
        let keys = keys();
        for bad in [&[][..], &[1; 31], &[1; 33], &[0; 65]] {
            for suite in [1, 2] {
                assert_eq!(
                    keys.seal_group_info(&room(), &grant(suite, bad)),
                    Err(SealError::BadPublicKey)
                );
            }
        }
        let unknown = keys.seal_group_info(&room(), &grant(0x7777, &[1; 32]));
        assert_eq!(unknown, Err(SealError::UnsupportedSuite(0x7777)));
    }

    #[test]
    fn keys_read_back_are_the_same_and_damaged_ones_are_refused() {
        let keys = keys();
        let octets = keys.to_octets();
        let provider: Provider = "a.example".parse().unwrap();
        let back = HubKeys::from_octets(provider.clone(), &octets).unwrap();
        assert_eq!(back.external_sender(1).unwrap(), keys.external_sender(1).unwrap());
        assert_eq!(back.external_sender(2).unwrap(), keys.external_sender(2).unwrap());
        for at in 0..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 1;
            assert!(HubKeys::from_octets(provider.clone(), &damaged).is_err(), "octet {at}");
            assert!(HubKeys::from_octets(provider.clone(), &octets[..at]).is_err());
        }
    }
}
