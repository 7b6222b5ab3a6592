//! One courier: brings one follower what it is due, window by window, until nothing is left. While the follower is ahead
//! of the memory tail's start the entries come from memory, else from the log by way of the follower's index rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Offset, ReadError, ReadLimit, SetAside};
use mimi::Provider;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::couriers::{Shared, Task, Window};
use crate::metrics::Outcome;
use crate::{Due, Failure, Refused};

/// Index blocks read at a time.
const INDEX_BLOCKS: usize = 1;

/// Lives until everything is acknowledged or the couriers are stopped.
pub(crate) async fn run(shared: Arc<Shared>, provider: Provider, wake: Arc<Notify>) {
    let courier = Courier {
        shared: &shared,
        provider: &provider,
        wake: &wake,
        failures: 0,
        refusals: BTreeMap::new(),
    };
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => {}
        () = courier.run() => {}
    }
}

struct Courier<'a> {
    shared: &'a Shared,
    provider: &'a Provider,
    wake: &'a Notify,
    /// In a row.
    failures: u32,
    /// How often entries were refused that are brought again.
    refusals: BTreeMap<u64, u32>,
}

impl Courier<'_> {
    async fn run(mut self) {
        loop {
            let failure = match self.shared.next_task(self.provider) {
                Task::End => return,
                Task::Resume => self.resume().await.err(),
                Task::Deliver(items) => self.deliver(items).await.err(),
                Task::Gather(until) => {
                    sleep_until(until).await;
                    None
                }
                Task::ReadIndex { from, until, evictions } => self.catch_up(from, until, evictions).await.err(),
            };
            if let Some(failure) = failure {
                self.failures = self.failures.saturating_add(1);
                self.rest(&failure).await;
            }
        }
    }

    async fn resume(&self) -> Result<(), Failure> {
        let position = self.shared.transport.0.position(self.provider, self.shared.shard);
        let position = timeout(self.shared.options.attempt_max, position)
            .await
            .unwrap_or_else(|_| Err(Failure::new("no answer about the position in time")))?;
        self.shared.resume(self.provider, position);
        Ok(())
    }

    /// Delivers the next window of what the index names.
    async fn catch_up(&mut self, from: u64, until: u64, evictions: u64) -> Result<(), Failure> {
        let items = self
            .read(from, until)
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        if items.is_empty() {
            self.shared.exhausted(self.provider, evictions, until);
            return Ok(());
        }
        self.deliver(items).await
    }

    /// What the index names next, as far as one window holds it.
    async fn read(&self, mut from: u64, until: u64) -> Result<Vec<Due>, ReadError> {
        let (ledger, shard) = (&self.shared.ledger, self.shared.shard);
        let mut window = Window::new(&self.shared.options);
        while from < until && window.items.is_empty() {
            let mut named = ledger
                .read_index(shard, self.provider, Offset(from), INDEX_BLOCKS)
                .await?;
            let Some(last) = named.last() else { break };
            from = last.0 + 1;
            named.retain(|offset| offset.0 < until && !self.shared.is_acknowledged(self.provider, offset.0));
            self.fill(&mut window, &named).await?;
        }
        Ok(window.items)
    }

    /// Reads the entries at `offsets`, neighbours together, until the window is full.
    async fn fill(&self, window: &mut Window<'_>, mut offsets: &[Offset]) -> Result<(), ReadError> {
        let options = &self.shared.options;
        while let Some(first) = offsets.first() {
            let neighbours = (0u64..)
                .zip(offsets)
                .take_while(|(n, offset)| first.plus(*n) == **offset)
                .count();
            let limit = ReadLimit {
                entries: neighbours.min(options.window_entries_max),
                bytes: options.window_bytes_max,
            };
            let entries = self.shared.ledger.read_log(self.shared.shard, *first, limit).await?;
            let mut read = 0;
            for entry in entries {
                let Some(at) = offsets[..neighbours].iter().position(|offset| *offset == entry.offset) else {
                    break;
                };
                if !window.push(Arc::new(entry.into()), self.provider) {
                    return Ok(());
                }
                read = at + 1;
            }
            // Trimmed: what is not there is not due.
            offsets = &offsets[if read == 0 { neighbours } else { read }..];
        }
        Ok(())
    }

    async fn deliver(&mut self, items: Vec<Due>) -> Result<(), Failure> {
        let shared = self.shared;
        let offsets: Vec<u64> = items.iter().map(|due| due.entry.offset.0).collect();
        let begun = Instant::now();
        shared.metrics.started();
        let delivery = shared.transport.0.deliver(self.provider, shared.shard, &items);
        let delivered = timeout(shared.options.attempt_max, delivery)
            .await
            .unwrap_or_else(|_| Err(Failure::new("no acknowledgement in time")));
        let acknowledged = match delivered {
            Ok(acknowledged) => acknowledged,
            Err(failure) => {
                shared.metrics.ended(Outcome::Failed, begun.elapsed());
                return Err(failure);
            }
        };
        let aside = self.set_aside(&items, &acknowledged.refused);
        let done = |offset| offset < acknowledged.next.0 || acknowledged.above.contains(&Offset(offset));
        let count = shared.acknowledge(self.provider, &offsets, done, aside);
        if !self.refusals.is_empty() {
            self.refusals
                .retain(|offset, _| !shared.is_acknowledged(self.provider, *offset));
        }
        // A refusal is an answer: the next try comes soon, since the follower's other rooms wait for it.
        if count > 0 || !acknowledged.refused.is_empty() {
            self.failures = 0;
        }
        if count == offsets.len() && acknowledged.retry_after.is_none() {
            let took = begun.elapsed();
            shared.metrics.ended(Outcome::Acknowledged, took);
            shared.delivered(self.provider, took);
            return Ok(());
        }
        shared.metrics.ended(Outcome::Partial, begun.elapsed());
        Err(Failure {
            retry_after: acknowledged.retry_after,
            why: format!("{count} of {} entries were acknowledged", offsets.len()),
        })
    }

    /// Of what the follower refuses, what it is not brought any more.
    fn set_aside(&mut self, items: &[Due], refused: &[Refused]) -> Vec<SetAside> {
        let (shared, mut aside) = (self.shared, Vec::new());
        for refusal in refused {
            let Some(due) = items.iter().find(|due| due.entry.offset == refusal.offset) else {
                continue;
            };
            shared.metrics.refused();
            let tries = self.refusals.entry(refusal.offset.0).or_default();
            *tries += 1;
            if !refusal.is_final && *tries < shared.options.refusals_max {
                continue;
            }
            let (shard, offset, status) = (shared.shard.0, refusal.offset.0, refusal.status);
            let (tries, reason) = (*tries, &refusal.reason);
            tracing::error!(
                follower = %self.provider,
                shard,
                offset,
                tries,
                status,
                reason,
                "a follower refuses an entry, which is set aside"
            );
            shared.metrics.set_aside();
            self.refusals.remove(&offset);
            aside.push(SetAside {
                follower: self.provider.clone(),
                offset: refusal.offset,
                room: due.entry.room.clone(),
                seq: due.entry.seq,
                status,
                reason: reason.clone(),
                tries,
            });
        }
        aside
    }

    /// Waits before the next attempt, or until the follower is known to be back.
    async fn rest(&self, failure: &Failure) {
        let wait = self.shared.failed(self.provider, self.failures, failure.retry_after);
        tracing::debug!(
            shard = self.shared.shard.0,
            failures = self.failures,
            why = failure.why,
            ?wait,
            "no delivery"
        );
        let _rest = self.shared.resting.begin(self.provider);
        let until = Instant::now() + wait.max(Duration::from_millis(1));
        // What the follower asked for it is given.
        let asked = failure
            .retry_after
            .unwrap_or_default()
            .min(self.shared.options.retry_after_max);
        tokio::time::sleep(asked).await;
        tokio::select! {
            biased;
            () = self.wake.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
