//! The instruments of this crate, all in one place. No label names a room or a provider.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram, UpDownCounter};
use opentelemetry::{KeyValue, global};
use route::ShardId;

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// Everything was acknowledged.
    Acknowledged,
    /// Something is still due.
    Partial,
    /// Nothing is known to have arrived.
    Failed,
}

/// Instruments of a shard's couriers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    lag: Gauge<u64>,
    delivery: Histogram<f64>,
    inflight: UpDownCounter<i64>,
    refused: Counter<u64>,
    set_aside: Counter<u64>,
    indexed: Counter<u64>,
    expired: Counter<u64>,
    untold: Gauge<u64>,
    shard: KeyValue,
}

impl Metrics {
    pub(crate) fn new(shard: ShardId) -> Self {
        let meter = global::meter("nave");
        Self {
            lag: meter
                .u64_gauge("nave.fanout.lag")
                .with_unit("{entry}")
                .with_description("Log entries between a shard's head and its slowest follower's cursor")
                .build(),
            delivery: meter
                .f64_histogram("nave.fanout.delivery.duration")
                .with_unit("s")
                .with_description("From the start of a delivery to its acknowledgement or failure")
                .build(),
            inflight: meter
                .i64_up_down_counter("nave.fanout.inflight")
                .with_unit("{request}")
                .with_description("Deliveries that have not ended")
                .build(),
            refused: meter
                .u64_counter("nave.fanout.refused")
                .with_unit("{entry}")
                .with_description("Refusals of entries by followers")
                .build(),
            set_aside: meter
                .u64_counter("nave.fanout.set_aside")
                .with_unit("{entry}")
                .with_description("Entries that a follower does not get, since it refuses them")
                .build(),
            indexed: meter
                .u64_counter("nave.fanout.indexed")
                .with_unit("{entry}")
                .with_description("Entries indexed for a follower that fell behind the memory tail")
                .build(),
            expired: meter
                .u64_counter("nave.fanout.expired")
                .with_unit("{follower}")
                .with_description("Followers that lost entries of a shard, since they took none for too long")
                .build(),
            untold: meter
                .u64_gauge("nave.fanout.untold")
                .with_unit("{follower}")
                .with_description("Followers that lost entries of a shard and could not be told yet")
                .build(),
            shard: KeyValue::new("shard", i64::from(shard.0)),
        }
    }

    pub(crate) fn lag(&self, entries: u64) {
        self.lag.record(entries, std::slice::from_ref(&self.shard));
    }

    pub(crate) fn untold(&self, followers: usize) {
        self.untold.record(followers as u64, std::slice::from_ref(&self.shard));
    }

    pub(crate) fn expired(&self) {
        self.expired.add(1, &[]);
    }

    pub(crate) fn started(&self) {
        self.inflight.add(1, &[]);
    }

    pub(crate) fn ended(&self, outcome: Outcome, took: Duration) {
        let name = match outcome {
            Outcome::Acknowledged => "acknowledged",
            Outcome::Partial => "partial",
            Outcome::Failed => "failed",
        };
        self.inflight.add(-1, &[]);
        self.delivery
            .record(took.as_secs_f64(), &[KeyValue::new("outcome", name)]);
    }

    pub(crate) fn refused(&self) {
        self.refused.add(1, &[]);
    }

    pub(crate) fn set_aside(&self) {
        self.set_aside.add(1, &[]);
    }

    pub(crate) fn indexed(&self, entries: u64) {
        self.indexed.add(entries, &[]);
    }
}
