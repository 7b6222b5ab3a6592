//! The gate of a shard: what its rooms decided waits here, in order, until the committer has made it durable. A place is
//! reserved before a room decides, so that a decision never has nowhere to go.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use ledger::Write;
use tokio::sync::{Notify, oneshot};

use crate::Outcome;

/// Where an outcome goes. Counts as a request in flight of its room until it is sent or dropped.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) sender: oneshot::Sender<Outcome>,
    pub(crate) flight: Option<Arc<()>>,
}

impl Reply {
    /// Tells the caller, if it still listens.
    pub(crate) fn send(self, outcome: Outcome) {
        // A caller that went away asks again and gets the repeat-answer.
        drop(self.sender.send(outcome));
    }
}

/// One decided request: released once its change, and every one before it, is durable.
#[derive(Debug)]
pub(crate) struct Decided {
    /// `None`: a refusal or a read, which waits for the fence alone.
    pub(crate) write: Option<Write>,
    pub(crate) reply: Reply,
    pub(crate) outcome: Outcome,
}

/// Why there is no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shut {
    /// All are taken.
    Full,
    /// None will be given any more, and this is what to answer instead.
    Closed(Outcome),
}

/// How far a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Something may still come through.
    Open,
    /// Closed, and nothing has a place any more.
    Flushed,
    /// Given up.
    Failed,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Decided>,
    reserved: usize,
    closed: Option<Closed>,
}

#[derive(Debug, Clone)]
struct Closed {
    answer: Outcome,
    /// Whether what has a place is still made durable.
    flush: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    state: RefCell<State>,
    work: Notify,
    places: usize,
}

impl Gate {
    pub(crate) fn new(places: usize) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::default(),
            work: Notify::new(),
            places,
        })
    }

    /// A place for one decision.
    pub(crate) fn reserve(self: &Rc<Self>) -> Result<Place, Shut> {
        let mut state = self.state.borrow_mut();
        if let Some(closed) = &state.closed {
            return Err(Shut::Closed(closed.answer.clone()));
        }
        if state.reserved + state.queue.len() >= self.places {
            return Err(Shut::Full);
        }
        state.reserved += 1;
        Ok(Place { gate: self.clone() })
    }

    /// Gives no more places; who asks is told `answer`. What has one is still made durable.
    pub(crate) fn drain(&self, answer: Outcome) {
        self.close(answer, true);
    }

    /// Gives no more places, and gives up what waits: who asks, and who waits, is told `answer`.
    pub(crate) fn fail(&self, answer: &Outcome) {
        self.close(answer.clone(), false);
        let waiting = std::mem::take(&mut self.state.borrow_mut().queue);
        for decided in waiting {
            decided.reply.send(answer.clone());
        }
    }

    fn close(&self, answer: Outcome, flush: bool) {
        let mut state = self.state.borrow_mut();
        let flush = flush && state.closed.as_ref().is_none_or(|closed| closed.flush);
        state.closed = Some(Closed { answer, flush });
        drop(state);
        self.work.notify_one();
    }

    /// Returns when something waits or the gate was closed. Dropping the future loses nothing.
    pub(crate) async fn ready(&self) {
        loop {
            {
                let state = self.state.borrow();
                if !state.queue.is_empty() || self.phase_of(&state) != Phase::Open {
                    return;
                }
            }
            self.work.notified().await;
        }
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> Phase {
        self.phase_of(&self.state.borrow())
    }

    fn phase_of(&self, state: &State) -> Phase {
        match &state.closed {
            Some(closed) if !closed.flush => Phase::Failed,
            Some(_) if state.queue.is_empty() && state.reserved == 0 => Phase::Flushed,
            Some(_) | None => Phase::Open,
        }
    }

    /// Whether a change waits to be made durable.
    pub(crate) fn has_writes(&self) -> bool {
        self.state.borrow().queue.iter().any(|decided| decided.write.is_some())
    }

    /// The oldest decided request, if `fits` says so.
    pub(crate) fn take_if(&self, fits: impl FnOnce(&Decided) -> bool) -> Option<Decided> {
        let mut state = self.state.borrow_mut();
        if state.queue.front().is_some_and(fits) {
            state.queue.pop_front()
        } else {
            None
        }
    }
}

/// A reserved place. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Rc<Gate>,
}

impl Place {
    /// Fills the place. If the gate failed meanwhile, nothing of this becomes durable and the caller is told so.
    pub(crate) fn push(self, decided: Decided) {
        let mut state = self.gate.state.borrow_mut();
        match &state.closed {
            Some(closed) if !closed.flush => decided.reply.send(closed.answer.clone()),
            _ => state.queue.push_back(decided),
        }
        // The place itself is given back by its drop, which also wakes the committer.
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.state.borrow_mut().reserved -= 1;
        self.gate.work.notify_one();
    }
}
