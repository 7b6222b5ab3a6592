//! Trims inboxes, room by room and around again. Each room is a transaction of its own, and harmless to repeat: any number of
//! followers may trim the same inboxes.

use std::time::Duration;

use ledger::Millis;
use ledger::follower::{InboxCut, InboxTrimmed, Inboxes};
use mimi::RoomUri;

use crate::limits::{ROOMS_LISTED_MAX, TRIM_BREATH};
use crate::{Fault, Follower};

/// For how long inboxes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// What every client that follows a room has acknowledged is kept so long, at least.
    pub acknowledged: Duration,
    /// What some client has not acknowledged is kept so long; then the client is told to join the room again.
    pub regardless: Duration,
    /// The wait between two rounds through all rooms.
    pub every: Duration,
}

impl Follower {
    /// Trims for as long as it is polled.
    pub async fn keep(&self, keeping: Keeping) {
        loop {
            tokio::time::sleep(keeping.every).await;
            if let Err(fault) = self.trim_all(keeping).await {
                tracing::warn!(%fault, "inboxes are not trimmed for now");
            }
        }
    }

    /// One round through all rooms.
    ///
    /// # Errors
    /// The store does not serve. What was trimmed before is.
    pub async fn trim_all(&self, keeping: Keeping) -> Result<(), Fault> {
        self.index_subscriptions().await?;
        let mut after: Option<RoomUri> = None;
        loop {
            let mut transaction = self.database.begin();
            let rooms = Inboxes(&mut transaction);
            let rooms = rooms.rooms(None, after.as_ref(), ROOMS_LISTED_MAX).await?;
            drop(transaction);
            for (room, _) in &rooms {
                while self.trim(room, keeping).await?.more {}
            }
            match rooms.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => return Ok(()),
            }
            tokio::time::sleep(TRIM_BREATH).await;
        }
    }

    async fn trim(&self, room: &RoomUri, keeping: Keeping) -> Result<InboxTrimmed, Fault> {
        let ago = |time: Duration| {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            Millis((self.clock)().saturating_sub(millis))
        };
        let cut = InboxCut {
            acknowledged: ago(keeping.acknowledged),
            regardless: ago(keeping.regardless),
        };
        let trimmed = self.database.run(|mut transaction| async move {
            let trimmed = Inboxes(&mut transaction).trim(room, cut).await?;
            Ok::<_, Fault>((transaction, trimmed))
        });
        let trimmed = trimmed.await?;
        self.metrics.trimmed(&trimmed);
        Ok(trimmed)
    }

    /// Who follows a room is known by room only since a later release: written once for those from before.
    async fn index_subscriptions(&self) -> Result<(), Fault> {
        let mut transaction = self.database.begin();
        if Inboxes(&mut transaction).is_indexed().await? {
            return Ok(());
        }
        let mut after = None;
        loop {
            let from = after.as_ref();
            let indexed = self.database.run(|mut transaction| async move {
                let next = Inboxes(&mut transaction).index(from).await?;
                Ok::<_, Fault>((transaction, next))
            });
            match indexed.await? {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }
}
