//! A node's life: its beat, and what it sees of the others' beats.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use store::{Database, Transaction};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::lapse::Lapse;
use crate::node::{AcquireError, NodeOptions, Ownership};
use crate::rows::{Beat, Fence, Incarnation, Reading, beat_key, beat_keys, beat_of};
use crate::view::{Member, View};
use crate::wall::Ahead;

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
    begun: Instant,
    pulse: Mutex<Pulse>,
    views: watch::Sender<View>,
    /// Whether this node must act as if it were dead, as far as was noticed.
    lapse: Lapse,
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
    /// Whether our wall clock is off; `None` until that could be told.
    off: Option<bool>,
    /// The last beat seen of each other node.
    seen: BTreeMap<Incarnation, Sighting>,
}

/// A beat of another node.
#[derive(Debug, Clone)]
struct Sighting {
    beat: Beat,
    /// Since when it has not changed.
    since: Instant,
    /// What it says of its clock, compared with ours when it was first seen; `None` if it says nothing.
    ahead: Option<Ahead>,
}

impl Sighting {
    fn is_alive(&self, now: Instant) -> bool {
        now - self.since < self.beat.lease
    }
}

impl Pulse {
    /// Whether this node is to be given no shards for its clock.
    fn is_unfit(&self) -> bool {
        self.off.unwrap_or(true)
    }
}

