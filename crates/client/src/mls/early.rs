//! What came before the epoch it belongs to: fan-out over HTTPS may overtake itself. It waits for the commits in between,
//! within what the room's operational policy allows (mimi-room-policy §7, `buffer_incoming_message_time` and
//! `max_buffered_messages`) and within what this client has memory for. Time is the hub's: between what it accepted first
//! and last of what is here.

use std::collections::BTreeMap;

use mimi::notify::FanoutMessage;
use mimi::operational::OperationalParameters;
use openmls::prelude::{ContentType, ProtocolMessage};

/// Octets that wait in one room.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// Messages that wait in one room, whatever its policy says.
pub(super) const WAITING_MAX: u32 = 1_024;

/// How much waits, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    messages: usize,
    /// Milliseconds.
    span: u64,
}

impl Bounds {
    /// As a room's policy has it; a room without one lets nothing wait. The draft gives no unit: seconds, as its other
    /// durations.
    pub(super) fn of(operational: Option<&OperationalParameters>) -> Self {
        let (messages, seconds) = operational.map_or((0, 0), |operational| {
            (
                operational.max_buffered_messages.min(WAITING_MAX),
                operational.buffer_incoming_message_time.default,
            )
        });
        Self {
            messages: usize::try_from(messages).unwrap_or(usize::MAX),
            span: seconds.saturating_mul(1_000),
        }
    }
}

/// Where a message has its place: what a commit needs, or ends, is before it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    epoch: u64,
    is_commit: bool,
    arrival: u64,
}

/// What waits in one room.
#[derive(Debug, Default)]
pub(super) struct Early {
    waiting: BTreeMap<Place, FanoutMessage>,
    bytes: usize,
    arrivals: u64,
}

impl Early {
    /// Keeps a message until its epoch. False: that would be too much, or something has waited too long; then nothing
    /// waits any more.
    pub(super) fn keep(&mut self, message: &ProtocolMessage, fanout: &FanoutMessage, bounds: Bounds) -> bool {
        self.arrivals += 1;
        self.bytes += fanout.message().octets().len();
        let place = Place {
            epoch: message.epoch().as_u64(),
            is_commit: message.content_type() == ContentType::Commit,
            arrival: self.arrivals,
        };
        self.waiting.insert(place, fanout.clone());
        let accepted = || self.waiting.values().map(|waiting| waiting.timestamp);
        let span = accepted().max().unwrap_or_default() - accepted().min().unwrap_or_default();
        let fits = self.waiting.len() <= bounds.messages && self.bytes <= WAITING_BYTES_MAX && span <= bounds.span;
        if !fits {
            *self = Self::default();
        }
        fits
    }

    /// The next whose epoch has come.
    pub(super) fn due(&mut self, epoch: u64) -> Option<FanoutMessage> {
        let first = self.waiting.first_entry().filter(|first| first.key().epoch <= epoch)?;
        let fanout = first.remove();
        self.bytes -= fanout.message().octets().len();
        Some(fanout)
    }
}
