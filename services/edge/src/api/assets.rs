//! Assets: a user's client stores one, and fetches others without their keepers learning who asks.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures::{Stream, StreamExt as _};
use http::Response as HttpResponse;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap};
use http_body_util::BodyExt as _;
use mimi::{Provider, UserUri};
use peer::Wanted;
use proto::provider::assets_server::Assets as AssetsService;
use proto::provider::{
    Answer, AssetChunk, AssetDescription, DownloadAsset, ObliviousCall, ObliviousKeysCall, UploadAsset, UploadedAsset,
    upload_asset::Part,
};
use tonic::{Request, Response, Status, Streaming};

use super::{room, status, user};
use crate::assets::{AssetBody, Assets, Upload};
use crate::federation::Federation;
use crate::limits::OBLIVIOUS_BYTES_MAX;
use crate::relay::Unreachable;
use crate::reply::Reply;

pub(super) struct AssetCalls {
    pub(super) federation: Arc<Federation>,
    pub(super) assets: Arc<Assets>,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<AssetChunk, Status>> + Send>>;

impl AssetCalls {
    async fn store(&self, user: &UserUri, mut parts: Streaming<UploadAsset>) -> Result<String, Status> {
        self.federation.rates.admit_upload(user).map_err(status)?;
        let Some(Part::Description(AssetDescription { bytes, media_type })) = self.next(&mut parts).await? else {
            return Err(Status::invalid_argument("the first message must describe the asset"));
        };
        let mut upload = self.assets.upload(bytes, &media_type).map_err(status)?;
        match self.fill(&mut upload, &mut parts).await {
            Ok(()) => upload.finish().await.map_err(status),
            Err(failed) => {
                upload.give_up().await;
                Err(failed)
            }
        }
    }

    async fn fill(&self, upload: &mut Upload, parts: &mut Streaming<UploadAsset>) -> Result<(), Status> {
        while let Some(part) = self.next(parts).await? {
            let Part::Chunk(octets) = part else {
                return Err(Status::invalid_argument("an asset is described once"));
            };
            upload.put(octets).await.map_err(status)?;
        }
        Ok(())
    }

    /// The next message. `None`: there are no more.
    async fn next(&self, parts: &mut Streaming<UploadAsset>) -> Result<Option<Part>, Status> {
        let message = tokio::time::timeout(self.assets.limits.stall(), parts.message()).await;
        let message = message.map_err(|_| Status::deadline_exceeded("the upload has stalled"))??;
        let Some(message) = message else { return Ok(None) };
        let part = message.part;
        part.map(Some)
            .ok_or_else(|| Status::invalid_argument("an empty message"))
    }

    async fn fetch(&self, user: &UserUri, call: &DownloadAsset) -> Result<HttpResponse<AssetBody>, Reply> {
        self.federation.rates.admit_download(user)?;
        let hub = room(&call.room).map_err(|error| Reply::malformed(error.message().to_owned()))?;
        let url = call.url.parse();
        let url = url.map_err(|error: peer::BadAssetUrl| Reply::malformed(error.to_string()))?;
        let wanted = Wanted {
            head: false,
            range: range(call.first, call.count)?,
        };
        let us = &self.federation.us;
        self.assets.download(us, hub.provider(), &url, wanted).await
    }

    /// What comes of asking a gateway: our own, or that of another provider.
    fn relayed(&self, answer: Result<proto::link::Answer, Unreachable>) -> Reply {
        match answer {
            Ok(answer) => Reply::of_answer(answer),
            Err(error) => {
                tracing::info!(%error, "no answer of a gateway");
                Reply::unavailable("the other provider does not answer")
            }
        }
    }

    fn answer(&self, name: &'static str, reply: Reply, since: Instant) -> Response<Answer> {
        self.federation.metrics.answered(name, "api", reply.status, since);
        Response::new(reply.into())
    }
}

#[tonic::async_trait]
impl AssetsService for AssetCalls {
    async fn upload(&self, request: Request<Streaming<UploadAsset>>) -> Result<Response<UploadedAsset>, Status> {
        let (user, since) = (user(&request)?, Instant::now());
        let stored = self.store(&user, request.into_inner()).await;
        let status = if stored.is_ok() { 200 } else { 400 };
        self.federation.metrics.answered("upload", "api", status, since);
        Ok(Response::new(UploadedAsset { url: stored? }))
    }

