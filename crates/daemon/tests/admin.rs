//! The admin server, over a loopback socket.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;

use daemon::telemetry::{LogFormat, Options, Service};
use daemon::{Health, Telemetry, admin};
use opentelemetry::global;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

async fn ask(to: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}

#[tokio::test]
async fn health_and_metrics_are_told_until_the_end() {
    let service = Service {
        name: "nave-test",
        version: "0",
        instance: "one".to_owned(),
    };
    let options = Options {
        log_format: LogFormat::Json,
        ..Options::default()
    };
    let telemetry = Telemetry::start(service, &options).unwrap();
    let health = Health::default();
    let latch = health.latch("store");
    let cancel = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(admin::serve(
        listener,
        health.clone(),
        telemetry.registry(),
        cancel.clone(),
    ));

    assert_eq!(ask(address, "/livez").await.0, 200);
    let (status, body) = ask(address, "/readyz?verbose").await;
    assert_eq!((status, body.as_str()), (503, "not ready\nwaiting for store\n"));
    latch.open();
    assert_eq!(ask(address, "/readyz").await, (200, "ok\n".to_owned()));

    let meter = global::meter("test");
    meter.u64_counter("nave.test.calls").build().add(3, &[]);
    let durations = meter.f64_histogram("nave.test.duration").with_unit("s").build();
    durations.record(0.0007, &[]);
    let (status, metrics) = ask(address, "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        metrics.contains("nave_test_calls_total{otel_scope_name=\"test\"} 3"),
        "{metrics}"
    );
    assert!(
        metrics.contains("nave_test_duration_seconds_bucket{otel_scope_name=\"test\",le=\"0.001\"} 1"),
        "{metrics}"
    );

    health.draining();
    assert_eq!(ask(address, "/readyz").await.0, 503);
    assert_eq!(ask(address, "/livez").await.0, 200);
    telemetry.filter("debug").unwrap();
    telemetry.filter("not=a=filter").unwrap_err();
    cancel.cancel();
    serving.await.unwrap().unwrap();
    telemetry.stop();
}
