//! What a transaction found of what a hub brought, and how it is told: to clients, in metrics, to whoever has to look.

use std::collections::BTreeMap;

use ledger::{Chain, Millis, Seq};
use mimi::{ClientUri, RoomUri};

use crate::Follower;

/// Rooms that grew, and the clients that follow each since now.
pub(crate) type Grown = BTreeMap<RoomUri, Vec<ClientUri>>;

/// What one transaction found; told only when it is durable.
pub(crate) struct Findings {
    /// When the transaction was tried.
    pub(crate) at: Millis,
    pub(crate) grown: Grown,
    pub(crate) stored: u64,
    pub(crate) repeats: u64,
    /// Gaps that may be none: something came meanwhile whose number is not known.
    pub(crate) unverified: u64,
    pub(crate) alarms: Vec<Alarm>,
    /// Times that a room's clients are told to join it again.
    pub(crate) losses: u64,
}

/// A hub contradicts what it showed before, and what it showed each time.
pub(crate) struct Alarm {
    /// `gap`, `chain`, `bytes`, `head`.
    pub(crate) reason: &'static str,
    pub(crate) room: RoomUri,
    /// Seq and chain that we had.
    pub(crate) had: (Seq, Chain),
    /// Those that were shown.
    pub(crate) shown: (Seq, Chain),
}

impl Findings {
    /// The rooms whose inboxes grew, and of each the clients that follow it since then.
    pub(crate) fn grown(&self) -> impl Iterator<Item = (&RoomUri, &[ClientUri])> {
        self.grown.iter().map(|(room, clients)| (room, &clients[..]))
    }
}

impl Follower {
    pub(crate) fn findings(&self) -> Findings {
        Findings {
            at: Millis((self.clock)()),
            grown: Grown::new(),
            stored: 0,
            repeats: 0,
            unverified: 0,
            alarms: Vec::new(),
            losses: 0,
        }
    }

    pub(crate) fn tell(&self, findings: Findings) {
        for (room, clients) in findings.grown {
            self.wake.all(&room, &clients);
        }
        self.metrics.delivered("stored", findings.stored);
        self.metrics.delivered("repeat", findings.repeats);
        self.metrics.delivered("unverified", findings.unverified);
        self.metrics.lost(findings.losses);
        for alarm in findings.alarms {
            let Alarm {
                reason,
                room,
                had,
                shown,
            } = alarm;
            tracing::error!(
                reason,
                %room,
                had_seq = had.0.0,
                had_chain = hexadecimal(&had.1),
                shown_seq = shown.0.0,
                shown_chain = hexadecimal(&shown.1),
                "a hub contradicts what it showed before"
            );
            self.metrics.alarm(reason);
        }
    }
}

fn hexadecimal(chain: &Chain) -> String {
    chain.0.iter().map(|octet| format!("{octet:02x}")).collect()
}
