//! A node: its life, its beat, and how it comes to own shards.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use route::ShardId;
use store::{Database, Transaction};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::rows::{Beat, Fence, Incarnation, Term, beat_key, beat_keys, beat_of, fence_key};
use crate::tenure::Tenure;

/// The most nodes whose beats are watched.
const NODES_MAX: usize = 4_096;

/// What a node is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeOptions {
    /// The name of this life: 16 octets from a random source.
    pub incarnation: Incarnation,
    /// Whether others may be at work on the same store.
    pub ownership: Ownership,
}

/// How a node knows that the former owner of a shard is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// The store admits one process at a time (the embedded one locks its directory), so whoever else owned a shard is no
    /// more. Takes over at once and writes no beats.
    Sole,
    /// Nodes share the store. A node that has not beaten for its lease may be taken over from.
    Leased {
        /// How long an unchanged beat protects its node (3 s is usual). The node itself stops at two thirds.
        lease: Duration,
        /// Time between two beats (a third of the lease).
        beat: Duration,
    },
}

/// Why a shard was not acquired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// Its owner is, or may be, alive.
    #[error("the shard is held by {by}")]
    Held {
        /// The owner.
        by: Incarnation,
        /// Its beat, if it stays unchanged for this long, is a dead node's.
        retry_after: Duration,
    },
    /// This node's own beat is too old, or it was stopped: it owns nothing.
    #[error("this node's lease has lapsed")]
    Lapsed,
    /// The fence or a beat is in a format of another release.
    #[error("the shard's fence or its owner's beat is not readable")]
    Unreadable,
    /// The store's, after it was tried again where that could help.
    #[error("could not move the fence")]
    Store(#[from] store::Error),
}

/// One process's part in the ownership of shards. Cheap to clone; when the last clone is dropped, the beat stops.
#[derive(Debug, Clone)]
pub struct Node {
    life: Arc<Life>,
    beating: Option<Arc<Beating>>,
}

