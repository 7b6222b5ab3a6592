//! What goes wrong in a run, and when: all of it follows from the seed.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest as _, Sha256};

/// What the store makes of a commit that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// What is right.
    Answered,
    /// Refused, for no reason.
    Conflict,
    /// The same.
    TooOld,
    /// The same.
    Busy,
    /// Carried out, and not told.
    UnknownApplied,
    /// Lost, and not told.
    UnknownLost,
    /// Carried out so much later, when its client has given it up.
    Late(Duration),
}

/// How often the store lies, of all commits that write, and refuses, of all reads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) refused: f64,
    pub(crate) unknown: f64,
    pub(crate) late: f64,
    pub(crate) read_refused: f64,
}

impl Rates {
    pub(crate) fn fate(&self, random: &mut StdRng) -> Fate {
        let drawn: f64 = random.random();
        if drawn < self.refused {
            return [Fate::Conflict, Fate::TooOld, Fate::Busy][random.random_range(0..3)];
        }
        if drawn < self.refused + self.unknown {
            return [Fate::UnknownApplied, Fate::UnknownLost][random.random_range(0..2)];
        }
        if drawn < self.refused + self.unknown + self.late {
            return Fate::Late(late(random));
        }
        Fate::Answered
    }
}

/// One fault with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// The next append meets this.
    Doom(Fate),
    /// A hub that has a shard dies, and comes back so much later; if `on_append`, while its next append is on its way.
    KillHub { down: Duration, on_append: bool },
    /// The hub that was to die while its next append is on its way dies anyway.
    KillArmed { down: Duration },
    /// A hub that has a shard is told to hand everything over; it is killed when `grace` is over, and comes back so much
    /// later.
    DrainHub { grace: Duration, down: Duration },
    /// A hub that has a shard loses it, and comes back so much later; again after `every`, in all so often. If `orderly` it
    /// is told to hand everything over before it is killed.
    Storm {
        turns: u32,
        every: Duration,
        down: Duration,
        orderly: bool,
    },
    /// The wall clock of a hub that has a shard jumps.
    Jump(i64),
    /// A hub that has a shard does not reach the store for so long.
    Stall(Duration),
    /// A hub that has a shard reaches nobody and nothing for so long, and finds everything that was meant for it afterwards:
    /// to everybody else it slept.
    Freeze(Duration),
    /// An edge dies, and comes back so much later.
    KillEdge { edge: usize, down: Duration },
    /// An edge and a hub do not reach each other for so long; if `oneway`, the edge hears it and is not heard.
    CutEdge {
        edge: usize,
        hub: usize,
        oneway: bool,
        lasts: Duration,
    },
    /// A follower dies, and comes back so much later.
    KillFollower { follower: usize, down: Duration },
    /// A follower and both hubs do not reach each other for so long; if `oneway`, it hears them and is not heard.
    CutFollower {
        follower: usize,
        oneway: bool,
        lasts: Duration,
    },
}

/// The faults of one run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) acts: Vec<(Duration, Act)>,
    pub(crate) rates: Rates,
    /// Chance that an answer of a hub, or an acknowledgement of a follower, is lost.
    pub(crate) lost_answers: f64,
    /// How often a hub cannot tell how far a follower is.
    pub(crate) blind: f64,
    /// How far each hub's wall clock is off, in milliseconds.
    pub(crate) skew_ms: [i64; 2],
    /// How much of the work falls to each hub.
    pub(crate) weights: [u32; 2],
    /// How late each edge learns who serves what.
    pub(crate) map_lag: [Duration; 2],
    /// Rooms that a hub keeps in memory.
    pub(crate) rooms_max: usize,
    /// When clients do nothing; empty in most runs.
    pub(crate) lull: Range<Duration>,
    /// Nothing goes wrong from then on.
    pub(crate) until: Duration,
}

/// How long clients are silent: until what they asked for is delivered and written down, the hub is frozen
/// ([`FREEZE_AFTER`]), and the other one has taken over.
const LULL: Duration = Duration::from_secs(6);

const FREEZE_AFTER: Duration = Duration::from_millis(1_200);

/// When faults end.
const PHASE_ONE: Duration = Duration::from_secs(24);

