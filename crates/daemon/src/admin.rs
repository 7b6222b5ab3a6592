//! The admin server tells how the process is, in the clear, to those who run it; it must not be reachable from outside.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::health::Health;

#[derive(Clone)]
struct Shared {
    health: Health,
    registry: Registry,
}

/// Serves `/livez` (the event loop runs), `/readyz` (every latch is open and nothing drains; `?verbose` says what it waits
/// for) and `/metrics` (Prometheus text) until `cancel`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    registry: Registry,
    cancel: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Shared { health, registry });
    axum::serve(listener, router)
        .with_graceful_shutdown(cancel.cancelled_owned())
        .await
}

async fn ready(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let waiting = shared.health.waiting_for();
    let (status, word) = if waiting.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned())
    };
    let text = match query.as_deref() {
        Some("verbose") => waiting
            .iter()
            .fold(word, |text, name| text + "waiting for " + name + "\n"),
        _ => word,
    };
    (status, text).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    match TextEncoder::new().encode_to_string(&shared.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
