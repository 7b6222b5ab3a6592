//! Assets and oblivious requests (mimi-protocol §5.10) of other providers: which URLs may be fetched at all, and the
//! requests that fetch them. They carry nothing of whoever wants them: no cookies, no authorisation, no `From` but ours.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, Uri};
use hyper::body::Incoming;
use mimi::Provider;
use proto::link::Answer;

use crate::https::Https;
use crate::peers::{PeerConfig, Peers, answer, uri};
use crate::{Endpoint, PeerError, WELL_KNOWN_GATEWAY};

/// Octets of the longest URL accepted.
const URL_BYTES_MAX: usize = 2_048;

/// Octets of a list of key configurations.
const KEYS_BYTES_MAX: usize = 16 << 10;

/// The port of https.
const HTTPS_PORT: u16 = 443;

/// Why a text is not the URL of an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an https URL with a host, without user information and fragment, of at most {URL_BYTES_MAX} octets")]
pub struct BadAssetUrl;

/// `https://assets.b.example/x`. Shows its host only when it is printed: whoever has a URL has the asset.
#[derive(Clone, PartialEq, Eq)]
pub struct AssetUrl {
    uri: Uri,
    host: String,
    port: u16,
}

impl AssetUrl {
    /// The host in lower case, without port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and port, the latter also where the URL has none.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }

    /// The whole.
    pub fn as_uri(&self) -> &Uri {
        &self.uri
    }
}

impl FromStr for AssetUrl {
    type Err = BadAssetUrl;

    fn from_str(text: &str) -> Result<Self, BadAssetUrl> {
        if text.len() > URL_BYTES_MAX || text.contains('#') || !text.is_ascii() {
            return Err(BadAssetUrl);
        }
        let uri: Uri = text.parse().map_err(|_| BadAssetUrl)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(BadAssetUrl)?;
        let host = authority.host().to_ascii_lowercase();
        if uri.scheme() != Some(&http::uri::Scheme::HTTPS) || host.is_empty() {
            return Err(BadAssetUrl);
        }
        let port = match &authority.as_str()[host.len()..] {
            "" => HTTPS_PORT,
            _ => authority.port_u16().ok_or(BadAssetUrl)?,
        };
        Ok(Self { uri, host, port })
    }
}

impl fmt::Debug for AssetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}/…", self.authority())
    }
}

/// What is wanted of an asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only what is said about it.
    pub head: bool,
    /// `Range`, as it is to be sent.
    pub range: Option<HeaderValue>,
}

/// Whose assets are at which `host:port`. Of several peers that name one, it is the first's.
pub(crate) fn hosts(peers: &[PeerConfig]) -> BTreeMap<String, Provider> {
    let mut hosts = BTreeMap::new();
    for peer in peers {
        for host in asset_hosts(peer) {
            hosts.entry(host).or_insert_with(|| peer.provider.clone());
        }
    }
    hosts
}

fn asset_hosts(peer: &PeerConfig) -> Vec<String> {
    let with_port = |host: &String| {
        let url: AssetUrl = format!("https://{host}/").parse().ok()?;
        Some(url.authority())
    };
    if !peer.asset_hosts.is_empty() {
        return peer.asset_hosts.iter().filter_map(with_port).collect();
    }
    let address = peer.address.as_ref().and_then(|address| address.rsplit_once(':'));
    let port = address.and_then(|(_, port)| port.parse::<u16>().ok());
    let mut ports = vec![HTTPS_PORT];
    ports.extend(port.filter(|port| *port != HTTPS_PORT));
    ports.iter().map(|port| format!("{}:{port}", peer.provider)).collect()
}

impl Peers {
    /// Whose asset it is. `None`: no peer keeps assets there, and it is not fetched.
    pub fn holder(&self, url: &AssetUrl) -> Option<&Provider> {
        self.0.asset_hosts.get(&url.authority())
    }

    /// Fetches an asset from the peer who keeps it; returns when the head of the response is there. Redirects are not
    /// followed. Whoever reads the body bounds it.
    ///
    /// # Errors
    /// No peer keeps assets there, or it cannot be reached.
    pub async fn fetch_asset(&self, url: &AssetUrl, wanted: Wanted) -> Result<Response<Incoming>, PeerError> {
        let holder = self.holder(url).ok_or(PeerError::NotAnAssetHost)?;
        self.peer(holder)?.assets.open(url.uri.clone(), wanted, false).await
    }

