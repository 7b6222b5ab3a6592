//! Ready means that every latch has been opened and nothing is draining. There is no list of checks to forget: who has
//! something to wait for holds a [`Latch`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The latches of one process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    closed: BTreeMap<&'static str, usize>,
    draining: bool,
}

/// Keeps the process from being ready until it is opened. A latch dropped unopened keeps it so for good: whoever held it
/// failed.
#[derive(Debug)]
#[must_use = "a latch that nobody opens keeps the process from being ready"]
pub struct Latch {
    health: Health,
    name: &'static str,
}

impl Health {
    /// A new latch, closed.
    pub fn latch(&self, name: &'static str) -> Latch {
        *self.state().closed.entry(name).or_insert(0) += 1;
        Latch {
            health: self.clone(),
            name,
        }
    }

    /// From now on the process is not ready, whatever its latches say.
    pub fn draining(&self) {
        self.state().draining = true;
    }

    /// What keeps the process from being ready: names of closed latches, and `draining`. Empty: it is ready.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        let state = self.state();
        let draining = state.draining.then_some("draining");
        state.closed.keys().copied().chain(draining).collect()
    }

    /// Are all latches open, and nothing draining?
    pub fn is_ready(&self) -> bool {
        self.waiting_for().is_empty()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latch {
    /// What it waited for is there.
    pub fn open(self) {
        let mut state = self.health.state();
        if let Some(count) = state.closed.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                state.closed.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_latch_is_open() {
        let health = Health::default();
        let (store, listener) = (health.latch("store"), health.latch("listener"));
        store.open();
        assert_eq!(health.waiting_for(), ["listener"]);
        listener.open();
        assert!(health.is_ready());
    }

    #[test]
    fn two_latches_of_one_name_both_count() {
        let health = Health::default();
        let (one, two) = (health.latch("listener"), health.latch("listener"));
        one.open();
        assert!(!health.is_ready());
        two.open();
        assert!(health.is_ready());
    }

    #[test]
    fn a_latch_dropped_unopened_stays_closed() {
        let health = Health::default();
        drop(health.latch("store"));
        assert_eq!(health.waiting_for(), ["store"]);
    }

    #[test]
    fn a_draining_process_is_not_ready() {
        let health = Health::default();
        health.draining();
        assert_eq!(health.waiting_for(), ["draining"]);
    }
}
