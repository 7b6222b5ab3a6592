//! Fetching an asset by Oblivious HTTP (RFC 9458): who passes the request on does not learn what is fetched, and who
//! answers it does not learn for whom.

use std::io::Cursor;

use bhttp::{Message, Mode};
use bytes::Bytes;
use ohttp::hpke::{Aead, Kdf};
use ohttp::{ClientRequest, ClientResponse, KeyConfig, SymmetricSuite};

use super::{AssetError, host, split};

/// Suites that a request is encrypted with, as a gateway may offer them.
const SUITES: [(Kdf, Aead); 3] = [
    (Kdf::HkdfSha256, Aead::Aes128Gcm),
    (Kdf::HkdfSha256, Aead::Aes256Gcm),
    (Kdf::HkdfSha256, Aead::ChaCha20Poly1305),
];

/// What opens the answer to one request.
pub struct Awaited(ClientResponse);

impl std::fmt::Debug for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Awaited")
    }
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub content: Bytes,
}

/// A GET of an https URL as message/ohttp-req, to a gateway with these key configurations (application/ohttp-keys).
///
/// # Errors
/// [`AssetError::Url`], or [`AssetError::Oblivious`]: no key configuration that is understood here.
pub fn request(keys: &[u8], url: &str) -> Result<(Bytes, Awaited), AssetError> {
    host(url).ok_or(AssetError::Url)?;
    let (authority, target) = split(url).ok_or(AssetError::Url)?;
    let target = target.split('#').next().unwrap_or_default();
    let path = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    let get = Message::request(b"GET".to_vec(), b"https".to_vec(), authority.into(), path.into());
    let mut plain = Vec::new();
    get.write_bhttp(Mode::KnownLength, &mut plain)
        .map_err(|_| AssetError::Oblivious)?;
    let configurations = KeyConfig::decode_list(keys).map_err(|_| AssetError::Oblivious)?;
    // Without any suite that is supported a configuration decodes, too.
    let usable = |configuration: &KeyConfig| {
        let mut suites = SUITES.into_iter();
        suites.any(|(kdf, aead)| configuration.select(SymmetricSuite::new(kdf, aead)).is_ok())
    };
    let mut configuration = configurations.into_iter().find(usable).ok_or(AssetError::Oblivious)?;
    let (encapsulated, awaited) = ClientRequest::from_config(&mut configuration)
        .and_then(|request| request.encapsulate(&plain))
        .map_err(|_| AssetError::Oblivious)?;
    Ok((encapsulated.into(), Awaited(awaited)))
}

impl Awaited {
    /// Opens message/ohttp-res.
    ///
    /// # Errors
    /// [`AssetError::Oblivious`]: not the answer of that gateway to that request.
    pub fn open(self, response: &[u8]) -> Result<Fetched, AssetError> {
        let plain = self.0.decapsulate(response).map_err(|_| AssetError::Oblivious)?;
        let response = Message::read_bhttp(&mut Cursor::new(&plain[..])).map_err(|_| AssetError::Oblivious)?;
        let status = response.control().status().ok_or(AssetError::Oblivious)?;
        Ok(Fetched {
            status: status.code(),
            content: Bytes::copy_from_slice(response.content()),
        })
    }
}
