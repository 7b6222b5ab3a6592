//! A node's life: its beat, and what it sees of the others' beats.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use store::{Database, Transaction};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::node::{AcquireError, NodeOptions, Ownership};
use crate::rows::{Beat, Fence, Incarnation, beat_key, beat_keys, beat_of};
use crate::view::{Member, View};

/// The most nodes whose beats are watched.
const NODES_MAX: usize = 4_096;

/// Looks at the others' beats from one beat of one's own to the next.
const LOOKS: u32 = 2;

/// A beat that has not changed for this many leases is taken away.
const FORGOTTEN_AFTER: u32 = 10;

/// Beats taken away with one beat.
const FORGOTTEN_MAX: usize = 64;

/// What a node and its tenures share.
#[derive(Debug)]
pub(crate) struct Life {
    database: Database,
    options: NodeOptions,
    pulse: Mutex<Pulse>,
    views: watch::Sender<View>,
    /// Beats at once.
    nudge: Notify,
}

#[derive(Debug, Default)]
struct Pulse {
    /// When the last beat that became durable was begun.
    beaten: Option<Instant>,
    /// When the others' beats were last read.
    looked: Option<Instant>,
    stopped: bool,
    leaving: bool,
    /// The last beat seen of each other node, and since when it has not changed.
    seen: BTreeMap<Incarnation, (Beat, Instant)>,
}

impl Life {
    pub(crate) fn new(database: Database, options: NodeOptions) -> Self {
        let life = Self {
            database,
            options,
            pulse: Mutex::default(),
            views: watch::Sender::default(),
            nudge: Notify::new(),
        };
        life.show(&life.pulse(), Instant::now());
        life
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.options.incarnation
    }

