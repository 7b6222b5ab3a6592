//! Files mounted into a running process are read again when they change. Polls: works on every mount, unlike watches.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

/// How often files are looked at by default.
pub const POLL: Duration = Duration::from_secs(10);

type Stamp = Vec<Option<(SystemTime, u64)>>;

/// Calls `changed` each time the modification time or length of one of `paths` differs from the last look, until
/// `cancel`. A change is told once it has been stable for one look, so that a pair of files is not read half written.
pub async fn watch(paths: Vec<PathBuf>, every: Duration, cancel: CancellationToken, mut changed: impl FnMut()) {
    let mut told = stamp(&paths).await;
    let mut seen = told.clone();
    while cancel.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        let now = stamp(&paths).await;
        let stable = now == seen;
        seen = now;
        if stable && seen != told {
            told.clone_from(&seen);
            changed();
        }
    }
}

async fn stamp(paths: &[PathBuf]) -> Stamp {
    let mut stamps = Vec::with_capacity(paths.len());
    for path in paths {
        let metadata = tokio::fs::metadata(path).await.ok();
        stamps.push(metadata.and_then(|metadata| Some((metadata.modified().ok()?, metadata.len()))));
    }
    stamps
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn a_change_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tls.pem");
        std::fs::write(&file, "one").unwrap();
        let (told, mut changes) = mpsc::channel(8);
        let cancel = CancellationToken::new();
        let every = Duration::from_millis(1);
        let watching = tokio::spawn(watch(vec![file.clone()], every, cancel.clone(), move || {
            told.try_send(()).unwrap();
        }));
        // The first look happens at some time after the spawn: write until it is told.
        let mut text = String::from("one");
        while changes.try_recv().is_err() {
            text.push('+');
            std::fs::write(&file, &text).unwrap();
            tokio::time::sleep(10 * every).await;
        }
        while changes.try_recv().is_ok() {}
        tokio::time::sleep(20 * every).await;
        assert!(changes.try_recv().is_err(), "nothing changed since");
        cancel.cancel();
        watching.await.unwrap();
    }
}
