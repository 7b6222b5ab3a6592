//! The couriers of one shard: what is due to whom, and the tasks that bring it.

mod expiry;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::{Cursor, Ledger, LogEntry, Offset, ReadError, ReadLimit, SetAside};
use mimi::Provider;
use rand::SeedableRng;
use rand::rngs::StdRng;
use route::ShardId;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::state::State;
use crate::courier;
use crate::follower::Follower;
use crate::lane::Lane;
use crate::metrics::Metrics;
use crate::orders::Orders;
use crate::tail::Tail;
use crate::window::Window;
use crate::{Alarms, Due, Entry, Failure, Occasion, Options, Plane, Report, Resting, Transport, backoff};

/// What is read of the log at a time while the tail is loaded.
const LOAD: ReadLimit = ReadLimit {
    entries: 512,
    bytes: 1 << 20,
};

/// Entries set aside that one report remembers at most, over all followers.
const SET_ASIDE_MAX: usize = 1_024;

/// Timers are no finer.
const LINGER_MIN: Duration = Duration::from_millis(1);
/// Characters of the words of a failure that are kept for the operator.
const TROUBLE_CHARS_MAX: usize = 200;

/// What [`Couriers::open`] needs to know.
#[derive(Clone)]
pub struct Opening {
    /// Where entries and index rows are read.
    pub ledger: Ledger,
    /// Whose couriers.
    pub shard: ShardId,
    /// Offset of the next entry.
    pub head: Offset,
    /// Everything below is acknowledged by, or indexed for, every follower.
    pub tail_start: Offset,
    /// Every follower known, with its durable cursor.
    pub cursors: Vec<(Provider, Cursor)>,
    /// How entries leave.
    pub transport: Arc<dyn Transport>,
    /// Where the courier tasks run.
    pub plane: Plane,
    /// Seeds the jitter.
    pub seed: u64,
    /// Where it is told which followers wait.
    pub resting: Resting,
    /// What is said of followers that refuse entries.
    pub alarms: Alarms,
    /// Limits and times.
    pub options: Options,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening")
            .field("shard", &self.shard)
            .field("head", &self.head)
            .field("tail_start", &self.tail_start)
            .finish_non_exhaustive()
    }
}

/// The couriers of one shard. Dropping it ends them.
#[derive(Debug)]
pub struct Couriers {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Ledger,
    pub(crate) shard: ShardId,
    pub(crate) transport: TransportHandle,
    pub(crate) resting: Resting,
    pub(crate) alarms: Alarms,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    pub(crate) plane: Plane,
    pub(crate) changed: Notify,
    state: Mutex<State>,
}

pub(crate) struct TransportHandle(pub(crate) Arc<dyn Transport>);

impl std::fmt::Debug for TransportHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

/// What a courier does next.
pub(crate) enum Task {
    /// Nothing: everything is acknowledged, and the courier is no longer running.
    End,
    /// Bring this once more, which was set aside.
    Again(Offset),
    /// Ask the follower where it is.
    Resume,
    /// Tell the follower that what it was due below this is gone.
    Tell(u64),
    /// Bring these.
    Deliver(Vec<Due>),
    /// See then what has gathered.
    Gather(Instant),
    /// Read index rows from `from` to `until`.
    ReadIndex { from: u64, until: u64, evictions: u64 },
}