impl Life {
    pub(crate) fn new(database: Database, options: NodeOptions) -> Self {
        let life = Self {
            database,
            options,
            begun: Instant::now(),
            pulse: Mutex::default(),
            views: watch::Sender::default(),
            lapse: Lapse::default(),
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

    pub(crate) fn lapse(&self) -> &Lapse {
        &self.lapse
    }

    /// Whether this node must act as if it were dead.
    pub(crate) fn has_lapsed(&self) -> bool {
        self.protected_for().is_none()
    }

    /// For how long this node need not act as if it were dead, if it does not beat again; `None` if it must.
    fn protected_for(&self) -> Option<Duration> {
        let pulse = self.pulse();
        if pulse.stopped {
            return None;
        }
        let Ownership::Leased { lease, .. } = self.options.ownership else {
            return Some(Duration::MAX);
        };
        let left = (lease * 2 / 3).checked_sub(pulse.beaten?.elapsed());
        left.filter(|left| !left.is_zero())
    }

    /// Tells when this node must act as if it were dead, for as long as it is polled. The beat tells when that is over.
    pub(crate) async fn keep_noticing_lapse(&self) {
        loop {
            match self.protected_for() {
                Some(left) => tokio::time::sleep(left).await,
                None => {
                    self.lapse.notice(true);
                    self.lapse.ends().await;
                }
            }
        }
    }

    /// Whether this node must not take shards because its clock is off.
    pub(crate) fn is_withheld(&self) -> bool {
        self.views.borrow().is_withheld(self.incarnation())
    }

    pub(crate) fn stop(&self) {
        self.pulse().stopped = true;
        self.lapse.notice(true);
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
    pub(crate) async fn keep_beating(&self, lease: Duration, beat: Duration) {
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
        let deaths = pulse.seen.values().map(|seen| seen.since + seen.beat.lease);
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
        let beat = {
            let pulse = self.pulse();
            Beat {
                count,
                lease,
                leaving: pulse.leaving,
                site: self.options.site.clone(),
                clock: Some(Reading {
                    wall_ms: self.options.clock.now_ms(),
                    unfit: pulse.is_unfit(),
                }),
            }
        };
        transaction.set(beat_key(self.incarnation()), beat.encode());
        transaction.commit().await?;
        self.pulse().beaten = Some(begun);
        self.lapse.notice(self.has_lapsed());
        Ok(())
    }

    /// Takes this node's beat away.
    pub(crate) async fn take_beat_away(&self) -> Result<(), store::Error> {
        let cleared = self.database.run(|mut transaction| {
            transaction.clear(beat_key(self.incarnation()));
            async move { Ok((transaction, ())) }
        });
        cleared.await
    }

    async fn look(&self) -> Result<(), store::Error> {
        let transaction = self.database.begin();
        let rows = transaction.snapshot_range(beat_keys(), NODES_MAX, false).await?;
        let before = self.pulse().is_unfit();
        self.observe(rows);
        if self.pulse().is_unfit() != before {
            self.nudge.notify_one();
        }
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
        let seen = others.map(|(node, beat)| (node, self.sight(&pulse, node, beat, now)));
        pulse.seen = seen.collect();
        pulse.looked = Some(now);
        self.compare(&mut pulse, now);
        self.show(&pulse, now);
    }

    /// Tells of the nodes that live, if they are others than before.
    fn show(&self, pulse: &Pulse, now: Instant) {
        let ourselves = Member {
            incarnation: self.incarnation(),
            site: self.options.site.clone(),
            leaving: pulse.leaving,
            unfit: pulse.is_unfit(),
        };
        let alive = pulse.seen.iter().filter(|(_, seen)| seen.is_alive(now));
        let others = alive.map(|(node, Sighting { beat, .. })| Member {
            incarnation: *node,
            site: beat.site.clone(),
            leaving: beat.leaving,
            unfit: beat.clock.is_some_and(|clock| clock.unfit),
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
        let forgotten = seen.filter(|(_, seen)| now - seen.since >= seen.beat.lease * FORGOTTEN_AFTER);
        forgotten.map(|(node, _)| *node).take(FORGOTTEN_MAX).collect()
    }

    /// `node` shows this beat: the one that it showed before, or another. Whoever could not look for as long as its own
    /// lease, for instance because the store was away, knows nothing of what others did meanwhile.
    fn sight(&self, pulse: &Pulse, node: Incarnation, beat: Beat, now: Instant) -> Sighting {
        let blind = match self.options.ownership {
            Ownership::Sole => false,
            Ownership::Leased { lease, .. } => pulse.looked.is_some_and(|looked| now - looked >= lease),
        };
        let ours = || self.options.clock.now_ms();
        let (since, ahead) = match pulse.seen.get(&node) {
            Some(known) if known.beat == beat && !blind => (known.since, known.ahead),
            Some(known) if known.beat == beat => (now, known.ahead),
            // It was written after the last look.
            Some(_) => {
                let age = pulse.looked.map_or(beat.lease, |looked| now - looked);
                (now, beat.clock.map(|clock| Ahead::of(clock.wall_ms, ours(), age)))
            }
            None => {
                let ahead = |clock: Reading| Ahead::at_first_sight(clock.wall_ms, ours(), beat.lease);
                (now, beat.clock.map(ahead))
            }
        };
        Sighting { beat, since, ahead }
    }

    /// Compares our wall clock with those of the nodes that live. What cannot be told stays as it was.
    fn compare(&self, pulse: &mut Pulse, now: Instant) {
        let alive = pulse.seen.values().filter(|seen| seen.is_alive(now));
        let others: Vec<Ahead> = alive.filter_map(|seen| seen.ahead).collect();
        let median = Ahead::median(&others);
        let off = match (median.is_off(), self.options.ownership) {
            (Some(off), _) => off,
            // Everybody who lives has beaten meanwhile: it is a matter of how exactly they were looked at.
            (None, Ownership::Leased { lease, .. }) if now - self.begun >= lease => pulse.off.unwrap_or(false),
            (None, _) => return,
        };
        match (pulse.off.replace(off), off) {
            (None | Some(false), true) => tracing::warn!(
                behind_ms = median.least,
                "this node's wall clock is more than 5 s off the median of the live nodes' clocks, so it takes no shards \
                 while others do: synchronise its clock (NTP)"
            ),
            (Some(true), false) => tracing::info!("this node's wall clock is right again: it takes shards"),
            _ => {}
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
        let sighting = self.sight(&pulse, by, beat, now);
        let (lease, since) = (sighting.beat.lease, sighting.since);
        pulse.seen.insert(by, sighting);
        match lease.checked_sub(now - since) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(retry_after) => Err(AcquireError::Held { by, retry_after }),
        }
    }
}
