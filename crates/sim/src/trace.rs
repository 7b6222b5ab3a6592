//! What happened in a run, in order. The trace holds only what the same seed repeats: kinds, lengths, seqs and epochs,
//! never ciphertext or anything else that comes from the clients' own randomness.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use client::mls::Received;
use mimi::{Provider, RoomUri};
use room::Digest;

use crate::marks::{Mark, Marks};
use crate::world;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A life of a hub began.
    Began { host: &'static str, life: u64 },
    /// A hub serves whatever falls to it.
    Serving { host: &'static str, life: u64 },
    /// A hub handed over what it had, and ended.
    Drained { host: &'static str, life: u64 },
    /// A fault of the plan, in words.
    Struck(String),
    /// The store now holds this fence.
    Fence { shard: u32, term: u64, owned: bool },
    /// The store now holds this tail of a shard's log.
    Tail {
        shard: u32,
        term: u64,
        opening: u64,
        batch: u64,
        next: u64,
    },
    /// A client sent a request for the first time.
    Asked(Asked),
    /// And was answered, after so many attempts.
    Answered { ask: u64, attempts: u32, verdict: Verdict },
    /// A follower was brought one entry.
    Brought(Brought),
    /// A follower saw something that must not be.
    Alarm { follower: Provider, why: String },
    /// A client was given one entry of its provider's inbox.
    Heard {
        client: String,
        room: RoomUri,
        seq: u64,
        what: Received,
    },
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Found,
    Commit,
    Proposals,
    Message,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) ask: u64,
    pub(crate) client: String,
    pub(crate) room: RoomUri,
    pub(crate) what: What,
    /// The sender's epoch.
    pub(crate) epoch: u64,
    /// Whose client asks.
    pub(crate) from: Provider,
    pub(crate) request: Request,
    /// Of the first MLSMessage in it; not of a founding.
    pub(crate) digest: Option<Digest>,
}

/// A request's octets.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Found { group_info: Bytes, ratchet_tree: Bytes },
    Update(Bytes),
    Submit(Bytes),
}

impl Request {
    fn octets(&self) -> usize {
        match self {
            Self::Found {
                group_info,
                ratchet_tree,
            } => group_info.len() + ratchet_tree.len(),
            Self::Update(body) | Self::Submit(body) => body.len(),
        }
    }
}

/// What a hub said to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Success, accepted at this time.
    Accepted { at: u64 },
    /// Refused: the room is in another epoch.
    WrongEpoch { current: u64 },
    /// Refused: the message is of too old an epoch.
    EpochTooOld { current: u64 },
    /// Refused, with the draft's other code in words or the HTTP status.
    Refused(&'static str),
}

/// One delivered item.
#[derive(Debug, Clone)]
pub(crate) struct Brought {
    pub(crate) follower: Provider,
    pub(crate) shard: u32,
    pub(crate) item: Item,
    /// Whether the follower had it.
    pub(crate) repeat: bool,
}

/// An entry as a follower is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) offset: u64,
    pub(crate) room: RoomUri,
    pub(crate) seq: u64,
    pub(crate) previous: u64,
    pub(crate) epoch: u64,
    pub(crate) chain: [u8; 32],
    pub(crate) set: Bytes,
    pub(crate) shown: Body,
}

/// What is shown of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Message(Bytes),
    Digest(Digest),
}

impl Body {
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Message(message) => Digest::of(message),
            Self::Digest(digest) => *digest,
        }
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => write!(f, "{} octets", message.len()),
            Self::Digest(_) => f.write_str("a digest"),
        }
    }
}

/// One line of the trace.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { host, life } => write!(f, "{host} begins life {life}"),
            Self::Serving { host, life } => write!(f, "{host} serves in life {life}"),
            Self::Drained { host, life } => write!(f, "{host} is drained in life {life}"),
            Self::Struck(what) => write!(f, "fault: {what}"),
            Self::Fence { shard, term, owned } => write!(f, "shard {shard}: fence {term}, owned: {owned}"),
            Self::Tail {
                shard,
                term,
                opening,
                batch,
                next,
            } => {
                write!(
                    f,
                    "shard {shard}: batch {batch} of opening {opening} in term {term}, next {next}"
                )
            }
            Self::Asked(Asked {
                ask,
                client,
                room,
                what,
                epoch,
                request,
                ..
            }) => {
                let octets = request.octets();
                write!(
                    f,
                    "{client} asks {ask} of {room}: {what:?} in epoch {epoch}, {octets} octets"
                )
            }
            Self::Answered { ask, attempts, verdict } => write!(f, "ask {ask}: {verdict:?} after {attempts}"),
            Self::Brought(Brought {
                follower,
                shard,
                item,
                repeat,
            }) => {
                let Item {
                    offset,
                    room,
                    seq,
                    previous,
                    epoch,
                    shown,
                    ..
                } = item;
                let again = if *repeat { " again" } else { "" };
                write!(
                    f,
                    "{follower} is brought{again} {shard}/{offset}: {room} {seq} after {previous} in {epoch}, {shown}"
                )
            }
            Self::Alarm { follower, why } => write!(f, "ALARM at {follower}: {why}"),
            Self::Heard {
                client,
                room,
                seq,
                what,
            } => write!(f, "{client} hears {room} {seq}: {what:?}"),
        }
    }
}

/// The record of a run, shared by everything in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    events: Vec<(Duration, Event)>,
    marks: Marks,
    asks: u64,
    quiet: Duration,
}

impl Record {
    pub(crate) fn note(&self, event: Event) {
        let mut inner = self.lock();
        // The driver acts between two steps, where no host has the time.
        let at = world::now().unwrap_or(inner.quiet);
        inner.quiet = inner.quiet.max(at);
        inner.events.push((at, event));
    }

    pub(crate) fn mark(&self, mark: Mark) {
        self.lock().marks.reach(mark);
    }

    /// A new request's number.
    pub(crate) fn next_ask(&self) -> u64 {
        let mut inner = self.lock();
        inner.asks += 1;
        inner.asks
    }

    pub(crate) fn marks(&self) -> Marks {
        self.lock().marks.clone()
    }

    pub(crate) fn events(&self) -> Vec<(Duration, Event)> {
        self.lock().events.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

/// The trace of a run, one line for each event.
pub(crate) fn lines(events: &[(Duration, Event)]) -> impl Iterator<Item = String> + '_ {
    events
        .iter()
        .map(|(at, event)| format!("{:>9.3} {event}", at.as_secs_f64()))
}
