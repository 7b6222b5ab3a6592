//! What is pushed to a collector, when one is configured.
#![allow(clippy::unwrap_used, reason = "tests")]

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::response::IntoResponse;
use daemon::Telemetry;
use daemon::telemetry::{LogFormat, Options, Service};
use opentelemetry::global;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

type Exports = mpsc::Sender<(String, Bytes)>;

/// Takes every export and says that it did: a gRPC answer with an empty message, its status ahead of it.
async fn take(State(exports): State<Exports>, uri: Uri, body: Bytes) -> impl IntoResponse {
    exports.send((uri.path().to_owned(), body)).await.unwrap();
    ([("content-type", "application/grpc"), ("grpc-status", "0")], [0; 5])
}

fn holds(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_and_metrics_reach_the_collector_before_the_process_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sender, mut exports) = mpsc::channel(16);
    let collector = Router::new().fallback(take).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, collector).await });

    let service = Service {
        name: "nave-test",
        version: "0",
        instance: "one".to_owned(),
    };
    let options = Options {
        log_format: LogFormat::Json,
        otlp_endpoint: Some(endpoint),
        trace_ratio: 1.0,
        ..Options::default()
    };
    let telemetry = Telemetry::start(service, &options).unwrap();
    tracing::info_span!("append").in_scope(|| ());
    global::meter("test").u64_counter("nave.test.calls").build().add(1, &[]);
    tokio::task::spawn_blocking(|| telemetry.stop()).await.unwrap();

    let mut seen = Vec::new();
    while let Ok((path, body)) = exports.try_recv() {
        assert!(holds(&body, "nave-test"), "{path} names the service");
        seen.push((path, holds(&body, "append"), holds(&body, "nave.test.calls")));
    }
    seen.sort();
    let collector = "/opentelemetry.proto.collector";
    let metrics = format!("{collector}.metrics.v1.MetricsService/Export");
    let traces = format!("{collector}.trace.v1.TraceService/Export");
    assert_eq!(seen, [(metrics, false, true), (traces, true, false)]);
}