impl Couriers {
    /// Loads the memory tail, what was set aside and who is paused, and starts a courier for every other follower that is
    /// behind.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn open(opening: Opening) -> Result<Self, ReadError> {
        let Opening {
            ledger,
            shard,
            head,
            tail_start,
            cursors,
            transport,
            plane,
            seed,
            resting,
            alarms,
            options,
        } = opening;
        let mut aside = ledger.all_set_aside(shard, options.set_aside_max).await?;
        let lane = |(provider, cursor): (Provider, Cursor)| {
            let follower = Follower::resumed_from(&cursor, tail_start.0);
            let set_aside = aside.remove(&provider).unwrap_or_default();
            let lane = Lane {
                follower,
                set_aside: set_aside.into_iter().map(|offset| offset.0).collect(),
                ..Lane::default()
            };
            (provider, lane)
        };
        let mut state = State {
            tail: Tail::new(tail_start),
            tail_start_durable: tail_start.0,
            followers: cursors.into_iter().map(lane).collect(),
            set_aside: Vec::new(),
            orders: Orders::of(ledger.paused(shard).await?),
            dirty: false,
            reported: Instant::now(),
            random: StdRng::seed_from_u64(seed),
        };
        while state.tail.head() < head.0 {
            let from = Offset(state.tail.head());
            let entries = ledger.read_log(shard, from, LOAD).await?;
            assert!(!entries.is_empty(), "the log ends below its head");
            for entry in Entry::encoded(entries.into_iter().filter(|entry| entry.offset < head)) {
                state.push(entry);
            }
        }
        let shared = Arc::new(Shared {
            ledger,
            shard,
            transport: TransportHandle(transport),
            resting,
            alarms,
            options,
            metrics: Metrics::new(shard),
            stop: CancellationToken::new(),
            plane,
            changed: Notify::new(),
            state: Mutex::new(state),
        });
        let behind = shared.lock().behind();
        shared.start(behind);
        Ok(Self { shared })
    }

    /// Hands over entries that are durable, in the order of the log.
    pub fn release(&self, entries: impl IntoIterator<Item = LogEntry>) {
        let entries = Entry::encoded(entries);
        let behind = {
            let mut state = self.shared.lock();
            for entry in entries {
                state.push(entry);
            }
            state.behind()
        };
        self.shared.start(behind);
    }

    /// The follower can be reached again: whoever waits to try again tries now, unless the follower asked for the wait.
    pub fn wake(&self, follower: &Provider) {
        if let Some(lane) = self.shared.lock().followers.get(follower) {
            lane.wake.notify_one();
        }
    }

    /// Takes what is to be made durable, if it is time for it: the tail is beyond its bounds, or cursors moved and the last
    /// report was long enough ago for this occasion.
    pub fn report(&self, occasion: Occasion) -> Option<Report> {
        let options = &self.shared.options;
        let mut state = self.shared.lock();
        let excess = state.tail.excess(options.tail_entries_max, options.tail_bytes_max);
        let rest = match occasion {
            Occasion::Last => Duration::ZERO,
            Occasion::Entries => options.report_every / 2,
            Occasion::Alone => options.report_every,
        };
        let due = state.dirty && state.reported.elapsed() >= rest;
        if excess.is_none() && !due {
            return None;
        }
        self.shared.metrics.lag(state.lag());
        self.shared.metrics.untold(state.untold());
        let report = state.take_report(excess);
        let indexed: usize = report.index.iter().map(|block| block.offsets().len()).sum();
        self.shared.metrics.indexed(indexed as u64);
        Some(report)
    }

    /// The report is durable.
    pub fn reported(&self, report: &Report) {
        let mut state = self.shared.lock();
        for provider in &report.expired {
            state.lane(provider).follower.release();
        }
        state.orders.durable(report.orders);
        if let Some(Offset(until)) = report.tail_start {
            state.tail_start_durable = until;
            state.tail.drop_below(until);
            for lane in state.followers.values_mut() {
                lane.follower.evict(until);
            }
        }
    }

    /// Returns when [`Couriers::report`] has something. Dropping the future loses nothing.
    pub async fn due(&self) {
        loop {
            let (dirty, at, excess) = {
                let options = &self.shared.options;
                let state = self.shared.lock();
                let excess = state.tail.excess(options.tail_entries_max, options.tail_bytes_max);
                (state.dirty, state.reported + options.report_every, excess)
            };
            if excess.is_some() {
                return;
            }
            if dirty {
                tokio::time::sleep_until(at).await;
                return;
            }
            self.shared.changed.notified().await;
        }
    }

    /// Below this no follower is due anything, and none needs the log: it may be trimmed.
    pub fn floor(&self) -> Offset {
        let state = self.shared.lock();
        let first = state.followers.values().filter_map(|lane| lane.follower.needs()).min();
        Offset(first.unwrap_or(u64::MAX).min(state.tail_start_durable))
    }

    /// Whether the memory tail is so far beyond its bounds that nothing should be released before reports have made room.
    pub fn is_full(&self) -> bool {
        let options = &self.shared.options;
        let (entries_max, bytes_max) = (options.tail_entries_max * 2, options.tail_bytes_max * 2);
        self.shared.lock().tail.excess(entries_max, bytes_max).is_some()
    }

    /// Followers that are due something.
    pub fn behind(&self) -> usize {
        let state = self.shared.lock();
        state.followers.values().filter(|lane| !lane.follower.is_idle()).count()
    }
}

impl Drop for Couriers {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn start(self: &Arc<Self>, behind: Vec<(Provider, Arc<Notify>)>) {
        for (provider, wake) in behind {
            let runtime = self.plane.of(&provider);
            runtime.spawn(courier::run(self.clone(), provider.clone(), wake));
        }
    }

