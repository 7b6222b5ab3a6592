//! Work that takes long and touches nothing but what it is given: done apart from the threads of the shard groups, so that
//! it keeps no other room of a group waiting.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

/// A piece of work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Does such work. Clones share it.
#[derive(Clone)]
pub struct Offload(Arc<dyn Fn(Job) + Send + Sync>);

impl Offload {
    /// `run` takes a job and has it done at some time, unless everything ends before.
    pub fn new(run: impl Fn(Job) + Send + Sync + 'static) -> Self {
        Self(Arc::new(run))
    }

    /// What `work` comes to; `None` if it never was done. Dropping the future does not stop it.
    pub(crate) async fn done<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, done) = oneshot::channel();
        // Whoever waited may be gone.
        (self.0)(Box::new(move || drop(sender.send(work()))));
        done.await.ok()
    }
}

impl fmt::Debug for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offload").finish_non_exhaustive()
    }
}
