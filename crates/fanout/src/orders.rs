//! What an operator decides about followers, and is told of them: whether what they refused is brought once more or given up,
//! and whether they are brought anything at all. What is decided goes into the shard's next report, and is answered when
//! that is durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use ledger::{Offset, SetAside};
use mimi::Provider;
use tokio::sync::oneshot;

use crate::couriers::{Couriers, Shared, State};
use crate::report::Report;

/// Followers that are paused at a time in one shard.
const PAUSED_MAX: usize = 1_024;

/// What became of an entry that was to be brought once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// The follower has it, and it is set aside no more.
    Brought,
    /// The follower refuses it once more: it stays set aside.
    Refused {
        /// Why, as an HTTP status (4xx).
        status: u16,
        /// Why, in the follower's words.
        reason: String,
    },
    /// The follower has passed it, and gets it by catch-up only: it stays set aside.
    CatchUp,
    /// The follower was not reached, and why: it stays set aside.
    Unreached(String),
    /// It is in the log no more, and set aside no more.
    Trimmed,
    /// It is not set aside.
    Unknown,
    /// Nothing is brought to this follower: it is paused.
    Paused,
}

/// How a follower stands in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub follower: Provider,
    /// Nothing is brought to it, as an operator wished.
    pub is_paused: bool,
    /// Its courier waits to try again.
    pub is_resting: bool,
    /// Attempts that failed, in a row.
    pub failures: u32,
    /// Why the last one failed; empty when none did since the last success.
    pub failure: String,
    /// The first entry that it may still be due; `None`: it has everything.
    pub oldest_due: Option<Offset>,
    /// The offset that the shard's next entry gets.
    pub head: Offset,
    /// Entries set aside for it.
    pub set_aside: usize,
}

/// Too many followers are paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{PAUSED_MAX} followers are paused already")]
pub struct TooManyPaused;

/// An entry to be brought once more, and who wants to know.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) offset: Offset,
    done: oneshot::Sender<Retried>,
}

/// What was ordered in a shard and is not durable yet, and who is paused.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    paused: BTreeSet<Provider>,
    settled: Vec<(Provider, Offset)>,
    pauses: BTreeMap<Provider, bool>,
    count: u64,
    waiting: VecDeque<(u64, Tell)>,
}

/// Who is told, once something is durable.
#[derive(Debug)]
enum Tell {
    Done(oneshot::Sender<()>),
    Retried(oneshot::Sender<Retried>, Retried),
}

impl Orders {
    pub(crate) fn of(paused: BTreeSet<Provider>) -> Self {
        Self {
            paused,
            ..Self::default()
        }
    }

    pub(crate) fn is_paused(&self, follower: &Provider) -> bool {
        self.paused.contains(follower)
    }

    fn add(&mut self, tell: Tell) {
        self.count += 1;
        self.waiting.push_back((self.count, tell));
    }

    /// What goes into the next report.
    pub(crate) fn take(&mut self) -> Report {
        Report {
            settled: std::mem::take(&mut self.settled),
            pauses: std::mem::take(&mut self.pauses).into_iter().collect(),
            orders: self.count,
            ..Report::default()
        }
    }

    /// Everything up to the order of this number is. Whoever waited may have gone.
    pub(crate) fn durable(&mut self, until: u64) {
        let still = self.waiting.partition_point(|(number, _)| *number <= until);
        for (_, tell) in self.waiting.drain(..still) {
            match tell {
                Tell::Done(done) => {
                    let _ = done.send(());
                }
                Tell::Retried(done, outcome) => drop(done.send(outcome)),
            }
        }
    }
}

impl Couriers {
    /// How followers stand, those behind `after` by their names, `max` of them at most.
    pub fn standings(&self, after: Option<&Provider>, max: usize) -> Vec<Standing> {
        let state = self.shared.lock();
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let known = state
            .followers
            .range::<Provider, _>(range)
            .map(|(follower, _)| follower);
        let mut names: BTreeSet<&Provider> = known.take(max).collect();
        names.extend(state.orders.paused.range::<Provider, _>(range).take(max));
        names.into_iter().take(max).map(|name| state.standing(name)).collect()
    }

    /// How one follower stands; `None`: it is not known in this shard, and not paused.
    pub fn standing(&self, follower: &Provider) -> Option<Standing> {
        let state = self.shared.lock();
        let known = state.followers.contains_key(follower) || state.orders.is_paused(follower);
        known.then(|| state.standing(follower))
    }

