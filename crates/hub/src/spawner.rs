//! Where shards run. Everything of a shard runs on the thread of its group, as local tasks.

use std::io;
use std::panic::AssertUnwindSafe;
use std::thread;

use actix::{Actor, Addr, ArbiterHandle, Handler, Message, SyncArbiter, SyncContext, System};
use futures::future::LocalBoxFuture;

use crate::{Job, Offload};

/// What is run on a group's thread: made there, so that it need not be `Send`.
pub type Work = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Runs work on the threads of shard groups.
pub trait Spawner: Send + Sync + 'static {
    /// How many groups there are, at least one.
    fn groups(&self) -> usize;

    /// Runs `work` on the thread of `group`, inside a [`tokio::task::LocalSet`]. Work given to a stopped spawner is
    /// dropped.
    fn spawn(&self, group: usize, work: Work);

    /// Where to do what would keep a group's other rooms waiting. May outlive the spawner, and does nothing then.
    fn offload(&self) -> Offload;
}

/// One actix arbiter, hence one thread, per group, and as many threads for what is done apart. Dropping it ends the threads
/// and whatever runs there.
#[derive(Debug)]
pub struct Arbiters {
    handles: Vec<ArbiterHandle>,
    workers: Addr<Worker>,
    system: System,
    thread: Option<thread::JoinHandle<()>>,
}

impl Arbiters {
    /// Starts the threads of `groups` groups, and one for the actix system that arbiters need.
    ///
    /// # Errors
    /// A thread or its runtime cannot be made.
    pub fn start(groups: usize) -> io::Result<Self> {
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("nave-hub".into()).spawn(move || {
            let runner = System::new();
            let arbiters: io::Result<Vec<_>> = (0..groups.max(1)).map(|_| actix::Arbiter::try_new()).collect();
            let arbiters = match arbiters {
                Ok(arbiters) => arbiters,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let handles = arbiters.iter().map(actix::Arbiter::handle).collect();
            let workers = SyncArbiter::start(groups.max(1), || Worker);
            if ready.send(Ok((handles, workers, System::current()))).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(%error, "the actor system ended badly");
            }
            for arbiter in arbiters {
                arbiter.stop();
                if arbiter.join().is_err() {
                    tracing::error!("a shard group's thread panicked");
                }
            }
        })?;
        let (handles, workers, system) = started.recv().map_err(io::Error::other)??;
        Ok(Self {
            handles,
            workers,
            system,
            thread: Some(thread),
        })
    }
}

impl Spawner for Arbiters {
    fn groups(&self) -> usize {
        self.handles.len()
    }

    fn spawn(&self, group: usize, work: Work) {
        let ran = self.handles[group % self.handles.len()].spawn_fn(move || {
            tokio::task::spawn_local(work());
        });
        if !ran {
            tracing::warn!(group, "work for a shard group that has stopped");
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a room gives one job at a time, so the jobs have a bound"
    )]
    fn offload(&self) -> Offload {
        let workers = self.workers.downgrade();
        Offload::new(move |job| {
            if let Some(workers) = workers.upgrade() {
                workers.do_send(Order(job));
            }
        })
    }
}

/// A thread for jobs.
#[derive(Debug)]
struct Worker;

impl Actor for Worker {
    type Context = SyncContext<Self>;
}

struct Order(Job);

impl Message for Order {
    type Result = ();
}

impl Handler<Order> for Worker {
    type Result = ();

    fn handle(&mut self, Order(job): Order, _ctx: &mut Self::Context) {
        // Whoever gave the job learns of it, and the thread is there for others.
        if std::panic::catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("what was done apart panicked");
        }
    }
}

impl Drop for Arbiters {
    fn drop(&mut self) {
        self.system.stop();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the actor system's thread panicked");
        }
    }
}

/// The local tasks of whoever calls: one group, on the thread and [`tokio::task::LocalSet`] that the hub is started on.
/// Simulated hosts use it.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalTasks;

impl Spawner for LocalTasks {
    fn groups(&self) -> usize {
        1
    }

    fn spawn(&self, _group: usize, work: Work) {
        tokio::task::spawn_local(work());
    }

    fn offload(&self) -> Offload {
        Offload::new(|job| job())
    }
}
