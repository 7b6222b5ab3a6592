//! One process: logs, health, metrics and signals around the work of a tier.

use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use daemon::{Health, Latch, Telemetry, admin, descriptors, drain, memory, telemetry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// From not ready to no new work, so that whoever balances load notices.
const DRAIN_GRACE: Duration = Duration::from_millis(500);

/// Which process it is.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// As in `nave-hub`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Program {
    /// Runs `work` on a runtime of its own. What goes wrong is said on standard error, after the program's name.
    pub fn main(self, work: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        match runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(work))
        {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error:#}", self.name);
                ExitCode::FAILURE
            }
        }
    }

    /// Starts logs, metrics and the admin server, then `work`, which opens the latch when it is ready, and at SIGTERM or
    /// SIGINT, when the token is cancelled, drains and returns. A second signal ends the process at once.
    ///
    /// # Errors
    /// Those of `work`; or the admin port is taken.
    pub async fn run<W, F>(self, admin_address: SocketAddr, options: &telemetry::Options, work: W) -> anyhow::Result<()>
    where
        W: FnOnce(Latch, CancellationToken) -> F,
        F: Future<Output = anyhow::Result<()>>,
    {
        let service = telemetry::Service {
            name: self.name,
            version: self.version,
            instance: hex::encode(rand::random::<[u8; 8]>()),
        };
        let telemetry = Telemetry::start(service, options)?;
        let health = Health::default();
        let stop = drain::on_signals(health.clone(), DRAIN_GRACE).context("install signal handlers")?;
        let started = health.latch("work");

        let listener = bind(admin_address, "admin").await?;
        let admin_stop = CancellationToken::new();
        let admin = tokio::spawn(admin::serve(listener, health, telemetry.registry(), admin_stop.clone()));
        // Whoever may not have more serves with what there is.
        match descriptors::raise() {
            Ok(raised) => tracing::info!(before = raised.before, now = raised.now, "open files allowed"),
            Err(error) => tracing::warn!(%error, "cannot raise how many files may be open"),
        }
        if let Err(error) = memory::without_huge_pages() {
            tracing::warn!(%error, "cannot do without huge pages: some answers will take longer");
        }
        tracing::info!(admin = %admin_address, "starting");
        Box::pin(work(started, stop)).await?;
        admin_stop.cancel();
        admin.await.context("admin server")?.context("admin server")?;
        tracing::info!("drained");
        telemetry.stop();
        Ok(())
    }
}

/// A listener; `key` is the configuration's for `address`.
///
/// # Errors
/// The address cannot be bound.
pub async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{key}: cannot bind TCP {address}"))
}
