//! A node, and how it comes to own shards.

use std::sync::Arc;
use std::time::Duration;

use route::ShardId;
use store::Database;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::lapse::Lapse;
use crate::life::Life;
use crate::rows::{Fence, Incarnation, Term, fence_key, fence_keys, fence_of};
use crate::site::Site;
use crate::tenure::Tenure;
use crate::view::View;
use crate::wall::WallClock;

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The name of this life: 16 octets from a random source.
    pub incarnation: Incarnation,
    /// Whether others may be at work on the same store.
    pub ownership: Ownership,
    /// What others are told of it.
    pub site: Site,
    /// What it compares with the clocks of the others.
    pub clock: WallClock,
}

impl NodeOptions {
    /// A node that is alone on its store and that nobody has to find, nor to compare its clock with.
    pub fn sole(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            ownership: Ownership::Sole,
            site: Site::default(),
            clock: WallClock::new(|| 0),
        }
    }
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

/// Who owns a shard, as its fence says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// Which shard.
    pub shard: ShardId,
    /// Since which term.
    pub term: Term,
    /// The owner, dead or alive; `None` if it resigned.
    pub owner: Option<Incarnation>,
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
    /// This node's wall clock is too far off the others', or has not been compared with them yet: it takes nothing that it
    /// does not have.
    #[error("this node's wall clock is off, or not compared with the others' yet")]
    Unfit,
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
        let ownership = options.ownership;
        let life = Arc::new(Life::new(database, options));
        let beating = match ownership {
            Ownership::Sole => None,
            Ownership::Leased { lease, beat } => {
                life.begin(lease).await?;
                let living = life.clone();
                Some(Arc::new(Beating(tokio::spawn(async move {
                    tokio::join!(living.keep_noticing_lapse(), living.keep_beating(lease, beat));
                }))))
            }
        };
        Ok(Self { life, beating })
    }

    /// The name of this life.
    pub fn incarnation(&self) -> Incarnation {
        self.life.incarnation()
    }

    /// What others are told of it.
    pub fn site(&self) -> &Site {
        &self.life.options().site
    }

    /// How it knows that former owners are gone.
    pub fn ownership(&self) -> Ownership {
        self.life.options().ownership
    }

    /// The nodes that live, this one among them, and each change of that. A dead node is missed within its lease and half
    /// a beat of its last one.
    pub fn views(&self) -> watch::Receiver<View> {
        self.life.views()
    }

    /// Whether this node's lease has lapsed.
    pub fn lapse(&self) -> &Lapse {
        self.life.lapse()
    }

    /// Tells the others, at once, that this node gives its shards away and takes none.
    pub fn leave(&self) {
        self.life.leave();
    }

    /// Takes `shard`, if it is free or its owner is dead, and this node is fit to ([`View::is_withheld`]): moves the fence,
    /// so that from then on nothing of a former tenure can be written. A tenure that this node itself still has of the
    /// shard ends.
    pub async fn acquire(&self, shard: ShardId) -> Result<Tenure, AcquireError> {
        if self.life.has_lapsed() {
            return Err(AcquireError::Lapsed);
        }
        let mut attempt = 1;
        loop {
            match self.take(shard).await {
                Err(AcquireError::Store(error)) => {
                    if !self.life.database().again(&error, &mut attempt).await {
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
        let mut transaction = self.life.database().begin();
        let fence = match transaction.get(&fence_key(shard)).await? {
            Some(row) => Fence::decode(&row).map_err(|_| AcquireError::Unreadable)?,
            None => Fence::default(),
        };
        let owner = Some(self.life.incarnation());
        if fence.owner != owner && self.life.is_withheld() {
            return Err(AcquireError::Unfit);
        }
        self.life.check_owner(&transaction, &fence).await?;
        let term = Term(fence.term.0 + 1);
        transaction.set(fence_key(shard), Fence { term, owner }.encode());
        transaction.commit().await?;
        tracing::info!(shard = shard.0, term = term.0, "acquired");
        Ok(Tenure::new(shard, term, self.life.clone()))
    }

    /// Returns when somebody else than `owner` has `shard`, or nobody, and after `patience` in any case.
    pub async fn await_release(
        &self,
        shard: ShardId,
        owner: Incarnation,
        patience: Duration,
    ) -> Result<(), store::Error> {
        let released = async {
            let transaction = self.life.database().begin();
            let fence = transaction.snapshot_get(&fence_key(shard)).await?;
            let changed = transaction.watch(&fence_key(shard)).await?;
            transaction.commit().await?;
            match fence.map(|row| Fence::decode(&row)) {
                Some(Ok(fence)) if fence.owner == Some(owner) => changed.await,
                _ => Ok(()),
            }
        };
        tokio::time::timeout(patience, released).await.unwrap_or(Ok(()))
    }

    /// Who owns each shard that was ever owned, in order. A fence of another release is left out.
    pub async fn owners(&self) -> Result<Vec<Owned>, store::Error> {
        let transaction = self.life.database().begin();
        let rows = transaction
            .snapshot_range(fence_keys(), route::SHARDS_MAX as usize, false)
            .await?;
        let owned = rows.into_iter().filter_map(|(key, row)| {
            let Fence { term, owner } = Fence::decode(&row).ok()?;
            let shard = fence_of(&key)?;
            Some(Owned { shard, term, owner })
        });
        Ok(owned.collect())
    }

    /// Gives up a shard that is this node's since `term` by its fence, although it knows of no tenure: the result of an
    /// acquisition that was never known. Does nothing if it is not this node's any more.
    pub async fn give_up(&self, shard: ShardId, term: Term) -> Result<(), store::Error> {
        let tenure = Tenure::new(shard, term, self.life.clone());
        tenure.resign().await
    }

    /// Ends the node's life: its tenures are lost, its beat stops and is taken away, so that others take over at once.
    ///
    /// # Errors
    /// The store's, [`TimedOut`](store::Error::TimedOut) where it did not answer within the lease: others take over when
    /// that has passed, whether the beat is there or not.
    pub async fn stop(self) -> Result<(), store::Error> {
        let ownership = self.ownership();
        self.life.stop();
        drop(self.beating);
        match ownership {
            Ownership::Sole => Ok(()),
            Ownership::Leased { lease, .. } => {
                let taken_away = tokio::time::timeout(lease, self.life.take_beat_away()).await;
                taken_away.unwrap_or(Err(store::Error::TimedOut))
            }
        }
    }
}
