//! Where own users' assets are: a directory, or a bucket that speaks S3. Nothing is read or written whole.

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt as _};
use peer::Wanted;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::body::{AssetBody, full, of_stream};
use super::name::Name;
use super::range::Part;
use super::s3::{self, S3Error, S3Options};
use crate::reply::Reply;

/// Octets of a piece that is written at once: S3 takes none below 5 MiB but the last.
const PIECE_BYTES: usize = 8 << 20;

/// Pieces of one asset being written at a time, beside the one that fills.
const PIECES: usize = 1;

/// An asset never changes.
const AGE: HeaderValue = HeaderValue::from_static("max-age=604800, immutable");

/// Where assets are.
#[derive(Debug, Clone)]
pub struct AssetStore(Arc<dyn ObjectStore>);

impl AssetStore {
    /// A directory, which is made if need be. Several edges may share one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn directory(path: &FilePath) -> Result<Self, std::io::Error> {
        std::fs::create_dir_all(path)?;
        let directory = LocalFileSystem::new_with_prefix(path).map_err(std::io::Error::other)?;
        Ok(Self(Arc::new(directory.with_fsync(true))))
    }

    /// A bucket that speaks S3.
    ///
    /// # Errors
    /// The options do not make a store.
    pub fn s3(options: &S3Options) -> Result<Self, S3Error> {
        Ok(Self(s3::bucket(options)?))
    }

    /// Begins to write an asset of `bytes` octets, whose URL will begin with `base`.
    pub(super) fn upload(&self, name: Name, bytes: u64, base: &str, place: OwnedSemaphorePermit) -> Upload {
        let writer = BufWriter::with_capacity(self.0.clone(), path(&name), PIECE_BYTES).with_max_concurrency(PIECES);
        Upload {
            url: format!("{base}{}", name.as_str()),
            writer,
            missing: bytes,
            _place: place,
        }
    }

    /// An asset by its name, as a response without bounds of its own.
    pub(super) async fn read(&self, name: &str, wanted: &Wanted) -> Result<Response<AssetBody>, Reply> {
        let nothing = || Reply::refused(404, "no such asset");
        let name = Name::parse(name).ok_or_else(nothing)?;
        let failed = |error| match error {
            object_store::Error::NotFound { .. } => nothing(),
            error => {
                tracing::warn!(error = %kind(&error), "assets cannot be read");
                Reply::unavailable("the asset cannot be read now")
            }
        };
        let meta = self.0.head(&path(&name)).await.map_err(failed)?;
        let mut head = HeaderMap::new();
        let (status, octets, range) = match Part::of(wanted, meta.size) {
            Part::Whole => (StatusCode::OK, 0..meta.size, None),
            Part::Octets(first, last) => {
                let range = format!("bytes {first}-{last}/{}", meta.size);
                (StatusCode::PARTIAL_CONTENT, first..last + 1, Some(range))
            }
            Part::Beyond => {
                let range = format!("bytes */{}", meta.size);
                (StatusCode::RANGE_NOT_SATISFIABLE, 0..0, Some(range))
            }
        };
        let length = octets.end - octets.start;
        let body = if wanted.head || length == 0 {
            full(Bytes::new())
        } else {
            let options = GetOptions {
                range: Some(octets.into()),
                ..GetOptions::default()
            };
            let found = self.0.get_opts(&path(&name), options).await.map_err(failed)?;
            of_stream(found.into_stream().map(|piece| piece.map_err(Into::into)))
        };
        head.insert(CONTENT_LENGTH, length.into());
        head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        head.insert(CACHE_CONTROL, AGE);
        let texts = [
            (CONTENT_TYPE, Some(name.media_type())),
            (ETAG, Some(format!("\"{}\"", name.as_str()))),
            (CONTENT_RANGE, range),
        ];
        for (header, text) in texts {
            if let Some(text) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
                head.insert(header, text);
            }
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = head;
        Ok(response)
    }
}

/// Two digits make the folder, so that no folder holds too many.
fn path(name: &Name) -> Path {
    Path::from_iter([&name.as_str()[..2], name.as_str()])
}

/// What kind of failure it was, without the asset's name.
fn kind(error: &object_store::Error) -> &'static str {
    match error {
        object_store::Error::Generic { store, .. } => store,
        object_store::Error::PermissionDenied { .. } => "permission denied",
        object_store::Error::Unauthenticated { .. } => "not authenticated",
        _ => "failed",
    }
}

/// An asset on its way into the store.
pub(crate) struct Upload {
    url: String,
    writer: BufWriter,
    missing: u64,
    _place: OwnedSemaphorePermit,
}

impl Upload {
    /// Takes the next octets.
    pub(crate) async fn put(&mut self, octets: Bytes) -> Result<(), Reply> {
        let left = self.missing.checked_sub(octets.len() as u64);
        self.missing = left.ok_or_else(|| Reply::malformed("more octets than were announced"))?;
        self.writer.put(octets).await.map_err(unwritten)
    }

    /// Makes the asset durable; returns its URL.
    pub(crate) async fn finish(mut self) -> Result<String, Reply> {
        if self.missing > 0 {
            self.give_up().await;
            return Err(Reply::malformed("fewer octets than were announced"));
        }
        self.writer.shutdown().await.map_err(|error| {
            tracing::warn!(error = %error.kind(), "assets cannot be written");
            Reply::unavailable("the asset cannot be stored now")
        })?;
        Ok(self.url)
    }

    /// Leaves nothing behind.
    pub(crate) async fn give_up(mut self) {
        if let Err(error) = self.writer.abort().await {
            tracing::info!(error = %kind(&error), "an upload given up may have left pieces");
        }
    }
}

fn unwritten(error: object_store::Error) -> Reply {
    tracing::warn!(error = %kind(&error), "assets cannot be written");
    Reply::unavailable("the asset cannot be stored now")
}