    pub(crate) fn options(&self) -> &NodeOptions {
        &self.options
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn views(&self) -> watch::Receiver<View> {
        self.views.subscribe()
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

    pub(crate) fn stop(&self) {
        self.pulse().stopped = true;
    }

    pub(crate) fn leave(&self) {
        let mut pulse = self.pulse();
        pulse.leaving = true;
        self.show(&pulse, Instant::now());
        drop(pulse);
        self.nudge.notify_one();
    }

    fn pulse(&self) -> MutexGuard<'_, Pulse> {
        self.pulse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first beat.
    pub(crate) async fn begin(&self, lease: Duration) -> Result<(), store::Error> {
        self.beat(1, lease).await
    }

    /// Beats, and looks at the others between beats and whenever one of them would be dead, until the store is closed.
    pub(crate) async fn keep_beating(self: Arc<Self>, lease: Duration, beat: Duration) {
        let mut count = 1;
        let mut next = Instant::now() + beat;
        loop {
            let look = (Instant::now() + beat / LOOKS).min(next);
            tokio::select! {
                biased;
                () = self.nudge.notified() => next = Instant::now(),
                () = tokio::time::sleep_until(self.next_death().map_or(look, |death| death.min(look))) => {}
            }
            let begun = Instant::now();
            let done = if begun >= next {
                count += 1;
                next = begun + beat;
                self.beat(count, lease).await
            } else {
                self.look().await
            };
            match done {
                Ok(()) => {}
                Err(error @ (store::Error::Closed | store::Error::Fatal(_))) => {
                    tracing::error!(%error, "the beat stops");
                    return;
                }
                Err(error) => tracing::warn!(%error, "a beat was missed"),
            }
        }
    }

    /// When the next of those that live would be dead if its beat stays as it is.
    fn next_death(&self) -> Option<Instant> {
        let now = Instant::now();
        let pulse = self.pulse();
        let deaths = pulse.seen.values().map(|(beat, since)| *since + beat.lease);
        deaths.filter(|death| *death > now).min()
    }

    /// Writes one beat and looks at the others'.
    async fn beat(&self, count: u64, lease: Duration) -> Result<(), store::Error> {
        let mut attempt = 1;
        loop {
            match self.try_beat(count, lease).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if !self.database.again(&error, &mut attempt).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn try_beat(&self, count: u64, lease: Duration) -> Result<(), store::Error> {
        let begun = Instant::now();
        let mut transaction = self.database.begin();
        self.observe(transaction.snapshot_range(beat_keys(), NODES_MAX, false).await?);
        for forgotten in self.forgotten() {
            transaction.clear(beat_key(forgotten));
        }
        let beat = Beat {
            count,
            lease,
            leaving: self.pulse().leaving,
            site: self.options.site.clone(),
        };
        transaction.set(beat_key(self.incarnation()), beat.encode());
        transaction.commit().await?;
        self.pulse().beaten = Some(begun);
        Ok(())
    }

    async fn look(&self) -> Result<(), store::Error> {
        let transaction = self.database.begin();
        self.observe(transaction.snapshot_range(beat_keys(), NODES_MAX, false).await?);
        Ok(())
    }

    /// Takes note of all the beats that there are now.
    fn observe(&self, rows: Vec<(Bytes, Bytes)>) {
        let now = Instant::now();
        let mut pulse = self.pulse();
        let others = rows
            .iter()
            .filter_map(|(key, row)| Some((beat_of(key)?, Beat::decode(row).ok()?)))
            .filter(|(node, _)| *node != self.incarnation());
        let seen = others.map(|(node, beat)| {
            let since = self.since(&pulse, node, &beat, now);
            (node, (beat, since))
        });
        pulse.seen = seen.collect();
        pulse.looked = Some(now);
        self.show(&pulse, now);
    }

    /// Tells of the nodes that live, if they are others than before.
    fn show(&self, pulse: &Pulse, now: Instant) {
        let ourselves = Member {
            incarnation: self.incarnation(),
            site: self.options.site.clone(),
            leaving: pulse.leaving,
        };
        let alive = pulse.seen.iter().filter(|(_, (beat, since))| now - *since < beat.lease);
        let others = alive.map(|(node, (beat, _))| Member {
            incarnation: *node,
            site: beat.site.clone(),
            leaving: beat.leaving,
        });
        let view: View = others.chain([ourselves]).collect();
        self.views.send_if_modified(|known| {
            let changed = *known != view;
            *known = view;
            changed
        });
    }

    /// The dead whose beats nobody needs any more.
    fn forgotten(&self) -> Vec<Incarnation> {
        let now = Instant::now();
        let pulse = self.pulse();
        let seen = pulse.seen.iter();
        let forgotten = seen.filter(|(_, (beat, since))| now - *since >= beat.lease * FORGOTTEN_AFTER);
        forgotten.map(|(node, _)| *node).take(FORGOTTEN_MAX).collect()
    }

    /// Since when `node` shows this very beat. Whoever could not look for as long as its own lease, for instance because
    /// the store was away, knows nothing of what others did meanwhile.
    fn since(&self, pulse: &Pulse, node: Incarnation, beat: &Beat, now: Instant) -> Instant {
        let blind = match self.options.ownership {
            Ownership::Sole => false,
            Ownership::Leased { lease, .. } => pulse.looked.is_some_and(|looked| now - looked >= lease),
        };
        match pulse.seen.get(&node) {
            Some((known, since)) if known == beat && !blind => *since,
            _ => now,
        }
    }

    /// Refuses if the owner of `fence` is another node that may be alive. Reads the beat that it judges so that the
    /// takeover conflicts with a later one.
    pub(crate) async fn check_owner(&self, transaction: &Transaction, fence: &Fence) -> Result<(), AcquireError> {
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
        let since = self.since(&pulse, by, &beat, now);
        let lease = beat.lease;
        pulse.seen.insert(by, (beat, since));
        match lease.checked_sub(now - since) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(retry_after) => Err(AcquireError::Held { by, retry_after }),
        }
    }
}
