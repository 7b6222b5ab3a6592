//! Which shards this hub serves, as their actors say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use route::ShardId;
use shard::Term;
use tokio::sync::Notify;

/// See the module. Cheap to clone; all clones are the same roster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    serving: Mutex<BTreeMap<ShardId, Term>>,
    changed: Notify,
}

impl Roster {
    /// The shard is served from now on.
    pub(crate) fn begin(&self, shard: ShardId, term: Term) {
        self.serving().insert(shard, term);
        self.inner.changed.notify_waiters();
    }

    /// The shard is not served any more.
    pub(crate) fn end(&self, shard: ShardId) {
        self.serving().remove(&shard);
        self.inner.changed.notify_waiters();
    }

    /// Since which term the shard is served; `None` if it is not.
    pub(crate) fn term(&self, shard: ShardId) -> Option<Term> {
        self.serving().get(&shard).copied()
    }

    /// Whether the shard is served.
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        self.serving().contains_key(&shard)
    }

    /// Returns at the first change after it was called.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.inner.changed.notified()
    }

    fn serving(&self) -> MutexGuard<'_, BTreeMap<ShardId, Term>> {
        self.inner.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
