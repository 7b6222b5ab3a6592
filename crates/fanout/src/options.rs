//! Limits and times of couriers.

use std::time::Duration;

/// Every bound of a shard's couriers.
#[derive(Debug, Clone)]
pub struct Options {
    /// Entries that the memory tail of a shard holds before the oldest are indexed and dropped.
    pub tail_entries_max: usize,
    /// Octets of messages that the memory tail of a shard holds before the oldest are indexed and dropped.
    pub tail_bytes_max: usize,
    /// Entries of one delivery.
    pub window_entries_max: usize,
    /// Octets of messages of one delivery; one larger message goes alone.
    pub window_bytes_max: usize,
    /// What a follower is due behind a delivery gathers for half the time that the delivery took, and no longer than this,
    /// unless it fills the next one before. After a pause as long it goes at once.
    pub linger_max: Duration,
    /// Offsets remembered as acknowledged above a follower's low watermark.
    pub above_max: usize,
    /// Cursors become durable at least this often while they change, and at most twice as often.
    pub report_every: Duration,
    /// The first wait after a failure is at most this long; each further one at most twice the one before.
    pub backoff_min: Duration,
    /// No wait that we choose is longer.
    pub backoff_max: Duration,
    /// No wait that a follower asks for is honoured beyond this.
    pub retry_after_max: Duration,
    /// An entry that was refused so often, where it can be brought again at all, is set aside.
    pub refusals_max: u32,
    /// Entries set aside that are remembered for each follower and shard, from each opening of the shard on. Where followers
    /// refuse more between two reports than one holds, what is beyond is not remembered either.
    pub set_aside_max: usize,
    /// An attempt that has not ended by then has failed.
    pub attempt_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tail_entries_max: 8_192,
            tail_bytes_max: 16 << 20,
            window_entries_max: 256,
            window_bytes_max: 1 << 20,
            linger_max: Duration::from_millis(2),
            above_max: 1_024,
            report_every: Duration::from_millis(100),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            retry_after_max: Duration::from_secs(3_600),
            refusals_max: 5,
            set_aside_max: 1_024,
            attempt_max: Duration::from_secs(60),
        }
    }
}
