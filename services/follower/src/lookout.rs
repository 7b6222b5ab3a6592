//! Where followers share a store: tells the others what this one stored, and learns from them what they did. One reader for
//! all event streams, which waits at a watch.

use std::time::Instant;

use ledger::Millis;
use ledger::follower::{RingPlace, Rings, Rung};
use mimi::{ClientUri, RoomUri};
use store::{Transaction, Watch};

use crate::limits::{LOOK_AGAIN, RINGS_CLEARED_EVERY, RINGS_KEPT};
use crate::{Fault, Follower};

/// What a look finds.
enum Seen {
    Rung(Vec<Rung>),
    /// Nothing; this is ready when there is something.
    Nothing(Watch),
}

impl Follower {
    /// Has the transaction tell other followers, if there are any, that these rooms' inboxes grow, and whose clients begin or
    /// end to follow them.
    pub(crate) fn ring<'r>(
        &self,
        transaction: &mut Transaction,
        grown: impl IntoIterator<Item = (&'r RoomUri, &'r [ClientUri])>,
    ) {
        if let Some(own) = self.others {
            Rings(transaction).put(Millis((self.clock)()), own, grown);
        }
    }

    /// Looks out for what other followers store, and wakes the event streams here for it, as long as it is polled. Does
    /// nothing where there are no others.
    pub async fn look_out(&self) {
        let Some(own) = self.others else {
            return std::future::pending().await;
        };
        let (mut place, mut looked, mut cleared) = (None, Instant::now(), Instant::now());
        loop {
            if looked.elapsed() > RINGS_KEPT / 2 {
                // What rang meanwhile may be gone.
                place = None;
            }
            let look = self.look(own, &mut place).await;
            match look {
                Ok(waits) => {
                    looked = Instant::now();
                    if cleared.elapsed() > RINGS_CLEARED_EVERY {
                        cleared = looked;
                        self.clear_rings().await;
                    }
                    if let Some(watch) = waits {
                        // A watch that fails, or is forgotten, only costs time.
                        let _ = tokio::time::timeout(LOOK_AGAIN, watch).await;
                    }
                }
                Err(fault) => {
                    tracing::warn!(%fault, "what other followers store is not seen for now");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    /// Looks once. What is returned is ready when it is worth looking again; nothing: at once.
    async fn look(&self, own: u64, place: &mut Option<RingPlace>) -> Result<Option<Watch>, Fault> {
        let Some(from) = place else {
            *place = Some(Rings(&mut self.database.begin()).last().await?);
            self.wake.everybody();
            return Ok(None);
        };
        let from = &*from;
        let seen = self.database.run(|mut transaction| async move {
            let rings = Rings(&mut transaction);
            let rung = rings.after(from).await?;
            let seen = match rung.is_empty() {
                true => Seen::Nothing(rings.watch().await?),
                false => Seen::Rung(rung),
            };
            Ok::<_, Fault>((transaction, seen))
        });
        let rung = match seen.await? {
            Seen::Nothing(watch) => return Ok(Some(watch)),
            Seen::Rung(rung) => rung,
        };
        for rung in rung {
            if rung.by != own {
                rung.rings
                    .iter()
                    .for_each(|ring| self.wake.all(&ring.room, &ring.clients));
            }
            *place = Some(rung.place);
        }
        Ok(None)
    }

    async fn clear_rings(&self) {
        let kept = u64::try_from(RINGS_KEPT.as_millis()).unwrap_or(u64::MAX);
        let time = Millis((self.clock)().saturating_sub(kept));
        loop {
            let cleared = self.database.run(|mut transaction| async move {
                let more = Rings(&mut transaction).clear_before(time).await?;
                Ok::<_, Fault>((transaction, more))
            });
            match cleared.await {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => return tracing::warn!(%fault, "rings are not cleared for now"),
            }
        }
    }
}
