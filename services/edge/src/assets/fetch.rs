//! Fetching assets: ours from our store, a peer's from where that peer keeps them, nobody else's. Nothing of whoever
//! asks goes along, and no URL is logged: it is all that one needs to have the asset.

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
    RETRY_AFTER,
};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use mimi::Provider;
use peer::{AssetUrl, Wanted};

use super::body::{AssetBody, bounded, full};
use super::{Assets, PATH, place};
use crate::relay::FetchError;
use crate::reply::Reply;

/// What an answer says about an asset; everything else of it stays here.
const PASSED_ON: [HeaderName; 7] = [
    ACCEPT_RANGES,
    CACHE_CONTROL,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
];

impl Assets {
    /// An asset of our own store by the name in its URL.
    pub(crate) async fn of_ours(&self, name: &str, wanted: &Wanted) -> Result<Response<AssetBody>, Reply> {
        let place = place(&self.downloads, "too many downloads at a time")?;
        let found = self.store.read(name, wanted).await?;
        Ok(found.map(|body| bounded(body, u64::MAX, self.limits.stall(), place)))
    }

    /// Fetches an asset of ours or of a peer (proxyDownload): 403 for every other host.
    pub(crate) async fn fetch(&self, url: &AssetUrl, wanted: Wanted) -> Result<Response<AssetBody>, Reply> {
        if url.authority() == self.authority {
            let name = url.path().strip_prefix(PATH);
            let name = name.ok_or_else(|| Reply::refused(404, "no such asset"))?;
            return self.of_ours(name, &wanted).await;
        }
        if self.relay.holder(url).is_none() {
            return Err(Reply::refused(403, "not a host of assets of a provider known here"));
        }
        if let Some(kept) = self.cache.answer(url, &wanted) {
            return Ok(kept);
        }
        let place = place(&self.downloads, "too many downloads at a time")?;
        let answer = self.relay.fetch_asset(url, wanted.clone()).await;
        let (head, body) = self.judge(answer, url.host())?.into_parts();
        let may_keep = self.cache.may_keep(&head.headers);
        if let (StatusCode::OK, false, Some((length, fresh_for))) = (head.status, wanted.head, may_keep) {
            let body = bounded(body, length as u64, self.limits.stall(), place);
            let body = collect(body, length).await?;
            if body.len() != length {
                return Err(Reply::refused(502, "the asset broke off"));
            }
            return Ok(self.cache.keep(url, head.headers, body, fresh_for).answer(&wanted));
        }
        let body = bounded(body, self.limits.proxied_bytes_max, self.limits.stall(), place);
        Ok(Response::from_parts(head, body))
    }

    /// Fetches an asset for a local user: in the name of the room's hub if that is us, else through its proxy.
    pub(crate) async fn download(
        &self,
        us: &Provider,
        hub: &Provider,
        url: &AssetUrl,
        wanted: Wanted,
    ) -> Result<Response<AssetBody>, Reply> {
        if hub == us || url.authority() == self.authority {
            return self.fetch(url, wanted).await;
        }
        let place = place(&self.downloads, "too many downloads at a time")?;
        let answer = self.relay.proxy_download(hub, url, wanted).await;
        let answer = match answer {
            Ok(refused) if matches!(refused.status().as_u16(), 403 | 504) => {
                let status = refused.status().as_u16();
                return Err(Reply::refused(status, "refused by the room's hub"));
            }
            answer => self.judge(answer, hub.as_str())?,
        };
        let (stall, max) = (self.limits.stall(), self.limits.proxied_bytes_max);
        Ok(answer.map(|body| bounded(body, max, stall, place)))
    }

    /// What an answer from elsewhere comes to: the asset or a part of it, that it is not there, or that the other side
    /// fails. A redirect is a failure: whoever keeps assets keeps them where it says.
    fn judge(&self, answer: Result<Response<AssetBody>, FetchError>, host: &str) -> Result<Response<AssetBody>, Reply> {
        let answer = answer.map_err(|error| {
            tracing::info!(host, %error, "an asset was not fetched");
            match error {
                FetchError::NotAllowed => Reply::refused(403, "not a host of assets of a provider known here"),
                FetchError::TimedOut => Reply::refused(504, "the assets' host does not answer"),
                FetchError::Unreachable(_) => Reply::refused(502, "the assets' host cannot be reached"),
            }
        })?;
        let status = answer.status();
        match status.as_u16() {
            200 | 206 => {}
            404 | 410 => return Err(Reply::refused(404, "no such asset")),
            416 => {
                let (mut head, _) = answer.into_parts();
                head.headers = kept(&head.headers, &[CONTENT_RANGE]);
                return Ok(Response::from_parts(head, full(Bytes::new())));
            }
            429 | 503 => {
                let seconds = answer
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok()?.parse().ok());
                let after = seconds.map_or(crate::limits::RETRY_AFTER, std::time::Duration::from_secs);
                return Err(Reply::later(503, "the assets' host is overloaded", after));
            }
            status => {
                tracing::info!(host, status, "an asset was not fetched");
                return Err(Reply::refused(502, "the assets' host failed"));
            }
        }
        let (mut head, body) = answer.into_parts();
        head.headers = kept(&head.headers, &PASSED_ON);
        head.extensions.clear();
        let length = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.limits.proxied_bytes_max) {
            return Err(Reply::refused(502, "the asset is larger than allowed"));
        }
        Ok(Response::from_parts(head, body))
    }
}

/// Those headers, and no others.
fn kept(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in names {
        if let Some(value) = headers.get(name) {
            kept.insert(name, value.clone());
        }
    }
    kept
}

/// A body of at most `max` octets, whole.
pub(super) async fn collect(body: AssetBody, max: usize) -> Result<Bytes, Reply> {
    let mut pieces = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Reply::refused(502, "the asset broke off"))?;
        if piece.len() > max - whole.len() {
            return Err(Reply::refused(502, "the asset is larger than allowed"));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}
