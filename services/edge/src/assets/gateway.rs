//! The oblivious gateway (RFC 9458): opens a request that another provider passes on for one of its users, fetches the
//! asset under the same rules as the proxy, and seals the answer. It knows the asset and not who wants it.
//!
//! Keys come from a secret and the day: every edge that has the secret has the same ones, they change without anybody
//! doing anything, and those of the day before and after are still, and already, good.

use std::fmt;
use std::io::Cursor;
use std::time::{SystemTime, UNIX_EPOCH};

use bhttp::{Message, Mode, StatusCode};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use ohttp::hpke::{Aead, Kdf, Kem};
use ohttp::{KeyConfig, Server, ServerResponse, SymmetricSuite};
use peer::{AssetUrl, Wanted};
use sha2::{Digest as _, Sha256};

use super::body::AssetBody;
use super::fetch::collect;
use super::{Assets, range};
use crate::reply::Reply;

/// Media type of key configurations.
pub(crate) const KEYS_TYPE: &str = "application/ohttp-keys";
/// Media type of an encapsulated response.
pub(crate) const RESPONSE_TYPE: &str = "message/ohttp-res";

/// Keys change after as many seconds.
const PERIOD: u64 = 24 * 3_600;

/// What the keys of a gateway come from; shows nothing when it is printed.
#[derive(Clone, Copy)]
pub struct GatewaySecret(pub [u8; 32]);

impl GatewaySecret {
    /// One that lasts as long as this process.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl fmt::Debug for GatewaySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewaySecret(…)")
    }
}

pub(super) struct Gateway {
    secret: GatewaySecret,
}

impl Gateway {
    pub(super) fn new(secret: GatewaySecret) -> Self {
        Self { secret }
    }

    /// The list of key configurations: today's.
    fn keys(&self, period: u64) -> Result<Bytes, ohttp::Error> {
        Ok(KeyConfig::encode_list(&[self.config(period)?])?.into())
    }

    /// Opens a request that was sealed under the keys of `period` or of one beside it.
    fn open(&self, request: &[u8], period: u64) -> Result<(Vec<u8>, ServerResponse), ohttp::Error> {
        let id = request.first().copied().ok_or(ohttp::Error::Truncated)?;
        let mut periods = period.saturating_sub(1)..=period.saturating_add(1);
        let period = periods
            .find(|period| key_id(*period) == id)
            .ok_or(ohttp::Error::KeyId)?;
        Server::new(self.config(period)?)?.decapsulate(request)
    }

    fn config(&self, period: u64) -> Result<KeyConfig, ohttp::Error> {
        let suites = [Aead::Aes128Gcm, Aead::ChaCha20Poly1305].map(|aead| SymmetricSuite::new(Kdf::HkdfSha256, aead));
        let material = Sha256::new()
            .chain_update(b"nave oblivious gateway")
            .chain_update(self.secret.0)
            .chain_update(period.to_be_bytes())
            .finalize();
        KeyConfig::derive(key_id(period), Kem::X25519Sha256, suites.to_vec(), &material)
    }
}

/// The same for all, and another for every one of 256 days in a row.
const fn key_id(period: u64) -> u8 {
    period.to_be_bytes()[7]
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs()) / PERIOD
}

impl Assets {
    /// The key configurations of our gateway.
    pub(crate) fn gateway_keys(&self) -> Result<Bytes, Reply> {
        self.gateway.keys(now()).map_err(|error| {
            tracing::error!(%error, "no keys of the oblivious gateway");
            Reply::refused(500, "internal failure")
        })
    }

    /// Answers an encapsulated request. What is wrong with the request inside is told to who made it and to nobody
    /// else; only what cannot be opened is refused here.
    pub(crate) async fn oblivious(&self, request: &[u8]) -> Result<Bytes, Reply> {
        let opened = self.gateway.open(request, now());
        let (inner, seal) = opened.map_err(|_| Reply::malformed("not sealed under a key of this gateway"))?;
        let answer = match asked(&inner) {
            Ok((url, wanted)) => self.fetch_whole(&url, wanted).await,
            Err(refused) => Err(refused),
        };
        let message = match answer {
            Ok((head, body)) => message(head.0, &head.1, &body),
            Err(refused) => message(refused.status, &HeaderMap::new(), &[]),
        };
        let mut octets = Vec::new();
        let written = message.and_then(|message| message.write_bhttp(Mode::KnownLength, &mut octets));
        let sealed = written
            .map_err(|_| ())
            .and_then(|()| seal.encapsulate(&octets).map_err(|_| ()));
        sealed
            .map(Bytes::from)
            .map_err(|()| Reply::refused(500, "internal failure"))
    }

    async fn fetch_whole(&self, url: &AssetUrl, wanted: Wanted) -> Result<((u16, HeaderMap), Bytes), Reply> {
        let found: Response<AssetBody> = self.fetch(url, wanted).await?;
        let (head, body) = found.into_parts();
        let body = collect(body, self.limits.oblivious_bytes_max).await?;
        Ok(((head.status.as_u16(), head.headers), body))
    }
}

