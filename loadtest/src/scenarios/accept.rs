//! What a hub accepts, and how long an acceptance takes, with so much asked at a time of so many rooms. One follower, a
//! sink, is in the rooms, since a room without any has nobody in it. Beside it, a bare loop makes the same octets durable
//! on the same disk, with as many entries to a sync as are asked at a time: no store that answers after the sync does more.

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use super::{NATS, NATS_SYNCED, Setting};
use crate::beside::nats::{self, Servers, Sync};
use crate::crowd::Crowd;
use crate::drive::Pace;
use crate::generator::{Generator, Hub};
use crate::limits::sync;
use crate::measure::{Watch, calibrate};
use crate::progress::Step;
use crate::report::{Goal, Line, Outcome, Plot, Sample, Settings};
use crate::stage::{Shape, Stage};
use crate::volley::Volley;

/// What is asked before, and does not count, as a share of what is asked then.
const WARM_UP: usize = 5;

/// Syncs of the bare loop.
const SYNCS: usize = 100;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Messages under way at a time; several numbers are measured in turn
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,64,1000")]
    in_flight: Vec<usize>,
    /// Rooms over which they are spread; several numbers are measured in turn
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,1000")]
    rooms: Vec<usize>,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages of a round, at most: with few under way at a time there are fewer
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: usize,
}

/// One of the things that are measured in turn.
#[derive(Debug, Clone, Copy)]
struct Case {
    in_flight: usize,
    rooms: usize,
    messages: usize,
}

