//! What followers that take nothing cost those that do. Two hubs are given the same, as much as they take, in turn: one
//! whose followers are all well, and one with others besides: a process that stands still, or an address that never
//! answers. Then all that stood still go on at once, and must be shown everything that they missed.

use std::time::Instant;

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use super::Setting;
use super::bench::{Bench, IN_FLIGHT, milliseconds};
use crate::drive::Pace;
use crate::generator::Shot;
use crate::measure::{Watch, calibrate};
use crate::report::{Goal, Outcome, Sample, Settings};
use crate::stage::Shape;
use crate::volley::{Volley, arrived, faults};

/// Messages of a volley that goes before and does not count, as a share of the one that does.
const WARM_UP: usize = 5;

/// The sink whose followers are well.
const WELL: &[usize] = &[0];
/// The one that stands still.
const STANDS: usize = 1;

/// Followers from which on the memory that they cost is told apart from that which the hub takes by itself.
const MEMORY_TOLD: usize = 20;

const WITHOUT: &str = "the same without them";

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Followers that are well
    #[arg(long, value_name = "N", default_value_t = 9)]
    well: usize,
    /// Followers that stand still and return at once; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,100")]
    stalled: Vec<usize>,
    /// Followers whose address never answers
    #[arg(long, value_name = "N", default_value_t = 1)]
    black_holed: usize,
    /// Rooms; every follower is in each
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages of a round
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: usize,
}

/// Who does not take anything.
#[derive(Debug, Clone, Copy)]
enum Ill {
    Stalled(usize),
    BlackHoled(usize),
}

impl Ill {
    fn shape(self, well: usize) -> Shape {
        match self {
            Self::Stalled(count) => Shape::sinks(&[well, count]),
            Self::BlackHoled(count) => Shape {
                sinks: vec![well],
                holes: count,
            },
        }
    }

    fn name(self) -> String {
        match self {
            Self::Stalled(count) => format!("{count} stalled"),
            Self::BlackHoled(count) => format!("{count} black-holed"),
        }
    }

    fn count(self) -> usize {
        match self {
            Self::Stalled(count) | Self::BlackHoled(count) => count,
        }
    }
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    ensure!(
        options.well > 0 && options.rooms > 0 && !options.stalled.contains(&0),
        "no followers, or no rooms"
    );
    let mut options = options.clone();
    if setting.quick {
        options.messages = options.messages.min(2_000);
        options.rooms = options.rooms.min(4);
        options.stalled.iter_mut().for_each(|count| *count = (*count).min(20));
    }
    let settings = Settings::from([
        ("well", json!(options.well)),
        ("stalled", json!(options.stalled)),
        ("black_holed", json!(options.black_holed)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
        ("messages", json!(options.messages)),
        ("in_flight", json!(IN_FLIGHT)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("stalled", settings, &watch);
    let holes = (options.black_holed > 0).then_some(Ill::BlackHoled(options.black_holed));
    for ill in options.stalled.iter().copied().map(Ill::Stalled).chain(holes) {
        let (rooms, size) = (options.rooms, options.size);
        let mut pair = Pair {
            options: &options,
            ill,
            without: Bench::set_up(setting, &Shape::sinks(&[options.well]), rooms, size).await?,
            with: Bench::set_up(setting, &ill.shape(options.well), rooms, size).await?,
        };
        let played = setting
            .rounds
            .play(calibrate, async |number| pair.round(number).await)
            .await?;
        let without = pair.without.end(&mut outcome);
        let with = pair.with.end(&mut outcome);
        outcome.processes.extend(without.into_iter().chain(with));
        outcome.take(&played);
    }
    outcome.machine = watch.machine();
    Ok(outcome)
}

/// The two hubs.
struct Pair<'a> {
    options: &'a Options,
    ill: Ill,
    without: Bench,
    with: Bench,
}

/// What one hub did.
struct Did {
    volley: Volley,
    /// Octets by which its resident memory grew.
    grown: f64,
}

impl Pair<'_> {
    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let (messages, ill) = (self.options.messages, self.ill);
        let name = |what: &str| format!("round {}, {}: {what}", number + 1, ill.name());
        let pace = Pace::InFlight(IN_FLIGHT);
        let all = self.with.stage.all();
        for (bench, sinks) in [(&mut self.without, WELL), (&mut self.with, &all)] {
            bench.volley(name("warm-up"), messages / WARM_UP, pace, sinks).await?;
        }
        let alone = did(&mut self.without, name("all are well"), messages).await?;
        let stands = matches!(ill, Ill::Stalled(_));
        if stands {
            self.with.stage.sink(STANDS)?.freeze()?;
        }
        let beside = did(&mut self.with, name("not all are"), messages).await;
        let thawed = Instant::now();
        if stands {
            // Also where the volley failed: a process that stands still can be told nothing.
            self.with.stage.sink(STANDS)?.thaw()?;
        }
        let beside = beside?;
        let mut samples = self.samples(&alone, &beside);
        if stands {
            self.returned(&beside.volley.shots).await?;
            samples.push(Sample::new(
                self.of("all have returned and were shown everything after"),
                "s",
                thawed.elapsed().as_secs_f64(),
            ));
        }
        Ok(samples)
    }

    /// Waits for those that stood still, and checks what they were shown.
    async fn returned(&mut self, shots: &[Shot]) -> anyhow::Result<()> {
        let stage = &self.with.stage;
        arrived(stage, &[STANDS], shots.len() as u64, |_| {}).await?;
        let collected = stage.collect_of(&[STANDS]).await?;
        let found = faults(&self.with.crowd.rooms, shots, &collected);
        self.with.fault(found);
        Ok(())
    }

    fn of(&self, metric: &str) -> String {
        format!(
            "{metric}, {} beside {} that are well",
            self.ill.name(),
            self.options.well
        )
    }

    fn samples(&self, alone: &Did, beside: &Did) -> Vec<Sample> {
        let rate = |volley: &Volley| volley.delivered as f64 / volley.delivering.as_secs_f64();
        let p99 = |volley: &Volley| milliseconds(&volley.deliver_us, 0.99);
        let grown = (beside.grown - alone.grown).max(0.0) / self.ill.count() as f64;
        let (alone, beside) = (&alone.volley, &beside.volley);
        let memory = Sample::new(
            self.of("memory of the hub for each that takes nothing"),
            "MiB",
            mebibytes(grown),
        );
        vec![
            Sample::new(self.of("delivered to the well"), "1/s", rate(beside))
                .beside(WITHOUT, rate(alone))
                .goal(Goal::RatioAtLeast(0.95)),
            Sample::new(self.of("due to shown, the well, saturated, p99"), "ms", p99(beside))
                .beside(WITHOUT, p99(alone)),
            match self.ill.count() {
                // The growth of the hub's own caches is more than that of a few followers.
                few if few < MEMORY_TOLD => memory,
                _ => memory.beside("1 MiB", 1.0).goal(Goal::RatioAtMost(1.0)),
            },
        ]
    }
}

async fn did(bench: &mut Bench, name: String, messages: usize) -> anyhow::Result<Did> {
    let before = bench.stage.hub_usage()?.rss;
    let pace = Pace::InFlight(IN_FLIGHT);
    let volley = bench.volley(name, messages, pace, WELL).await?;
    let after = bench.stage.hub_usage()?.rss;
    Ok(Did {
        volley,
        grown: after as f64 - before as f64,
    })
}

fn mebibytes(octets: f64) -> f64 {
    octets / f64::from(1 << 20)
}
