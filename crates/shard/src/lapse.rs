//! Whether a node's lease has lapsed, as far as was noticed, and waiting for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether a node's lease has lapsed: others may be about to take its shards, so it speaks for none of them. It may beat again
/// later, and still have them. Clones share everything.
///
/// Those who wait are woken in the order in which they began to wait. A watch channel wakes its receivers in an order that it
/// draws, which a simulation could not repeat.
#[derive(Debug, Clone, Default)]
pub struct Lapse(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lapsed: AtomicBool,
    changed: Notify,
}

impl Lapse {
    /// Whether it has lapsed, and is not over again.
    pub fn has_begun(&self) -> bool {
        self.0.lapsed.load(Ordering::Acquire)
    }

    /// Returns when it has lapsed; at once if it has. Dropping the future loses nothing.
    pub async fn begins(&self) {
        self.is(true).await;
    }

    /// Returns when it has not lapsed, or not any more.
    pub async fn ends(&self) {
        self.is(false).await;
    }

    pub(crate) fn notice(&self, lapsed: bool) {
        if self.0.lapsed.swap(lapsed, Ordering::AcqRel) != lapsed {
            self.0.changed.notify_waiters();
        }
    }

    async fn is(&self, lapsed: bool) {
        loop {
            // It hears of every change from here on.
            let changed = self.0.changed.notified();
            if self.has_begun() == lapsed {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_woken_in_the_order_in_which_they_began() {
        let (lapse, woken) = (Lapse::default(), Arc::new(Mutex::new(Vec::new())));
        let waiting: Vec<_> = (0..20)
            .map(|n| {
                let (lapse, woken) = (lapse.clone(), woken.clone());
                tokio::spawn(async move {
                    lapse.begins().await;
                    woken.lock().expect("nobody panics").push(n);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(!lapse.has_begun());
        lapse.notice(true);
        for waiting in waiting {
            waiting.await.expect("it does not panic");
        }
        assert_eq!(*woken.lock().expect("nobody panics"), (0..20).collect::<Vec<_>>());
        lapse.begins().await;
        lapse.notice(false);
        lapse.ends().await;
    }
}
