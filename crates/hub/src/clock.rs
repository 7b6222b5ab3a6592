//! The wall clock, as a parameter.

use std::time::{SystemTime, UNIX_EPOCH};

use room::Millis;
use shard::WallClock;

/// Says when a command is accepted. Rooms keep accepted times strictly increasing, whatever it says.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the UNIX epoch.
    fn now(&self) -> Millis;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<SystemClock> for WallClock {
    fn from(clock: SystemClock) -> Self {
        Self::new(move || clock.now().0)
    }
}
