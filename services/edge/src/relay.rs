//! The way to other providers, as the edge needs it.

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mimi::Provider;
use mimi::mls::{CipherSuite, ExternalSender};
use peer::{AssetUrl, PeerError, Wanted};
use proto::link::{Answer, Call};

use crate::assets::AssetBody;

/// Another provider gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unreachable {
    /// Asking again may help: no connection, no answer in time.
    #[error("no answer from the other provider: {0}")]
    Now(String),
    /// It is not known here, takes no such request, or answers with more than is read.
    #[error("the other provider cannot be asked: {0}")]
    Ever(String),
}

/// An asset was not fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// Nobody known here keeps assets there.
    #[error("no peer keeps assets there")]
    NotAllowed,
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// No connection, or it broke.
    #[error("not reached: {0}")]
    Unreachable(String),
}

/// Brings requests to other providers.
#[async_trait]
pub trait Relay: Send + Sync + 'static {
    /// Brings one request to `to` and returns its answer, whatever the status.
    async fn request(&self, to: &Provider, call: Call) -> Result<Answer, Unreachable>;

    /// The key with which a hub signs for a cipher suite, as its directory says. Never waits; `None` while it is not known.
    fn hub_sender(&self, of: &Provider, suite: CipherSuite) -> Option<ExternalSender>;

    /// Whose asset it is, if anybody's known here.
    fn holder(&self, url: &AssetUrl) -> Option<Provider>;

    /// Fetches an asset from who keeps it; returns when the head of the response is there, whatever the status.
    async fn fetch_asset(&self, url: &AssetUrl, wanted: Wanted) -> Result<Response<AssetBody>, FetchError>;

    /// The same through the proxy of `hub`.
    async fn proxy_download(
        &self,
        hub: &Provider,
        url: &AssetUrl,
        wanted: Wanted,
    ) -> Result<Response<AssetBody>, FetchError>;

    /// The key configurations of an oblivious gateway.
    async fn gateway_keys(&self, of: &Provider) -> Result<Answer, Unreachable>;

    /// Brings an encapsulated request to an oblivious gateway.
    async fn oblivious(&self, to: &Provider, request: Bytes) -> Result<Answer, Unreachable>;
}

impl From<PeerError> for Unreachable {
    fn from(error: PeerError) -> Self {
        let why = error.to_string();
        match error {
            PeerError::Unknown(_)
            | PeerError::NoEndpoint(_)
            | PeerError::NotAnAssetHost
            | PeerError::TooLarge { .. } => Self::Ever(why),
            PeerError::Directory(_) | PeerError::Unreachable(_) | PeerError::TimedOut => Self::Now(why),
        }
    }
}

impl From<PeerError> for FetchError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::NotAnAssetHost => Self::NotAllowed,
            PeerError::TimedOut => Self::TimedOut,
            error => Self::Unreachable(error.to_string()),
        }
    }
}

fn boxed(response: Response<Incoming>) -> Response<AssetBody> {
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

#[async_trait]
impl Relay for peer::Peers {
    async fn request(&self, to: &Provider, call: Call) -> Result<Answer, Unreachable> {
        Ok(Self::request(self, to, call).await?)
    }

    fn hub_sender(&self, of: &Provider, suite: CipherSuite) -> Option<ExternalSender> {
        Self::hub_sender(self, of, suite)
    }

    fn holder(&self, url: &AssetUrl) -> Option<Provider> {
        Self::holder(self, url).cloned()
    }

    async fn fetch_asset(&self, url: &AssetUrl, wanted: Wanted) -> Result<Response<AssetBody>, FetchError> {
        Ok(boxed(Self::fetch_asset(self, url, wanted).await?))
    }

    async fn proxy_download(
        &self,
        hub: &Provider,
        url: &AssetUrl,
        wanted: Wanted,
    ) -> Result<Response<AssetBody>, FetchError> {
        Ok(boxed(Self::proxy_download(self, hub, url, wanted).await?))
    }

    async fn gateway_keys(&self, of: &Provider) -> Result<Answer, Unreachable> {
        Ok(Self::gateway_keys(self, of).await?)
    }

    async fn oblivious(&self, to: &Provider, request: Bytes) -> Result<Answer, Unreachable> {
        Ok(Self::oblivious(self, to, request).await?)
    }
}
