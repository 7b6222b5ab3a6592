//! The C client's network thread: started once per process, stopped when the process exits.

use foundationdb::api::{FdbApiBuilder, NetworkAutoStop, get_max_api_version};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::open::OpenError;

/// Whether the thread runs, decided by the first who asked. It cannot be started a second time, so neither is a failure
/// tried again.
static STARTED: OnceLock<Result<(), Failure>> = OnceLock::new();

/// What stops the thread, for whoever stops it.
static RUNNING: Mutex<Option<NetworkAutoStop>> = Mutex::new(None);

#[derive(Clone, Debug)]
enum Failure {
    ClientTooOld { known: i32, needed: i32 },
    Client(String),
}

/// Starts the network thread unless it runs.
pub(crate) fn start() -> Result<(), OpenError> {
    match STARTED.get_or_init(boot) {
        Ok(()) => Ok(()),
        Err(Failure::ClientTooOld { known, needed }) => Err(OpenError::ClientTooOld {
            known: *known,
            needed: *needed,
        }),
        Err(Failure::Client(reason)) => Err(OpenError::Network(reason.clone())),
    }
}

#[allow(
    unsafe_code,
    reason = "the client is C, and its network has to be stopped before the process exits"
)]
fn boot() -> Result<(), Failure> {
    let api = FdbApiBuilder::default();
    let (known, needed) = (get_max_api_version(), api.runtime_version());
    // Asked before, because selecting an unknown version prints to standard output.
    if known < needed {
        return Err(Failure::ClientTooOld { known, needed });
    }
    let network = api.build().map_err(|error| Failure::Client(error.to_string()))?;
    // SAFETY: `stop` is registered and drops what is returned here before the process exits. If it cannot be registered,
    // the thread is stopped at once.
    let running = unsafe { network.boot() }.map_err(|error| Failure::Client(error.to_string()))?;
    if !stop_at_exit() {
        drop(running);
        return Err(Failure::Client("no place to stop it at exit".to_owned()));
    }
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    Ok(())
}

/// Lets the process stop the thread when it exits, before it destroys what the client has made until now.
///
/// The client makes some of its statics when it first uses them, and reads them while it stops. What was registered last runs
/// first at exit, so this is called again after the client has worked. Whether there was a place.
#[allow(unsafe_code, reason = "the standard library has nothing that runs at exit")]
pub(crate) fn stop_at_exit() -> bool {
    // SAFETY: `stop` has the signature that `atexit` asks for, and unwinds nowhere.
    unsafe { libc::atexit(stop) == 0 }
}

/// Stops the network thread, unless that was done, and waits for its end.
extern "C" fn stop() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    // On a thread of its own: the client keeps things per thread, and those of the exiting one are destroyed already.
    let stopping = std::thread::Builder::new().spawn(move || drop(running));
    // It does not panic, and where there is no thread left the network was stopped by dropping what it would have got.
    let _ = stopping.map(std::thread::JoinHandle::join);
}
