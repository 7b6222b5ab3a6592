//! Labelled inputs of RFC 9420's hashes, signatures and encryptions. The keys are the caller's.

use bytes::Bytes;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::codec::Writer;
use crate::mls::CipherSuite;

/// A cipher suite whose hash is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cipher suite {0:#06x} is not known")]
pub struct UnknownSuite(pub CipherSuite);

/// The hash of `octets` in a cipher suite of RFC 9420 §17.1, or one of the hybrids of ML-KEM-768 and X25519 with Ed25519
/// (draft-ietf-mls-pq-ciphersuites, numbers provisional).
pub fn hash(suite: CipherSuite, octets: &[u8]) -> Result<Bytes, UnknownSuite> {
    Ok(match suite {
        1..=3 | 0x004f => Bytes::copy_from_slice(&Sha256::digest(octets)),
        4..=6 => Bytes::copy_from_slice(&Sha512::digest(octets)),
        7 | 0x004e => Bytes::copy_from_slice(&Sha384::digest(octets)),
        _ => return Err(UnknownSuite(suite)),
    })
}

/// RefHash (RFC 9420 §5.2).
pub fn reference(suite: CipherSuite, label: &str, value: &[u8]) -> Result<Bytes, UnknownSuite> {
    hash(suite, &pair(label.as_bytes(), value))
}

/// SignContent (RFC 9420 §5.1.2): what SignWithLabel signs and VerifyWithLabel verifies.
pub fn sign_content(label: &str, content: &[u8]) -> Vec<u8> {
    pair(format!("MLS 1.0 {label}").as_bytes(), content)
}

/// EncryptContext (RFC 9420 §5.1.3): the HPKE info of EncryptWithLabel and DecryptWithLabel.
pub fn encrypt_context(label: &str, context: &[u8]) -> Vec<u8> {
    pair(format!("MLS 1.0 {label}").as_bytes(), context)
}

fn pair(label: &[u8], value: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.opaque(label);
    writer.opaque(value);
    writer.into_octets()
}
