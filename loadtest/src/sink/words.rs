//! What the load test and its sink say to each other: a line of JSON asks, a line of JSON answers.

use std::net::SocketAddr;
use std::path::PathBuf;

use mimi::Provider;
use serde::{Deserialize, Serialize};

/// What a sink is told when it starts: a file, since keys are among it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The hub's provider, the only one that may connect.
    pub(crate) hub: String,
    /// PEM file with the root of the hub's certificate.
    pub(crate) roots: PathBuf,
    /// The providers that this sink is.
    pub(crate) followers: Vec<Identity>,
}

/// One provider that a sink is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its domain.
    pub(crate) domain: String,
    /// Where it listens: HTTPS over TCP and the link over UDP.
    pub(crate) address: SocketAddr,
    /// Its certificate, PEM.
    pub(crate) chain: PathBuf,
    /// Its key, PEM.
    pub(crate) key: PathBuf,
}

impl Identity {
    /// Its domain as a name.
    pub(crate) fn provider(&self) -> anyhow::Result<Provider> {
        Ok(self.domain.parse()?)
    }
}

/// A question.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// How far is each follower?
    Progress,
    /// From now on make what is shown durable before it counts, or do not.
    Keep(bool),
    /// What was each follower shown since this was asked last?
    Collect,
}

/// Application messages that each follower was shown since it was last asked to collect.
pub(crate) type Progress = Vec<u64>;

/// What one follower was shown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Collected {
    /// Its domain.
    pub(crate) domain: String,
    /// Its rooms.
    pub(crate) rooms: Vec<Room>,
    /// What was not as it must be.
    pub(crate) faults: Vec<String>,
    /// Entries that came again.
    pub(crate) repeats: u64,
    /// Octets of the entries that came, as they were framed.
    pub(crate) octets: u64,
}

/// One room at one follower.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Room {
    /// Its URI.
    pub(crate) room: String,
    /// Seq of the last entry.
    pub(crate) seq: u64,
    /// The chain after it, in hexadecimal digits.
    pub(crate) chain: String,
    /// When the hub accepted each application message, in milliseconds since the UNIX epoch: in a room no two are equal.
    pub(crate) accepted: Vec<u64>,
    /// When each came, in microseconds since the UNIX epoch.
    pub(crate) received_us: Vec<u64>,
}
