//! The committer of a shard: one transaction in flight. It takes whatever waits at the gate, within the bounds of a batch,
//! makes it durable, releases the replies and hands the entries to the couriers, in order. It never waits for more.

use std::rc::Rc;
use std::sync::Arc;

use fanout::{Couriers, Occasion, Report};
use ledger::{AppendError, Batch, Ledger, LogEntry, ShardLog};
use shard::Tenure;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::gate::{Gate, Phase, Reply};
use crate::metrics::Metrics;
use crate::{Options, Outcome};

/// Why a committer is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The gate was closed and everything behind it is durable.
    Drained,
    /// The shard is not ours any more.
    Fenced,
    /// The store failed; whether the last batch is durable is not known.
    Failed(AppendError),
}

/// See the module.
pub(crate) struct Committer {
    pub(crate) gate: Rc<Gate>,
    pub(crate) couriers: Rc<Couriers>,
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) ledger: Ledger,
    pub(crate) log: ShardLog,
    pub(crate) options: Options,
    pub(crate) metrics: Metrics,
    /// Told when rooms have to look at their parents.
    pub(crate) dependents: Arc<Notify>,
}

/// What one transaction makes durable, and what is released then.
#[derive(Default)]
struct Group {
    batch: Batch,
    released: Vec<(Reply, Outcome)>,
    report: Option<Report>,
}

/// What became durable.
#[derive(Default)]
struct Appended {
    entries: Vec<LogEntry>,
    /// Rooms have to look at their parents.
    due: bool,
}

impl Committer {
    /// Works until the gate is closed or the shard is lost. What it took and did not make durable is answered with neither
    /// success nor refusal.
    pub(crate) async fn run(mut self) -> End {
        loop {
            tokio::select! {
                biased;
                () = self.gate.ready() => {}
                () = self.couriers.due() => {}
            }
            let phase = self.gate.phase();
            if phase == Phase::Failed {
                return End::Drained;
            }
            let group = self.take(phase == Phase::Flushed);
            if let Err(error) = self.commit(group).await {
                return match error {
                    AppendError::Fenced => End::Fenced,
                    error => End::Failed(error),
                };
            }
            if phase == Phase::Flushed {
                return End::Drained;
            }
        }
    }

    /// Whatever waits, within the bounds.
    fn take(&self, last: bool) -> Group {
        let (entries_max, bytes_max) = (self.options.batch_entries_max, self.options.batch_bytes_max);
        let mut group = Group::default();
        let occasion = match (last, self.gate.has_writes()) {
            (true, _) => Occasion::Last,
            (false, true) => Occasion::Entries,
            (false, false) => Occasion::Alone,
        };
        if let Some(mut report) = self.couriers.report(occasion) {
            group.batch.cursors = std::mem::take(&mut report.cursors);
            group.batch.index = std::mem::take(&mut report.index);
            group.batch.set_aside = std::mem::take(&mut report.set_aside);
            group.batch.settled = std::mem::take(&mut report.settled);
            group.batch.pauses = std::mem::take(&mut report.pauses);
            group.batch.tail_start = report.tail_start;
            group.report = Some(report);
        }
        // Nothing is appended while followers must be indexed first, so that the memory tail keeps its bound.
        if self.couriers.is_full() && !group.batch.index.is_empty() {
            return group;
        }
        let (mut entries, mut bytes) = (0, 0);
        while group.released.len() < self.options.gate_places {
            let decided = self.gate.take_if(|decided| {
                let Some(write) = &decided.write else { return true };
                entries == 0 && bytes == 0 || {
                    entries + write.entries() <= entries_max && bytes + write.bytes() <= bytes_max
                }
            });
            let Some(decided) = decided else { break };
            if let Some(write) = decided.write {
                entries += write.entries();
                bytes += write.bytes();
                group.batch.push(write);
            }
            group.released.push((decided.reply, decided.outcome));
        }
        group
    }

    async fn commit(&mut self, group: Group) -> Result<(), AppendError> {
        let Group {
            batch,
            released,
            report,
        } = group;
        if batch.is_empty() && released.is_empty() {
            return Ok(());
        }
        match self.make_durable(batch).await {
            Ok(appended) => {
                for (reply, outcome) in released {
                    reply.send(outcome);
                }
                self.hand_on(appended, report);
                Ok(())
            }
            Err(error) => {
                let outcome = match error {
                    AppendError::Fenced => Outcome::elsewhere(self.tenure.term()),
                    _ => Outcome::Unavailable {
                        retry_after: self.options.retry_after,
                    },
                };
                for (reply, _) in released {
                    reply.send(outcome.clone());
                }
                Err(error)
            }
        }
    }

    async fn make_durable(&mut self, batch: Batch) -> Result<Appended, AppendError> {
        if batch.is_empty() {
            self.ledger.confirm(&self.tenure).await?;
            return Ok(Appended::default());
        }
        let begun = Instant::now();
        let due = batch.is_due();
        let entries = self.log.append(&self.tenure, batch).await?;
        self.metrics.appended(entries.len(), begun.elapsed());
        Ok(Appended { entries, due })
    }

    /// Tells of what is durable whoever works on from there.
    fn hand_on(&self, Appended { entries, due }: Appended, report: Option<Report>) {
        if let Some(report) = &report {
            self.couriers.reported(report);
        }
        self.couriers.release(entries);
        if due {
            self.dependents.notify_one();
        }
    }
}
