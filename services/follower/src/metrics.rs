//! What the follower counts. Labels are fixed words, or a provider that has shown who it is; never a room, a user or a client.

use ledger::follower::InboxTrimmed;
use mimi::Provider;
use opentelemetry::metrics::{Counter, UpDownCounter};
use opentelemetry::{KeyValue, global};

#[derive(Clone)]
pub(crate) struct Metrics {
    /// Entries stored; `outcome` is `stored`, `repeat`, `refused`, `unverified` (entries may be lacking before it: something
    /// came by /notify without its number, and its hub does not say what came in between).
    deliveries: Counter<u64>,
    /// A hub contradicts itself; `reason` is `gap`, `chain`, `bytes`, `head`. Somebody must look.
    alarms: Counter<u64>,
    /// Times that the clients of a room were told to join it again, since the hub's entries for it are lost.
    losses: Counter<u64>,
    /// Entries taken out of inboxes; `outcome` is `acknowledged`, or `unread` where some client had not acknowledged them.
    trimmed: Counter<u64>,
    /// KeyPackages given away; `outcome` is `given`, `exhausted`, `incompatible`, `repeat`, `refused`.
    claims: Counter<u64>,
    /// Entries of consent from other users; `outcome` is `noted`, `nothing`, `dropped` (nobody's, or too many).
    consents: Counter<u64>,
    /// Identifier queries; `source` is the provider that asks, `outcome` the code: who tries out names is seen here.
    queries: Counter<u64>,
    /// Event streams open now.
    pub(crate) streams: UpDownCounter<i64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("nave.follower");
        Self {
            deliveries: meter
                .u64_counter("nave.follower.deliveries")
                .with_unit("{entry}")
                .build(),
            alarms: meter.u64_counter("nave.follower.alarms").with_unit("{alarm}").build(),
            losses: meter.u64_counter("nave.follower.losses").with_unit("{room}").build(),
            trimmed: meter.u64_counter("nave.follower.trimmed").with_unit("{entry}").build(),
            claims: meter
                .u64_counter("nave.follower.claims")
                .with_unit("{key_package}")
                .build(),
            consents: meter.u64_counter("nave.follower.consents").with_unit("{entry}").build(),
            queries: meter.u64_counter("nave.follower.queries").with_unit("{query}").build(),
            streams: meter
                .i64_up_down_counter("nave.follower.streams")
                .with_unit("{stream}")
                .build(),
        }
    }

    pub(crate) fn delivered(&self, outcome: &'static str, count: u64) {
        self.deliveries.add(count, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn alarm(&self, reason: &'static str) {
        self.alarms.add(1, &[KeyValue::new("reason", reason)]);
    }

    pub(crate) fn lost(&self, count: u64) {
        self.losses.add(count, &[]);
    }

    pub(crate) fn trimmed(&self, trimmed: &InboxTrimmed) {
        let acknowledged = trimmed.entries - trimmed.unread;
        self.trimmed
            .add(acknowledged, &[KeyValue::new("outcome", "acknowledged")]);
        self.trimmed.add(trimmed.unread, &[KeyValue::new("outcome", "unread")]);
    }

    pub(crate) fn consented(&self, outcome: &'static str) {
        self.consents.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn queried(&self, source: &Provider, outcome: &'static str) {
        let labels = [
            KeyValue::new("source", source.as_str().to_owned()),
            KeyValue::new("outcome", outcome),
        ];
        self.queries.add(1, &labels);
    }

    pub(crate) fn claimed(&self, outcome: &'static str) {
        self.claims.add(1, &[KeyValue::new("outcome", outcome)]);
    }
}
