//! Names of all metrics of the edge.

use std::time::Instant;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

/// Instruments; each has its sentence where it is made.
pub(crate) struct Metrics {
    requests: Histogram<f64>,
    redirects: Counter<u64>,
    retries: Counter<u64>,
    gaps: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("nave-edge");
        Self {
            requests: meter
                .f64_histogram("nave.edge.request.duration")
                .with_unit("s")
                .with_description("from a request admitted to its answer, by endpoint, transport and status")
                .build(),
            redirects: meter
                .u64_counter("nave.edge.redirects")
                .with_unit("{redirect}")
                .with_description("answers of a hub node that it does not own the room's shard")
                .build(),
            gaps: meter
                .u64_counter("nave.edge.gaps")
                .with_unit("{gap}")
                .with_description("gaps before delivered entries, by outcome: filled, later, never")
                .build(),
            retries: meter
                .u64_counter("nave.edge.retries")
                .with_unit("{request}")
                .with_description("requests brought again because a hub node was lost before it answered")
                .build(),
        }
    }

    /// Endpoint names, transports and statuses are bounded sets.
    pub(crate) fn answered(&self, endpoint: &'static str, transport: &'static str, status: u16, since: Instant) {
        let labels = [
            KeyValue::new("endpoint", endpoint),
            KeyValue::new("transport", transport),
            KeyValue::new("status", i64::from(status)),
        ];
        self.requests.record(since.elapsed().as_secs_f64(), &labels);
    }

    pub(crate) fn redirected(&self) {
        self.redirects.add(1, &[]);
    }

    pub(crate) fn filled(&self, outcome: &'static str) {
        self.gaps.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn brought_again(&self) {
        self.retries.add(1, &[]);
    }
}