    /// From now on nothing is brought to the follower, or (`paused` false) what is due to it again. What is under way is not
    /// called back. Of a pause that is durable the receiver is told; it is told nothing when the shard is closed before.
    ///
    /// # Errors
    /// [`TooManyPaused`]; nothing has changed then.
    pub fn pause(&self, follower: &Provider, paused: bool) -> Result<oneshot::Receiver<()>, TooManyPaused> {
        let (done, durable) = oneshot::channel();
        let behind = {
            let mut state = self.shared.lock();
            let State { orders, followers, .. } = &mut *state;
            if !paused {
                orders.paused.remove(follower);
            } else if orders.paused.len() >= PAUSED_MAX && !orders.is_paused(follower) {
                return Err(TooManyPaused);
            } else {
                orders.paused.insert(follower.clone());
                if let Some(lane) = followers.get_mut(follower) {
                    for again in lane.again.drain(..) {
                        drop(again.done.send(Retried::Paused));
                    }
                    lane.wake.notify_one();
                }
            }
            orders.pauses.insert(follower.clone(), paused);
            orders.add(Tell::Done(done));
            state.dirty = true;
            state.behind()
        };
        self.shared.changed.notify_one();
        self.shared.start(behind);
        Ok(durable)
    }

    /// Gives entries up that were set aside for the follower. Returns how many were, and who waits is told when that is
    /// durable; nothing, when the shard is closed before.
    pub fn skip(&self, follower: &Provider, offsets: &[Offset]) -> (usize, oneshot::Receiver<()>) {
        let (done, durable) = oneshot::channel();
        let mut state = self.shared.lock();
        let State { orders, followers, .. } = &mut *state;
        let mut skipped = 0;
        if let Some(lane) = followers.get_mut(follower) {
            for offset in offsets.iter().filter(|offset| lane.set_aside.remove(&offset.0)) {
                lane.again.retain(|again| again.offset != *offset);
                orders.settled.push((follower.clone(), *offset));
                skipped += 1;
            }
        }
        if skipped == 0 {
            let _ = done.send(());
            return (0, durable);
        }
        orders.add(Tell::Done(done));
        state.dirty = true;
        drop(state);
        self.shared.changed.notify_one();
        (skipped, durable)
    }

    /// Brings an entry once more that was set aside for the follower, by one attempt, in turn with what else it is due. The
    /// receiver is told what came of it when that is durable; nothing, when the shard is closed before or somebody else orders
    /// the same. Until then the entry stays set aside, whatever happens to this process.
    pub fn retry(&self, follower: &Provider, offset: Offset) -> oneshot::Receiver<Retried> {
        let (done, retried) = oneshot::channel();
        let mut state = self.shared.lock();
        let paused = state.orders.is_paused(follower);
        let lane = state.followers.get_mut(follower);
        let Some(lane) = lane.filter(|lane| lane.set_aside.contains(&offset.0)) else {
            drop(done.send(Retried::Unknown));
            return retried;
        };
        if paused {
            drop(done.send(Retried::Paused));
            return retried;
        }
        lane.again.retain(|again| again.offset != offset);
        lane.again.push_back(Again { offset, done });
        lane.wake.notify_one();
        let behind = state.behind();
        drop(state);
        self.shared.start(behind);
        retried
    }

    /// The log holds nothing any more below this, nor what was set aside there.
    pub fn trimmed(&self, below: Offset) {
        for lane in self.shared.lock().followers.values_mut() {
            lane.set_aside = lane.set_aside.split_off(&below.0);
        }
    }
}

impl State {
    fn standing(&self, follower: &Provider) -> Standing {
        let mut standing = Standing {
            follower: follower.clone(),
            is_paused: self.orders.is_paused(follower),
            is_resting: false,
            failures: 0,
            failure: String::new(),
            oldest_due: None,
            head: Offset(self.tail.head()),
            set_aside: 0,
        };
        if let Some(lane) = self.followers.get(follower) {
            standing.is_resting = lane.resting;
            standing.failures = lane.failures;
            standing.failure.clone_from(&lane.trouble);
            standing.oldest_due = lane.follower.oldest_due().map(Offset);
            standing.set_aside = lane.set_aside.len();
        }
        standing
    }
}

impl Shared {
    /// It is known what became of an entry that was to be brought once more; `row` is what is remembered of it.
    pub(crate) fn retried(&self, provider: &Provider, offset: Offset, outcome: Retried, row: Option<SetAside>) {
        let mut state = self.lock();
        let lane = state.lane(provider);
        if let Retried::Unreached(_) = outcome {
            // Nor are the others that wait: what is due waits for no more than one attempt.
            for again in lane.again.drain(..) {
                drop(again.done.send(outcome.clone()));
            }
            return;
        }
        let ordered = lane.again.iter().position(|again| again.offset == offset);
        let again = ordered.and_then(|at| lane.again.remove(at));
        let is_aside = match outcome {
            Retried::Brought | Retried::Trimmed => lane.set_aside.remove(&offset.0),
            _ => lane.set_aside.contains(&offset.0),
        };
        match (&outcome, row) {
            (Retried::Brought | Retried::Trimmed, _) if is_aside => {
                state.orders.settled.push((provider.clone(), offset));
            }
            (Retried::Refused { .. }, Some(row)) if is_aside => state.set_aside.push(row),
            // Nothing is to be made durable.
            _ => {
                again.map(|again| again.done.send(outcome));
                return;
            }
        }
        if let Some(again) = again {
            state.orders.add(Tell::Retried(again.done, outcome));
        }
        state.dirty = true;
        drop(state);
        self.changed.notify_one();
    }
}
