//! Bodies of assets on their way: a few pieces in memory, however large the asset and however slow who reads it.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// Why a body broke off.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// A body of an asset, or of anything else that is answered over HTTPS.
pub type AssetBody = UnsyncBoxBody<Bytes, BodyError>;

/// Pieces that wait for whoever reads.
const PIECES: usize = 2;

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the asset broke off")]
    Off,
    #[error("the asset is larger than allowed")]
    TooLarge,
    #[error("nothing came for too long")]
    Stalled,
}

/// A body that is there.
pub fn full(body: impl Into<Bytes>) -> AssetBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The pieces of `body`, which has ended well if there is no error among them: at most `max` octets, and never longer
/// than `stall` between two pieces, whoever is to blame. `kept` goes when the last is handed over.
pub(super) fn bounded(body: AssetBody, max: u64, stall: Duration, kept: impl Send + 'static) -> AssetBody {
    let (to, pieces) = mpsc::channel(PIECES);
    let is_whole = Arc::new(AtomicBool::new(false));
    let told = is_whole.clone();
    tokio::spawn(async move {
        let _kept = kept;
        if pump(body, max, stall, &to).await.is_some() {
            told.store(true, Ordering::Release);
        }
    });
    // Who reads too slowly finds the end before its time, and must not take it for the asset's.
    let end = futures::stream::once(async move { is_whole.load(Ordering::Acquire) });
    let end = end.filter_map(|whole| futures::future::ready((!whole).then(|| Err(Broken::Off.into()))));
    of_stream(ReceiverStream::new(pieces).chain(end))
}

/// A body from its pieces.
pub(super) fn of_stream(pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> AssetBody {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// `Some`: everything was handed over.
async fn pump(body: AssetBody, max: u64, stall: Duration, to: &mpsc::Sender<Result<Bytes, BodyError>>) -> Option<()> {
    let mut pieces = body.into_data_stream();
    let mut left = max;
    loop {
        let next = tokio::select! {
            biased;
            () = to.closed() => return None,
            next = timeout(stall, pieces.next()) => next,
        };
        let piece = match next {
            Ok(None) => return Some(()),
            Ok(Some(Ok(piece))) if piece.len() as u64 > left => Err(Broken::TooLarge.into()),
            Ok(Some(piece)) => piece,
            Err(_) => Err(Broken::Stalled.into()),
        };
        left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let is_last = piece.is_err();
        timeout(stall, to.send(piece)).await.ok()?.ok()?;
        if is_last {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const STALL: Duration = Duration::from_millis(20);

    fn pieces(count: usize) -> AssetBody {
        of_stream(futures::stream::iter(
            (0..count).map(|_| Ok(Bytes::from_static(b"octets"))),
        ))
    }

    #[tokio::test]
    async fn a_body_passes_whole_up_to_its_limit() {
        let whole = bounded(pieces(10), 60, Duration::from_secs(60), ())
            .collect()
            .await
            .unwrap();
        assert_eq!(whole.to_bytes().len(), 60);
        assert!(
            bounded(pieces(10), 59, Duration::from_secs(60), ())
                .collect()
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn who_sends_or_reads_too_slowly_is_given_up_and_the_end_is_no_good_one() {
        let silent = of_stream(futures::stream::pending());
        assert!(bounded(silent, 60, STALL, ()).collect().await.is_err());

        let (kept, mut gone) = tokio::sync::oneshot::channel::<()>();
        let unread = bounded(pieces(10), 60, STALL, kept);
        (&mut gone).await.unwrap_err();
        assert!(unread.collect().await.is_err(), "it is not whole");
    }

    #[tokio::test]
    async fn what_breaks_off_stays_broken() {
        let broken = of_stream(futures::stream::iter([
            Ok(Bytes::from_static(b"octets")),
            Err(BodyError::from("gone")),
        ]));
        assert!(bounded(broken, 60, STALL, ()).collect().await.is_err());
    }
}