    /// What the courier of `provider` does next.
    pub(crate) fn next_task(&self, provider: &Provider) -> Task {
        let mut state = self.lock();
        let (start, paused) = (state.tail.start(), state.orders.is_paused(provider));
        let lane = state.lane(provider);
        lane.resting = false;
        let turn = !lane.was_again || lane.follower.is_idle();
        if let (Some(again), true, false) = (lane.again.front(), turn, paused) {
            lane.was_again = true;
            return Task::Again(again.offset);
        }
        if paused || lane.follower.is_idle() {
            lane.running = false;
            return Task::End;
        }
        if !lane.resumed {
            return Task::Resume;
        }
        lane.was_again = false;
        // One that cannot be told is brought what is left, and told after.
        let is_due = lane.follower.is_indexed() || lane.follower.due().next().is_some();
        if let Some(until) = lane.follower.expired().filter(|_| !(lane.untold && is_due)) {
            return Task::Tell(until);
        }
        if lane.follower.is_indexed() {
            return Task::ReadIndex {
                from: lane.follower.next(),
                until: start,
                evictions: lane.follower.evictions(),
            };
        }
        let follower = &state.followers[provider].follower;
        // While the offsets remembered above the low watermark could outgrow their bound, only what is below them goes.
        let full = follower.above_len() + self.options.window_entries_max > self.options.above_max;
        let limit = follower.above().next().filter(|_| full).unwrap_or(u64::MAX);
        let mut window = Window::new(&self.options);
        let mut is_full = false;
        for offset in follower.due().take_while(|offset| *offset < limit) {
            let entry = state.tail.entry(offset).expect("what is due in memory is in the tail");
            if !window.push(entry.clone(), provider) {
                is_full = true;
                break;
            }
        }
        let gathers = state.lane(provider).gathers.take();
        match gathers.filter(|until| !is_full && Instant::now() < *until) {
            Some(until) => Task::Gather(until),
            None => Task::Deliver(window.items),
        }
    }

    /// A delivery took so long, and all of it was acknowledged: what comes at once behind it gathers meanwhile.
    pub(crate) fn delivered(&self, provider: &Provider, took: Duration) {
        let linger = (took / 2).min(self.options.linger_max);
        if linger >= LINGER_MIN {
            self.lock().lane(provider).gathers = Some(Instant::now() + linger);
        }
    }

    pub(crate) fn is_acknowledged(&self, provider: &Provider, offset: u64) -> bool {
        self.lock().lane(provider).follower.is_acknowledged(offset)
    }

    /// Leaves of `offsets` what is not acknowledged.
    pub(crate) fn retain_due(&self, provider: &Provider, offsets: &mut Vec<Offset>) {
        let mut state = self.lock();
        let follower = &state.lane(provider).follower;
        offsets.retain(|offset| !follower.is_acknowledged(offset.0));
    }

    /// The follower told its position.
    pub(crate) fn resume(&self, provider: &Provider, position: Option<Offset>) {
        let mut state = self.lock();
        let (start, head) = (state.tail.start(), state.tail.head());
        let lane = state.lane(provider);
        lane.resumed = true;
        if let Some(Offset(position)) = position {
            if position > head {
                tracing::error!(
                    shard = self.shard.0,
                    position,
                    head,
                    "a follower claims more than there is"
                );
            }
            lane.follower.resume(position, start, head);
        }
        self.mark(&mut state, provider);
    }

    /// Part of `batch` was acknowledged, and what is in `aside` is not brought any more. Returns how many entries that are.
    pub(crate) fn acknowledge(
        &self,
        provider: &Provider,
        batch: &[u64],
        acknowledged: impl Fn(u64) -> bool,
        aside: Vec<SetAside>,
    ) -> usize {
        let mut state = self.lock();
        let head = state.tail.head();
        let passed = |offset| acknowledged(offset) || aside.iter().any(|aside| aside.offset.0 == offset);
        let in_report = SET_ASIDE_MAX.saturating_sub(state.set_aside.len());
        let lane = state.lane(provider);
        let count = lane.follower.acknowledge(batch, passed, head);
        lane.untold = lane.untold && count == 0;
        if count > 0 || !aside.is_empty() {
            lane.recovered();
        }
        let room = self.options.set_aside_max.saturating_sub(lane.set_aside.len());
        let kept: Vec<SetAside> = aside.into_iter().take(room.min(in_report)).collect();
        lane.set_aside.extend(kept.iter().map(|aside| aside.offset.0));
        state.set_aside.extend(kept);
        self.mark(&mut state, provider);
        count
    }

    /// A read of the index that began after `evictions` found nothing more due below `until`.
    pub(crate) fn exhausted(&self, provider: &Provider, evictions: u64, until: u64) {
        let mut state = self.lock();
        let head = state.tail.head();
        state.lane(provider).follower.exhausted(evictions, until, head);
        self.mark(&mut state, provider);
    }

    /// An attempt failed. Returns how long to wait; the follower's position is asked before the next attempt.
    pub(crate) fn failed(&self, provider: &Provider, failures: u32, failure: &Failure) -> Duration {
        let mut state = self.lock();
        let lane = state.lane(provider);
        lane.resumed = false;
        lane.resting = true;
        lane.was_again = false;
        lane.failures = failures;
        lane.trouble = failure.why.chars().take(TROUBLE_CHARS_MAX).collect();
        backoff::wait(failures, failure.retry_after, &self.options, &mut state.random)
    }

    fn mark(&self, state: &mut State, provider: &Provider) {
        if state.lane(provider).follower.is_dirty() {
            state.dirty = true;
            self.changed.notify_one();
        }
    }
}
