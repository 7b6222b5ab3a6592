//! One shard with a memory store, a committer reduced to its duties towards couriers, and followers made of paper.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "shared by test files, each of which uses its part"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fanout::{Acknowledged, Couriers, Due, Failure, Occasion, Opening, Options, Refused, Resting, Transport};
use ledger::{Batch, Change, Cut, Founding, Ledger, LedgerId, Offset, Prepared, ShardLog, Trimmer};
use mimi::Provider;
use room::{Chain, Digest, Entry, EntryKind, Epoch, Millis, Recipient, Recipients, Seq, Shown};
use route::{ShardId, Shards};
use shard::{Incarnation, Node, NodeOptions, Tenure};
use store::Database;

pub const SHARD: ShardId = ShardId(0);

pub fn provider(name: &str) -> Provider {
    format!("{name}.example").parse().unwrap()
}

/// One follower as its hub sees it.
#[derive(Debug, Default)]
pub struct Paper {
    /// What arrived, in order of arrival: offset, what was shown of it, previous seq.
    pub arrived: Vec<(u64, Bytes, Shown, u64)>,
    /// The last seq of each room.
    latest: BTreeMap<String, u64>,
    pub down: bool,
    pub attempts: usize,
    /// How long a delivery takes.
    pub takes: Duration,
    pub position: Option<u64>,
    pub refuses: BTreeSet<u64>,
    /// Refuses these, and takes nothing behind them in their rooms.
    pub declines: BTreeSet<u64>,
    /// Takes everything but these and what follows them in their rooms, for now.
    pub stuck: BTreeSet<u64>,
    /// Takes nothing, and asks for so much time.
    pub busy: Option<Duration>,
}

#[derive(Debug, Default)]
pub struct Papers(Mutex<BTreeMap<Provider, Paper>>, pub Resting);

impl Papers {
    pub fn of(&self) -> MutexGuard<'_, BTreeMap<Provider, Paper>> {
        self.0.lock().unwrap()
    }

    pub fn offsets(&self, name: &str) -> Vec<u64> {
        let papers = self.of();
        papers
            .get(&provider(name))
            .map(|paper| paper.arrived.iter().map(|arrived| arrived.0).collect())
            .unwrap_or_default()
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut Paper)) {
        change(self.of().entry(provider(name)).or_default());
    }
}

#[async_trait]
impl Transport for Papers {
    async fn position(&self, to: &Provider, _shard: ShardId) -> Result<Option<Offset>, Failure> {
        let mut papers = self.of();
        let paper = papers.entry(to.clone()).or_default();
        if paper.down {
            Err(Failure::new("down"))
        } else {
            Ok(paper.position.map(Offset))
        }
    }

    async fn deliver(&self, to: &Provider, _shard: ShardId, items: &[Due]) -> Result<Acknowledged, Failure> {
        tokio::task::yield_now().await;
        let takes = {
            let mut papers = self.of();
            let paper = papers.entry(to.clone()).or_default();
            paper.attempts += 1;
            paper.takes
        };
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let mut papers = self.of();
        let paper = papers.entry(to.clone()).or_default();
        if paper.down || paper.busy.is_some() {
            return Err(Failure {
                retry_after: paper.busy,
                why: "down".into(),
            });
        }
        let mut acknowledged = Acknowledged::below(Offset(0));
        let mut left = None;
        let mut stuck_rooms = BTreeSet::new();
        for due in items {
            let offset = due.entry.offset.0;
            if paper.refuses.contains(&offset) {
                acknowledged.refused.push(Refused {
                    offset: Offset(offset),
                    status: 400,
                    reason: "no".into(),
                    is_final: true,
                });
            } else if paper.declines.contains(&offset) && !stuck_rooms.contains(due.entry.room.as_str()) {
                acknowledged.refused.push(Refused {
                    offset: Offset(offset),
                    status: 413,
                    reason: "too large".into(),
                    is_final: false,
                });
                stuck_rooms.insert(due.entry.room.as_str());
                left.get_or_insert(offset);
            } else if paper.stuck.contains(&offset) || stuck_rooms.contains(due.entry.room.as_str()) {
                stuck_rooms.insert(due.entry.room.as_str());
                left.get_or_insert(offset);
            } else {
                let bytes = due.entry.message.clone();
                let latest = paper.latest.entry(due.entry.room.as_str().to_owned()).or_default();
                if !paper.arrived.iter().any(|arrived| arrived.0 == offset) {
                    assert!(
                        due.entry.seq.0 > *latest,
                        "{:?} arrives behind a later one of its room",
                        due.entry
                    );
                    *latest = due.entry.seq.0;
                }
                paper.arrived.push((offset, bytes, due.shown, due.previous_seq.0));
                if left.is_some() {
                    acknowledged.above.push(Offset(offset));
                }
            }
        }
        acknowledged.next = Offset(left.unwrap_or_else(|| items.last().map_or(0, |due| due.entry.offset.0 + 1)));
        Ok(acknowledged)
    }
}

pub struct World {
    pub ledger: Ledger,
    pub papers: Arc<Papers>,
    pub options: Options,
    pub couriers: Couriers,
    tenure: Tenure,
    log: ShardLog,
    seqs: BTreeMap<String, u64>,
    lives: u8,
}

