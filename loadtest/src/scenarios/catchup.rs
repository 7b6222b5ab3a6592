//! Followers that return to a backlog, while others are shown what comes now. A process stands still while messages are
//! accepted, then goes on: it must be shown everything, in order, and those that were well must notice little. Beside it,
//! bare quinn sends as many octets to as many receivers.

use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;

use super::bench::{Bench, IN_FLIGHT, milliseconds};
use super::{BARE_QUINN, NATS, Setting};
use crate::beside::nats::{self, Servers, Sync};
use crate::drive::Pace;
use crate::generator::Shot;
use crate::limits::quinn::{self, Job, Sent};
use crate::measure::{Watch, calibrate};
use crate::progress::Step;
use crate::report::{Goal, Line, Outcome, Plot, Sample, Settings};
use crate::sink::Collected;
use crate::stage::Shape;
use crate::volley::{Volley, arrived, faults};

/// The sink whose followers are there all the time.
const WELL: &[usize] = &[0];
/// The one whose followers return.
const RETURNS: usize = 1;

/// Points of a line over time, at most.
const POINTS_MAX: usize = 200;

const ALONE: &str = "nobody returns";

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Followers that return at once; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,10")]
    returning: Vec<usize>,
    /// Followers that are there all the time
    #[arg(long, value_name = "N", default_value_t = 3)]
    well: usize,
    /// Messages that one follower returns to; half as many where several return
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    backlog: usize,
    /// Messages a second meanwhile
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    rate: f64,
    /// Seconds of these
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
    /// Rooms; every follower is in each
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.well > 0 && self.rooms > 0 && self.backlog > 1 && !self.returning.contains(&0),
            "no followers, no rooms, or nothing to return to"
        );
        let paced = [self.rate, self.seconds];
        ensure!(
            paced.iter().all(|figure| *figure > 0.0 && figure.is_finite()),
            "no rate, or no time"
        );
        Ok(())
    }

    fn live(&self) -> usize {
        // Bounded by what is kept in memory.
        ((self.rate * self.seconds) as usize).clamp(1, 1_000_000)
    }
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    options.check()?;
    let mut options = options.clone();
    if setting.quick {
        options.backlog = options.backlog.min(10_000);
        options.seconds = options.seconds.min(2.0);
        options.rooms = options.rooms.min(4);
    }
    let settings = Settings::from([
        ("returning", json!(options.returning)),
        ("well", json!(options.well)),
        ("backlog", json!(options.backlog)),
        ("rate", json!(options.rate)),
        ("seconds", json!(options.seconds)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("catchup", settings, &watch);
    let mut plot = Plot::new(
        "Shown to those that return, over time",
        "seconds since they returned",
        "messages, all of them together",
    );
    for returning in options.returning.clone() {
        let backlog = if returning == 1 {
            options.backlog
        } else {
            options.backlog / 2
        };
        let shape = Shape::sinks(&[options.well, returning]);
        let bench = Bench::set_up(setting, &shape, options.rooms, options.size).await?;
        let mut case = Case {
            options: &options,
            returning,
            backlog,
            nats: Servers::start(bench.stage.directory(), &[Sync::Later]).await,
            bench,
            points: Vec::new(),
        };
        let played = setting
            .rounds
            .play(calibrate, async |number| case.round(number).await)
            .await?;
        let mut line = Line::new(format!("{returning} returning, last round"));
        line.points = thinned(&case.points);
        plot.lines.push(line);
        outcome.settings.insert("nats_server", case.nats.settings());
        outcome.processes.extend(case.nats.processes());
        drop(case.nats);
        let processes = case.bench.end(&mut outcome);
        outcome.processes.extend(processes);
        outcome.take(&played);
    }
    outcome.plots.push(plot);
    outcome.machine = watch.machine();
    Ok(outcome)
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.last().copied();
    points.iter().copied().step_by(step).chain(last).collect()
}

struct Case<'a> {
    options: &'a Options,
    returning: usize,
    backlog: usize,
    nats: Servers,
    bench: Bench,
    /// Seconds since they returned, and what they were shown until then.
    points: Vec<(f64, f64)>,
}

impl Case<'_> {
    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let (returning, backlog) = (self.returning, self.backlog);
        let name = |what: &str| format!("round {}, {returning} returning: {what}", number + 1);
        let (all, live) = (self.bench.stage.all(), self.options.live());
        let pace = Pace::PerSecond(self.options.rate);
        let bare = self.bare().await?;
        self.bench.volley(name("warm-up"), live.div_ceil(5), pace, &all).await?;
        let alone = self.bench.volley(name("nobody returns"), live, pace, &all).await?;

        self.bench.stage.sink(RETURNS)?.freeze()?;
        let saturating = Pace::InFlight(IN_FLIGHT);
        let missed = self.bench.volley(name("backlog"), backlog, saturating, WELL).await;
        let posts = self.bench.write(live);
        self.bench.stage.sink(RETURNS)?.thaw()?;
        let (missed, posts, returned) = (missed?, posts?, Instant::now());

        let step = Step::begin(name("they return"), returning * (backlog + live));
        let Bench {
            stage,
            crowd,
            generator,
            ..
        } = &self.bench;
        let mut points = Vec::new();
        let told = |shown: u64| {
            step.set(shown);
            points.push((returned.elapsed().as_secs_f64(), shown as f64));
        };
        let (beside, shown) = tokio::join!(
            Volley::fire_at(stage, WELL, generator, &crowd.rooms, posts, pace, || {}),
            arrived(stage, &[RETURNS], (backlog + live) as u64, told),
        );
        step.end();
        let beside = beside?;
        shown?;
        let collected = self.bench.stage.collect_of(&[RETURNS]).await?;
        let shots: Vec<Shot> = missed.shots.iter().chain(&beside.shots).copied().collect();
        let found = faults(&self.bench.crowd.rooms, &shots, &collected);
        self.bench.fault(beside.faults.iter().cloned().chain(found));
        self.points = points;
        let job = nats::Returning {
            returning,
            well: self.options.well,
            backlog,
            live,
            rate: self.options.rate,
            subjects: self.options.rooms,
            octets: self.bench.crowd.octets(self.options.size)?,
            in_flight: IN_FLIGHT,
        };
        let nats = self.nats.catch_up(Sync::Later, &name("they return"), &job).await;
        self.samples(&alone, &beside, &caught_up(&collected, backlog)?, &bare, nats)
    }

    fn samples(
        &self,
        alone: &Volley,
        beside: &Volley,
        caught_up: &CaughtUp,
        bare: &Sent,
        nats: Option<f64>,
    ) -> anyhow::Result<Vec<Sample>> {
        let (returning, backlog) = (self.returning, self.backlog);
        let of = |metric: &str| format!("{metric}, {returning} returning to {backlog}");
        let least = if returning == 1 { 0.8 } else { 1.0 };
        let seconds = caught_up.last_us.saturating_sub(caught_up.first_us).max(1) as f64 / 1e6;
        let rate = Sample::new(of("backlog shown"), "1/s", (backlog * returning) as f64 / seconds);
        let p99 = |volley: &Volley| milliseconds(&volley.deliver_us, 0.99);
        Ok(vec![
            rate.clone().beside(BARE_QUINN, bare.per_second),
            rate.beside_if(NATS, nats).goal(Goal::RatioAtLeast(least)),
            Sample::new(of("backlog shown within"), "s", seconds),
            Sample::new(of("due to shown, those that were there, p99"), "ms", p99(beside))
                .beside(ALONE, p99(alone))
                .goal(Goal::RatioAtMost(1.5)),
        ])
    }

    async fn bare(&mut self) -> anyhow::Result<Sent> {
        let directory = self.bench.stage.directory().to_owned();
        let job = Job {
            receivers: self.returning,
            frames: self.backlog,
            octets: self.bench.crowd.octets(self.options.size)?,
            rate: None,
        };
        tokio::task::spawn_blocking(move || quinn::fan_out(&directory, &job)).await?
    }
}

