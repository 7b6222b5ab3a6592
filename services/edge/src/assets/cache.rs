//! Small assets of other providers, kept whole in memory for as long as they allow: a picture that a whole room looks at
//! is fetched once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderMap, Response, StatusCode};
use peer::{AssetUrl, Wanted};

use super::body::{AssetBody, full};
use super::limits::AssetLimits;
use super::range::Part;

/// How long an asset is kept whatever it allows.
const KEPT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Octets around an entry.
const ENTRY_BYTES: usize = 1_024;

/// An asset and until when it may be shown.
pub(super) struct Kept {
    head: HeaderMap,
    body: Bytes,
    until: Instant,
}

/// Assets by URL, the least useful forgotten first.
pub(super) struct Cache {
    kept: moka::sync::Cache<String, Arc<Kept>>,
    entry_bytes_max: usize,
}

impl Cache {
    pub(super) fn new(limits: &AssetLimits) -> Self {
        let kept = moka::sync::Cache::builder()
            .weigher(|url: &String, kept: &Arc<Kept>| {
                u32::try_from(ENTRY_BYTES + url.len() + kept.body.len()).unwrap_or(u32::MAX)
            })
            .max_capacity(limits.cache_bytes_max)
            .time_to_live(KEPT_MAX)
            .build();
        Self {
            kept,
            entry_bytes_max: limits.cached_bytes_max,
        }
    }

    /// The answer, if the asset is here.
    pub(super) fn answer(&self, url: &AssetUrl, wanted: &Wanted) -> Option<Response<AssetBody>> {
        let kept = self.kept.get(&url.as_uri().to_string())?;
        (kept.until > Instant::now()).then(|| kept.answer(wanted))
    }

    /// How long an asset with this head may be kept, and its length, if it is worth it and allowed.
    pub(super) fn may_keep(&self, head: &HeaderMap) -> Option<(usize, Duration)> {
        let length = head.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
        let fresh_for = fresh_for(head).filter(|_| length <= self.entry_bytes_max)?;
        Some((length, fresh_for))
    }

    /// Keeps an asset; returns it.
    pub(super) fn keep(&self, url: &AssetUrl, head: HeaderMap, body: Bytes, fresh_for: Duration) -> Arc<Kept> {
        let kept = Arc::new(Kept {
            head,
            body,
            until: Instant::now() + fresh_for,
        });
        self.kept.insert(url.as_uri().to_string(), kept.clone());
        kept
    }
}

impl Kept {
    pub(super) fn answer(&self, wanted: &Wanted) -> Response<AssetBody> {
        let length = self.body.len();
        let (status, body, range) = match Part::of(wanted, length as u64) {
            Part::Whole => (StatusCode::OK, self.body.clone(), None),
            Part::Octets(first, last) => {
                let within = |at: u64| usize::try_from(at).unwrap_or(length);
                let part = self.body.slice(within(first)..(within(last) + 1).min(length));
                (
                    StatusCode::PARTIAL_CONTENT,
                    part,
                    Some(format!("bytes {first}-{last}/{length}")),
                )
            }
            Part::Beyond => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                Bytes::new(),
                Some(format!("bytes */{length}")),
            ),
        };
        let octets = body.len();
        let mut response = Response::new(full(if wanted.head { Bytes::new() } else { body }));
        *response.status_mut() = status;
        *response.headers_mut() = self.head.clone();
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, octets.into());
        if let Some(range) = range.and_then(|range| range.parse().ok()) {
            headers.insert(CONTENT_RANGE, range);
        }
        response
    }
}

/// What `Cache-Control` allows a cache that several share. Who says nothing allows nothing.
fn fresh_for(head: &HeaderMap) -> Option<Duration> {
    let mut fresh_for = None;
    let values = head
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        if let Some("no-store" | "no-cache" | "private") = directive.split('=').next() {
            return None;
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            fresh_for = Some(Duration::from_secs(seconds.parse().ok()?).min(KEPT_MAX));
        }
    }
    fresh_for.filter(|fresh_for| !fresh_for.is_zero())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn as_2_an_asset_is_kept_as_long_as_it_allows_and_no_longer_than_a_day() {
        let kept = |value: &str| {
            let mut head = HeaderMap::new();
            head.insert(CACHE_CONTROL, value.parse().unwrap());
            fresh_for(&head)
        };
        assert_eq!(kept("max-age=60, immutable"), Some(Duration::from_secs(60)));
        assert_eq!(kept("public, Max-Age=999999999"), Some(KEPT_MAX));
        for value in [
            "",
            "max-age=0",
            "max-age=x",
            "max-age=60, no-store",
            "private, max-age=60",
            "no-cache",
            "immutable",
            "private=\"x\", max-age=9",
        ] {
            assert_eq!(kept(value), None, "{value}");
        }
        assert_eq!(fresh_for(&HeaderMap::new()), None);
    }

    #[test]
    fn only_small_assets_of_known_length_are_kept_and_not_too_many() {
        let limits = AssetLimits {
            cache_bytes_max: 10_000,
            cached_bytes_max: 5_000,
            ..AssetLimits::default()
        };
        let cache = Cache::new(&limits);
        let mut head = HeaderMap::new();
        head.insert(CACHE_CONTROL, "max-age=60".parse().unwrap());
        assert_eq!(cache.may_keep(&head), None);
        head.insert(CONTENT_LENGTH, 5_001.into());
        assert_eq!(cache.may_keep(&head), None);
        head.insert(CONTENT_LENGTH, 5_000.into());
        assert_eq!(cache.may_keep(&head), Some((5_000, Duration::from_secs(60))));
        for n in 0..100 {
            let url = format!("https://b.example/{n}").parse().unwrap();
            cache.keep(&url, head.clone(), vec![0; 5_000].into(), Duration::from_secs(60));
        }
        cache.kept.run_pending_tasks();
        assert!(cache.kept.weighted_size() <= 10_000);
    }
}