impl Plan {
    /// The plan of a seed. Some faults every plan has: a kill, an unknown result with and one without effect.
    pub(crate) fn of(seed: u64, followers: usize) -> Self {
        let mut random = random(seed, "plan");
        let random = &mut random;
        let mut acts = vec![
            (within(random, 2_000..4_500), Act::Doom(Fate::UnknownApplied)),
            (within(random, 2_000..4_500), Act::Doom(Fate::UnknownLost)),
            (within(random, 3_000..20_000), Act::Doom(Fate::Late(late(random)))),
        ];
        let start = within(random, 11_500..13_500);
        let lull = start..start + if random.random_bool(0.4) { LULL } else { Duration::ZERO };
        let (kills, follower_kills, cuts) = if lull.is_empty() {
            (7_000..12_000, 4_000..21_000, 4_000..18_000)
        } else {
            (4_000..6_000, 4_000..6_000, 4_000..6_000)
        };
        acts.extend(kill(random, kills));
        if lull.is_empty() {
            if random.random_bool(0.6) {
                acts.extend(kill(random, 13_000..21_000));
            }
            if random.random_bool(0.4) {
                let (grace, down) = (within(random, 200..6_000), within(random, 100..4_000));
                acts.push((within(random, 5_000..18_000), Act::DrainHub { grace, down }));
            }
            if random.random_bool(0.3) {
                acts.push((
                    within(random, 4_000..20_000),
                    Act::Jump(random.random_range(-60_000..60_000)),
                ));
            }
            if random.random_bool(0.7) {
                acts.push((within(random, 5_000..20_000), Act::Stall(within(random, 500..7_000))));
            }
            if random.random_bool(0.5) {
                acts.push((within(random, 5_000..20_000), Act::Freeze(within(random, 1_000..8_000))));
            }
        } else {
            // Idle, it finds nothing to write when it is back, which would tell it that another has taken over: only
            // its fence does.
            let lasts = within(random, 7_000..8_500);
            acts.push((start + FREEZE_AFTER, Act::Freeze(lasts)));
        }
        for follower in 0..followers {
            if random.random_bool(0.5) {
                let down = within(random, 100..5_000);
                let at = within(random, follower_kills.clone());
                acts.push((at, Act::KillFollower { follower, down }));
            }
            if random.random_bool(0.5) {
                let (oneway, lasts) = (random.random_bool(0.5), within(random, 200..5_000));
                acts.push((
                    within(random, cuts.clone()),
                    Act::CutFollower {
                        follower,
                        oneway,
                        lasts,
                    },
                ));
            }
        }
        acts.extend(lull.is_empty().then(|| storm(seed)).flatten());
        let (edge_acts, map_lag) = edges(seed);
        acts.extend(edge_acts);
        acts.sort_by_key(|(at, _)| *at);
        Self {
            acts,
            rates: Rates {
                refused: random.random_range(0.0..0.08),
                unknown: random.random_range(0.0..0.05),
                late: random.random_range(0.0..0.02),
                read_refused: random.random_range(0.0..0.01),
            },
            lost_answers: random.random_range(0.01..0.06),
            blind: random.random_range(0.0..0.8),
            skew_ms: [random.random_range(-2_000..2_000), random.random_range(-2_000..2_000)],
            weights: [random.random_range(1..4), random.random_range(1..4)],
            map_lag,
            rooms_max: [2, 16][random.random_range(0..2)],
            lull,
            until: PHASE_ONE,
        }
    }
}

/// A kill of a hub that has a shard. One that dies with an append on its way may have sent it on a long one: then nobody tries
/// again meanwhile, and it has effect, if the next owner is slower.
fn kill(random: &mut StdRng, ms: Range<u64>) -> Vec<(Duration, Act)> {
    let at = within(random, ms);
    let on_append = random.random_bool(0.5);
    let down = within(random, 100..6_000);
    let delayed = on_append && random.random_bool(0.4);
    let delay = delayed.then(|| (at, Act::Doom(Fate::Late(late(random)))));
    delay
        .into_iter()
        .chain([(at, Act::KillHub { down, on_append })])
        .collect()
}

/// A storm of shards, in one of four plans.
fn storm(seed: u64) -> Option<(Duration, Act)> {
    let random = &mut random(seed, "storm");
    let storm = Act::Storm {
        turns: random.random_range(4..9),
        every: within(random, 500..2_000),
        down: within(random, 50..1_000),
        orderly: random.random_bool(0.5),
    };
    let at = within(random, 5_000..16_000);
    random.random_bool(0.25).then_some((at, storm))
}

/// What befalls the edges, and how late each learns who serves what.
fn edges(seed: u64) -> (Vec<(Duration, Act)>, [Duration; 2]) {
    let random = &mut random(seed, "edges");
    let mut acts = Vec::new();
    for edge in 0..2 {
        if random.random_bool(0.5) {
            let down = within(random, 100..3_000);
            acts.push((within(random, 3_000..20_000), Act::KillEdge { edge, down }));
        }
        if random.random_bool(0.5) {
            let cut = Act::CutEdge {
                edge,
                hub: random.random_range(0..2),
                oneway: random.random_bool(0.5),
                lasts: within(random, 200..6_000),
            };
            acts.push((within(random, 3_000..18_000), cut));
        }
    }
    let lag = [0; 2].map(|_| match random.random_bool(0.5) {
        true => within(random, 100..6_000),
        false => Duration::ZERO,
    });
    (acts, lag)
}

/// Later than some takeovers, earlier than the age at which the store refuses a transaction.
fn late(random: &mut StdRng) -> Duration {
    within(random, 100..4_900)
}

fn within(random: &mut StdRng, ms: Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(ms))
}

/// A random source of its own for each part of a run, so that one does not depend on how often another draws.
pub(crate) fn random(seed: u64, part: &str) -> StdRng {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(part.as_bytes());
    StdRng::from_seed(hash.finalize().into())
}
