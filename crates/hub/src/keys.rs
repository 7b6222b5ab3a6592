//! The hub's keys: one signature key for each scheme that it signs with (CHOICE A-27), from which what it keeps sealed at
//! rest is derived, and the franking keys that the ledger holds for it ([`crate::frank`]).

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, UnparsedPublicKey,
};
use bytes::Bytes;
use mimi::Provider;
use mimi::codec::{Encode as _, Reader, Writer};
use mimi::franking::{ServerFrankingContext, TAG_BYTES};
use mimi::mls::label::sign_content;
use mimi::mls::{CipherSuite, Credential, ExternalSender};
use mimi::submit::Frank;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::types::{Ciphersuite, SignatureScheme};
use room::Keys;

use crate::frank::KeyRing;
use crate::vault::Vault;

/// Version of the encoding of [`HubKeys`].
const KEYS_VERSION: u8 = 1;

/// One key for each scheme, in the order of their encoding.
const SCHEMES: [SignatureScheme; 2] = [SignatureScheme::ED25519, SignatureScheme::ECDSA_SECP256R1_SHA256];

/// Cipher suites of which the hub signs: of RFC 9420 §17.1 both schemes, with AES and with ChaCha20, and the hybrids of
/// ML-KEM-768 and X25519 with Ed25519 signatures (draft-ietf-mls-pq-ciphersuites, whose numbers are provisional: those
/// that OpenMLS gives them).
pub const SUITES: [CipherSuite; 5] = [0x0001, 0x0002, 0x0003, 0x004e, 0x004f];

/// The hub's keys. Rooms name the hub by the signature keys in external_senders, so these live as long as the rooms do;
/// the franking keys come and go.
pub struct HubKeys {
    provider: Provider,
    keys: Vec<Key>,
    pub(crate) vault: Vault,
    ring: RwLock<Arc<KeyRing>>,
}

/// The hub has no key for this cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cipher suite {0:#06x} is not supported")]
pub struct UnsupportedSuite(pub CipherSuite);

/// Octets that are no [`HubKeys`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the keys of a hub")]
pub struct BadKeys;

/// The random source of the system fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random octets")]
pub struct NoRandomness;

/// The keys themselves are left out.
impl fmt::Debug for HubKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubKeys")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// One signature key.
pub(crate) struct Key {
    scheme: SignatureScheme,
    private: Vec<u8>,
    public: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Key {
    pub(crate) fn new(scheme: SignatureScheme, private: Vec<u8>, public: Vec<u8>) -> Result<Self, BadKeys> {
        let pair = match scheme {
            SignatureScheme::ED25519 => Ed25519KeyPair::from_seed_and_public_key(&private, &public).map(Pair::Ed25519),
            SignatureScheme::ECDSA_SECP256R1_SHA256 => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &public).map(Pair::P256)
            }
            _ => return Err(BadKeys),
        };
        Ok(Self {
            scheme,
            private,
            public,
            pair: pair.map_err(|_| BadKeys)?,
        })
    }

    /// Signs, as the scheme of MLS is: an ECDSA signature is DER.
    pub(crate) fn sign(&self, octets: &[u8]) -> Bytes {
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(octets),
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), octets)
                .expect("a pair that was checked signs"),
        };
        Bytes::copy_from_slice(signature.as_ref())
    }

    pub(crate) fn verifies(&self, octets: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.pair {
            Pair::Ed25519(_) => UnparsedPublicKey::new(&ED25519, &self.public).verify(octets, signature),
            Pair::P256(_) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public).verify(octets, signature),
        };
        verified.is_ok()
    }
}

impl HubKeys {
    /// New keys, from the operating system's random source.
    ///
    /// # Errors
    /// The random source fails.
    pub fn generate(provider: Provider) -> Result<Self, NoRandomness> {
        let crypto = RustCrypto::default();
        let generate = |scheme| {
            let (private, public) = crypto.signature_key_gen(scheme).map_err(|_| NoRandomness)?;
            Key::new(scheme, private, public).map_err(|_| NoRandomness)
        };
        let keys: Result<_, _> = SCHEMES.into_iter().map(generate).collect();
        Ok(Self::of(provider, keys?))
    }

    fn of(provider: Provider, keys: Vec<Key>) -> Self {
        let vault = Vault::of(keys.iter().map(|key| &key.private[..]));
        Self {
            provider,
            keys,
            vault,
            ring: RwLock::default(),
        }
    }

    /// Encodes the private keys. Keep them where nobody else reads.
    pub fn to_octets(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        KEYS_VERSION.write(&mut writer);
        for key in &self.keys {
            writer.opaque(&key.private);
            writer.opaque(&key.public);
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
            keys.push(Key::new(scheme, private, public)?);
        }
        reader.finish().map_err(|_| BadKeys)?;
        Ok(Self::of(provider, keys))
    }

    /// The hub and its key, as a room of this cipher suite names it in external_senders.
    ///
    /// # Errors
    /// The hub has no key for the suite.
    pub fn external_sender(&self, suite: CipherSuite) -> Result<ExternalSender, UnsupportedSuite> {
        Ok(self.sender(self.key(suite)?.1))
    }

