//! A store that fails on demand, and rooms whose entries are made up.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "tests; not each of them uses all of it"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ledger::{Change, Founding, Ledger, LedgerId, Prepared, Rooms, ShardLog, Write};
use mimi::RoomUri;
use room::{Chain, Entry, EntryKind, Epoch, Millis, Recipient, Recipients, RowChange, Seq, Shown};
use route::{ShardId, Shards};
use shard::{Incarnation, Node, NodeOptions, Tenure};
use store::{
    Backend, BackendTransaction, Bounds, Committed, ConflictKind, Database, Error, Isolation, KeyRange, Mutation, Rows,
    Version, Watch,
};

/// What happens to one commit that writes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    Conflict,
    TooOld,
    Busy,
    UnknownWithEffect,
    UnknownWithoutEffect,
    TimedOutWithEffect,
    /// Times out now and is tried again by the store when the test says so.
    Held,
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Backend>,
    faults: Faults,
}

/// The faults to come; commits beyond them succeed.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    coming: VecDeque<Fault>,
    reads: usize,
    held: Vec<Box<dyn BackendTransaction>>,
}

impl Faults {
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.0.lock().unwrap().coming.extend(faults);
    }

    pub fn none_left(&self) -> bool {
        self.0.lock().unwrap().coming.is_empty()
    }

    /// How often something was read so far.
    pub fn reads(&self) -> usize {
        self.0.lock().unwrap().reads
    }

    fn read(&self) {
        self.0.lock().unwrap().reads += 1;
    }

    pub fn held(&self) -> usize {
        self.0.lock().unwrap().held.len()
    }

    /// Commits what was held, at last.
    pub async fn release(&self) -> Vec<Result<(), Error>> {
        let held = std::mem::take(&mut self.0.lock().unwrap().held);
        let mut results = Vec::new();
        for transaction in held {
            results.push(transaction.commit().await.map(|_| ()));
        }
        results
    }
}

#[async_trait]
impl Backend for Faulty {
    fn begin(&self) -> Box<dyn BackendTransaction> {
        Box::new(FaultyTransaction {
            inner: self.inner.begin(),
            faults: self.faults.clone(),
            writes: false,
        })
    }

    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction> {
        Box::new(FaultyTransaction {
            inner: self.inner.begin_after(version),
            faults: self.faults.clone(),
            writes: false,
        })
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[derive(Debug)]
struct FaultyTransaction {
    inner: Box<dyn BackendTransaction>,
    faults: Faults,
    writes: bool,
}

#[async_trait]
impl BackendTransaction for FaultyTransaction {
    async fn read_version(&self) -> Result<Version, Error> {
        self.inner.read_version().await
    }

    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        self.faults.read();
        self.inner.get(key, isolation).await
    }

    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        self.faults.read();
        self.inner.range(range, bounds, isolation).await
    }

    fn mutate(&mut self, mutation: Mutation) {
        self.writes = true;
        self.inner.mutate(mutation);
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        self.inner.add_conflict_range(kind, range);
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        self.inner.watch(key).await
    }

    async fn commit(self: Box<Self>) -> Result<Committed, Error> {
        let fault = match self.writes {
            true => self.faults.0.lock().unwrap().coming.pop_front(),
            false => None,
        };
        match fault.unwrap_or(Fault::Nothing) {
            Fault::Nothing => self.inner.commit().await,
            Fault::Conflict => Err(Error::Conflict),
            Fault::TooOld => Err(Error::TooOld),
            Fault::Busy => Err(Error::Busy),
            Fault::UnknownWithoutEffect => Err(Error::Unknown),
            Fault::UnknownWithEffect => {
                self.inner.commit().await?;
                Err(Error::Unknown)
            }
            Fault::TimedOutWithEffect => {
                self.inner.commit().await?;
                Err(Error::TimedOut)
            }
            Fault::Held => {
                self.faults.0.lock().unwrap().held.push(self.inner);
                Err(Error::TimedOut)
            }
        }
    }
}

