//! Catch-up: where rooms stand and what their entries are, for providers that have participants in them. It is read from
//! what is durable, in one transaction begun after the question: no room is opened, no owner is asked, and nothing is told
//! that is not so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanout::Due;
use futures::{StreamExt as _, stream};
use hub::keys::HubKeys;
use ledger::{Ledger, LogEntry, ReadError, ReadLimit, RoomEntries, Seq};
use mimi::catch_up::{RoomHead, RoomHeadAnswer, RoomHeadsRequest, RoomHeadsResponse};
use mimi::{Decode as _, Encode as _, Provider, RoomUri};
use proto::hub::Refused;
use proto::link::{Item, RoomEvents};
use room::{Chain, Epoch};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits::{CATCH_UPS_MAX, EVENTS_BYTES, EVENTS_MAX, HEADS_AT_ONCE};

/// What whoever asks while too many do is asked to wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a provider is told of a room in which it has nobody, and of one that there is not.
const UNKNOWN: &str = "no room that you have participants in";

/// Answers followers that missed something.
#[derive(Debug)]
pub(crate) struct CatchUp {
    us: Provider,
    ledger: Ledger,
    keys: Arc<HubKeys>,
    questions: Semaphore,
}

impl CatchUp {
    pub(crate) fn new(us: Provider, ledger: Ledger, keys: Arc<HubKeys>) -> Self {
        Self {
            us,
            ledger,
            keys,
            questions: Semaphore::new(CATCH_UPS_MAX),
        }
    }

    /// Where each of the rooms stands, signed.
    pub(crate) async fn heads(&self, source: &Provider, request: &Bytes) -> Result<RoomHeadsResponse, Refused> {
        let request = RoomHeadsRequest::decode_exact(request);
        let request = request.map_err(|error| refused(400, error.reason()))?;
        let _question = self.admit()?;
        let answers = request.rooms.into_iter().map(|room| async move {
            match room.room() {
                Ok(room) if *room.provider() == self.us => self.head(source, &room, request.step).await,
                _ => Ok(RoomHeadAnswer::Unknown),
            }
        });
        let answers: Vec<Result<RoomHeadAnswer, Refused>> =
            stream::iter(answers).buffered(HEADS_AT_ONCE).collect().await;
        let answers = answers.into_iter().collect::<Result<_, _>>()?;
        Ok(RoomHeadsResponse { answers })
    }

    async fn head(&self, source: &Provider, room: &RoomUri, step: u32) -> Result<RoomHeadAnswer, Refused> {
        let standing = self
            .ledger
            .followed_room(room, source)
            .await
            .map_err(|error| unread(&error))?;
        let Some(standing) = standing else {
            return Ok(RoomHeadAnswer::Unknown);
        };
        let seq = Seq(standing.seq.0 - standing.seq.0 % u64::from(step.max(1)));
        if seq == standing.seq {
            let head = self.sign(room, seq, standing.chain, standing.epoch)?;
            return Ok(RoomHeadAnswer::Head(head));
        }
        let found = self.ledger.followed_head_at(room, source, seq).await;
        match found.map_err(|error| unread(&error))? {
            Some((chain, epoch)) => Ok(RoomHeadAnswer::Head(self.sign(room, seq, chain, epoch)?)),
            None => Ok(RoomHeadAnswer::NotKept),
        }
    }

    /// The entries of a room behind `after`, as `source` is shown them.
    pub(crate) async fn events(
        &self,
        source: &Provider,
        room: &RoomUri,
        after: Seq,
        max: u32,
    ) -> Result<RoomEvents, Refused> {
        if *room.provider() != self.us {
            return Err(refused(421, "not a room of this hub"));
        }
        let _question = self.admit()?;
        let max = usize::try_from(max).unwrap_or(EVENTS_MAX);
        let limit = ReadLimit {
            entries: if max == 0 { EVENTS_MAX } else { max.min(EVENTS_MAX) },
            bytes: EVENTS_BYTES,
        };
        let from = Seq(after.0.saturating_add(1));
        let found = self.ledger.followed_entries(room, source, from, limit).await;
        let (standing, entries) = match found.map_err(|error| unread(&error))? {
            RoomEntries::Unknown => return Err(refused(404, UNKNOWN)),
            RoomEntries::Expired(_) => {
                let why = "not kept any more: clients have to join again, by groupInfo";
                return Err(refused(410, why));
            }
            RoomEntries::Found(standing, entries) => (standing, entries),
        };
        let head = self.sign(room, standing.seq, standing.chain, standing.epoch)?;
        Ok(RoomEvents {
            items: items(entries, source),
            head: head.encode().into(),
        })
    }

    fn sign(&self, room: &RoomUri, seq: Seq, chain: Chain, epoch: Epoch) -> Result<RoomHead, Refused> {
        let signed = self.keys.sign_head(room, self.ledger.id(), seq, chain, epoch);
        signed.map_err(|error| {
            tracing::error!(%error, "sign a room's head");
            refused(500, "internal failure")
        })
    }

    fn admit(&self) -> Result<SemaphorePermit<'_>, Refused> {
        let admitted = self.questions.try_acquire();
        admitted.map_err(|_| Refused {
            retry_after_ms: u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX),
            ..refused(503, "overloaded")
        })
    }
}

/// Entries of a room as `follower` is shown them, up to the first that is not due to it.
pub(crate) fn items(entries: Vec<LogEntry>, follower: &Provider) -> Vec<Item> {
    let due = entries
        .into_iter()
        .map_while(|entry| Due::to(Arc::new(entry.into()), follower));
    due.map(|due| Item::from(&due)).collect()
}

/// A refusal of which nothing is known but this.
pub(crate) fn refused(status: u32, reason: &str) -> Refused {
    Refused {
        status,
        reason: reason.to_owned(),
        retry_after_ms: 0,
    }
}

fn unread(error: &ReadError) -> Refused {
    tracing::error!(%error, "read a room for a follower that catches up");
    Refused {
        retry_after_ms: u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX),
        ..refused(503, "unavailable")
    }
}
