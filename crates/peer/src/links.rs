//! The link to one provider: dialled by the first who needs it, shared by all, left alone for a while after a failure
//! and tried again later.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{Code, Connection, Fanout, LedgerId};
use mimi::Provider;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use crate::Way;

/// How long a link that failed is left alone; doubles with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_secs(2);

/// How long a link is left alone at most.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// The link to one provider.
pub(crate) struct Link {
    state: Mutex<State>,
    /// Held by who dials or opens a stream: the others wait for the outcome.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    fanouts: HashMap<LedgerId, Fanout>,
    failures: u32,
    paused_until: Option<Instant>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// The connection, if it stands.
    pub(crate) fn open(&self) -> Option<Connection> {
        let state = self.state();
        state.connection.clone().filter(Connection::is_open)
    }

    /// Whether dialling makes no sense yet.
    pub(crate) fn is_paused(&self) -> bool {
        self.state().paused_until.is_some_and(|until| Instant::now() < until)
    }

    /// The other end is there again: it may be dialled at once.
    pub(crate) fn end_pause(&self) {
        self.state().paused_until = None;
    }

    /// The connection, dialled at one of the addresses of `address` (`host:port`) if it does not stand.
    pub(crate) async fn dial(&self, way: &Way, peer: &Provider, address: &str) -> Option<Connection> {
        let _turn = self.opening.lock().await;
        if let Some(open) = self.open() {
            return Some(open);
        }
        if self.is_paused() {
            return None;
        }
        let dialling = dial(way.endpoint.clone(), peer.clone(), address.to_owned());
        let dialled = way.runtime.spawn(dialling).await;
        let dialled = dialled.unwrap_or_else(|ended| Err(ended.to_string()));
        let mut state = self.state();
        match dialled {
            Ok(connection) => {
                tracing::info!(%peer, address, "link up");
                *state = State {
                    connection: Some(connection.clone()),
                    ..State::default()
                };
                Some(connection)
            }
            Err(why) => {
                let pause = PAUSE_MIN.saturating_mul(1 << state.failures.min(16)).min(PAUSE_MAX);
                tracing::warn!(%peer, address, why, ?pause, "no link, using HTTPS");
                state.failures = state.failures.saturating_add(1);
                state.paused_until = Some(Instant::now() + pause);
                None
            }
        }
    }

    /// The stream for the entries of `ledger`, opened on `connection` if there is none.
    pub(crate) async fn fanout(&self, way: &Way, connection: &Connection, ledger: LedgerId) -> Option<Fanout> {
        let _turn = self.opening.lock().await;
        if let Some(open) = self.state().fanouts.get(&ledger).filter(|fanout| fanout.is_open()) {
            return Some(open.clone());
        }
        let connection = connection.clone();
        let opening = way.runtime.spawn(async move { connection.fanout(ledger).await });
        let fanout = opening.await.ok()?.ok()?;
        let mut state = self.state();
        state.fanouts.retain(|_, fanout| fanout.is_open());
        state.fanouts.insert(ledger, fanout.clone());
        Some(fanout)
    }

    /// Closes it; it may be dialled again.
    pub(crate) fn close(&self) {
        let State { connection, .. } = std::mem::take(&mut *self.state());
        if let Some(connection) = connection {
            connection.close(Code::Done);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn dial(endpoint: link::Endpoint, peer: Provider, address: String) -> Result<Connection, String> {
    let connect_timeout = endpoint.limits().connect_timeout;
    let looked_up = timeout(connect_timeout, lookup_host(&address)).await;
    let addresses = match looked_up {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("looking up the address took too long".to_owned()),
    };
    let mut why = "the host has no address".to_owned();
    for address in addresses.take(4) {
        match endpoint.connect(&peer, address).await {
            Ok(connection) => return Ok(connection),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}
