//! What messages only refer to (mimi-content §4.5, ExternalPart): encrypted before it is uploaded, checked against the
//! room's asset policy before it is fetched, and against its hash before it is opened. How it travels is not known here,
//! except for Oblivious HTTP in [`oblivious`].

pub mod oblivious;

use bytes::Bytes;
use mimi::Provider;
use mimi::content::ExternalPart;
use mimi::operational::{MediaType, MediaTypeParameter};
use mimi::policy::{AssetPolicy, AssetUploadLocation};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::random::OpenMlsRand as _;
use openmls_traits::types::AeadType;
use policy::leaf::covers;
use sha2::{Digest as _, Sha256};

/// Octets that authentication adds, of every AEAD that is known here.
const AEAD_TAG_BYTES: u64 = 16;

/// Why an asset is not sealed, fetched or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// It is not where assets of its sender's provider are.
    #[error("an asset at a place where the sender's provider has none")]
    Domain,
    /// It has more octets than the room lets it have.
    #[error("an asset that is too large for the room")]
    TooLarge,
    /// The room does not take its media type.
    #[error("an asset of a media type that the room does not take")]
    MediaType,
    /// Its URL is none that is fetched from.
    #[error("an asset at a URL that is not https")]
    Url,
    /// Its encryption or its hash is of a kind that is not known here.
    #[error("an asset with an algorithm that is not known here")]
    Algorithm,
    /// It is not what the message refers to.
    #[error("not the asset that the message refers to")]
    Forged,
    /// No random octets, or no encryption.
    #[error("the asset cannot be encrypted")]
    Crypto,
    /// What the gateway offers or answers is not Oblivious HTTP.
    #[error("not what an oblivious gateway says")]
    Oblivious,
}

/// An asset as it is uploaded, and what a message says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// To be uploaded.
    pub ciphertext: Bytes,
    /// All but the URL, which the upload gives.
    pub part: ExternalPart,
}

/// Encrypts an asset under a key of its own: AES-128-GCM, which every client knows, and SHA-256 over what is uploaded.
pub fn seal(plaintext: &[u8], content_type: &str) -> Result<Sealed, AssetError> {
    let crypto = RustCrypto::default();
    let random = |_| AssetError::Crypto;
    let key: [u8; 16] = crypto.random_array().map_err(random)?;
    let nonce: [u8; 12] = crypto.random_array().map_err(random)?;
    let ciphertext = crypto
        .aead_encrypt(AeadType::Aes128Gcm, &key, plaintext, &nonce, b"")
        .map_err(|_| AssetError::Crypto)?;
    let part = ExternalPart {
        content_type: content_type.to_owned(),
        size: plaintext.len() as u64,
        enc_alg: ExternalPart::AES_128_GCM,
        key: Bytes::copy_from_slice(&key),
        nonce: Bytes::copy_from_slice(&nonce),
        hash_alg: ExternalPart::SHA_256,
        content_hash: Bytes::copy_from_slice(&Sha256::digest(&ciphertext)),
        ..ExternalPart::default()
    };
    Ok(Sealed {
        ciphertext: ciphertext.into(),
        part,
    })
}

/// What a message refers to, out of what was fetched.
///
/// # Errors
/// [`AssetError::Forged`] when the hash, the encryption or the size is another.
pub fn open(part: &ExternalPart, fetched: &[u8]) -> Result<Bytes, AssetError> {
    match part.hash_alg {
        0 => {}
        ExternalPart::SHA_256 if *part.content_hash == *Sha256::digest(fetched) => {}
        ExternalPart::SHA_256 => return Err(AssetError::Forged),
        _ => return Err(AssetError::Algorithm),
    }
    let aead = match part.enc_alg {
        0 => None,
        ExternalPart::AES_128_GCM => Some(AeadType::Aes128Gcm),
        2 => Some(AeadType::Aes256Gcm),
        29 => Some(AeadType::ChaCha20Poly1305),
        _ => return Err(AssetError::Algorithm),
    };
    let plaintext = match aead {
        None => Bytes::copy_from_slice(fetched),
        Some(aead) if part.key.len() == aead.key_size() && part.nonce.len() == aead.nonce_size() => {
            RustCrypto::default()
                .aead_decrypt(aead, &part.key, fetched, &part.nonce, &part.aad)
                .map_err(|_| AssetError::Forged)?
                .into()
        }
        Some(_) => return Err(AssetError::Forged),
    };
    match part.size {
        0 => Ok(plaintext),
        size if size == plaintext.len() as u64 => Ok(plaintext),
        _ => Err(AssetError::Forged),
    }
}

/// Whether an asset that a user of `sender` refers to may be fetched, by the room's asset policy (mimi-room-policy §5.4).
/// Gives how many octets to take at most.
pub fn check(part: &ExternalPart, sender: &Provider, policy: Option<&AssetPolicy>) -> Result<u64, AssetError> {
    let host = host(&part.url).ok_or(AssetError::Url)?;
    let Some(policy) = policy else {
        return Ok(match part.size {
            0 => u64::MAX,
            size => size.saturating_add(AEAD_TAG_BYTES),
        });
    };
    let mut places = policy.upload_domains.iter().filter(|place| {
        policy.asset_upload_location == AssetUploadLocation::Hub || *place.provider == *sender.as_str().as_bytes()
    });
    let is_there = |domain: &Bytes| domain.eq_ignore_ascii_case(host.as_bytes());
    if !places.any(|place| place.asset_upload_destinations.iter().any(is_there)) {
        return Err(AssetError::Domain);
    }
    check_kind(&part.content_type, part.size, policy)
}

/// Whether the room takes an asset of this media type and size (0: not known). Gives how many octets it has encrypted, at
/// most.
pub fn check_kind(content_type: &str, size: u64, policy: &AssetPolicy) -> Result<u64, AssetError> {
    let media_type = media_type(content_type);
    let named = |list: &[MediaType]| list.iter().any(|entry| covers(entry, &media_type));
    let permitted = policy.permitted_media_types.as_ref();
    if named(&policy.forbidden_media_types) || permitted.is_some_and(|list| !named(list)) {
        return Err(AssetError::MediaType);
    }
    let major = media_type.media_type.split(|octet| *octet == b'/').next();
    let max = match major.unwrap_or_default().to_ascii_lowercase().as_slice() {
        b"image" => policy.max_image,
        b"audio" => policy.max_audio,
        b"video" => policy.max_video,
        _ => policy.max_attachment,
    };
    if size > max {
        return Err(AssetError::TooLarge);
    }
    let size = if size == 0 { max } else { size };
    Ok(size.saturating_add(AEAD_TAG_BYTES))
}

/// The host of an https URL without a user in it, whatever its port.
fn host(url: &str) -> Option<&str> {
    let (authority, _) = split(url)?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    (!host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok()).then_some(host)
}

/// Authority and the rest of an https URL.
fn split(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// A media type as policies name it.
fn media_type(content_type: &str) -> MediaType {
    let octets = |text: &str| Bytes::copy_from_slice(text.trim().as_bytes());
    let mut parts = content_type.split(';');
    MediaType {
        media_type: octets(parts.next().unwrap_or_default()),
        parameters: parts
            .filter_map(|parameter| parameter.split_once('='))
            .map(|(name, value)| MediaTypeParameter {
                name: octets(name),
                value: octets(value),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
