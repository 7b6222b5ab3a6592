//! Group commit and failure, on engines that do as the test says.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::task::JoinSet;

use super::engine::{Changes, Engine, EngineError, View};
use super::*;
use crate::Database;
use crate::key::Version;

/// The memory engine behind a gate: each apply tells that it has begun and waits for its outcome.
#[derive(Debug)]
struct Gated {
    inner: MemoryEngine,
    begun: Sender<usize>,
    outcomes: Receiver<Result<(), EngineError>>,
}

impl Engine for Gated {
    fn version(&self) -> Version {
        self.inner.version()
    }

    fn view(&self) -> Arc<dyn View> {
        self.inner.view()
    }

    fn apply(&mut self, version: Version, changes: &Changes) -> Result<(), EngineError> {
        self.begun.send(changes.len()).unwrap();
        self.outcomes.recv().expect("the test decides about every group")?;
        self.inner.apply(version, changes)
    }
}

/// A database with a commit thread on a gated engine, the sizes of the groups begun, and the gate.
fn gated() -> (Database, Receiver<usize>, Sender<Result<(), EngineError>>) {
    let (begun, groups) = channel();
    let (gate, outcomes) = channel();
    let committer = Committer::new(Box::new(Gated {
        inner: MemoryEngine::default(),
        begun,
        outcomes,
    }));
    let core = Arc::new(core_of(&committer));
    let queue = Queue::start(committer, core.clone()).unwrap();
    (
        Database::from_backend(Arc::new(Embedded {
            core,
            commits: Arc::new(queue),
        })),
        groups,
        gate,
    )
}

async fn put(database: Database, key: u8) -> Result<Committed, Error> {
    let mut transaction = database.begin();
    transaction.set(vec![key], "value");
    transaction.commit().await
}

async fn value(database: &Database, key: u8) -> Result<Option<Bytes>, Error> {
    database.begin().get(&[key]).await
}

/// Until every spawned task waits for its answer.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn broken() -> EngineError {
    EngineError("the disk is gone".to_owned())
}

