//! Octets appended to a file, and made durable each time: what an embedded store cannot do without.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Octets of a file that are there before they are written, so that a sync finds its length settled.
const PREALLOCATED: u64 = 64 << 20;

/// What the loop took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Synced {
    /// Appends, each with a sync, in a second.
    pub(crate) per_second: f64,
    /// The middle one.
    pub(crate) p50: Duration,
}

/// Appends `octets` octets `count` times to a new file in `directory`, with an fdatasync each time.
///
/// # Errors
/// The disk does not serve.
pub(crate) fn appends(directory: &Path, count: usize, octets: usize) -> anyhow::Result<Synced> {
    let path = directory.join("bare-sync");
    let written = vec![0x5a; octets];
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.set_len(PREALLOCATED.max((count * octets) as u64))?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(count);
    let began = Instant::now();
    for _ in 0..count {
        let before = Instant::now();
        file.write_all(&written)?;
        file.sync_data()?;
        times.push(before.elapsed());
    }
    let took = began.elapsed();
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(Synced {
        per_second: count as f64 / took.as_secs_f64(),
        p50: *times.get(count / 2).context("nothing was appended")?,
    })
}
