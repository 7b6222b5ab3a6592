//! A hub that is killed under load and started again on its store. Messages come at a given rate all the while, and who
//! asks asks again with the same octets until there is an answer. Nothing that was accepted may be missing, and nothing
//! may be there twice. The time without acceptances stands beside the lease after which another hub would take
//! over, and a second.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde_json::json;

use super::Setting;
use super::bench::{Bench, milliseconds};
use crate::drive::Pace;
use crate::generator::{Generator, Shot};
use crate::measure::{Watch, calibrate};
use crate::progress::Step;
use crate::report::{Goal, Line, Outcome, Plot, Sample, Settings};
use crate::stage::Shape;
use crate::volley::Volley;

/// The lease where nothing else is configured, which the hub of a stage has.
const LEASE: Duration = Duration::from_secs(3);
/// What may come on top of it.
const GRACE: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Followers
    #[arg(long, value_name = "N", default_value_t = 3)]
    followers: usize,
    /// Rooms; every follower is in each
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 200.0)]
    rate: f64,
    /// Seconds of these; the hub is killed after a third of them
    #[arg(long, value_name = "N", default_value_t = 15.0)]
    seconds: f64,
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    ensure!(options.followers > 0 && options.rooms > 0, "no followers, or no rooms");
    let paced = [options.rate, options.seconds];
    ensure!(
        paced.iter().all(|figure| *figure > 0.0 && figure.is_finite()),
        "no rate, or no time"
    );
    let mut options = options.clone();
    if setting.quick {
        options.seconds = options.seconds.min(9.0);
        options.rooms = options.rooms.min(4);
    }
    let settings = Settings::from([
        ("followers", json!(options.followers)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
        ("rate", json!(options.rate)),
        ("seconds", json!(options.seconds)),
        ("lease_seconds", json!(LEASE.as_secs_f64())),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("failover", settings, &watch);
    let shape = Shape::sinks(&[options.followers]);
    let bench = Bench::set_up(setting, &shape, options.rooms, options.size).await?;
    let patient = bench.generator.patient();
    let mut case = Case {
        options: &options,
        bench,
        patient,
        accepted: Line::new("accepted, last round"),
    };
    let played = setting
        .rounds
        .play(calibrate, async |number| case.round(number).await)
        .await?;
    let mut plot = Plot::new("Accepted over time", "seconds", "messages accepted until then");
    plot.lines.push(case.accepted);
    outcome.plots.push(plot);
    outcome.processes = case.bench.end(&mut outcome);
    outcome.take(&played);
    outcome.machine = watch.machine();
    Ok(outcome)
}

struct Case<'a> {
    options: &'a Options,
    bench: Bench,
    patient: Generator,
    accepted: Line,
}

impl Case<'_> {
    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let Options { rate, seconds, .. } = *self.options;
        // Bounded by what is kept in memory.
        let messages = ((rate * seconds) as usize).clamp(1, 1_000_000);
        let (all, pace) = (self.bench.stage.all(), Pace::PerSecond(rate));
        let name = format!("round {}: the hub is killed", number + 1);
        self.bench
            .volley(format!("{name}: warm-up"), messages.div_ceil(10), pace, &all)
            .await?;
        let posts = self.bench.write(messages)?;
        let step = Step::begin(name, messages);
        let Bench { stage, crowd, .. } = &self.bench;
        let kill = async {
            tokio::time::sleep(Duration::from_secs_f64(seconds / 3.0)).await;
            let killed = Instant::now();
            stage.restart_hub().await?;
            anyhow::Ok(killed.elapsed())
        };
        let (volley, ready) = tokio::join!(
            Volley::fire_at(stage, &all, &self.patient, &crowd.rooms, posts, pace, || step.tick()),
            kill,
        );
        step.end();
        let (volley, ready) = (volley?, ready?);
        self.bench.fault(volley.faults.iter().cloned());
        let gap = longest_gap(&volley.shots);
        self.accepted.points = over_time(&volley.shots);
        Ok(vec![
            Sample::new("longest time without an acceptance", "s", gap.as_secs_f64())
                .beside("the lease and a second", (LEASE + GRACE).as_secs_f64())
                .goal(Goal::RatioAtMost(1.0)),
            Sample::new("killed to ready again", "s", ready.as_secs_f64()),
            Sample::new("due to accepted, p50", "ms", milliseconds(&volley.accept_us, 0.5)),
            Sample::new("due to accepted, longest", "ms", volley.accept_us.max() as f64 / 1e3),
            Sample::new("accepted and shown to all", "", volley.messages as f64),
        ])
    }
}

fn answered(shots: &[Shot]) -> Vec<u64> {
    let mut times: Vec<u64> = shots.iter().map(|shot| shot.answered_ns).collect();
    times.sort_unstable();
    times
}

fn longest_gap(shots: &[Shot]) -> Duration {
    let times = answered(shots);
    let gaps = times.iter().zip(times.iter().skip(1)).map(|(one, next)| next - one);
    Duration::from_nanos(gaps.max().unwrap_or_default())
}

/// How many were accepted, at a hundred times.
fn over_time(shots: &[Shot]) -> Vec<(f64, f64)> {
    let times = answered(shots);
    let Some(first) = times.first().copied() else {
        return Vec::new();
    };
    let step = times.len().div_ceil(100).max(1);
    let points = times.iter().enumerate().step_by(step);
    let point = |(count, time): (usize, &u64)| ((time - first) as f64 / 1e9, (count + 1) as f64);
    points.map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_time_without_an_acceptance_is_found_in_whatever_order_they_came() {
        let shot = |answered_ns| Shot {
            room: 0,
            due_ns: 0,
            answered_ns,
            accepted_ms: 0,
        };
        let shots = [9, 1, 2, 4].map(shot);
        assert_eq!(longest_gap(&shots), Duration::from_nanos(5));
        assert_eq!(longest_gap(&shots[..1]), Duration::ZERO);
        assert_eq!(over_time(&shots).len(), 4);
    }
}