    /// The hub as rooms name it, for each of [`SUITES`].
    pub fn external_senders(&self) -> Vec<(CipherSuite, ExternalSender)> {
        let sender = |suite| self.external_sender(suite).ok().map(|sender| (suite, sender));
        SUITES.into_iter().filter_map(sender).collect()
    }

    /// A basic credential whose identity is the provider's URI (CHOICE A-37).
    pub(crate) fn sender(&self, key: &Key) -> ExternalSender {
        ExternalSender {
            signature_key: Bytes::copy_from_slice(&key.public),
            credential: Credential::basic(format!("mimi://{}", self.provider)),
        }
    }

    pub(crate) fn key(&self, suite: CipherSuite) -> Result<(Ciphersuite, &Key), UnsupportedSuite> {
        let unsupported = UnsupportedSuite(suite);
        let known = Ciphersuite::try_from(suite).map_err(|_| unsupported)?;
        RustCrypto::default().supports(known).map_err(|_| unsupported)?;
        let scheme = known.signature_algorithm();
        let key = self.keys.iter().find(|key| key.scheme == scheme);
        Ok((known, key.ok_or(unsupported)?))
    }

    /// Seals octets for the store, under a key that is derived from these; `place` names where they are kept.
    pub fn seal_at_rest(&self, place: &[u8], octets: &[u8]) -> Bytes {
        self.vault.seal(place, octets)
    }

    /// Opens what [`Self::seal_at_rest`] sealed for `place`; `None` for anything else.
    pub fn open_at_rest(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.vault.open(place, sealed)
    }

    /// The franking keys as they were last read.
    pub(crate) fn ring(&self) -> Arc<KeyRing> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_ring(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
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
        Some(key.sign(&sign_content(label, content)))
    }

    fn frank(&self, suite: CipherSuite, tag: &[u8; TAG_BYTES], context: &ServerFrankingContext) -> Option<Frank> {
        let (_, key) = self.key(suite).ok()?;
        self.ring().frank(suite, key, tag, context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn keys_read_back_are_the_same_and_damaged_ones_are_refused() {
        let provider: Provider = "a.example".parse().unwrap();
        let keys = HubKeys::generate(provider.clone()).unwrap();
        let octets = keys.to_octets();
        let back = HubKeys::from_octets(provider.clone(), &octets).unwrap();
        assert_eq!(back.external_senders(), keys.external_senders());
        assert_eq!(back.external_senders().len(), SUITES.len());
        for at in 0..octets.len() {
            let mut damaged = octets.clone();
            damaged[at] ^= 1;
            assert!(HubKeys::from_octets(provider.clone(), &damaged).is_err(), "octet {at}");
            assert!(HubKeys::from_octets(provider.clone(), &octets[..at]).is_err());
        }
    }

    #[test]
    fn m_5_every_cipher_suite_that_openmls_speaks_and_the_hub_has_a_key_for_is_one_of_ours() {
        let hashed = |suite: &Ciphersuite| mimi::mls::label::hash((*suite).into(), b"").is_ok();
        let signed = |suite: &Ciphersuite| SCHEMES.contains(&suite.signature_algorithm());
        // These exchange keys by ML-KEM alone: a room that is to withstand quantum computers has a hybrid.
        let alone = |suite: &Ciphersuite| format!("{suite:?}").contains("_MLKEM768_");
        let spoken = RustCrypto::default().supported_ciphersuites();
        let ours = spoken.iter().filter(|suite| signed(suite) && !alone(suite));
        let mut ours: Vec<Ciphersuite> = ours.copied().collect();
        ours.sort_unstable_by_key(|suite| CipherSuite::from(*suite));
        assert_eq!(ours.iter().copied().map(CipherSuite::from).collect::<Vec<_>>(), SUITES);
        for suite in &ours {
            assert!(hashed(suite), "{suite:?}");
        }
    }

    #[test]
    fn the_hash_of_each_cipher_suite_is_that_of_openmls() {
        for suite in SUITES {
            let ours = mimi::mls::label::hash(suite, b"octets").unwrap();
            let hash = Ciphersuite::try_from(suite).unwrap().hash_algorithm();
            assert_eq!(ours, RustCrypto::default().hash(hash, b"octets").unwrap());
        }
    }

    #[test]
    fn k_2_m_1_what_the_hub_signs_openmls_verifies() {
        let keys = HubKeys::generate("a.example".parse().unwrap()).unwrap();
        for suite in SUITES {
            let signature = keys.sign(suite, "Label", b"content").unwrap();
            let (known, key) = keys.key(suite).unwrap();
            let content = sign_content("Label", b"content");
            let crypto = RustCrypto::default();
            let scheme = known.signature_algorithm();
            crypto
                .verify_signature(scheme, &content, &key.public, &signature)
                .unwrap();
            assert!(key.verifies(&content, &signature));
            assert!(!key.verifies(b"other content", &signature));
        }
    }
}
