//! A day as it might be: many rooms of very different sizes, most of them quiet; messages, a commit now and then, somebody
//! who asks for a GroupInfo; and followers that go away and come back. Everything comes at a given rate.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use hdrhistogram::Histogram;
use rand::SeedableRng as _;
use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::StdRng;
use serde_json::json;

use super::Setting;
use super::bench::milliseconds;
use crate::drive::{Pace, drive};
use crate::generator::{Hub, Shot};
use crate::limits::sync;
use crate::measure::{Watch, calibrate};
use crate::progress::Step;
use crate::report::{Line, Outcome, Plot, Sample, Settings};
use crate::stage::{Shape, Stage};
use crate::town::{Act, Did, Plan, Town};
use crate::volley::{Volley, arrived_where, faults_where};

/// The sink of the followers that go away and come back; before it is that of those who stay.
const GOES: usize = 1;
/// When these go and come, as shares of a round.
const AWAY: [(f64, f64); 2] = [(0.2, 0.4), (0.6, 0.9)];
/// What goes before and does not count, as a share of what does.
const WARM_UP: usize = 10;
/// Syncs of the bare loop in each round.
const SYNCS: usize = 100;
/// Where the course of what is done begins, in each run.
const SEED: u64 = 0x6e61_7665;
const BARE: &str = "one bare fdatasync";

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Rooms
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    rooms: usize,
    /// Clients of the largest room; the second has half as many, the third a third, none less than two
    #[arg(long, value_name = "N", default_value_t = 250)]
    largest: usize,
    /// Followers that stay
    #[arg(long, value_name = "N", default_value_t = 15)]
    staying: usize,
    /// Followers that go away twice, and come back
    #[arg(long, value_name = "N", default_value_t = 5)]
    going: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 512)]
    size: usize,
    /// What is done in a second
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    rate: f64,
    /// Seconds of a round
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    seconds: f64,
    /// Of what is done, percent that are commits
    #[arg(long, value_name = "N", default_value_t = 2)]
    commits: u32,
    /// Of what is done, percent that ask for a GroupInfo; the rest are messages
    #[arg(long, value_name = "N", default_value_t = 5)]
    reads: u32,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.rooms > 0 && self.staying > 0 && self.going > 0,
            "no rooms, nobody stays, or nobody goes"
        );
        ensure!(self.commits + self.reads < 100, "no messages");
        let paced = [self.rate, self.seconds];
        ensure!(
            paced.iter().all(|figure| *figure > 0.0 && figure.is_finite()),
            "no rate, or no time"
        );
        Ok(())
    }

    fn plan(&self) -> Plan {
        Plan {
            rooms: self.rooms,
            followers: self.staying + self.going,
            largest: self.largest,
        }
    }
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    let mut options = options.clone();
    if setting.quick {
        options.rooms = options.rooms.min(100);
        options.largest = options.largest.min(50);
        options.staying = options.staying.min(6);
        options.going = options.going.min(2);
        options.seconds = options.seconds.min(5.0);
    }
    options.check()?;
    let plan = options.plan();
    let clients: usize = (0..options.rooms).map(|room| plan.clients(room)).sum();
    let settings = Settings::from([
        ("rooms", json!(options.rooms)),
        ("largest", json!(options.largest)),
        ("clients", json!(clients)),
        ("staying", json!(options.staying)),
        ("going", json!(options.going)),
        ("size", json!(options.size)),
        ("rate", json!(options.rate)),
        ("seconds", json!(options.seconds)),
        ("commits_percent", json!(options.commits)),
        ("reads_percent", json!(options.reads)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("mix", settings, &watch);
    let stage = Stage::build(&setting.ground, &Shape::sinks(&[options.staying, options.going])).await?;
    let step = Step::begin(format!("{} rooms of {clients} clients", options.rooms), options.rooms);
    let hub = Hub::new(&stage.clients);
    let told = || step.tick();
    let town = Town::found(&hub, &stage.hub_sender, &stage.followers, plan, options.size, told).await?;
    step.end();
    let collected = stage.collect().await?;
    let mut case = Case {
        options: &options,
        plan,
        faults: collected.into_iter().flat_map(|follower| follower.faults).collect(),
        stage,
        town,
        random: StdRng::seed_from_u64(SEED),
        latencies: [Histogram::new(3)?, Histogram::new(3)?],
    };
    let played = setting
        .rounds
        .play(calibrate, async |number| Box::pin(case.round(number)).await)
        .await?;
    let mut plot = Plot::new("From when it was due", "percentile", "milliseconds").over_percentiles();
    let [accepted, shown] = &case.latencies;
    plot.lines = vec![
        Line::percentiles("message accepted", accepted),
        Line::percentiles("shown to who stays", shown),
    ];
    outcome.plots.push(plot);
    outcome.processes = case.stage.processes();
    outcome.fault(case.faults);
    outcome.take(&played);
    outcome.machine = watch.machine();
    Ok(outcome)
}

struct Case<'a> {
    options: &'a Options,
    plan: Plan,
    stage: Stage,
    town: std::sync::Arc<Town>,
    faults: Vec<String>,
    random: StdRng,
    /// Of messages: accepted, and shown to those who stay, in microseconds.
    latencies: [Histogram<u64>; 2],
}

/// What was done in a round, by kind.
struct Done {
    shots: Vec<Shot>,
    /// From due to answered, in microseconds.
    commits: Histogram<u64>,
    reads: Histogram<u64>,
}

impl Done {
    fn of(all: Vec<Did>) -> anyhow::Result<Self> {
        let mut done = Self {
            shots: Vec::new(),
            commits: Histogram::new(3)?,
            reads: Histogram::new(3)?,
        };
        for did in all {
            match did {
                Did::Said(shot) => done.shots.push(shot),
                Did::Committed { due_ns, answered_ns } => {
                    done.commits.record(answered_ns.saturating_sub(due_ns) / 1_000)?;
                }
                Did::Read { due_ns, answered_ns } => done.reads.record(answered_ns.saturating_sub(due_ns) / 1_000)?,
            }
        }
        Ok(done)
    }
}

impl Case<'_> {
    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let Options { rate, seconds, .. } = *self.options;
        let name = |what: &str| format!("round {}: {what}", number + 1);
        // Bounded by what is kept in memory.
        let count = ((rate * seconds) as usize).clamp(WARM_UP, 1_000_000);
        let synced = sync::appends(self.stage.directory(), SYNCS, self.options.size)?;
        let warm = self.go(name("warm-up"), count / WARM_UP).await?;
        self.shown(warm.shots).await?;

        let before = self.stage.hub_usage()?.cpu;
        let (done, back) = {
            let stage = &self.stage;
            let leave = come_and_go(stage, seconds);
            let acts = course(&mut self.random, self.options, count)?;
            let (done, back) = tokio::join!(go(&self.town, name("a day"), acts, rate), leave);
            (Done::of(done?)?, back?)
        };
        let volley = self.shown(done.shots).await?;
        let returned = back.elapsed();
        let usage = self.stage.hub_usage()?;
        self.latencies[0].add(&volley.accept_us)?;
        self.latencies[1].add(&volley.deliver_us)?;

        let cpu = usage.cpu.saturating_sub(before).as_secs_f64();
        let p = |of: &Histogram<u64>, quantile| milliseconds(of, quantile);
        let accepting = volley.accepting.as_secs_f64().max(1e-9);
        Ok(vec![
            Sample::new("messages accepted", "1/s", volley.messages as f64 / accepting),
            Sample::new("message: due to accepted, p50", "ms", p(&volley.accept_us, 0.5))
                .beside(BARE, 1e3 * synced.p50.as_secs_f64()),
            Sample::new("message: due to accepted, p99", "ms", p(&volley.accept_us, 0.99)),
            Sample::new(
                "message: due to shown, those who stay, p50",
                "ms",
                p(&volley.deliver_us, 0.5),
            ),
            Sample::new(
                "message: due to shown, those who stay, p99",
                "ms",
                p(&volley.deliver_us, 0.99),
            ),
            Sample::new("commit: due to accepted, p50", "ms", p(&done.commits, 0.5)),
            Sample::new("commit: due to accepted, p99", "ms", p(&done.commits, 0.99)),
            Sample::new("GroupInfo: due to answered, p50", "ms", p(&done.reads, 0.5)),
            Sample::new("GroupInfo: due to answered, p99", "ms", p(&done.reads, 0.99)),
            Sample::new("CPU of the hub for each thing done", "us", 1e6 * cpu / count as f64),
            Sample::new(
                "resident memory of the hub",
                "MiB",
                usage.rss as f64 / f64::from(1 << 20),
            ),
            Sample::new(
                "who went was shown everything, after all came back",
                "s",
                returned.as_secs_f64(),
            ),
        ])
    }

    async fn go(&mut self, name: String, count: usize) -> anyhow::Result<Done> {
        let acts = course(&mut self.random, self.options, count)?;
        Done::of(go(&self.town, name, acts, self.options.rate).await?)
    }

    /// Waits until every follower was shown what was said in its rooms, and checks that. The times are of those who stay.
    async fn shown(&mut self, shots: Vec<Shot>) -> anyhow::Result<Volley> {
        let (stage, plan, rooms) = (&self.stage, self.plan, &self.town.rooms);
        let all = stage.all();
        let due = |place: usize| shots.iter().filter(|shot| plan.there(place, shot.room)).count() as u64;
        let due: Vec<u64> = (0..plan.followers).map(due).collect();
        arrived_where(stage, &all, |place| due[place], |_| {}).await?;
        let collected = stage.collect_of(&all).await?;
        let found = faults_where(rooms, &shots, &collected, |place, room| plan.there(place, room));
        self.faults.extend(found);
        Volley::timed(rooms, shots, &collected[..self.options.staying])
    }
}

