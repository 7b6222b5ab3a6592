//! The instruments of this crate, all in one place. No label names a room, a user or a provider.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};

/// Instruments of one hub.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    append: Histogram<f64>,
    batch: Histogram<u64>,
    rejections: Counter<u64>,
    overloads: Counter<u64>,
    rooms: UpDownCounter<i64>,
    loads: Histogram<f64>,
    shards: UpDownCounter<i64>,
    fenced: Counter<u64>,
    unfit: Gauge<u64>,
    trimmed: Counter<u64>,
    trimmed_bytes: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("nave");
        Self {
            append: meter
                .f64_histogram("nave.append.duration")
                .with_unit("s")
                .with_description("From the start of a batch's transaction until it is known to be durable")
                .build(),
            batch: meter
                .u64_histogram("nave.append.batch.entries")
                .with_unit("{entry}")
                .with_description("Entries of one batch")
                .build(),
            rejections: meter
                .u64_counter("nave.rejections")
                .with_unit("{request}")
                .with_description("Requests that a room refused, by reason")
                .build(),
            overloads: meter
                .u64_counter("nave.overloads")
                .with_unit("{request}")
                .with_description("Requests turned away because a queue was full")
                .build(),
            rooms: meter
                .i64_up_down_counter("nave.rooms.active")
                .with_unit("{room}")
                .with_description("Rooms in memory")
                .build(),
            loads: meter
                .f64_histogram("nave.rooms.load.duration")
                .with_unit("s")
                .with_description("From a room's activation until it can decide")
                .build(),
            shards: meter
                .i64_up_down_counter("nave.shards.owned")
                .with_unit("{shard}")
                .with_description("Shards that this process serves")
                .build(),
            fenced: meter
                .u64_counter("nave.shards.fenced")
                .with_unit("{shard}")
                .with_description("Shards lost to another owner's fence")
                .build(),
            unfit: meter
                .u64_gauge("nave.clock.unfit")
                .with_description(
                    "1 while this node's wall clock is too far off the others', or not compared yet; else 0",
                )
                .build(),
            trimmed: meter
                .u64_counter("nave.log.trimmed")
                .with_unit("{entry}")
                .with_description("Entries taken out of shard logs, acknowledged by all and past their retention")
                .build(),
            trimmed_bytes: meter
                .u64_counter("nave.log.trimmed.size")
                .with_unit("By")
                .with_description("Octets of those entries' messages")
                .build(),
        }
    }

    pub(crate) fn trimmed(&self, trimmed: &ledger::Trimmed) {
        self.trimmed.add(trimmed.entries as u64, &[]);
        self.trimmed_bytes.add(trimmed.bytes, &[]);
    }

    pub(crate) fn appended(&self, entries: usize, took: Duration) {
        self.append.record(took.as_secs_f64(), &[]);
        self.batch.record(entries as u64, &[]);
    }

    pub(crate) fn rejected(&self, refusal: &room::Refusal) {
        let reason = match refusal {
            room::Refusal::Malformed(_) => "malformed",
            room::Refusal::Forbidden(_) => "forbidden",
            room::Refusal::WrongEpoch { .. } => "wrong_epoch",
            room::Refusal::EpochTooOld { .. } => "epoch_too_old",
            room::Refusal::NotAllowed(_) => "not_allowed",
            room::Refusal::InvalidProposal { .. } => "invalid_proposal",
        };
        self.rejections.add(1, &[KeyValue::new("reason", reason)]);
    }

    pub(crate) fn overloaded(&self) {
        self.overloads.add(1, &[]);
    }

    pub(crate) fn rooms(&self, change: i64) {
        self.rooms.add(change, &[]);
    }

    pub(crate) fn loaded(&self, took: Duration) {
        self.loads.record(took.as_secs_f64(), &[]);
    }

    pub(crate) fn shards(&self, change: i64) {
        self.shards.add(change, &[]);
    }

    pub(crate) fn fenced(&self) {
        self.fenced.add(1, &[]);
    }

    pub(crate) fn unfit(&self, is_unfit: bool) {
        self.unfit.record(is_unfit.into(), &[]);
    }
}
