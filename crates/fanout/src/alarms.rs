//! What the log says of followers that refuse entries: the first refusal in full, the others once a minute as a number, so
//! that a follower that refuses everything does not fill it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mimi::Provider;

/// Between two lines about one follower.
const EVERY: Duration = Duration::from_secs(60);

/// Entries that were set aside since something was last said of their follower, over all shards. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Alarms(Arc<Mutex<BTreeMap<Provider, u64>>>);

impl Alarms {
    /// An entry is set aside. Whether the caller says so itself; if not, it is counted, and said with others when it is time.
    /// Called on a runtime.
    pub(crate) fn ring(&self, follower: &Provider) -> bool {
        {
            let mut gathered = self.lock();
            if let Some(count) = gathered.get_mut(follower) {
                *count += 1;
                return false;
            }
            gathered.insert(follower.clone(), 0);
        }
        let (alarms, follower) = (self.clone(), follower.clone());
        tokio::spawn(async move { alarms.sum_up(&follower).await });
        true
    }

    /// Says how many there were, minute by minute, until there was none.
    async fn sum_up(&self, follower: &Provider) {
        loop {
            tokio::time::sleep(EVERY).await;
            match self.take(follower) {
                0 => return,
                entries => tracing::error!(
                    %follower,
                    entries,
                    "a follower refuses further entries, which are set aside"
                ),
            }
        }
    }

    /// How many there were; 0 ends the gathering.
    fn take(&self, follower: &Provider) -> u64 {
        let mut gathered = self.lock();
        let count = gathered.get_mut(follower).map(std::mem::take).unwrap_or_default();
        if count == 0 {
            gathered.remove(follower);
        }
        count
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Provider, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_refuses_everything_gets_one_line_and_then_one_a_minute() {
        let (alarms, b, c) = (Alarms::default(), provider("b"), provider("c"));
        let mut lines = 0;
        for second in 0..150 {
            for _ in 0..10 {
                lines += usize::from(alarms.ring(&b));
            }
            if second == 70 {
                assert!(alarms.ring(&c), "each has its own");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(lines, 1);
        let gathered = alarms.lock().get(&b).copied().unwrap();
        assert!((290..=310).contains(&gathered), "since the second minute: {gathered}");
        tokio::time::sleep(2 * EVERY).await;
        assert!(alarms.lock().is_empty());
        assert!(alarms.ring(&b), "after a quiet minute it is the first again");
    }

    fn provider(name: &str) -> Provider {
        format!("{name}.example").parse().unwrap()
    }
}
