//! How entries leave: the contract between couriers and whatever carries their deliveries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ledger::{Offset, Seq, Shown};
use mimi::Provider;
use route::ShardId;

use crate::{Entry, Piece};

/// One entry as one follower is due it.
#[derive(Debug, Clone)]
pub struct Due {
    /// The entry.
    pub entry: Arc<Entry>,
    /// What the follower is shown of it.
    pub shown: Shown,
    /// Seq of the entry of this room that the follower was shown before this one; 0: the first.
    pub previous_seq: Seq,
}

impl Due {
    /// The entry as `to` is due it; `None` when it is not.
    pub fn to(entry: Arc<Entry>, to: &Provider) -> Option<Self> {
        let recipient = entry.recipient(to)?;
        let (shown, previous_seq) = (recipient.shown, entry.previous_seq(recipient));
        Some(Self {
            entry,
            shown,
            previous_seq,
        })
    }

    /// The entry as a field `items` of the link's Deliver, encoded. Followers who are sent the same share the octets.
    pub fn framed(&self) -> Piece {
        self.entry.framed(self.shown, self.previous_seq)
    }
}

/// What the follower has durably of the entries just delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// Every delivered entry below this offset.
    pub next: Offset,
    /// Delivered entries above it, where the transport does not keep order between rooms.
    pub above: Vec<Offset>,
    /// Entries that the follower refuses.
    pub refused: Vec<Refused>,
    /// How long the follower asks to be left alone before it is sent what is still due.
    pub retry_after: Option<Duration>,
}

impl Acknowledged {
    /// Everything below `next`, nothing refused.
    pub fn below(next: Offset) -> Self {
        Self {
            next,
            above: Vec::new(),
            refused: Vec::new(),
            retry_after: None,
        }
    }
}

/// One entry that a follower refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where it is in the shard's log.
    pub offset: Offset,
    /// Why, as an HTTP status (4xx).
    pub status: u16,
    /// Why, in the follower's words.
    pub reason: String,
    /// The follower has passed it, so that it cannot be brought again in its place. If not, nothing behind it in its room was
    /// brought either.
    pub is_final: bool,
}

/// What became of one entry that was brought apart from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brought {
    /// The follower has it.
    Taken,
    /// It refuses it once more.
    Refused(Refused),
    /// It has passed the entry and there is no way around that: it gets it when it asks for the room's entries (catch-up).
    Passed,
}

/// An attempt after which nothing is known to have arrived. Always worth another attempt, later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Failure {
    /// How long the follower asks to be left alone.
    pub retry_after: Option<Duration>,
    /// What happened.
    pub why: String,
}

impl Failure {
    /// A failure with which no waiting time came.
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            retry_after: None,
            why: why.into(),
        }
    }
}

/// Carries entries to followers. Offsets are those of the ledger for which the transport was made.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The follower's durable low watermark in this shard: everything addressed to it below is stored there. `None`: it
    /// does not know this ledger and shard, or the transport cannot tell.
    async fn position(&self, to: &Provider, shard: ShardId) -> Result<Option<Offset>, Failure>;

    /// Brings `items`, which ascend by offset, and answers when the follower has made durable what is acknowledged.
    /// Entries of one room arrive in their order, and none before every earlier one of the room was acknowledged or
    /// refused; rooms are independent of each other. Delivering again is byte-identical and has one effect.
    async fn deliver(&self, to: &Provider, shard: ShardId, items: &[Due]) -> Result<Acknowledged, Failure>;

    /// Tells the follower that entries of this shard that it was due are gone. It looks which of its rooms lack any, and has
    /// done what follows when this returns; one that knows no such question counts as told, and sees what it lacks by the
    /// next entry of each room.
    async fn tell_expired(&self, _to: &Provider, _shard: ShardId) -> Result<(), Failure> {
        Ok(())
    }

    /// Brings one entry that the follower has refused, apart from the order of its shard and although the follower may have
    /// passed it. The octets are those of every delivery before.
    async fn bring_again(&self, to: &Provider, shard: ShardId, due: &Due) -> Result<Brought, Failure> {
        let acknowledged = self.deliver(to, shard, std::slice::from_ref(due)).await?;
        if let Some(refused) = acknowledged.refused.into_iter().next() {
            return Ok(Brought::Refused(refused));
        }
        if acknowledged.next > due.entry.offset {
            return Ok(Brought::Taken);
        }
        Err(Failure {
            retry_after: acknowledged.retry_after,
            why: "it was not acknowledged".to_owned(),
        })
    }

    /// The follower was heard from: ways to it that failed are worth another attempt.
    fn heard_from(&self, _follower: &Provider) {}
}
