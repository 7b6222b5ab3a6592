//! Group commit: one thread takes whatever has queued, makes it durable with one sync, and answers everybody.
//!
//! It never waits for more to come: while it syncs one group, the next one gathers by itself. A commit that comes alone is
//! made by its caller, while [`Pace`] finds that this is no burden.

use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::Commit;
use super::committer::{Committer, Request};
use super::core::Core;
use super::pace::Pace;
use crate::error::Error;
use crate::limits::{COMMITS_QUEUED_KIB_MAX, COMMITS_QUEUED_MAX, GROUP_OCTETS_MAX, GROUP_TRANSACTIONS_MAX};
use crate::transaction::Committed;

const PANICKED: &str = "a commit panicked";

/// The way to the commit thread. Dropping it settles what is queued and waits for the thread's end.
#[derive(Debug)]
pub(crate) struct Queue {
    sender: Mutex<Option<mpsc::Sender<Queued>>>,
    room: Arc<Semaphore>,
    /// There until the thread ends. Whoever holds it makes a group.
    committer: Arc<Mutex<Option<Committer>>>,
    pace: Arc<Pace>,
    ended: watch::Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Queued {
    request: Request,
    octets: usize,
    answer: oneshot::Sender<Result<Committed, Error>>,
    /// Its place among the octets that may be queued; given back with the answer.
    _room: OwnedSemaphorePermit,
}

impl Queue {
    /// Starts the commit thread.
    pub(crate) fn start(committer: Committer, core: Arc<Core>) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(COMMITS_QUEUED_MAX);
        let (ends, ended) = watch::channel(());
        let committer = Arc::new(Mutex::new(Some(committer)));
        let pace = Arc::new(Pace::default());
        let thread = std::thread::Builder::new().name("store-commit".to_owned()).spawn({
            let (committer, pace) = (committer.clone(), pace.clone());
            move || {
                let served = Served { core, _ends: ends };
                serve(&committer, receiver, &pace, &served.core);
                committer.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
        })?;
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            room: Arc::new(Semaphore::new(COMMITS_QUEUED_KIB_MAX as usize)),
            committer,
            pace,
            ended,
            thread: Mutex::new(Some(thread)),
        })
    }

    fn sender(&self) -> Option<mpsc::Sender<Queued>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hang_up(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Queue {
    /// Makes a commit on this thread, which waits for the sync.
    fn commit_here(&self, core: &Core, request: Request) -> Result<Committed, Error> {
        let _killed = KilledByPanic(core);
        let mut held = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        let committer = held.as_mut().ok_or(Error::Closed)?;
        let mut answers = self.pace.time(|| committer.commit(core, vec![request]));
        answers.pop().expect("one answer for one request")
    }

    async fn commit_there(
        &self,
        core: &Core,
        request: Request,
        octets: usize,
        sender: mpsc::Sender<Queued>,
    ) -> Result<Committed, Error> {
        let kib = u32::try_from(octets / 1_024 + 1)
            .unwrap_or(u32::MAX)
            .min(COMMITS_QUEUED_KIB_MAX);
        let room = self
            .room
            .clone()
            .acquire_many_owned(kib)
            .await
            .expect("the semaphore is never closed");
        // While there is a sender the thread serves it, so that only a panic can end it.
        let gone = || {
            core.kill(PANICKED);
            core.check().err().unwrap_or(Error::Closed)
        };
        let Ok(place) = sender.reserve_owned().await else {
            return Err(gone());
        };
        let (answer, answered) = oneshot::channel();
        drop(place.send(Queued {
            request,
            octets,
            answer,
            _room: room,
        }));
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[async_trait]
impl Commit for Queue {
    async fn commit(&self, core: &Core, request: Request, octets: usize) -> Result<Committed, Error> {
        let sender = self.sender().ok_or(Error::Closed)?;
        let asked = self.pace.ask();
        if asked.is_for_the_caller(octets).await {
            return self.commit_here(core, request);
        }
        self.commit_there(core, request, octets, sender).await
    }

    async fn close(&self, _core: &Core) {
        self.hang_up();
        // An error means that the thread has ended already.
        while self.ended.clone().changed().await.is_ok() {}
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.hang_up();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread was already made known by `Served`.
        thread.map(JoinHandle::join);
    }
}

/// Says when the thread has ended, and why.
struct Served {
    core: Arc<Core>,
    _ends: watch::Sender<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(KilledByPanic(&self.core));
        self.core.close();
    }
}

/// Stops the database if the thread that holds this panics.
struct KilledByPanic<'a>(&'a Core);

impl Drop for KilledByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.kill(PANICKED);
        }
    }
}

fn serve(committer: &Mutex<Option<Committer>>, mut queue: mpsc::Receiver<Queued>, pace: &Pace, core: &Core) {
    while let Some(first) = queue.blocking_recv() {
        let mut held = committer.lock().unwrap_or_else(PoisonError::into_inner);
        // Only this thread takes it away.
        let Some(committer) = held.as_mut() else { return };
        let (requests, answers) = take_group(first, &mut queue);
        let outcomes = pace.time(|| committer.commit(core, requests));
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Who does not wait any more needs no answer.
            let _ = answer.0.send(outcome);
        }
    }
}

type Answer = (oneshot::Sender<Result<Committed, Error>>, OwnedSemaphorePermit);

/// What has queued, up to the bounds of a group.
fn take_group(first: Queued, queue: &mut mpsc::Receiver<Queued>) -> (Vec<Request>, Vec<Answer>) {
    let mut octets = 0;
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    let mut next = Some(first);
    while let Some(queued) = next {
        octets += queued.octets;
        requests.push(queued.request);
        answers.push((queued.answer, queued._room));
        let full = requests.len() >= GROUP_TRANSACTIONS_MAX || octets >= GROUP_OCTETS_MAX;
        next = if full { None } else { queue.try_recv().ok() };
    }
    (requests, answers)
}
