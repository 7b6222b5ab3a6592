//! A store that does what it is told to: holds transactions back, or does not say how they ended.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use store::{
    Backend, BackendTransaction, Bounds, Committed, ConflictKind, Error, Isolation, KeyRange, Mutation, Rows, Version,
    Watch,
};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Debug)]
pub struct Faults {
    /// Commits that write a key of this table of a shard wait; `Some(0)`: all that write anything.
    commits: watch::Sender<Option<u8>>,
    /// Reads of a fence wait.
    fences: watch::Sender<bool>,
    /// What was read, where that is kept.
    reads: Mutex<Option<Vec<KeyRange>>>,
    /// So many commits happen and say that it is not known.
    pub unknown: AtomicU32,
    /// So many commits do not happen and say that it is not known.
    pub lost: AtomicU32,
    /// So many commits do not happen because the store fails.
    pub failing: AtomicU32,
}

impl Faults {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            commits: watch::channel(None).0,
            fences: watch::channel(false).0,
            reads: Mutex::new(None),
            unknown: AtomicU32::new(0),
            lost: AtomicU32::new(0),
            failing: AtomicU32::new(0),
        })
    }

    pub fn hold_commits(&self) {
        self.commits.send_replace(Some(0));
    }

    pub fn hold_commits_to(&self, table: u8) {
        self.commits.send_replace(Some(table));
    }

    pub fn hold_fences(&self) {
        self.fences.send_replace(true);
    }

    /// Keeps what is read from here on.
    pub fn keep_reads(&self) {
        *self.reads.lock().unwrap() = Some(Vec::new());
    }

    /// What was read since.
    pub fn reads(&self) -> Vec<KeyRange> {
        self.reads.lock().unwrap().take().expect("they are kept")
    }

    fn read(&self, range: KeyRange) {
        if let Some(reads) = &mut *self.reads.lock().unwrap() {
            reads.push(range);
        }
    }

    pub fn release(&self) {
        self.commits.send_replace(None);
        self.fences.send_replace(false);
    }
}

#[derive(Debug)]
pub struct Faulty {
    pub inner: Arc<dyn Backend>,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl Backend for Faulty {
    fn begin(&self) -> Box<dyn BackendTransaction> {
        Box::new(FaultyTransaction {
            inner: self.inner.begin(),
            faults: self.faults.clone(),
            tables: Vec::new(),
        })
    }

    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction> {
        Box::new(FaultyTransaction {
            inner: self.inner.begin_after(version),
            faults: self.faults.clone(),
            tables: Vec::new(),
        })
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[derive(Debug)]
struct FaultyTransaction {
    inner: Box<dyn BackendTransaction>,
    faults: Arc<Faults>,
    tables: Vec<u8>,
}

#[async_trait]
impl BackendTransaction for FaultyTransaction {
    async fn read_version(&self) -> Result<Version, Error> {
        self.inner.read_version().await
    }

    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        if key.starts_with(b"F") {
            self.faults
                .fences
                .subscribe()
                .wait_for(|held| !held)
                .await
                .expect("the sender lives as long as this");
        }
        self.faults.read(KeyRange::key(key));
        self.inner.get(key, isolation).await
    }

    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        self.faults.read(range.clone());
        self.inner.range(range, bounds, isolation).await
    }

    fn mutate(&mut self, mutation: Mutation) {
        if let Mutation::Set { key, .. } = &mutation
            && let [b'S', _, _, _, _, table, ..] = key[..]
        {
            self.tables.push(table);
        }
        self.inner.mutate(mutation);
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        self.inner.add_conflict_range(kind, range);
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        self.inner.watch(key).await
    }

    async fn commit(self: Box<Self>) -> Result<Committed, Error> {
        let held = |table: &Option<u8>| table.is_some_and(|table| table == 0 || self.tables.contains(&table));
        let mut commits = self.faults.commits.subscribe();
        commits
            .wait_for(|table| !held(table))
            .await
            .expect("the sender lives as long as this");
        let take = |left: &AtomicU32| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
        };
        if self.tables.contains(&b't') && take(&self.faults.lost) {
            return Err(Error::Unknown);
        }
        if self.tables.contains(&b't') && take(&self.faults.failing) {
            return Err(Error::Fatal("disk".into()));
        }
        let unknown = self.tables.contains(&b't') && take(&self.faults.unknown);
        let committed = self.inner.commit().await?;
        if unknown { Err(Error::Unknown) } else { Ok(committed) }
    }
}
