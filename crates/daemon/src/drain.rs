//! A process asked to stop first stops being ready, then takes no new work, then finishes what it has. Asked twice, it
//! exits at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::health::Health;

/// Exit code after a second signal, as a shell reports death by SIGINT.
pub const EXIT_AT_ONCE: i32 = 130;

/// A token that is cancelled on SIGTERM or SIGINT, `grace` after `health` says that the process is draining (so that load
/// balancers notice first). A second signal ends the process with [`EXIT_AT_ONCE`]. Call it once, inside a tokio runtime.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn on_signals(health: Health, grace: Duration) -> std::io::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let drained = stop.clone();
    tokio::spawn(async move {
        let name = either(&mut term, &mut int).await;
        tracing::info!(signal = name, "draining");
        health.draining();
        tokio::select! {
            biased;
            name = either(&mut term, &mut int) => exit(name),
            () = tokio::time::sleep(grace) => drained.cancel(),
        }
        exit(either(&mut term, &mut int).await);
    });
    Ok(stop)
}

async fn either(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        biased;
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

fn exit(signal: &str) {
    tracing::warn!(signal, "second signal, exiting at once");
    std::process::exit(EXIT_AT_ONCE);
}
