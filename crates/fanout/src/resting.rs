//! Who waits to be tried again, over all shards: so that nobody looks for couriers to wake where there are none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimi::Provider;

/// The followers that some courier has failed to reach and waits to try again. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Resting(Arc<Mutex<BTreeMap<Provider, usize>>>);

/// One courier that waits, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Rest<'a> {
    resting: &'a Resting,
    follower: &'a Provider,
}

impl Resting {
    /// Whether a courier waits to try this follower again.
    pub fn has(&self, follower: &Provider) -> bool {
        self.lock().contains_key(follower)
    }

    pub(crate) fn begin<'a>(&'a self, follower: &'a Provider) -> Rest<'a> {
        *self.lock().entry(follower.clone()).or_default() += 1;
        Rest {
            resting: self,
            follower,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Provider, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let mut couriers = self.resting.lock();
        if let Some(count) = couriers.get_mut(self.follower) {
            *count -= 1;
            if *count == 0 {
                couriers.remove(self.follower);
            }
        }
    }
}
