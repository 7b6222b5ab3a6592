//! Assets (mimi-protocol §5.10): what messages refer to by URL. They are encrypted before they come here, their names
//! cannot be guessed, and they never change.
//!
//! * [`AssetStore`]: a directory or an S3 bucket, in which own users' assets are.
//! * Fetching: an asset of ours from the store; one of a peer from where that peer keeps its assets, and from nowhere
//!   else. That is the proxy (proxyDownload) and, behind it, the oblivious gateway.

mod body;
mod cache;
mod fetch;
mod gateway;
mod limits;
mod name;
mod range;
mod s3;
mod store;

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::relay::Relay;
use crate::reply::Reply;
use cache::Cache;
use gateway::Gateway;

pub use body::{AssetBody, full};
pub use gateway::GatewaySecret;
pub(crate) use gateway::{KEYS_TYPE, RESPONSE_TYPE};
pub use limits::AssetLimits;
pub(crate) use range::passed_on;
pub use s3::{S3Error, S3Options};
pub use store::AssetStore;
pub(crate) use store::Upload;

/// Where our assets are in the URLs of our authority.
pub(crate) const PATH: &str = "/v1/assets/";

/// What the assets of an edge are made of.
#[derive(Debug)]
pub struct AssetParts {
    /// Where own users' assets are.
    pub store: AssetStore,
    /// What the keys of the oblivious gateway come from. Every edge of a provider has the same.
    pub gateway_secret: GatewaySecret,
    /// Bounds.
    pub limits: AssetLimits,
}

/// Stores and fetches assets.
pub(crate) struct Assets {
    /// `host:port` at which other providers find us, the port also where it is 443.
    authority: String,
    /// What our URLs begin with.
    base: String,
    store: AssetStore,
    gateway: Gateway,
    relay: Arc<dyn Relay>,
    cache: Cache,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    pub(crate) limits: AssetLimits,
}

impl Assets {
    /// `authority` is host and port as the directory has them.
    pub(crate) fn new(parts: AssetParts, authority: &str, relay: Arc<dyn Relay>) -> Self {
        let limits = parts.limits;
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let base = format!("https://{authority}{PATH}");
        let own = base.parse::<peer::AssetUrl>();
        Self {
            authority: own.map_or_else(|_| authority.to_owned(), |own| own.authority()),
            base,
            store: parts.store,
            gateway: Gateway::new(parts.gateway_secret),
            relay,
            cache: Cache::new(&limits),
            uploads: places(limits.uploads_max),
            downloads: places(limits.downloads_max),
            limits,
        }
    }

    /// Begins to store an asset of a local user: as many octets as are announced, in pieces.
    pub(crate) fn upload(&self, bytes: u64, media_type: &str) -> Result<Upload, Reply> {
        if bytes > self.limits.asset_bytes_max {
            return Err(Reply::refused(413, "larger than an asset may be"));
        }
        let name = name::Name::random(media_type).ok_or_else(|| Reply::malformed("not a media type"))?;
        let place = place(&self.uploads, "too many uploads at a time")?;
        Ok(self.store.upload(name, bytes, &self.base, place))
    }
}

/// A place among those who do the same, or the advice to come back.
fn place(places: &Arc<Semaphore>, full: &'static str) -> Result<OwnedSemaphorePermit, Reply> {
    places.clone().try_acquire_owned().map_err(|_| Reply::unavailable(full))
}

impl fmt::Debug for Assets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assets").finish_non_exhaustive()
    }
}
