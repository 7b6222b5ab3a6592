//! The embedded backends: FoundationDB's semantics over an engine in this process.
//!
//! A transaction pins the published state at its first read. Its commit goes to the one committer, which checks it
//! against recent commits, makes a group durable, publishes it and only then answers: nobody reads or is told what
//! a crash could take back.

mod committer;
mod core;
mod directory;
mod engine;
mod fjall_engine;
mod lingering;
mod marker;
mod memory;
mod pace;
mod queue;
mod resolver;
mod transaction;
mod witness;
mod writes;

use async_trait::async_trait;
use std::path::Path;
use std::sync::{Arc, Mutex};

use self::committer::{Committer, Request};
use self::core::{Core, Published};
use self::memory::MemoryEngine;
use self::queue::Queue;
use self::transaction::EmbeddedTransaction;
use crate::backend::{Backend, BackendTransaction};
use crate::error::Error;
use crate::key::Version;
use crate::transaction::Committed;

pub use self::directory::{OpenError, Options};

/// Takes a request to the committer and brings the answer back.
#[async_trait]
trait Commit: std::fmt::Debug + Send + Sync {
    async fn commit(&self, core: &Core, request: Request, octets: usize) -> Result<Committed, Error>;
    async fn close(&self, core: &Core);
}

#[derive(Debug)]
struct Embedded<C> {
    core: Arc<Core>,
    commits: Arc<C>,
}

/// Commits in the caller: no thread, no waiting, the order of calls is the order of commits.
#[derive(Debug)]
struct Inline(Mutex<Committer>);

/// An empty database in memory.
pub(crate) fn memory() -> Arc<dyn Backend> {
    let committer = Committer::new(Box::new(MemoryEngine::default()));
    let core = Arc::new(core_of(&committer));
    Arc::new(Embedded {
        core,
        commits: Arc::new(Inline(Mutex::new(committer))),
    })
}

/// The database in a directory.
pub(crate) fn open_fjall(path: &Path, options: &Options) -> Result<Arc<dyn Backend>, OpenError> {
    let committer = Committer::new(Box::new(directory::open(path, options)?));
    let core = Arc::new(core_of(&committer));
    let queue = Queue::start(committer, core.clone()).map_err(|source| OpenError::Io {
        what: "start the commit thread for",
        path: path.to_owned(),
        source,
    })?;
    Ok(Arc::new(Embedded {
        core,
        commits: Arc::new(queue),
    }))
}

fn core_of(committer: &Committer) -> Core {
    let engine = committer.engine();
    Core::new(Published {
        version: engine.version(),
        view: engine.view(),
    })
}

#[async_trait]
impl<C: Commit + 'static> Backend for Embedded<C> {
    fn begin(&self) -> Box<dyn BackendTransaction> {
        Box::new(EmbeddedTransaction::new(self.core.clone(), self.commits.clone(), None))
    }

    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction> {
        Box::new(EmbeddedTransaction::new(
            self.core.clone(),
            self.commits.clone(),
            Some(version),
        ))
    }

    fn groups(&self) -> u64 {
        self.core.groups()
    }

    async fn close(&self) {
        self.commits.close(&self.core).await;
    }
}

#[async_trait]
impl Commit for Inline {
    async fn commit(&self, core: &Core, request: Request, _octets: usize) -> Result<Committed, Error> {
        let mut committer = self.0.lock().expect("nothing panics while it holds this lock");
        committer
            .commit(core, vec![request])
            .pop()
            .expect("one answer for one request")
    }

    async fn close(&self, core: &Core) {
        core.close();
    }
}

#[cfg(test)]
mod tests;
