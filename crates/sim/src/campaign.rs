//! Many seeds, each played to its end, and what came of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::ValueEnum as _;
use serde::Serialize;

use crate::Sabotage;
use crate::marks::{Mark, Marks};
use crate::scenario::{self, Failed};
use crate::trace;

/// Seeds of every test run, from 0.
pub const SEEDS: u64 = 200;

/// The last lines of the trace of a seed that failed.
const LAST: usize = 30;

/// Which seeds are played, and on how many threads beside each other.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Threads.
    pub threads: usize,
    /// How the cluster is broken.
    pub sabotage: Sabotage,
}

/// What came of a campaign.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// How many seeds were played.
    pub seeds: u64,
    /// Those that broke a promise, in order.
    pub failed: Vec<FailedSeed>,
    /// How often each rare branch was reached, by all that did not fail.
    pub marks: BTreeMap<String, u64>,
    /// Rare branches that were not reached.
    pub missing: Vec<String>,
}

/// A seed that broke a promise.
#[derive(Debug, Clone, Serialize)]
pub struct FailedSeed {
    /// The seed.
    pub seed: u64,
    /// The command that plays it again.
    pub replay: String,
    /// What was broken, and how it was seen.
    pub promise: String,
    /// The last that happened.
    #[serde(skip)]
    pub trace: Vec<String>,
}

/// Plays one seed, and gives its whole trace.
///
/// # Errors
/// A promise is broken; the trace reaches to where it was seen.
pub fn play(seed: u64, sabotage: Sabotage) -> Result<Vec<String>, FailedSeed> {
    match scenario::play_with(seed, sabotage) {
        Ok(played) => Ok(trace::lines(&played.evidence.events).collect()),
        Err(failed) => Err(FailedSeed::new(seed, sabotage, failed)),
    }
}

impl FailedSeed {
    fn new(seed: u64, sabotage: Sabotage, Failed { why, trace }: Failed) -> Self {
        let broken = match sabotage.to_possible_value() {
            Some(named) if sabotage != Sabotage::None => format!(" --sabotage {}", named.get_name()),
            _ => String::new(),
        };
        Self {
            seed,
            replay: format!("cargo run --release -p sim -- --seed {seed}{broken}"),
            promise: why,
            trace,
        }
    }
}

impl Campaign {
    /// Plays every seed. `played` hears of each, with how many are done.
    pub fn play(&self, played: impl Fn(u64, Option<&FailedSeed>) + Sync) -> Report {
        let next = AtomicU64::new(0);
        let found = Mutex::new((0, Vec::new(), Marks::default()));
        let work = || {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let seed = usize::try_from(turn).ok().and_then(|turn| self.seeds.get(turn));
                let Some(seed) = seed else { return };
                let result = scenario::play_with(*seed, self.sabotage);
                let mut found = found.lock().expect("nothing panics while it holds this lock");
                let (done, failed, marks) = &mut *found;
                *done += 1;
                match result {
                    Ok(run) => {
                        marks.add(&run.marks);
                        played(*done, None);
                    }
                    Err(why) => {
                        let seed = FailedSeed::new(*seed, self.sabotage, why);
                        played(*done, Some(&seed));
                        failed.push(seed);
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(work);
            }
        });
        let (seeds, mut failed, marks) = found.into_inner().expect("nothing panics while it holds this lock");
        failed.sort_by_key(|failed: &FailedSeed| failed.seed);
        Report {
            seeds,
            failed,
            missing: marks.missing(&Mark::ALL).map(|mark| format!("{mark:?}")).collect(),
            marks: marks
                .counts()
                .map(|(mark, count)| (format!("{mark:?}"), count))
                .collect(),
        }
    }
}

impl std::fmt::Display for FailedSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seed,
            replay,
            promise,
            trace,
        } = self;
        let last = trace[trace.len().saturating_sub(LAST)..].join("\n");
        write!(
            f,
            "seed {seed}: {promise}\nthe last of its trace:\n{last}\nreplay: {replay}"
        )
    }
}
