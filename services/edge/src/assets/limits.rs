//! Bounds of assets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Section `assets.limits` of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssetLimits {
    /// Octets of an asset that a local user stores.
    pub asset_bytes_max: u64,
    /// Octets of an asset that is fetched from another provider.
    pub proxied_bytes_max: u64,
    /// Octets of an asset that the oblivious gateway answers with: they are held in memory. Larger ones are fetched in
    /// parts (`Range`).
    pub oblivious_bytes_max: usize,
    /// Uploads at a time; each holds some 24 MiB at most.
    pub uploads_max: usize,
    /// Downloads at a time.
    pub downloads_max: usize,
    /// Octets of other providers' assets that are kept in memory; 0: none.
    pub cache_bytes_max: u64,
    /// Octets of an asset that is kept.
    pub cached_bytes_max: usize,
    /// A transfer in which nothing moves for this long is given up.
    pub stall_ms: u64,
}

impl Default for AssetLimits {
    fn default() -> Self {
        Self {
            asset_bytes_max: 256 << 20,
            proxied_bytes_max: 1 << 30,
            oblivious_bytes_max: 4 << 20,
            uploads_max: 32,
            downloads_max: 512,
            cache_bytes_max: 64 << 20,
            cached_bytes_max: 1 << 20,
            stall_ms: 30_000,
        }
    }
}

impl AssetLimits {
    pub(crate) fn stall(&self) -> Duration {
        Duration::from_millis(self.stall_ms)
    }
}
