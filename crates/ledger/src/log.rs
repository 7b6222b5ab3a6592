//! Writing a shard's log: one fenced transaction at a time, each with effect exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mimi::{Provider, RoomUri};
use room::Seq;
use route::ShardId;
use shard::{FenceError, Tenure};
use store::{KeyRange, Version};
use tokio::time::Instant;

use crate::Ledger;
use crate::batch::{Batch, Op};
use crate::cursor::{Cursor, FollowerId, IndexBlock};
use crate::entry::{LogEntry, Offset, SetId};
use crate::keys;
use crate::read::{CorruptRow, ReadError, corrupt};
use crate::records::{self, Tail};
use crate::rooms::{Rooms, spread};
use crate::set_aside;

/// A batch above this is refused before it is tried. Committers stay far below: about 1 MB.
const BATCH_BYTES_MAX: usize = store::limits::TRANSACTION_OCTETS_MAX - 500_000;

/// How long the version of an append is good for the next one: well below the age at which the store has forgotten it.
const KNOWN_MAX: Duration = Duration::from_secs(2);

/// Longest pause between two attempts of one append.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Why something was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The shard has another owner, or its log was opened again. Whether the last batch was written is not known here: drop
    /// every room of the shard and send callers elsewhere.
    #[error("the shard's log is no longer ours")]
    Fenced,
    /// More than a transaction, or a blob, may have; nothing was written.
    #[error("{bytes} octets are too large")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// The store's, after it was tried again where that could help. Whether the batch was written is not known.
    #[error("the store failed")]
    Store(#[from] store::Error),
    /// What was read back is not of this release.
    #[error(transparent)]
    Corrupt(#[from] CorruptRow),
}

impl From<FenceError> for AppendError {
    fn from(error: FenceError) -> Self {
        match error {
            FenceError::Fenced => Self::Fenced,
            FenceError::Store(error) => Self::Store(error),
        }
    }
}

impl From<ReadError> for AppendError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            ReadError::Corrupt(row) => Self::Corrupt(row),
        }
    }
}

/// The writing end of one shard's log. Owned by the shard's committer; opening it again ends the earlier one.
#[derive(Debug)]
pub struct ShardLog {
    ledger: Ledger,
    shard: ShardId,
    rooms: Rooms,
    state: State,
    /// The version at which the last append left fence and tail as they are known here, and when that was.
    since: Option<(Version, Instant)>,
    /// Whether `state` is what the store holds. Not while an append is under way, nor after one failed or was abandoned.
    settled: bool,
}

/// What of a shard's log is kept in memory; all of it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    tail: Tail,
    tail_start: Offset,
    followers: BTreeMap<Provider, FollowerId>,
    cursors: BTreeMap<FollowerId, Cursor>,
}