impl Options {
    fn cases(&self) -> Vec<Case> {
        let case = |rooms: usize, in_flight: usize| Case {
            in_flight,
            rooms,
            messages: (250 * in_flight).clamp(1, self.messages),
        };
        let of_rooms = |rooms: &usize| {
            self.in_flight
                .iter()
                .map(|count| case(*rooms, *count))
                .collect::<Vec<_>>()
        };
        self.rooms.iter().flat_map(of_rooms).collect()
    }
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    ensure!(
        !options.in_flight.contains(&0) && !options.rooms.contains(&0),
        "nothing under way, or no rooms"
    );
    let mut options = options.clone();
    if setting.quick {
        options.messages = options.messages.min(4_000);
        options.rooms.iter_mut().for_each(|rooms| *rooms = (*rooms).min(100));
    }
    let settings = Settings::from([
        ("in_flight", json!(options.in_flight)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
        ("messages", json!(options.messages)),
        ("followers", json!(1)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("accept", settings, &watch);
    let mut bench = Bench::set_up(setting, &options).await?;
    let played = setting
        .rounds
        .play(calibrate, async |number| bench.round(number).await)
        .await?;
    outcome.fault(std::mem::take(&mut bench.faults));
    outcome.take(&played);
    outcome.plots.push(plot(&options, &outcome));
    outcome.settings.insert("nats_server", bench.nats.settings());
    outcome.processes = bench.stage.processes();
    outcome.processes.extend(bench.nats.processes());
    outcome.machine = watch.machine();
    Ok(outcome)
}

/// Accepted a second, by how many are under way: a line for each number of rooms.
fn plot(options: &Options, outcome: &Outcome) -> Plot {
    let mut plot = Plot::new(
        "Accepted by messages under way",
        "under way at a time",
        "accepted per second",
    );
    let rows = outcome
        .rows
        .iter()
        .filter(|row| row.metric.starts_with(ACCEPTED) && row.name_beside == Some(BARE));
    let mut figures = rows.map(|row| row.nave);
    for rooms in &options.rooms {
        let mut line = Line::new(format!("{rooms} rooms"));
        line.points = options
            .in_flight
            .iter()
            .map(|count| *count as f64)
            .zip(figures.by_ref())
            .collect();
        plot.lines.push(line);
    }
    plot
}

const ACCEPTED: &str = "accepted";

/// What a loop of syncs is called in a row.
const BARE: &str = "bare fdatasync loop";

struct Bench {
    options: Options,
    nats: Servers,
    stage: Stage,
    hub: Hub,
    crowd: Crowd,
    faults: Vec<String>,
}

impl Bench {
    async fn set_up(setting: &Setting, options: &Options) -> anyhow::Result<Self> {
        let stage = Stage::build(&setting.ground, &Shape::sinks(&[1])).await?;
        let hub = Hub::new(&stage.clients);
        let rooms = options.rooms.iter().copied().max().unwrap_or(1);
        let step = Step::begin(format!("{rooms} rooms"), 3 * rooms);
        let crowd = Crowd::gather(&hub, &stage.hub_sender, &stage.followers, rooms, || step.tick()).await?;
        step.end();
        let collected = stage.collect().await?;
        Ok(Self {
            options: options.clone(),
            faults: collected.into_iter().flat_map(|follower| follower.faults).collect(),
            nats: Servers::start(stage.directory(), &[Sync::Later, Sync::Always]).await,
            stage,
            hub,
            crowd,
        })
    }

    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for case in self.options.cases() {
            let name = format!(
                "round {}, {} in flight, {} rooms",
                number + 1,
                case.in_flight,
                case.rooms
            );
            samples.extend(self.case(name, case).await?);
        }
        Ok(samples)
    }

    async fn case(&mut self, name: String, case: Case) -> anyhow::Result<Vec<Sample>> {
        let Case {
            in_flight,
            rooms,
            messages,
        } = case;
        let octets = self.crowd.octets(self.options.size)?;
        let bare = sync::appends(self.stage.directory(), SYNCS, octets * in_flight)?;
        self.volley(format!("{name}: warm-up"), case, messages / WARM_UP)
            .await?;
        let before = self.hub.turned_away();
        let volley = self.volley(name.clone(), case, messages).await?;
        let turned_away = self.hub.turned_away() - before;

        let of = |metric: &str| format!("{metric}, {in_flight} in flight, {rooms} rooms");
        let accepted = volley.messages as f64 / volley.accepting.as_secs_f64();
        let quantile = |quantile| volley.accept_us.value_at_quantile(quantile) as f64 / 1e3;
        let mut samples = vec![
            Sample::new(of(ACCEPTED), "1/s", accepted).beside(BARE, bare.per_second * in_flight as f64),
            Sample::new(of("asked to accepted, p50"), "ms", quantile(0.5)).beside(BARE, 1e3 * bare.p50.as_secs_f64()),
            Sample::new(of("asked to accepted, p99"), "ms", quantile(0.99)),
            Sample::new(
                of("accepted per CPU-second of the hub"),
                "1/s",
                volley.messages as f64 / volley.hub_cpu.as_secs_f64().max(0.01),
            ),
            Sample::new(of("asked again, since the hub was overloaded"), "", turned_away as f64),
        ];
        if in_flight >= 1_000 {
            let job = nats::Job {
                followers: 1,
                messages,
                subjects: rooms,
                octets,
                pace: Pace::InFlight(in_flight),
            };
            for (sync, peer, least) in [(Sync::Later, NATS, 0.3), (Sync::Always, NATS_SYNCED, 15.0)] {
                let figures = self.nats.fan_out(sync, &name, &job).await;
                let sample = Sample::new(of(ACCEPTED), "1/s", accepted);
                let sample = sample.beside_if(peer, figures.map(|nats| nats.accepted_per_second));
                samples.push(sample.goal(Goal::RatioAtLeast(least)));
                let p50 = Sample::new(of("asked to accepted, p50"), "ms", quantile(0.5));
                samples.push(p50.beside_if(peer, figures.map(|nats| 1e3 * nats.accept_p50.as_secs_f64())));
                let p99 = Sample::new(of("asked to accepted, p99"), "ms", quantile(0.99));
                samples.push(p99.beside_if(peer, figures.map(|nats| 1e3 * nats.accept_p99.as_secs_f64())));
            }
        }
        Ok(samples)
    }

    async fn volley(&mut self, name: String, case: Case, messages: usize) -> anyhow::Result<Volley> {
        let (crowd, size) = (&mut self.crowd, self.options.size);
        let posts = tokio::task::block_in_place(|| crowd.write(case.rooms, messages, size))?;
        let step = Step::begin(name, messages);
        let generator = Generator::new(&self.hub, self.crowd.source.as_str(), &self.crowd.rooms);
        let (rooms, pace) = (&self.crowd.rooms, Pace::InFlight(case.in_flight));
        let volley = Volley::fire(&self.stage, &generator, rooms, posts, pace, || step.tick()).await?;
        step.end();
        self.faults.extend(volley.faults.iter().cloned());
        Ok(volley)
    }
}