#[tokio::test]
async fn what_queues_during_a_sync_shares_the_next_one() {
    let (database, groups, gate) = gated();
    let mut commits = JoinSet::new();
    commits.spawn(put(database.clone(), 1));
    settle().await;
    assert_eq!(groups.recv().unwrap(), 1);
    for key in 2..=100 {
        commits.spawn(put(database.clone(), key));
    }
    settle().await;
    gate.send(Ok(())).unwrap();
    assert_eq!(groups.recv().unwrap(), 99);
    gate.send(Ok(())).unwrap();
    let mut versions: Vec<_> = commits
        .join_all()
        .await
        .into_iter()
        .map(|committed| committed.unwrap().version.0)
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn nothing_is_read_or_answered_before_the_sync() {
    let (database, groups, gate) = gated();
    let mut commit = tokio::spawn(put(database.clone(), 1));
    settle().await;
    groups.recv().unwrap();
    assert_eq!(value(&database, 1).await, Ok(None));
    assert!(!commit.is_finished());
    gate.send(Ok(())).unwrap();
    (&mut commit).await.unwrap().unwrap();
    assert_eq!(value(&database, 1).await, Ok(Some(Bytes::from("value"))));
}

#[tokio::test]
async fn a_conflict_within_a_group_is_told_after_the_group_is_durable() {
    let (database, groups, gate) = gated();
    let both = || async {
        let mut transaction = database.begin();
        transaction.get(b"count").await?;
        transaction.set("count", "1");
        transaction.commit().await
    };
    let outcomes = async { tokio::join!(both(), both(), put(database.clone(), 1)) };
    let decide = async {
        settle().await;
        // The first one may have been taken alone.
        gate.send(Ok(())).unwrap();
        gate.send(Ok(())).unwrap();
    };
    let ((left, right, bystander), ()) = tokio::join!(outcomes, decide);
    assert!(left.is_ok() && right == Err(Error::Conflict) && bystander.is_ok());
    assert!(groups.try_iter().count() <= 2);
}

/// The memory engine that takes a while, and tells who made each group.
#[derive(Debug)]
struct Told {
    inner: MemoryEngine,
    takes: Duration,
    threads: Sender<Option<String>>,
}

impl Engine for Told {
    fn version(&self) -> Version {
        self.inner.version()
    }

    fn view(&self) -> Arc<dyn View> {
        self.inner.view()
    }

    fn apply(&mut self, version: Version, changes: &Changes) -> Result<(), EngineError> {
        std::thread::sleep(self.takes);
        let thread = std::thread::current().name().map(str::to_owned);
        self.threads.send(thread).unwrap();
        self.inner.apply(version, changes)
    }
}

/// How many of `commits`, one after the other and then twice as many at once, were made by the commit thread.
async fn made_elsewhere(takes: Duration, commits: u8) -> (usize, usize) {
    let (threads, told) = channel();
    let inner = MemoryEngine::default();
    let committer = Committer::new(Box::new(Told { inner, takes, threads }));
    let core = Arc::new(core_of(&committer));
    let commits_made = Arc::new(Queue::start(committer, core.clone()).unwrap());
    let database = Database::from_backend(Arc::new(Embedded {
        core,
        commits: commits_made,
    }));
    let elsewhere = |told: &Receiver<Option<String>>| {
        let by_the_thread = |name: &Option<String>| name.as_deref() == Some("store-commit");
        told.try_iter().filter(by_the_thread).count()
    };
    for key in 0..commits {
        put(database.clone(), key).await.unwrap();
    }
    let alone = elsewhere(&told);
    let mut at_once = JoinSet::new();
    for key in 0..2 * commits {
        at_once.spawn(put(database.clone(), key));
    }
    assert!(at_once.join_all().await.iter().all(Result::is_ok));
    let groups = elsewhere(&told);
    database.close().await;
    (alone, groups)
}

#[tokio::test]
async fn who_comes_alone_makes_the_commit_itself_while_that_is_brief() {
    let (alone, groups) = made_elsewhere(Duration::ZERO, 100).await;
    // A test machine may always be slow for a moment.
    assert!(alone < 50, "the commit thread made {alone} of 100 lone commits");
    assert!(groups > 0, "two hundred at once were all made by their callers");
    let (alone, _) = made_elsewhere(Duration::from_millis(1), 20).await;
    assert_eq!(alone, 20);
}

#[tokio::test]
async fn an_engine_error_is_fatal_for_everything_afterwards() {
    let (database, groups, gate) = gated();
    let watching = database.begin();
    let watch = watching.watch(b"key").await.unwrap();
    watching.commit().await.unwrap();
    let early = database.begin();
    early.get(b"key").await.unwrap();
    let commit = tokio::spawn(put(database.clone(), 1));
    settle().await;
    groups.recv().unwrap();
    gate.send(Err(broken())).unwrap();
    let fatal = Error::Fatal("the disk is gone".to_owned());
    assert_eq!(commit.await.unwrap(), Err(fatal.clone()));
    assert!(fatal.maybe_committed() && !fatal.is_retryable());
    assert_eq!(watch.await, Err(fatal.clone()));
    assert_eq!(early.get(b"key").await, Err(fatal.clone()));
    assert_eq!(early.commit().await, Err(fatal.clone()));
    assert_eq!(value(&database, 1).await, Err(fatal.clone()));
    assert_eq!(put(database.clone(), 2).await, Err(fatal));
    assert_eq!(groups.try_iter().count(), 0, "the engine was used again");
    database.close().await;
}

#[tokio::test]
async fn a_panic_of_the_commit_thread_is_fatal() {
    let (database, _groups, gate) = gated();
    drop(gate);
    assert!(matches!(put(database.clone(), 1).await, Err(Error::Fatal(_))));
    assert!(matches!(value(&database, 1).await, Err(Error::Fatal(_))));
    assert!(matches!(put(database.clone(), 1).await, Err(Error::Fatal(_))));
}

#[tokio::test]
async fn closing_settles_what_was_queued() {
    let (database, groups, gate) = gated();
    let mut commits = JoinSet::new();
    commits.spawn(put(database.clone(), 1));
    settle().await;
    groups.recv().unwrap();
    for key in 2..=20 {
        commits.spawn(put(database.clone(), key));
    }
    settle().await;
    let closing = tokio::spawn(database.clone().close());
    settle().await;
    assert!(!closing.is_finished());
    gate.send(Ok(())).unwrap();
    gate.send(Ok(())).unwrap();
    closing.await.unwrap();
    assert!(commits.join_all().await.iter().all(Result::is_ok));
    assert_eq!(put(database, 1).await, Err(Error::Closed));
}

/// The memory engine whose reads fail from some moment on.
#[derive(Debug, Default)]
struct Unreadable(MemoryEngine, Arc<AtomicUsize>);

#[derive(Debug)]
struct UnreadableView(Arc<AtomicUsize>);

impl Engine for Unreadable {
    fn version(&self) -> Version {
        self.0.version()
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::new(UnreadableView(self.1.clone()))
    }

    fn apply(&mut self, version: Version, changes: &Changes) -> Result<(), EngineError> {
        self.0.apply(version, changes)
    }
}

impl View for UnreadableView {
    fn get(&self, _key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(broken())
    }

    fn range(&self, _range: &crate::KeyRange, _bounds: crate::Bounds) -> Result<crate::Rows, EngineError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(broken())
    }
}

#[tokio::test]
async fn a_failed_read_is_fatal_too() {
    let reads = Arc::new(AtomicUsize::new(0));
    let committer = Committer::new(Box::new(Unreadable(MemoryEngine::default(), reads.clone())));
    let core = Arc::new(core_of(&committer));
    let commits = Arc::new(Inline(Mutex::new(committer)));
    let database = Database::from_backend(Arc::new(Embedded { core, commits }));
    put(database.clone(), 1).await.unwrap();
    let mut clearing = database.begin();
    clearing.clear_range(vec![1]..vec![2]);
    assert!(matches!(clearing.commit().await, Err(Error::Fatal(_))));
    assert!(matches!(value(&database, 1).await, Err(Error::Fatal(_))));
    assert!(matches!(put(database, 1).await, Err(Error::Fatal(_))));
    assert_eq!(reads.load(Ordering::Relaxed), 1);
}