impl World {
    pub async fn new(options: Options) -> Self {
        let founding = Founding {
            id: LedgerId([1; 16]),
            shards: Shards::new(1, [0; 16]).unwrap(),
        };
        let ledger = Ledger::open(Database::memory(), founding).await.unwrap();
        let papers = Arc::new(Papers::default());
        let (tenure, log, couriers) = Self::life(&ledger, &papers, &options, 0).await;
        Self {
            ledger,
            papers,
            options,
            couriers,
            tenure,
            log,
            seqs: BTreeMap::new(),
            lives: 0,
        }
    }

    async fn life(ledger: &Ledger, papers: &Arc<Papers>, options: &Options, n: u8) -> (Tenure, ShardLog, Couriers) {
        let node = NodeOptions::sole(Incarnation([n; 16]));
        let node = Node::start(ledger.database().clone(), node).await.unwrap();
        let tenure = node.acquire(SHARD).await.unwrap();
        let log = ShardLog::open(ledger, &tenure).await.unwrap();
        let couriers = Couriers::open(Opening {
            ledger: ledger.clone(),
            shard: SHARD,
            head: log.head(),
            tail_start: log.tail_start(),
            cursors: log
                .cursors()
                .map(|(provider, cursor)| (provider.clone(), cursor.clone()))
                .collect(),
            transport: papers.clone(),
            plane: tokio::runtime::Handle::current().into(),
            seed: u64::from(n),
            resting: papers.1.clone(),
            options: options.clone(),
        });
        (tenure, log, couriers.await.unwrap())
    }

    /// The process is killed and starts again on the same store.
    pub async fn restart(&mut self) {
        self.lives += 1;
        (self.tenure, self.log, self.couriers) =
            Self::life(&self.ledger, &self.papers, &self.options, self.lives).await;
    }

    /// Takes out of the log whatever no follower is due.
    pub async fn trim(&self) -> Offset {
        let cut = Cut {
            floor: self.couriers.floor(),
            before: Millis(u64::MAX),
        };
        let mut trimmer = Trimmer::new(self.ledger.clone(), SHARD);
        trimmer.pass(&self.tenure, cut).await.unwrap().below
    }

    /// One batch with one entry of `room`, due to `to`, and whatever the couriers report.
    pub async fn append(&mut self, room: &str, to: &[(&str, Shown)]) {
        let entry = self.entry(room, to);
        self.commit(vec![entry]).await;
    }

    fn entry(&mut self, room: &str, to: &[(&str, Shown)]) -> Entry {
        let seq = self.seqs.entry(room.to_owned()).or_default();
        *seq += 1;
        let recipient = |(name, shown): &(&str, Shown)| Recipient {
            provider: provider(name),
            shown: *shown,
            first: false,
        };
        let mut recipients: Vec<_> = to.iter().map(recipient).collect();
        recipients.sort();
        let message = Bytes::from(format!("{room} {seq}").into_bytes());
        Entry {
            room: format!("mimi://a.example/r/{room}").parse().unwrap(),
            seq: Seq(*seq),
            kind: EntryKind::Message,
            accepted: Millis(*seq),
            epoch: Epoch(1),
            chain: Chain::default().then(Seq(*seq), &Digest::of(&message)),
            message,
            recipients: Recipients(recipients),
        }
    }

    async fn commit(&mut self, entries: Vec<Entry>) {
        let mut batch = Batch::default();
        let occasion = match entries.is_empty() {
            true => Occasion::Alone,
            false => Occasion::Entries,
        };
        let report = self.couriers.report(occasion);
        if let Some(report) = &report {
            batch.cursors = report.cursors.clone();
            batch.index = report.index.clone();
            batch.set_aside = report.set_aside.clone();
            batch.tail_start = report.tail_start;
        }
        for entry in entries {
            let change = Change {
                room: entry.room.clone(),
                entries: vec![entry],
                rows: Vec::new(),
                ties: Vec::new(),
            };
            let Prepared::Ready(write) = self.log.rooms().prepare(change) else {
                panic!("small")
            };
            batch.push(write);
        }
        if batch.is_empty() {
            return;
        }
        let appended = self.log.append(&self.tenure, batch).await.unwrap();
        if let Some(report) = &report {
            self.couriers.reported(report);
        }
        self.couriers.release(appended);
    }

    /// Makes durable what the couriers report, until nothing is due and nothing was left to report for a while.
    pub async fn settle(&mut self) {
        let mut rounds = 0;
        loop {
            let due = tokio::time::timeout(Duration::from_secs(400), self.couriers.due())
                .await
                .is_ok();
            self.commit(Vec::new()).await;
            if !due && self.couriers.behind() == 0 {
                return;
            }
            rounds += 1;
            assert!(rounds < 10_000, "never settles: {} behind", self.couriers.behind());
        }
    }

    /// Makes durable what is reported once.
    pub async fn settle_once(&mut self) {
        let due = tokio::time::timeout(Duration::from_secs(60), self.couriers.due()).await;
        due.expect("something is reported");
        self.commit(Vec::new()).await;
    }
}
