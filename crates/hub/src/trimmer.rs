//! The trimmer of a shard: takes out of the log what every follower has acknowledged and is old enough, and what is so old
//! that nobody is waited for any more. It works beside the committer, in transactions of its own, and ends with it.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fanout::Couriers;
use ledger::{AppendError, Cut};
use room::Millis;
use shard::Tenure;

use crate::Clock;
use crate::metrics::Metrics;

/// Between two passes while there is more to take away.
const BREATH: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) struct Trimmer {
    pub(crate) log: ledger::Trimmer,
    pub(crate) couriers: Rc<Couriers>,
    pub(crate) tenure: Arc<Tenure>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) retention: Duration,
    pub(crate) regardless: Option<Duration>,
    pub(crate) every: Duration,
    pub(crate) metrics: Metrics,
}

/// Trims for as long as it is polled.
pub(crate) async fn run(trimmer: Option<Trimmer>) -> Infallible {
    let Some(mut trimmer) = trimmer else {
        return std::future::pending().await;
    };
    let mut wait = trimmer.every;
    loop {
        tokio::time::sleep(wait).await;
        wait = match trimmer.pass().await {
            Ok(true) => BREATH.min(trimmer.every),
            Ok(false) => trimmer.every,
            Err(AppendError::Fenced) => return std::future::pending().await,
            Err(error) => {
                let shard = trimmer.tenure.shard().0;
                tracing::warn!(shard, %error, "the log is not trimmed for now");
                trimmer.every
            }
        };
    }
}

impl Trimmer {
    /// One piece. Whether there may be more.
    async fn pass(&mut self) -> Result<bool, AppendError> {
        let expired = self.expire().await?;
        let cut = Cut {
            floor: self.couriers.floor(),
            before: self.ago(self.retention),
        };
        let trimmed = self.log.pass(&self.tenure, cut).await?;
        if trimmed.entries > 0 {
            self.metrics.trimmed(&trimmed);
            self.couriers.trimmed(trimmed.below);
        }
        Ok(trimmed.more || expired)
    }

    /// Followers are not waited for in what is too old. Whether there may be something to take away soon.
    async fn expire(&self) -> Result<bool, AppendError> {
        let Some(regardless) = self.regardless else {
            return Ok(false);
        };
        let floor = self.couriers.floor();
        let until = self.log.overdue(floor, self.ago(regardless)).await?;
        Ok(until > floor && self.couriers.expire(until).await? > 0)
    }

    fn ago(&self, time: Duration) -> Millis {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Millis(self.clock.now().0.saturating_sub(millis))
    }
}