    /// Fetches an asset through the proxy of a hub (proxyDownload); otherwise like [`fetch_asset`](Self::fetch_asset).
    ///
    /// # Errors
    /// The hub is not known, has no proxy or cannot be reached.
    pub async fn proxy_download(
        &self,
        hub: &Provider,
        url: &AssetUrl,
        wanted: Wanted,
    ) -> Result<Response<Incoming>, PeerError> {
        let hub = self.peer(hub)?;
        let directory = hub.directory(None).await?;
        let uri = uri(&directory, Endpoint::ProxyDownload, &url.uri.to_string())?;
        hub.https.open(uri, wanted, true).await
    }

    /// The key configurations of a provider's oblivious gateway: `application/ohttp-keys` (RFC 9458 §3.2).
    ///
    /// # Errors
    /// The provider is not known or cannot be reached.
    pub async fn gateway_keys(&self, provider: &Provider) -> Result<Answer, PeerError> {
        let (https, uri) = self.gateway(provider).await?;
        let response = https.send(Method::GET, uri, None, Bytes::new(), KEYS_BYTES_MAX).await?;
        Ok(answer(response))
    }

    /// Brings an encapsulated request to a provider's oblivious gateway; the body of the answer is the encapsulated
    /// response.
    ///
    /// # Errors
    /// The provider is not known or cannot be reached.
    pub async fn oblivious(&self, provider: &Provider, request: Bytes) -> Result<Answer, PeerError> {
        let (https, uri) = self.gateway(provider).await?;
        let (kind, max) = (Some("message/ohttp-req"), self.0.limits.answer_bytes_max);
        Ok(answer(https.send(Method::POST, uri, kind, request, max).await?))
    }

    /// Where the directory says, else the well-known place of the domain.
    async fn gateway(&self, provider: &Provider) -> Result<(&Https, Uri), PeerError> {
        let peer = self.peer(provider)?;
        let directory = peer.directory(None).await?;
        let at_domain = || format!("https://{provider}{WELL_KNOWN_GATEWAY}");
        let uri = directory.gateway.clone().unwrap_or_else(at_domain).parse();
        let uri = uri.map_err(|error: http::uri::InvalidUri| PeerError::Directory(error.to_string()))?;
        Ok((&peer.https, uri))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn as_4_only_https_urls_without_user_information_are_assets() {
        for text in [
            "http://b.example/x",
            "ftp://b.example/x",
            "b.example/x",
            "/x",
            "",
            "https://u@b.example/x",
            "https://u:p@b.example/x",
            "https://@b.example/x",
            "https:///x",
            "https://b.example/x#y",
            "https://b.example/x y",
            "https://b.example/\u{e4}",
            "https://b.example:99999/x",
            "https://b.example:/x",
            &format!("https://b.example/{}", "x".repeat(URL_BYTES_MAX)),
        ] {
            assert_eq!(text.parse::<AssetUrl>(), Err(BadAssetUrl), "{text}");
        }
        let url: AssetUrl = "https://Assets.B.example/x?y=1".parse().unwrap();
        assert_eq!(
            (url.authority().as_str(), url.path()),
            ("assets.b.example:443", "/x?y=1")
        );
    }

    #[test]
    fn as_4_a_url_that_is_printed_shows_its_host_only() {
        let url: AssetUrl = "https://b.example:7443/secret?key=secret".parse().unwrap();
        assert_eq!(format!("{url:?}"), "https://b.example:7443/…");
    }

    #[test]
    fn a_peer_keeps_its_assets_at_its_domain_unless_it_names_other_hosts() {
        let peer = |domain: &str, hosts: &[&str]| PeerConfig {
            provider: domain.parse().unwrap(),
            address: Some("127.0.0.1:7443".to_owned()),
            link_address: None,
            hosts: Vec::new(),
            asset_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        let hosts = hosts(&[
            peer("b.example", &[]),
            peer(
                "c.example",
                &["Assets.c.example", "cdn.example:8443", "b.example:443", "no host"],
            ),
        ]);
        let found: Vec<_> = hosts
            .iter()
            .map(|(host, peer)| (host.as_str(), peer.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("assets.c.example:443", "c.example"),
                ("b.example:443", "b.example"),
                ("b.example:7443", "b.example"),
                ("cdn.example:8443", "c.example"),
            ]
        );
    }
}