/// A ledger of one shard on a store that fails on demand.
pub struct World {
    pub database: Database,
    pub ledger: Ledger,
    pub faults: Faults,
    lives: Mutex<u8>,
}

pub const SHARD: ShardId = ShardId(0);

impl World {
    pub async fn new() -> Self {
        let faults = Faults::default();
        let database = Database::from_backend(Arc::new(Faulty {
            inner: Database::memory().backend(),
            faults: faults.clone(),
        }));
        let founding = Founding {
            id: LedgerId([9; 16]),
            shards: Shards::new(1, [1; 16]).unwrap(),
        };
        let ledger = Ledger::open(database.clone(), founding).await.unwrap();
        Self {
            database,
            ledger,
            faults,
            lives: Mutex::new(0),
        }
    }

    /// A new life of the node takes the shard.
    pub async fn tenure(&self) -> Tenure {
        let life = {
            let mut lives = self.lives.lock().unwrap();
            *lives += 1;
            *lives
        };
        let options = NodeOptions::sole(Incarnation([life; 16]));
        let node = Node::start(self.database.clone(), options).await.unwrap();
        node.acquire(SHARD).await.unwrap()
    }

    pub async fn log(&self) -> (Tenure, ShardLog) {
        let tenure = self.tenure().await;
        let log = ShardLog::open(&self.ledger, &tenure).await.unwrap();
        (tenure, log)
    }

    /// How many keys of the shard's table `letter` there are.
    pub async fn keys(&self, letter: u8) -> usize {
        let prefix = [b'S', 0, 0, 0, 0, letter];
        let transaction = self.database.begin();
        let rows = transaction.range(KeyRange::prefix(&prefix), 100_000, false).await;
        rows.unwrap().len()
    }

    /// The messages in the log, after checking that offsets have no gap.
    pub async fn messages(&self) -> Vec<Bytes> {
        let limit = ledger::ReadLimit {
            entries: 1_000,
            bytes: usize::MAX,
        };
        let entries = self.ledger.read_log(SHARD, ledger::Offset(0), limit).await.unwrap();
        for (n, entry) in entries.iter().enumerate() {
            assert_eq!(entry.offset.0, n as u64);
        }
        entries.into_iter().map(|entry| entry.message).collect()
    }
}

pub fn room(name: &str) -> RoomUri {
    format!("mimi://hub.example/r/{name}").parse().unwrap()
}

pub fn recipients(providers: &[&str]) -> Recipients {
    let mut all: Vec<Recipient> = providers
        .iter()
        .map(|provider| Recipient {
            provider: provider.parse().unwrap(),
            shown: Shown::Message,
            first: false,
        })
        .collect();
    all.sort();
    Recipients(all)
}

pub fn entry(room: &RoomUri, seq: u64, message: impl Into<Bytes>, to: &[&str]) -> Entry {
    Entry {
        room: room.clone(),
        seq: Seq(seq),
        kind: EntryKind::Message,
        accepted: Millis(1_000 + seq),
        epoch: Epoch(4),
        message: message.into(),
        chain: Chain([7; 32]),
        recipients: recipients(to),
    }
}

pub fn change(entry: Entry, rows: Vec<RowChange>) -> Change {
    Change {
        room: entry.room.clone(),
        entries: vec![entry],
        rows,
        ties: Vec::new(),
    }
}

pub fn rows(room: &RoomUri, rows: Vec<RowChange>) -> Change {
    Change {
        room: room.clone(),
        entries: Vec::new(),
        rows,
        ties: Vec::new(),
    }
}

pub async fn written(rooms: &Rooms, tenure: &Tenure, change: Change) -> Write {
    match rooms.prepare(change) {
        Prepared::Ready(write) => write,
        Prepared::Blobs(unstaged) => rooms.stage(tenure, unstaged).await.unwrap(),
    }
}

pub fn ready(rooms: &Rooms, change: Change) -> Write {
    match rooms.prepare(change) {
        Prepared::Ready(write) => write,
        Prepared::Blobs(_) => panic!("something is large"),
    }
}
