//! The directory of one provider, fetched when needed, kept as long as it says and never beyond a day. A directory that
//! points at hosts that are not the provider's is refused as a whole.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, Method, Uri};
use mimi::Provider;
use tokio::time::Instant;

use crate::https::{Https, Response};
use crate::peers::PeerError;
use crate::{AssetUrl, Directory, WELL_KNOWN};

/// Octets of a directory document.
const DIRECTORY_BYTES_MAX: usize = 64 << 10;

/// How long a directory is kept whatever it says, so that a peer cannot make every request two.
const KEPT_MIN: Duration = Duration::from_secs(10);

/// How long a directory is kept that does not say.
const KEPT_DEFAULT: Duration = Duration::from_secs(3_600);

/// How long a directory is kept at most, also while a newer one cannot be had.
const KEPT_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How long a failure to fetch is the answer to everyone who asks.
const FAILURE_KEPT: Duration = Duration::from_secs(1);

/// What is known of the directory.
#[derive(Default)]
pub(crate) struct Known {
    state: Mutex<State>,
    /// Held by who fetches: the others wait for the outcome.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default, Clone)]
struct State {
    kept: Option<Kept>,
    failed: Option<(Instant, PeerError)>,
}

#[derive(Clone)]
struct Kept {
    directory: Arc<Directory>,
    fetched: Instant,
    fresh_for: Duration,
}

impl Known {
    /// The directory, at most as old as it allows, or older when the provider cannot be asked. With `stale` it is
    /// fetched anew unless somebody has done so since: that one did not work.
    pub(crate) async fn directory(
        &self,
        peer: &Provider,
        https: &Https,
        hosts: &[String],
        stale: Option<&Arc<Directory>>,
    ) -> Result<Arc<Directory>, PeerError> {
        if let Some(settled) = self.settled(stale) {
            return settled;
        }
        let _turn = self.fetching.lock().await;
        if let Some(settled) = self.settled(stale) {
            return settled;
        }
        match fetch(peer, https, hosts).await {
            Ok((directory, fresh_for)) => {
                let directory = Arc::new(directory);
                let kept = Kept {
                    directory: directory.clone(),
                    fetched: Instant::now(),
                    fresh_for,
                };
                *self.state() = State {
                    kept: Some(kept),
                    failed: None,
                };
                Ok(directory)
            }
            Err(error) => {
                let mut state = self.state();
                state.failed = Some((Instant::now(), error.clone()));
                match &state.kept {
                    Some(kept) if kept.fetched.elapsed() < KEPT_MAX => {
                        tracing::warn!(%peer, %error, "keeping an old directory");
                        Ok(kept.directory.clone())
                    }
                    _ => Err(error),
                }
            }
        }
    }

    /// What is kept, however old up to a day, and whether it is as fresh as it should be. Nobody is asked.
    pub(crate) fn kept(&self) -> (Option<Arc<Directory>>, bool) {
        let kept = self.state().kept.clone();
        let is_fresh = kept
            .as_ref()
            .is_some_and(|kept| kept.fetched.elapsed() < kept.fresh_for);
        let kept = kept.filter(|kept| kept.fetched.elapsed() < KEPT_MAX);
        (kept.map(|kept| kept.directory), is_fresh)
    }

    /// The answer that needs no fetching.
    fn settled(&self, stale: Option<&Arc<Directory>>) -> Option<Result<Arc<Directory>, PeerError>> {
        let State { kept, failed } = self.state().clone();
        let failed = failed.filter(|(when, _)| when.elapsed() < FAILURE_KEPT);
        if let Some(Kept {
            directory,
            fetched,
            fresh_for,
        }) = kept
        {
            let age = fetched.elapsed();
            let doubted = stale.is_some_and(|stale| Arc::ptr_eq(stale, &directory)) && age >= KEPT_MIN;
            if (age < fresh_for && !doubted) || (failed.is_some() && age < KEPT_MAX) {
                return Some(Ok(directory));
            }
        }
        failed.map(|(_, error)| Err(error))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(peer: &Provider, https: &Https, hosts: &[String]) -> Result<(Directory, Duration), PeerError> {
    let uri = format!("https://{peer}{WELL_KNOWN}");
    let uri: Uri = uri.parse().expect("a domain makes a URI");
    let response = https
        .send(Method::GET, uri, None, Bytes::new(), DIRECTORY_BYTES_MAX)
        .await?;
    if !response.status.is_success() {
        return Err(PeerError::Directory(format!("answered with {}", response.status)));
    }
    let directory = serde_json::from_slice(&response.body);
    let directory: Directory = directory.map_err(|error| PeerError::Directory(format!("not a directory: {error}")))?;
    check(&directory, &response, hosts)?;
    Ok((directory, fresh_for(&response.headers)))
}

fn check(directory: &Directory, response: &Response, hosts: &[String]) -> Result<(), PeerError> {
    let ours = |host: &str| {
        let certificate = response.certificate.as_ref();
        certificate.is_some_and(|certificate| certificate.covers(host)) || hosts.iter().any(|known| known == host)
    };
    if let Some(template) = directory.endpoints.values().find(|template| !ours(template.host())) {
        return Err(PeerError::Directory(format!("{} is not its host", template.host())));
    }
    let gateway = directory.gateway.as_ref().map(|gateway| gateway.parse::<AssetUrl>());
    match gateway {
        Some(Ok(gateway)) if !ours(gateway.host()) => {
            Err(PeerError::Directory(format!("{} is not its host", gateway.host())))
        }
        Some(Err(_)) => Err(PeerError::Directory("the gateway is no https URI".to_owned())),
        _ => Ok(()),
    }
}

fn fresh_for(headers: &HeaderMap) -> Duration {
    let mut fresh_for = KEPT_DEFAULT;
    let values = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for directive in values.flat_map(|value| value.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return KEPT_MIN;
        }
        if let Some(seconds) = directive
            .strip_prefix("max-age=")
            .and_then(|age| age.trim_matches('"').parse().ok())
        {
            fresh_for = Duration::from_secs(seconds);
        }
    }
    fresh_for.clamp(KEPT_MIN, KEPT_MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn e_5_a_directory_is_kept_as_long_as_it_says_within_bounds() {
        let kept = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            fresh_for(&headers)
        };
        assert_eq!(kept(&[]), KEPT_DEFAULT);
        assert_eq!(kept(&["public, Max-Age=120"]), Duration::from_secs(120));
        assert_eq!(kept(&["max-age=0"]), KEPT_MIN);
        assert_eq!(kept(&["max-age=99999999"]), KEPT_MAX);
        assert_eq!(kept(&["max-age=120", "no-cache"]), KEPT_MIN);
        assert_eq!(kept(&["max-age=soon"]), KEPT_DEFAULT);
    }
}
