//! How long what was delivered is kept: the same words for the hub's logs and the follower's inboxes.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde::Deserialize;

/// It is looked at least so often whether something may go.
const EVERY_MAX: Duration = Duration::from_secs(60);

/// How long what was delivered is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Seconds for which an entry is kept at least, once everybody to whom it is due has acknowledged it.
    pub acknowledged_s: u64,
    /// Seconds after which an entry goes that somebody has not acknowledged; who it is due to is told. Above
    /// `acknowledged_s`.
    pub regardless_s: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            acknowledged_s: 24 * 60 * 60,
            regardless_s: 30 * 24 * 60 * 60,
        }
    }
}

impl Retention {
    /// Whether the one is above the other.
    ///
    /// # Errors
    /// Says the file, the keys and what is allowed.
    pub fn check(self, file: &Path) -> anyhow::Result<()> {
        let Self {
            acknowledged_s,
            regardless_s,
        } = self;
        ensure!(
            regardless_s > acknowledged_s,
            "{}: retention.regardless_s must be above retention.acknowledged_s, which is {acknowledged_s}, and is {regardless_s}",
            file.display()
        );
        Ok(())
    }

    /// For what everybody has acknowledged.
    pub fn acknowledged(self) -> Duration {
        Duration::from_secs(self.acknowledged_s)
    }

    /// For what somebody has not.
    pub fn regardless(self) -> Duration {
        Duration::from_secs(self.regardless_s)
    }

    /// How often it is looked whether something may go.
    pub fn every(self) -> Duration {
        self.acknowledged().clamp(Duration::from_secs(1), EVERY_MAX)
    }
}
