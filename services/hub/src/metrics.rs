//! The instruments of this service, all in one place.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    calls: Histogram<f64>,
    deliveries: Counter<u64>,
    reports: Counter<u64>,
    verdicts: Counter<u64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let meter = global::meter("nave");
        Self {
            calls: meter
                .f64_histogram("rpc.server.duration")
                .with_unit("s")
                .with_description("From a request's arrival at the hub to its reply, by kind and outcome")
                .build(),
            deliveries: meter
                .u64_counter("nave.fanout.deliveries")
                .with_unit("{delivery}")
                .with_description("Deliveries begun, by transport")
                .build(),
            reports: meter
                .u64_counter("nave.abuse.reports")
                .with_unit("{report}")
                .with_description("Reports of abuse that were heard, by what became of them")
                .build(),
            verdicts: meter
                .u64_counter("nave.abuse.messages")
                .with_unit("{message}")
                .with_description("Messages of filed reports of abuse, by verdict")
                .build(),
        }
    }

    pub(crate) fn called(&self, kind: &'static str, outcome: &'static str, took: Duration) {
        let labels = [KeyValue::new("kind", kind), KeyValue::new("outcome", outcome)];
        self.calls.record(took.as_secs_f64(), &labels);
    }

    pub(crate) fn reported(&self, outcome: &'static str) {
        self.reports.add(1, &[KeyValue::new("outcome", outcome)]);
    }

    pub(crate) fn judged(&self, verdict: &'static str) {
        self.verdicts.add(1, &[KeyValue::new("verdict", verdict)]);
    }

    pub(crate) fn delivered_by(&self, transport: &'static str) {
        self.deliveries.add(1, &[KeyValue::new("transport", transport)]);
    }
}