    type DownloadStream = Chunks;

    async fn download(&self, request: Request<DownloadAsset>) -> Result<Response<Chunks>, Status> {
        let (user, since) = (user(&request)?, Instant::now());
        let found = self.fetch(&user, request.get_ref()).await;
        let status = found
            .as_ref()
            .map_or_else(|refused| refused.status, |found| found.status().as_u16());
        self.federation.metrics.answered("download", "api", status, since);
        Ok(Response::new(chunks(found)))
    }

    async fn oblivious_keys(&self, request: Request<ObliviousKeysCall>) -> Result<Response<Answer>, Status> {
        let (user, since) = (user(&request)?, Instant::now());
        let gateway = provider(&request.get_ref().provider)?;
        let reply = match self.federation.rates.admit_download(&user) {
            Err(early) => early,
            Ok(()) if gateway == self.federation.us => self.assets.gateway_keys().map_or_else(|no| no, Reply::ok),
            Ok(()) => self.relayed(self.federation.relay.gateway_keys(&gateway).await),
        };
        Ok(self.answer("ohttpKeys", reply, since))
    }

    async fn oblivious(&self, request: Request<ObliviousCall>) -> Result<Response<Answer>, Status> {
        let (user, since) = (user(&request)?, Instant::now());
        let call = request.into_inner();
        let gateway = provider(&call.provider)?;
        let reply = match self.federation.rates.admit_download(&user) {
            Err(early) => early,
            Ok(()) if call.body.len() > OBLIVIOUS_BYTES_MAX => Reply::refused(413, "body too large"),
            Ok(()) if gateway == self.federation.us => {
                let answer = self.assets.oblivious(&call.body).await;
                answer.map_or_else(|refused| refused, Reply::ok)
            }
            Ok(()) => self.relayed(self.federation.relay.oblivious(&gateway, call.body).await),
        };
        Ok(self.answer("ohttpRelay", reply, since))
    }
}

fn provider(text: &str) -> Result<Provider, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument("provider is not a domain"))
}

/// `Range` for `count` octets from `first` on; everything is asked for without.
fn range(first: u64, count: u64) -> Result<Option<http::HeaderValue>, Reply> {
    let text = match (first, count) {
        (0, 0) => return Ok(None),
        (first, 0) => format!("bytes={first}-"),
        (first, count) => {
            let last = first.checked_add(count - 1);
            let last = last.ok_or_else(|| Reply::malformed("a range beyond all numbers"))?;
            format!("bytes={first}-{last}")
        }
    };
    Ok(http::HeaderValue::try_from(text).ok())
}

/// The first chunk says what comes of it, those after it are octets.
fn chunks(found: Result<HttpResponse<AssetBody>, Reply>) -> Chunks {
    let found = match found {
        Ok(found) => found,
        Err(refused) => {
            let refusal = AssetChunk {
                status: refused.status.into(),
                retry_after_ms: refused.retry_after_ms(),
                reason: refused.reason.into_owned(),
                ..AssetChunk::default()
            };
            return Box::pin(futures::stream::iter([Ok(refusal)]));
        }
    };
    let (head, body) = found.into_parts();
    let first = AssetChunk {
        status: head.status.as_u16().into(),
        bytes: whole_length(&head.headers).unwrap_or(0),
        reason: if head.status.is_success() {
            String::new()
        } else {
            "no such octets".to_owned()
        },
        ..AssetChunk::default()
    };
    let octets = body.into_data_stream().map(|piece| match piece {
        Ok(chunk) => Ok(AssetChunk {
            chunk,
            ..AssetChunk::default()
        }),
        Err(error) => Err(Status::aborted(format!("the asset broke off: {error}"))),
    });
    Box::pin(futures::stream::iter([Ok(first)]).chain(octets))
}

/// Of a part, too, the length of the whole.
fn whole_length(headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(CONTENT_RANGE) {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None => text(CONTENT_LENGTH)?.parse().ok(),
    }
}
