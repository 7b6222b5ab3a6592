//! The right to write to one shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use route::ShardId;
use store::{KeyRange, Transaction};

use crate::life::Life;
use crate::rows::{Fence, Incarnation, Term, fence_key};

/// One node's ownership of one shard, from [`Node::acquire`](crate::Node::acquire) until it resigns or is deposed. Cannot
/// be copied or made elsewhere.
#[derive(Debug)]
pub struct Tenure {
    shard: ShardId,
    term: Term,
    life: Arc<Life>,
    fenced: AtomicBool,
}

/// Why a transaction may not write to a shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// The shard has another owner, or none: stop, drop everything, send callers elsewhere.
    #[error("the shard is no longer ours")]
    Fenced,
    /// The store's, as it came; says if trying again helps.
    #[error("could not read the fence")]
    Store(#[from] store::Error),
}

impl Tenure {
    pub(crate) fn new(shard: ShardId, term: Term, life: Arc<Life>) -> Self {
        Self {
            shard,
            term,
            life,
            fenced: AtomicBool::new(false),
        }
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Since which term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The node that holds it.
    pub fn incarnation(&self) -> Incarnation {
        self.life.incarnation()
    }

    /// Whether it is known to be over, or the node's beat is so old that another node may be about to take over. Says
    /// when to stop working; [`Tenure::fence`] is what keeps a deposed owner from writing.
    pub fn is_lost(&self) -> bool {
        self.fenced.load(Ordering::Acquire) || self.life.has_lapsed()
    }

    /// Lets `transaction` commit only if the shard is still held: reads the fence so that a takeover conflicts.
    pub async fn fence(&self, transaction: &Transaction) -> Result<(), FenceError> {
        let row = transaction.get(&fence_key(self.shard)).await?;
        let ours = Fence {
            term: self.term,
            owner: Some(self.life.incarnation()),
        };
        match row.map(|row| Fence::decode(&row)) {
            Some(Ok(fence)) if fence == ours => Ok(()),
            _ => {
                self.fenced.store(true, Ordering::Release);
                Err(FenceError::Fenced)
            }
        }
    }

    /// Lets `transaction`, which begins after a version at which the shard was held, commit only if it still is.
    pub fn fence_since(&self, transaction: &mut Transaction) {
        transaction.add_read_conflict_range(KeyRange::key(&fence_key(self.shard)));
    }

    /// Gives the shard up, so that another node can take it at once. To be called when everything is flushed: a batch
    /// still in flight is refused. The term stays, the next owner's is one higher. Nothing is left to do if the shard was
    /// taken over already.
    ///
    /// # Errors
    /// The store's: the tenure is over for this node, but others may have to wait for the end of its life.
    pub async fn resign(&self) -> Result<(), store::Error> {
        self.fenced.store(true, Ordering::Release);
        let mut attempt = 1;
        loop {
            match self.try_resign().await {
                Err(FenceError::Store(error)) => {
                    if !self.life.database().again(&error, &mut attempt).await {
                        return Err(error);
                    }
                }
                Ok(()) | Err(FenceError::Fenced) => return Ok(()),
            }
        }
    }

    async fn try_resign(&self) -> Result<(), FenceError> {
        let mut transaction = self.life.database().begin();
        self.fence(&transaction).await?;
        let free = Fence {
            term: self.term,
            owner: None,
        };
        transaction.set(fence_key(self.shard), free.encode());
        transaction.commit().await?;
        tracing::info!(shard = self.shard.0, term = self.term.0, "resigned");
        Ok(())
    }
}
