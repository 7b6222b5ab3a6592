//! One courier: brings one follower what it is due, window by window, until nothing is left. While the follower is ahead
//! of the memory tail's start the entries come from memory, else from the log by way of the follower's index rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Offset, ReadLimit, SetAside};
use mimi::Provider;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backlog::Backlog;
use crate::couriers::{Shared, Task};
use crate::metrics::Outcome;
use crate::{Brought, Due, Failure, Refused, Retried};

/// Lives until everything is acknowledged or the couriers are stopped.
pub(crate) async fn run(shared: Arc<Shared>, provider: Provider, wake: Arc<Notify>) {
    let courier = Courier {
        shared: &shared,
        provider: &provider,
        backlog: Backlog::new(&shared, &provider),
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
    backlog: Backlog<'a>,
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
                Task::Again(offset) => {
                    let (outcome, row) = self.bring_again(offset).await;
                    self.shared.retried(self.provider, offset, outcome, row);
                    None
                }
                Task::Resume => self.resume().await.err(),
                Task::Tell(until) => self.tell(until).await.err(),
                Task::Deliver(items) => self.deliver(items).await.err(),
                Task::Gather(until) => {
                    sleep_until(until).await;
                    None
                }
                Task::ReadIndex { from, until, evictions } => self.catch_up(from, until, evictions).await.err(),
            };
            if let Some(failure) = failure {
                self.failures = self.failures.saturating_add(1);
                self.backlog.rest();
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

    async fn tell(&self, until: u64) -> Result<(), Failure> {
        let telling = self.shared.transport.0.tell_expired(self.provider, self.shared.shard);
        let told = timeout(self.shared.options.attempt_max, telling)
            .await
            .unwrap_or_else(|_| Err(Failure::new("no answer in time about what is lost")));
        self.shared.told(self.provider, until, told.is_ok());
        told
    }

    /// Delivers the next window of what the index names.
    async fn catch_up(&mut self, from: u64, until: u64, evictions: u64) -> Result<(), Failure> {
        let items = self.backlog.window(from, until).await?;
        if items.is_empty() {
            self.shared.exhausted(self.provider, evictions, until);
            return Ok(());
        }
        self.deliver(items).await
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
            if shared.alarms.ring(self.provider) {
                tracing::error!(
                    follower = %self.provider,
                    shard,
                    offset,
                    tries,
                    status,
                    reason,
                    "a follower refuses an entry, which is set aside"
                );
            }
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

    /// Brings an entry that was set aside once more, as an operator ordered: one attempt, whatever comes of it. Says what is
    /// remembered of the entry from then on, if that changes.
    async fn bring_again(&self, offset: Offset) -> (Retried, Option<SetAside>) {
        let (shared, provider) = (self.shared, self.provider);
        let limit = ReadLimit { entries: 1, bytes: 1 };
        let read = match shared.ledger.read_log(shared.shard, offset, limit).await {
            Ok(read) => read,
            Err(error) => return (Retried::Unreached(error.to_string()), None),
        };
        let entry = read.into_iter().next().filter(|entry| entry.offset == offset);
        let Some(due) = entry.and_then(|entry| Due::to(Arc::new(entry.into()), provider)) else {
            return (Retried::Trimmed, None);
        };
        let brought = shared.transport.0.bring_again(provider, shared.shard, &due);
        let brought = timeout(shared.options.attempt_max, brought)
            .await
            .unwrap_or_else(|_| Err(Failure::new("no answer in time")));
        match brought {
            Ok(Brought::Taken) => (Retried::Brought, None),
            Ok(Brought::Passed) => (Retried::CatchUp, None),
            Ok(Brought::Refused(Refused { status, reason, .. })) => {
                shared.metrics.refused();
                let reason: String = reason.chars().take(SetAside::REASON_CHARS_MAX).collect();
                let row = SetAside {
                    follower: provider.clone(),
                    offset,
                    room: due.entry.room.clone(),
                    seq: due.entry.seq,
                    status,
                    reason: reason.clone(),
                    tries: 1,
                };
                (Retried::Refused { status, reason }, Some(row))
            }
            Err(failure) => {
                let why = failure.why.chars().take(SetAside::REASON_CHARS_MAX).collect();
                (Retried::Unreached(why), None)
            }
        }
    }

    /// Waits before the next attempt, or until the follower is known to be back.
    async fn rest(&self, failure: &Failure) {
        let wait = self.shared.failed(self.provider, self.failures, failure);
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
