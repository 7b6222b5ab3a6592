//! A store that counts what is read of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use store::{
    Backend, BackendTransaction, Bounds, Committed, ConflictKind, Database, Error, Isolation, KeyRange, Mutation, Rows,
    Version, Watch,
};

/// How many reads there were.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads(Arc<AtomicUsize>);

impl Reads {
    /// A store in memory that counts here.
    pub(crate) fn database(&self) -> Database {
        Database::from_backend(Arc::new(Counting {
            inner: Database::memory().backend(),
            reads: self.clone(),
        }))
    }

    /// Since this was asked last.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Counting {
    inner: Arc<dyn Backend>,
    reads: Reads,
}

#[async_trait]
impl Backend for Counting {
    fn begin(&self) -> Box<dyn BackendTransaction> {
        Box::new(Transaction {
            inner: self.inner.begin(),
            reads: self.reads.clone(),
        })
    }

    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction> {
        Box::new(Transaction {
            inner: self.inner.begin_after(version),
            reads: self.reads.clone(),
        })
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[derive(Debug)]
struct Transaction {
    inner: Box<dyn BackendTransaction>,
    reads: Reads,
}

#[async_trait]
impl BackendTransaction for Transaction {
    async fn read_version(&self) -> Result<Version, Error> {
        self.inner.read_version().await
    }

    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        self.reads.count();
        self.inner.get(key, isolation).await
    }

    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        self.reads.count();
        self.inner.range(range, bounds, isolation).await
    }

    fn mutate(&mut self, mutation: Mutation) {
        self.inner.mutate(mutation);
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        self.inner.add_conflict_range(kind, range);
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        self.inner.watch(key).await
    }

    async fn commit(self: Box<Self>) -> Result<Committed, Error> {
        self.inner.commit().await
    }
}
