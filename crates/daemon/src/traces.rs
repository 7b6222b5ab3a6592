//! A trace goes on in the next process: the caller's `traceparent` (W3C Trace Context) travels beside its request.

use std::collections::HashMap;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Name of the header, or of the gRPC metadata.
pub const HEADER: &str = "traceparent";

/// The current span as a `traceparent`. None where nothing is traced.
pub fn current() -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    carrier.remove(HEADER)
}

/// `span`, which was not entered yet, belongs to the caller's trace. What is no `traceparent` changes nothing.
pub fn go_on(span: &Span, traceparent: &str) {
    let carrier = HashMap::from([(HEADER.to_owned(), traceparent.to_owned())]);
    // A span that nobody records has no parent either.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn traced(test: impl FnOnce()) {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let subscriber = tracing_subscriber::registry().with(tracing_opentelemetry::layer().with_tracer(tracer));
        tracing::subscriber::with_default(subscriber, test);
    }

    /// `00-TRACE-SPAN-FLAGS`.
    fn trace_id(traceparent: &str) -> &str {
        traceparent.split('-').nth(1).unwrap()
    }

    #[test]
    fn a_callee_goes_on_with_the_callers_trace() {
        traced(|| {
            let caller = tracing::info_span!("caller").in_scope(|| current().unwrap());
            let callee = tracing::info_span!("callee");
            go_on(&callee, &caller);
            let callee = callee.in_scope(|| current().unwrap());
            assert_eq!(trace_id(&caller), trace_id(&callee));
            assert_ne!(caller, callee);
        });
    }

    #[test]
    fn garbage_is_no_parent() {
        traced(|| {
            let callee = tracing::info_span!("callee");
            go_on(&callee, "00-zz-zz-zz");
            assert!(callee.in_scope(current).is_some());
        });
    }

    #[test]
    fn without_tracing_there_is_nothing_to_pass_on() {
        assert_eq!(current(), None);
    }
}