/// When the backlog came, in microseconds since the UNIX epoch.
struct CaughtUp {
    first_us: u64,
    last_us: u64,
}

/// From the first message that any of them was shown until each had been shown as many as the backlog has.
fn caught_up(collected: &[Collected], backlog: usize) -> anyhow::Result<CaughtUp> {
    let (mut first_us, mut last_us) = (u64::MAX, 0);
    for follower in collected {
        let mut times: Vec<u64> = follower
            .rooms
            .iter()
            .flat_map(|room| &room.received_us)
            .copied()
            .collect();
        times.sort_unstable();
        let end = backlog.checked_sub(1).and_then(|place| times.get(place));
        let (begin, end) = times.first().zip(end).context("not all of the backlog was shown")?;
        (first_us, last_us) = (first_us.min(*begin), last_us.max(*end));
    }
    ensure!(first_us <= last_us, "nobody returned");
    Ok(CaughtUp { first_us, last_us })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sink::Room;

    fn follower(received_us: &[u64]) -> Collected {
        let room = |times: &[u64]| Room {
            received_us: times.to_vec(),
            ..Room::default()
        };
        let (some, others) = received_us.split_at(received_us.len() / 2);
        Collected {
            rooms: vec![room(some), room(others)],
            ..Collected::default()
        }
    }

    #[test]
    fn a_backlog_is_over_when_the_last_follower_was_shown_as_many() {
        let collected = [follower(&[5, 9, 7, 30]), follower(&[4, 12, 6, 40])];
        let caught_up = caught_up(&collected, 3).unwrap();
        assert_eq!((caught_up.first_us, caught_up.last_us), (4, 12));
    }

    #[test]
    fn a_backlog_that_was_not_shown_has_no_end() {
        assert!(caught_up(&[follower(&[1, 2, 3])], 4).is_err());
    }

    #[test]
    fn a_line_keeps_its_ends_and_few_points() {
        let points: Vec<(f64, f64)> = (0..1_000).map(|n| (f64::from(n), 0.0)).collect();
        let thinned = thinned(&points);
        assert!(thinned.len() <= POINTS_MAX + 1);
        assert_eq!((thinned[0].0, thinned[thinned.len() - 1].0), (0.0, 999.0));
    }
}
