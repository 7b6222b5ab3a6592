//! What all transactions of an embedded database share: the published state, the watches, and whether it still serves.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::engine::{Changes, View};
use crate::error::Error;
use crate::key::Version;
use crate::limits::WATCHES_MAX;

#[derive(Debug)]
pub(crate) struct Core(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Durable, and what every new read version sees; `None` once closed.
    published: Option<Published>,
    fatal: Option<Arc<str>>,
    watches: BTreeMap<Bytes, Vec<Waiting>>,
    watching: usize,
    /// How often something was published.
    groups: u64,
}

/// A version and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) version: Version,
    pub(crate) view: Arc<dyn View>,
}

/// A watch that waits for its key to have another value.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) expected: Option<Bytes>,
    pub(crate) changed: oneshot::Sender<Result<(), Error>>,
}

impl Core {
    pub(crate) const fn new(published: Published) -> Self {
        Self(Mutex::new(State {
            published: Some(published),
            fatal: None,
            watches: BTreeMap::new(),
            watching: 0,
            groups: 0,
        }))
    }

    /// Whether the database still serves.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.lock().check()
    }

    /// The newest durable state.
    pub(crate) fn published(&self) -> Result<Published, Error> {
        let state = self.lock();
        state.check()?;
        state.published.clone().ok_or(Error::Closed)
    }

    /// How many groups of transactions became durable.
    pub(crate) fn groups(&self) -> u64 {
        self.lock().groups
    }

    /// Shows a durable state to everybody and wakes the watches that it changes.
    pub(crate) fn publish(&self, version: Version, view: Arc<dyn View>, changes: &Changes) {
        let mut state = self.lock();
        state.groups += 1;
        if state.published.is_some() {
            state.published = Some(Published { version, view });
        }
        if state.watches.is_empty() {
            return;
        }
        for (key, value) in changes {
            state.wake(key, value.as_ref());
        }
    }

    /// Stops serving for ever. The first reason stays.
    pub(crate) fn kill(&self, reason: &str) {
        let mut state = self.lock();
        if state.fatal.is_none() {
            tracing::error!(reason, "database stopped");
            state.fatal = Some(reason.into());
        }
        state.refuse_watches(&Error::Fatal(reason.to_owned()));
    }

    /// Stops serving because the owner wants it.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.published = None;
        state.refuse_watches(&Error::Closed);
    }

    /// Lets `waiting` wait for `key`, unless the published value differs already.
    pub(crate) fn watch(&self, key: &Bytes, waiting: Waiting) {
        let expected = waiting.expected.clone();
        if let Err((error, waiting)) = self.lock().register(key, waiting) {
            let _ = waiting.changed.send(Err(error));
            return;
        }
        // Registered first and compared after: whatever is published in between wakes it.
        let Ok(published) = self.published() else { return };
        match published.view.get(key) {
            Ok(value) if value == expected => {}
            Ok(value) => self.lock().wake(key, value.as_ref()),
            Err(error) => self.kill(&error.0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    fn check(&self) -> Result<(), Error> {
        match &self.fatal {
            Some(reason) => Err(Error::Fatal(reason.to_string())),
            None if self.published.is_none() => Err(Error::Closed),
            None => Ok(()),
        }
    }

    fn register(&mut self, key: &Bytes, waiting: Waiting) -> Result<(), (Error, Waiting)> {
        if let Err(error) = self.check() {
            return Err((error, waiting));
        }
        if self.watching >= WATCHES_MAX {
            self.drop_abandoned();
        }
        if self.watching >= WATCHES_MAX {
            return Err((Error::TooManyWatches, waiting));
        }
        self.watching += 1;
        self.watches.entry(key.clone()).or_default().push(waiting);
        Ok(())
    }

    fn wake(&mut self, key: &Bytes, value: Option<&Bytes>) {
        let Some(waiting) = self.watches.remove(key) else {
            return;
        };
        self.watching -= waiting.len();
        let (changed, unchanged): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| waiting.expected.as_ref() != value);
        for waiting in changed {
            // An abandoned watch needs no answer.
            let _ = waiting.changed.send(Ok(()));
        }
        if !unchanged.is_empty() {
            self.watching += unchanged.len();
            self.watches.insert(key.clone(), unchanged);
        }
    }

    fn refuse_watches(&mut self, error: &Error) {
        self.watching = 0;
        for waiting in std::mem::take(&mut self.watches).into_values().flatten() {
            let _ = waiting.changed.send(Err(error.clone()));
        }
    }

    fn drop_abandoned(&mut self) {
        self.watches.retain(|_, waiting| {
            waiting.retain(|waiting| !waiting.changed.is_closed());
            !waiting.is_empty()
        });
        self.watching = self.watches.values().map(Vec::len).sum();
    }
}
