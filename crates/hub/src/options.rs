//! Limits of a hub.

use std::time::Duration;

/// Every bound of a hub, and what it offers.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests waiting for one shard's actor.
    pub shard_mailbox: usize,
    /// Requests waiting for one room, while it is loaded or one of its values is staged.
    pub room_mailbox: usize,
    /// Decided requests of one shard waiting for their batch. Reserved before the decision.
    pub gate_places: usize,
    /// Entries of one batch.
    pub batch_entries_max: usize,
    /// Octets of one batch; one larger change goes alone.
    pub batch_bytes_max: usize,
    /// Rooms kept in memory by one group of shards; idle ones beyond it are dropped, longest unused first.
    pub rooms_max: usize,
    /// From so many clients in a room on, its commits and GroupInfo are worked out apart from the thread of its group.
    pub apart_from_clients: usize,
    /// What whoever is turned away is asked to wait.
    pub retry_after: Duration,
    /// The wait before the store is tried again after it failed; doubled up to 32 times as long.
    pub reopen_after: Duration,
    /// How often it is looked whether rooms have to look at their parents, beside whenever one has reason to.
    pub dependents_every: Duration,
    /// Whether minimal-metadata rooms (mimi-protocol §6) may be founded. Those that there are go on either way.
    pub minimal_metadata: bool,
    /// How long an entry is kept in its shard's log after it was accepted, at least, once every follower has
    /// acknowledged it. `None`: for ever.
    pub retention: Option<Duration>,
    /// How long an entry is kept that some follower has not acknowledged; longer than `retention`. Then it goes as well,
    /// and the follower is told. `None`: for ever.
    pub regardless: Option<Duration>,
    /// How often it is looked whether entries may go.
    pub trim_every: Duration,
    /// Limits of the couriers.
    pub fanout: fanout::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shard_mailbox: 4_096,
            room_mailbox: 1_024,
            gate_places: 4_096,
            batch_entries_max: 512,
            batch_bytes_max: 1 << 20,
            rooms_max: 10_000,
            apart_from_clients: 64,
            retry_after: Duration::from_secs(1),
            reopen_after: Duration::from_millis(100),
            dependents_every: Duration::from_secs(10),
            minimal_metadata: false,
            retention: None,
            regardless: None,
            trim_every: Duration::from_secs(60),
            fanout: fanout::Options::default(),
        }
    }
}