/// Ends the beat with the node.
#[derive(Debug)]
struct Beating(JoinHandle<()>);

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Node {
    /// Starts a node. With [`Ownership::Leased`] its first beat is durable when this returns, and a task keeps beating.
    pub async fn start(database: Database, options: NodeOptions) -> Result<Self, store::Error> {
        let life = Arc::new(Life {
            database,
            options,
            pulse: Mutex::default(),
        });
        let beating = match options.ownership {
            Ownership::Sole => None,
            Ownership::Leased { lease, beat } => {
                life.beat(1, lease).await?;
                Some(Arc::new(Beating(tokio::spawn(life.clone().keep_beating(lease, beat)))))
            }
        };
        Ok(Self { life, beating })
    }

    /// The name of this life.
    pub fn incarnation(&self) -> Incarnation {
        self.life.incarnation()
    }

    /// Takes `shard`, if it is free or its owner is dead: moves the fence, so that from then on nothing of a former tenure
    /// can be written. A tenure that this node itself still has of the shard ends.
    pub async fn acquire(&self, shard: ShardId) -> Result<Tenure, AcquireError> {
        if self.life.has_lapsed() {
            return Err(AcquireError::Lapsed);
        }
        let mut attempt = 1;
        loop {
            match self.take(shard).await {
                Err(AcquireError::Store(error)) => {
                    if !self.life.database.again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                settled => return settled,
            }
        }
    }

    /// One attempt. After an unknown result the next one finds this node as owner and moves the fence once more: only a
    /// commit that is known makes a tenure.
    async fn take(&self, shard: ShardId) -> Result<Tenure, AcquireError> {
        let mut transaction = self.life.database.begin();
        let fence = match transaction.get(&fence_key(shard)).await? {
            Some(row) => Fence::decode(&row).map_err(|_| AcquireError::Unreadable)?,
            None => Fence::default(),
        };
        self.life.check_owner(&transaction, &fence).await?;
        let term = Term(fence.term.0 + 1);
        let owner = Some(self.life.incarnation());
        transaction.set(fence_key(shard), Fence { term, owner }.encode());
        transaction.commit().await?;
        tracing::info!(shard = shard.0, term = term.0, "acquired");
        Ok(Tenure::new(shard, term, self.life.clone()))
    }

    /// Ends the node's life: its tenures are lost, its beat stops and is taken away, so that others take over at once.
    pub async fn stop(self) -> Result<(), store::Error> {
        self.life.pulse().stopped = true;
        drop(self.beating);
        let mut attempt = 1;
        loop {
            let mut transaction = self.life.database.begin();
            transaction.clear(beat_key(self.life.incarnation()));
            match transaction.commit().await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    if !self.life.database.again(&error, &mut attempt).await {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// What a node and its tenures share.
#[derive(Debug)]
pub(crate) struct Life {
    database: Database,
    options: NodeOptions,
    pulse: Mutex<Pulse>,
}

#[derive(Debug, Default)]
struct Pulse {
    /// When the last beat that became durable was begun.
    beaten: Option<Instant>,
    stopped: bool,
    /// The last beat seen of each other node, and since when it has not changed.
    seen: BTreeMap<Incarnation, (Beat, Instant)>,
}

impl Life {
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.options.incarnation
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Whether this node must act as if it were dead.
    pub(crate) fn has_lapsed(&self) -> bool {
        let pulse = self.pulse();
        pulse.stopped
            || match self.options.ownership {
                Ownership::Sole => false,
                Ownership::Leased { lease, .. } => pulse.beaten.is_none_or(|beaten| beaten.elapsed() >= lease * 2 / 3),
            }
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_beating(self: Arc<Self>, lease: Duration, beat: Duration) {
        let mut count = 1;
        loop {
            tokio::time::sleep(beat).await;
            count += 1;
            match self.beat(count, lease).await {
                Ok(()) => {}
                Err(error @ (store::Error::Closed | store::Error::Fatal(_))) => {
                    tracing::error!(%error, "the beat stops");
                    return;
                }
                Err(error) => tracing::warn!(%error, "a beat was missed"),
            }
        }
    }

    /// Writes one beat and looks at the others'.
    async fn beat(&self, count: u64, lease: Duration) -> Result<(), store::Error> {
        let mut attempt = 1;
        loop {
            match self.try_beat(Beat { count, lease }).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if !self.database.again(&error, &mut attempt).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn try_beat(&self, beat: Beat) -> Result<(), store::Error> {
        let begun = Instant::now();
        let mut transaction = self.database.begin();
        let rows = transaction.snapshot_range(beat_keys(), NODES_MAX, false).await?;
        let read = Instant::now();
        transaction.set(beat_key(self.incarnation()), beat.encode());
        transaction.commit().await?;
        let mut pulse = self.pulse();
        pulse.beaten = Some(begun);
        let others = rows
            .iter()
            .filter_map(|(key, row)| Some((beat_of(key)?, Beat::decode(row).ok()?)))
            .filter(|(node, _)| *node != self.incarnation());
        pulse.seen = others
            .map(|(node, beat)| (node, (beat, since(&pulse.seen, node, beat, read))))
            .collect();
        Ok(())
    }

    /// Refuses if the owner of `fence` is another node that may be alive. Reads the beat that it judges so that the
    /// takeover conflicts with a later one.
    async fn check_owner(&self, transaction: &Transaction, fence: &Fence) -> Result<(), AcquireError> {
        let by = match fence.owner {
            Some(owner) if owner != self.incarnation() => owner,
            _ => return Ok(()),
        };
        if self.options.ownership == Ownership::Sole {
            return Ok(());
        }
        let Some(row) = transaction.get(&beat_key(by)).await? else {
            return Ok(());
        };
        let beat = Beat::decode(&row).map_err(|_| AcquireError::Unreadable)?;
        let now = Instant::now();
        let mut pulse = self.pulse();
        let since = since(&pulse.seen, by, beat, now);
        pulse.seen.insert(by, (beat, since));
        match beat.lease.checked_sub(now - since) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(retry_after) => Err(AcquireError::Held { by, retry_after }),
        }
    }
}

/// Since when `node` shows this very beat.
fn since(seen: &BTreeMap<Incarnation, (Beat, Instant)>, node: Incarnation, beat: Beat, now: Instant) -> Instant {
    match seen.get(&node) {
        Some((known, since)) if *known == beat => *since,
        _ => now,
    }
}