impl ShardLog {
    /// Opens the log for writing. No batch of an earlier opening, even one still in flight, is written after this.
    pub async fn open(ledger: &Ledger, tenure: &Tenure) -> Result<Self, AppendError> {
        let shard = tenure.shard();
        let mut attempt = 1;
        // After an unknown result this counts one opening more than there were, and no harm is done.
        let tail = loop {
            match Self::open_tail(ledger, tenure).await {
                Err(AppendError::Store(error)) => {
                    if !ledger.database().again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                settled => break settled?,
            }
        };
        let followers = ledger.followers(shard).await?;
        let state = State {
            tail,
            tail_start: ledger.position(shard).await?.tail_start,
            cursors: ledger.cursors_by_id(shard).await?,
            followers: followers.into_iter().map(|(id, provider)| (provider, id)).collect(),
        };
        Ok(Self {
            ledger: ledger.clone(),
            shard,
            rooms: Rooms::new(ledger.clone(), shard, tail.term, tail.opening),
            state,
            since: None,
            settled: true,
        })
    }

    async fn open_tail(ledger: &Ledger, tenure: &Tenure) -> Result<Tail, AppendError> {
        let key = keys::tail(tenure.shard());
        let mut transaction = ledger.database().begin();
        tenure.fence(&transaction).await?;
        let last = match transaction.get(&key).await? {
            Some(row) => records::decode_tail(&row).map_err(corrupt(&key))?,
            None => Tail::default(),
        };
        let term = tenure.term().0;
        let opening = if last.term == term { last.opening + 1 } else { 1 };
        let tail = Tail { term, opening, ..last };
        transaction.set(key, records::encode_tail(&tail));
        transaction.commit().await?;
        Ok(tail)
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// What rooms of this shard need.
    pub fn rooms(&self) -> Rooms {
        self.rooms.clone()
    }

    /// The offset that the next entry gets.
    pub fn head(&self) -> Offset {
        self.state.tail.next
    }

    /// Every entry below is indexed for each follower that it is still due to.
    pub fn tail_start(&self) -> Offset {
        self.state.tail_start
    }

    /// All followers of the shard's rooms, ever, and how far they are.
    pub fn cursors(&self) -> impl Iterator<Item = (&Provider, &Cursor)> {
        let cursor = |(provider, id)| Some((provider, self.state.cursors.get(id)?));
        self.state.followers.iter().filter_map(cursor)
    }

    /// Makes a batch durable, once, and returns its entries with their offsets, from [`ShardLog::head`] on. A provider to
    /// which an entry is due for the first time gets a cursor at it.
    ///
    /// Conflicts, busy stores and unknown results are tried again here, with the same octets, for as long as the tenure
    /// holds. After an error, and after this future was dropped, the log takes nothing more ([`AppendError::Fenced`]):
    /// open it again. Only [`AppendError::TooLarge`] leaves it as it was.
    pub async fn append(&mut self, tenure: &Tenure, batch: Batch) -> Result<Vec<LogEntry>, AppendError> {
        assert_eq!(tenure.shard(), self.shard, "a tenure is of the shard it writes to");
        if !self.settled || tenure.is_lost() {
            return Err(AppendError::Fenced);
        }
        let plan = self.plan(batch);
        let bytes = plan.ops.iter().map(Op::bytes).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes });
        }
        self.settled = false;
        self.settle(tenure, &plan).await?;
        self.settled = true;
        self.state.tail = plan.tail;
        self.state.tail_start = plan.tail_start;
        self.state.followers.extend(plan.followers);
        self.state.cursors.extend(plan.cursors);
        self.rooms.remember(plan.sets);
        Ok(plan.entries)
    }

    /// Tries until the plan is known to be durable, or known not to be ours to write.
    async fn settle(&mut self, tenure: &Tenure, plan: &Plan) -> Result<(), AppendError> {
        let mut pause = Duration::from_millis(1);
        let known = self.since.take().filter(|(_, at)| at.elapsed() < KNOWN_MAX);
        let mut attempted = match known {
            Some((version, _)) => self.attempt_after(version, tenure, plan).await,
            None => self.attempt(tenure, plan).await,
        };
        loop {
            let error = match attempted {
                Err(AppendError::Store(error)) => error,
                settled => {
                    self.since = settled?.map(|version| (version, Instant::now()));
                    return Ok(());
                }
            };
            // A deadline that passed leaves as much open as an unknown result; the tail tells.
            if !error.is_retryable() && error != store::Error::TimedOut {
                return Err(error.into());
            }
            if tenure.is_lost() {
                return Err(AppendError::Fenced);
            }
            tracing::debug!(shard = self.shard.0, batch = plan.tail.batch, %error, "trying the batch again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            attempted = self.attempt(tenure, plan).await;
        }
    }

    /// The first attempt where `version` is that of the last append: nothing is read, because nobody has written fence or
    /// tail since if this commits. Where that fails it is read what is the matter.
    async fn attempt_after(
        &self,
        version: Version,
        tenure: &Tenure,
        plan: &Plan,
    ) -> Result<Option<Version>, AppendError> {
        let mut transaction = self.ledger.database().begin_after(version);
        tenure.fence_since(&mut transaction);
        transaction.add_read_conflict_range(KeyRange::key(&keys::tail(self.shard)));
        for op in &plan.ops {
            op.write(&mut transaction);
        }
        Ok(Some(transaction.commit().await?.version))
    }

    /// The version of the commit, if it was this attempt that committed.
    async fn attempt(&self, tenure: &Tenure, plan: &Plan) -> Result<Option<Version>, AppendError> {
        let key = keys::tail(self.shard);
        let mut transaction = self.ledger.database().begin();
        let (fence, tail) = tokio::join!(tenure.fence(&transaction), transaction.get(&key));
        fence?;
        let tail = match tail? {
            Some(row) => records::decode_tail(&row).map_err(corrupt(&key))?,
            None => return Err(AppendError::Fenced),
        };
        if tail == plan.tail {
            return Ok(None);
        }
        if tail != self.state.tail {
            return Err(AppendError::Fenced);
        }
        for op in &plan.ops {
            op.write(&mut transaction);
        }
        Ok(Some(transaction.commit().await?.version))
    }

    fn plan(&self, batch: Batch) -> Plan {
        let mut plan = Plan {
            tail: Tail {
                batch: self.state.tail.batch + 1,
                ..self.state.tail
            },
            tail_start: batch.tail_start.unwrap_or_default().max(self.state.tail_start),
            ..Plan::default()
        };
        for write in batch.writes {
            for new in write.entries {
                let offset = plan.tail.next;
                plan.tail.next = offset.plus(1);
                if let Some(octets) = new.set.filter(|_| !self.rooms.is_durable(new.entry.set)) {
                    for recipient in &new.entry.recipients.0 {
                        self.intern(&mut plan, &recipient.provider, offset);
                    }
                    if plan.sets.insert(new.entry.set) {
                        plan.ops.extend(spread(&keys::set(self.shard, new.entry.set), &octets));
                    }
                }
                plan.ops.push(Op::set(keys::log(self.shard, offset), new.value));
                plan.entries.push(LogEntry { offset, ..new.entry });
            }
            plan.ops.extend(write.ops);
        }
        for change in batch.cursors {
            let id = self.intern(&mut plan, &change.follower, change.cursor.next);
            plan.cursors.insert(id, change.cursor);
        }
        for block in batch.index {
            let id = self.intern(&mut plan, block.follower(), block.offsets()[0]);
            let key = keys::index(self.shard, id, block.last());
            plan.ops.push(Op::set(key, records::encode_index(block.offsets())));
        }
        for aside in batch.set_aside {
            let id = self.intern(&mut plan, &aside.follower, aside.offset);
            let key = keys::set_aside(self.shard, id, aside.offset);
            plan.ops.push(Op::set(key, set_aside::encode(&aside)));
        }
        for (follower, offset) in batch.settled {
            // Nothing was ever set aside for whom nobody knows.
            let known = self.state.followers.get(&follower);
            let key = known.map(|id| keys::set_aside(self.shard, *id, offset));
            plan.ops.extend(key.map(|key| Op::Clear(key.into())));
        }
        for (follower, paused) in batch.pauses {
            let key = keys::paused(self.shard, &follower);
            plan.ops.push(match paused {
                true => Op::set(key, set_aside::encode_paused()),
                false => Op::Clear(key.into()),
            });
        }
        self.plan_cursors(&mut plan);
        if plan.tail_start != self.state.tail_start {
            let row = records::encode_offset(plan.tail_start);
            plan.ops.push(Op::set(keys::tail_start(self.shard), row));
        }
        let places = self.places(&plan.entries);
        plan.ops.extend(places);
        let tail = records::encode_tail(&plan.tail);
        plan.ops.push(Op::set(keys::tail(self.shard), tail));
        plan.ops = Op::without_superseded(std::mem::take(&mut plan.ops));
        plan
    }

    /// Where the entries of each room are found by their seq: one row for each room of the batch.
    fn places(&self, entries: &[LogEntry]) -> Vec<Op> {
        let mut rooms: BTreeMap<&RoomUri, Vec<&LogEntry>> = BTreeMap::new();
        for entry in entries {
            rooms.entry(&entry.room).or_default().push(entry);
        }
        let mut ops = Vec::with_capacity(rooms.len());
        for (room, entries) in rooms {
            let runs = entries.chunk_by(|one, next| next.seq.0 == one.seq.0 + 1);
            for block in runs.flat_map(|run| run.chunks(IndexBlock::OFFSETS_MAX)) {
                let offsets: Vec<Offset> = block.iter().map(|entry| entry.offset).collect();
                let last = block.last().map_or(Seq(0), |entry| entry.seq);
                let key = keys::room_index(self.shard, room, last);
                ops.push(Op::set(key, records::encode_index(&offsets)));
            }
        }
        ops
    }

    /// The follower's number; a new one, with a cursor at `first`, if it has none.
    fn intern(&self, plan: &mut Plan, provider: &Provider, first: Offset) -> FollowerId {
        if let Some(id) = self
            .state
            .followers
            .get(provider)
            .or_else(|| plan.followers.get(provider))
        {
            return *id;
        }
        let known = self.state.followers.len() + plan.followers.len();
        let id = FollowerId(u32::try_from(known).expect("a shard has fewer than 2^32 followers"));
        plan.followers.insert(provider.clone(), id);
        plan.cursors.insert(id, Cursor::at(first));
        let name = records::encode_follower(provider);
        plan.ops.push(Op::set(keys::follower(self.shard, id), name));
        let number = records::encode_follower_id(id);
        plan.ops
            .push(Op::set(keys::follower_name(self.shard, provider), number));
        id
    }

    /// Writes every chunk that holds a changed cursor, whole.
    fn plan_cursors(&self, plan: &mut Plan) {
        let chunks: BTreeSet<u32> = plan.cursors.keys().map(|id| id.chunk()).collect();
        for chunk in chunks {
            let first = FollowerId(chunk * FollowerId::PER_CHUNK);
            let last = FollowerId(first.0 + (FollowerId::PER_CHUNK - 1));
            let mut cursors: BTreeMap<u32, &Cursor> = BTreeMap::new();
            for (id, cursor) in self.state.cursors.range(first..=last) {
                cursors.insert(id.slot(), cursor);
            }
            for (id, cursor) in plan.cursors.range(first..=last) {
                cursors.insert(id.slot(), cursor);
            }
            let octets = records::encode_cursors(cursors.into_iter());
            let keys = keys::cursor_chunk(self.shard, chunk);
            // Fewer parts than before would leave old ones behind.
            plan.ops.push(Op::ClearRange(keys.clone()));
            plan.ops.extend(spread(&keys, &octets));
        }
    }
}

/// A batch as it is written, and what is true when it is.
#[derive(Debug, Default)]
struct Plan {
    ops: Vec<Op>,
    tail: Tail,
    tail_start: Offset,
    entries: Vec<LogEntry>,
    sets: BTreeSet<SetId>,
    followers: BTreeMap<Provider, FollowerId>,
    cursors: BTreeMap<FollowerId, Cursor>,
}