/// What is done, in its order: rooms as Zipf says.
fn course(random: &mut StdRng, options: &Options, count: usize) -> anyhow::Result<Vec<(usize, Act)>> {
    let rooms = WeightedIndex::new((1..=options.rooms).map(|rank| 1.0 / rank as f64))?;
    let says = 100 - options.commits - options.reads;
    let acts = WeightedIndex::new([says, options.commits, options.reads])?;
    let one = |_| {
        let act = [Act::Say, Act::Commit, Act::Read][acts.sample(random)];
        (rooms.sample(random), act)
    };
    Ok((0..count).map(one).collect())
}

async fn go(town: &std::sync::Arc<Town>, name: String, acts: Vec<(usize, Act)>, rate: f64) -> anyhow::Result<Vec<Did>> {
    let step = Step::begin(name, acts.len());
    let town = town.clone();
    let begin = move |(room, act), due_ns| {
        let town = town.clone();
        async move { town.act(room, act, due_ns).await }
    };
    let done = drive(acts, Pace::PerSecond(rate), begin, || step.tick()).await?;
    step.end();
    Ok(done)
}

/// Stops those who go, and lets them come back; when they last did.
async fn come_and_go(stage: &Stage, seconds: f64) -> anyhow::Result<Instant> {
    let (began, sink) = (Instant::now(), stage.sink(GOES)?);
    let mut back = began;
    for (from, to) in AWAY {
        sleep_until(began, from * seconds).await;
        sink.freeze()?;
        sleep_until(began, to * seconds).await;
        sink.thaw()?;
        back = Instant::now();
    }
    Ok(back)
}

async fn sleep_until(began: Instant, seconds: f64) {
    let until = Duration::from_secs_f64(seconds);
    tokio::time::sleep(until.saturating_sub(began.elapsed())).await;
}
