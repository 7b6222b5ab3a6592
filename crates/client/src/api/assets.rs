//! Assets on their way to and from the provider. They are encrypted where they come through here.

use bytes::{Bytes, BytesMut};
use mimi::{Provider, RoomUri};
use proto::provider::{
    AssetDescription, DownloadAsset, ObliviousCall, ObliviousKeysCall, UploadAsset, upload_asset::Part,
};

use super::{Api, ApiError, outcome};

/// Octets of one message of an upload.
const CHUNK_BYTES: usize = 64 << 10;

impl Api {
    /// Stores an asset; gives its URL.
    pub async fn upload_asset(&self, asset: &Bytes) -> Result<String, ApiError> {
        let description = AssetDescription {
            bytes: asset.len() as u64,
            media_type: String::new(),
        };
        let chunks = (0..asset.len()).step_by(CHUNK_BYTES).map({
            let asset = asset.clone();
            move |at| Part::Chunk(asset.slice(at..asset.len().min(at + CHUNK_BYTES)))
        });
        let parts: Vec<UploadAsset> = std::iter::once(Part::Description(description))
            .chain(chunks)
            .map(|part| UploadAsset { part: Some(part) })
            .collect();
        let uploaded = self.assets.clone().upload(futures::stream::iter(parts)).await?;
        Ok(uploaded.into_inner().url)
    }

    /// Fetches an asset through the hub of `room` (proxyDownload, mimi-protocol §5.10).
    ///
    /// # Errors
    /// It has more than `max` octets.
    pub async fn download_asset(&self, room: &RoomUri, url: &str, max: u64) -> Result<Bytes, ApiError> {
        let call = DownloadAsset {
            room: room.to_string(),
            url: url.to_owned(),
            first: 0,
            count: 0,
        };
        let mut chunks = self.assets.clone().download(call).await?.into_inner();
        let mut asset = BytesMut::new();
        let mut begun = false;
        while let Some(chunk) = chunks.message().await? {
            if !std::mem::replace(&mut begun, true) && !(200..=299).contains(&chunk.status) {
                return Err(ApiError::Refused {
                    status: chunk.status,
                    reason: chunk.reason,
                });
            }
            if chunk.bytes > max || asset.len() as u64 + chunk.chunk.len() as u64 > max {
                return Err(ApiError::Refused {
                    status: 413,
                    reason: "an asset that is too large".to_owned(),
                });
            }
            asset.extend_from_slice(&chunk.chunk);
        }
        match begun {
            true => Ok(asset.freeze()),
            false => Err(ApiError::Unreachable("an answer without a beginning".to_owned())),
        }
    }

    /// Key configurations (application/ohttp-keys, RFC 9458 §3) of a provider's oblivious gateway.
    pub async fn oblivious_keys(&self, provider: &Provider) -> Result<Bytes, ApiError> {
        let call = ObliviousKeysCall {
            provider: provider.to_string(),
        };
        outcome(self.assets.clone().oblivious_keys(call).await?.into_inner())
    }

    /// An encapsulated request to that gateway; gives the encapsulated response.
    pub async fn oblivious(&self, provider: &Provider, body: Bytes) -> Result<Bytes, ApiError> {
        let call = ObliviousCall {
            provider: provider.to_string(),
            body,
        };
        outcome(self.assets.clone().oblivious(call).await?.into_inner())
    }
}