/// The asset that a binary request (RFC 9292) is for. Of its headers `range` alone is read.
fn asked(request: &[u8]) -> Result<(AssetUrl, Wanted), Reply> {
    let malformed = || Reply::malformed("not a request for an asset");
    let message = Message::read_bhttp(&mut Cursor::new(request)).map_err(|_| malformed())?;
    let control = message.control();
    let text = |octets: Option<&[u8]>| {
        octets
            .and_then(|octets| std::str::from_utf8(octets).ok())
            .map(str::to_owned)
    };
    let head = match control.method() {
        Some(b"GET") => false,
        Some(b"HEAD") => true,
        Some(_) => return Err(Reply::refused(405, "only GET and HEAD")),
        None => return Err(malformed()),
    };
    let scheme = text(control.scheme()).ok_or_else(malformed)?;
    let authority = text(control.authority()).filter(|authority| !authority.is_empty());
    let path = text(control.path())
        .filter(|path| path.starts_with('/'))
        .ok_or_else(malformed)?;
    let authority = authority
        .or_else(|| text(message.header().get(b"host")))
        .ok_or_else(malformed)?;
    let url = format!("{scheme}://{authority}{path}")
        .parse()
        .map_err(|_| malformed())?;
    let range = message
        .header()
        .get(b"range")
        .and_then(|range| HeaderValue::from_bytes(range).ok());
    let wanted = Wanted {
        head,
        range: range::passed_on(range.as_ref()),
    };
    Ok((url, wanted))
}

fn message(status: u16, headers: &HeaderMap, body: &[u8]) -> Result<Message, bhttp::Error> {
    let mut message = Message::response(StatusCode::try_from(status)?);
    for (name, value) in headers {
        message.put_header(name.as_str(), value.as_bytes());
    }
    message.write_content(body);
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use ohttp::ClientRequest;

    use super::*;

    #[test]
    fn as_5_keys_change_every_day_and_those_of_the_days_beside_are_good() {
        let (one, same) = (
            Gateway::new(GatewaySecret([7; 32])),
            Gateway::new(GatewaySecret([7; 32])),
        );
        let keys = one.keys(1_000).unwrap();
        assert_eq!(keys, same.keys(1_000).unwrap(), "every edge has the same");
        assert_ne!(keys, one.keys(1_001).unwrap());
        let seal = |keys: &[u8]| {
            let request = ClientRequest::from_encoded_config_list(keys).unwrap();
            request.encapsulate(b"request").unwrap()
        };
        let (sealed, opener) = seal(&keys);
        for period in [999, 1_000, 1_001] {
            assert_eq!(same.open(&sealed, period).unwrap().0, b"request");
        }
        for period in [0, 998, 1_002, u64::MAX] {
            assert!(same.open(&sealed, period).is_err(), "{period}");
        }
        let (_, response) = one.open(&sealed, 1_000).unwrap();
        assert_eq!(
            opener.decapsulate(&response.encapsulate(b"response").unwrap()).unwrap(),
            b"response"
        );

        let other = Gateway::new(GatewaySecret([8; 32]));
        assert!(other.open(&sealed, 1_000).is_err());
        for cut in 0..sealed.len() {
            assert!(one.open(&sealed[..cut], 1_000).is_err());
        }
    }

    #[test]
    fn as_5_only_requests_for_https_urls_are_opened() {
        let request = |method: &str, scheme: &str, authority: &str, path: &str| {
            let mut message = Message::request(method.into(), scheme.into(), authority.into(), path.into());
            message.put_header("range", "bytes=1-2");
            message.put_header("cookie", "secret");
            let mut octets = Vec::new();
            message.write_bhttp(Mode::KnownLength, &mut octets).unwrap();
            asked(&octets)
        };
        let (url, wanted) = request("GET", "https", "b.example", "/x?y").unwrap();
        assert_eq!(url.as_uri().to_string(), "https://b.example/x?y");
        assert_eq!(
            (wanted.head, wanted.range.unwrap().as_bytes()),
            (false, &b"bytes=1-2"[..])
        );
        for (method, scheme, authority, path, status) in [
            ("POST", "https", "b.example", "/x", 405),
            ("GET", "http", "b.example", "/x", 400),
            ("GET", "https", "u@b.example", "/x", 400),
            ("GET", "https", "", "/x", 400),
            ("GET", "https", "b.example", ".evil/x", 400),
            ("GET", "https", "b.example", "", 400),
        ] {
            assert_eq!(
                request(method, scheme, authority, path).unwrap_err().status,
                status,
                "{authority} {path}"
            );
        }
        for octets in [&b""[..], b"\x00", b"\xff\xff\xff\xff\xff", &[0; 64], &[1; 64]] {
            assert!(asked(octets).is_err(), "{octets:?}");
        }
    }
}
