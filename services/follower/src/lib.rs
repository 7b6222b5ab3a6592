//! `nave-follower`: what its hubs bring a provider, and what its own users' clients take from it. An entry is acknowledged
//! when it is durable, stored once per provider however many clients read it, and shown to each client in order; a KeyPackage
//! is given away once.
//!
//! It knows no rooms' rules and checks no MLS but the KeyPackages that its own clients upload. The main paths are
//! [`deliver`](Follower::deliver) (from hubs), [`claim`](Follower::claim) (for inviters, who need the
//! [consent](Follower::say) of users that ask for it) and [`open`](Follower::open) (a client's event stream); [`service`] is
//! the same over gRPC.

mod choose;
mod claim;
pub mod config;
mod consent;
mod deliver;
mod events;
mod findings;
mod gaps;
pub mod limits;
mod lookout;
mod metrics;
mod profile;
mod pseudonyms;
mod query;
mod serve;
pub mod service;
mod trimmer;
mod upload;
mod verdict;
mod wake;

use std::sync::Arc;

use ledger::follower::FollowerError;
use mimi::Provider;
use store::Database;

pub use consent::{Saying, Scope};
pub use deliver::{AsIs, Body, Gap, Item, Refused, Stored};
pub use events::{Acks, Events};
pub use gaps::{Filled, FollowedRoom};
pub use pseudonyms::Pseudonymous;
pub use serve::{serve, work, work_on};
pub use trimmer::Keeping;

/// Milliseconds since the UNIX epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Why the follower cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request is not what it should be; asking again does not help.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Whoever asks may not ask this.
    #[error("forbidden: {0}")]
    Forbidden(&'static str),
    /// What the request is about is not there.
    #[error("absent: {0}")]
    Absent(&'static str),
    /// More than is allowed.
    #[error("too much: {0}")]
    TooMuch(&'static str),
    /// The store does not serve; asking again later may help.
    #[error("storage")]
    Storage(#[from] FollowerError),
}

impl From<store::Error> for Fault {
    fn from(error: store::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl store::Retry for Fault {
    fn store_error(&self) -> Option<&store::Error> {
        match self {
            Self::Storage(error) => error.store_error(),
            Self::Malformed(_) | Self::Forbidden(_) | Self::Absent(_) | Self::TooMuch(_) => None,
        }
    }
}

/// A provider as follower. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Follower {
    provider: Provider,
    database: Database,
    clock: Clock,
    wake: wake::Wake,
    metrics: metrics::Metrics,
    minimal_metadata: bool,
    /// By which this follower knows its own rings, if there are others.
    others: Option<u64>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// The follower of `provider`, over a store that it may share with others.
    pub fn new(provider: Provider, database: Database, clock: Clock) -> Self {
        Self {
            provider,
            database,
            clock,
            wake: wake::Wake::default(),
            metrics: metrics::Metrics::new(),
            minimal_metadata: false,
            others: None,
        }
    }

    /// Whether users may have KeyPackages under pseudonyms, for minimal-metadata rooms (mimi-protocol §6). Off unless said
    /// otherwise: the draft leaves the keys of such rooms open.
    #[must_use]
    pub fn with_minimal_metadata(self, minimal_metadata: bool) -> Self {
        Self {
            minimal_metadata,
            ..self
        }
    }

    /// Whether other followers work on the same store. What hubs bring them wakes an event stream here while
    /// [`Follower::look_out`] is polled; without that, it is seen within a minute.
    #[must_use]
    pub fn with_others(self, others: bool) -> Self {
        Self {
            others: others.then(rand::random),
            ..self
        }
    }

    /// A clock that reads the system's.
    pub fn system_clock() -> Clock {
        Arc::new(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
        })
    }
}
