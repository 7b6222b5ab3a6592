//! What a process used and what the machine was busy with, as Linux tells under `/proc`. Elsewhere nothing is told, and
//! what needs it reads "not measured".

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Ticks of `/proc/PID/stat` in a second: 100 on every architecture that Linux runs on today.
const TICKS: u64 = 100;

/// What one process has used since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU time, user and system.
    pub(crate) cpu: Duration,
    /// Octets that are resident.
    pub(crate) rss: u64,
    /// Octets that were resident at most.
    pub(crate) rss_peak: u64,
}

/// What the process `pid` has used. `None`: there is none, or the system does not tell.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        cpu: cpu_of(&stat)?,
        rss: kibibytes(&status, "VmRSS:")?,
        rss_peak: kibibytes(&status, "VmHWM:")?,
    })
}

/// The name in `stat` may hold anything: fields are counted from behind its last parenthesis.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (ticks.next()?.parse().ok()?, ticks.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * 1_000 / TICKS))
}

fn kibibytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number << 10)
}

/// What else the machine was busy with during a scenario.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Threads that can run at a time.
    pub(crate) cores: usize,
    /// Load averages over 1, 5 and 15 minutes, at the end.
    pub(crate) load: Option<[f64; 3]>,
    /// Percent of the CPUs' time that the hypervisor gave to others.
    pub(crate) steal_percent: Option<f64>,
}

/// Watches the machine from now on.
#[derive(Debug)]
pub(crate) struct Watch(Option<Ticks>);

#[derive(Debug, Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Watch {
    /// Begins.
    pub(crate) fn start() -> Self {
        Self(ticks())
    }

    /// What it saw.
    pub(crate) fn machine(&self) -> Machine {
        let steal = self.0.zip(ticks()).and_then(|(before, now)| {
            let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
            Some(100.0 * now.stolen.saturating_sub(before.stolen) as f64 / all as f64)
        });
        Machine {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            load: load(),
            steal_percent: steal,
        }
    }
}

fn ticks() -> Option<Ticks> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted among users already.
    let fields: Vec<u64> = fields
        .split_whitespace()
        .take(8)
        .filter_map(|n| n.parse().ok())
        .collect();
    Some(Ticks {
        all: fields.iter().sum(),
        stolen: *fields.get(7)?,
    })
}

fn load() -> Option<[f64; 3]> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    let mut figures = text.split_whitespace().map(str::parse);
    let mut next = || figures.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// How long a fixed amount of arithmetic takes now: what moves between two of these is the machine, not what is measured.
pub(crate) fn calibrate() -> Duration {
    let block = vec![0x5a_u8; 1 << 20];
    let began = Instant::now();
    let mut hash = Sha256::new();
    for _ in 0..128 {
        hash.update(&block);
    }
    std::hint::black_box(hash.finalize());
    began.elapsed()
}

/// Nanoseconds since the UNIX epoch: the one clock that the processes of a machine share.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_read_whatever_its_name_is() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_of("7 (a"), None);
    }

    #[test]
    fn resident_octets_are_read_by_name() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }
}
