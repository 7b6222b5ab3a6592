//! A file to which a sink appends what it was shown, while it is asked to make that durable. All that waits shares a sync
//! with what came meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use anyhow::Context;
use bytes::Bytes;
use tokio::sync::oneshot;

/// Octets after which the file begins again: they are there before they are written, and nobody reads them.
const LENGTH: u64 = 64 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    is_kept: AtomicBool,
    appends: mpsc::Sender<Append>,
}

#[derive(Debug)]
struct Append {
    octets: Vec<Bytes>,
    durable: oneshot::Sender<()>,
}

impl Journal {
    /// A new file at `path`, and a thread that writes it. Nothing is kept until that is asked for.
    pub(super) fn start(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path);
        let file = file.with_context(|| format!("create {}", path.display()))?;
        file.set_len(LENGTH)?;
        file.sync_all()?;
        let (appends, asked) = mpsc::channel();
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write(file, &asked))?;
        Ok(Self {
            is_kept: AtomicBool::new(false),
            appends,
        })
    }

    /// Whether what is appended from now on is kept.
    pub(super) fn keep(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Ordering::Release);
    }

    /// Returns when `octets` are durable, or at once when nothing is kept.
    ///
    /// # Errors
    /// The disk does not serve.
    pub(super) async fn append(&self, octets: impl Iterator<Item = Bytes>) -> anyhow::Result<()> {
        if !self.is_kept.load(Ordering::Acquire) {
            return Ok(());
        }
        let (durable, told) = oneshot::channel();
        let octets = octets.collect();
        let asked = self.appends.send(Append { octets, durable });
        asked.ok().context("the journal is closed")?;
        told.await.context("the journal is closed")
    }
}

/// Ends with the first failure, or when nobody appends any more.
fn write(mut file: File, asked: &mpsc::Receiver<Append>) {
    let mut written = 0;
    while let Ok(first) = asked.recv() {
        let appends: Vec<Append> = std::iter::once(first).chain(asked.try_iter()).collect();
        let octets = appends.iter().flat_map(|append| &append.octets);
        let octets = octets.fold(Vec::new(), |mut all, octets| {
            all.extend_from_slice(octets);
            all
        });
        if written + octets.len() as u64 > LENGTH {
            written = 0;
        }
        let at = std::io::SeekFrom::Start(written);
        let done = file
            .seek(at)
            .and_then(|_| file.write_all(&octets))
            .and_then(|()| file.sync_data());
        if let Err(error) = done {
            eprintln!("the journal: {error}");
            return;
        }
        written += octets.len() as u64;
        for append in appends {
            // Whoever does not wait any more needs no answer.
            let _ = append.durable.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_in_the_file_and_nothing_else_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let journal = Journal::start(&path).unwrap();
        let append = |text: &'static str| journal.append(std::iter::once(Bytes::from_static(text.as_bytes())));
        append("not this").await.unwrap();
        journal.keep(true);
        let (one, other) = tokio::join!(append("one "), append("other "));
        one.and(other).unwrap();
        append("last").await.unwrap();
        journal.keep(false);
        append("nor this").await.unwrap();
        let found = std::fs::read(&path).unwrap();
        assert_eq!(&found[..14], b"one other last");
        assert!(found[14..].iter().all(|octet| *octet == 0));
    }
}
