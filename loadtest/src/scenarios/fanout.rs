//! One hub, whose followers are sinks: what it delivers for each second of its CPU when it is given as much as it takes,
//! and how long a message is on its way when it comes at a given rate. Beside it, bare quinn sends the same octets to as
//! many receivers.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use hdrhistogram::Histogram;
use serde_json::json;

use super::{BARE_QUINN, NATS, NATS_SYNCED, Setting};
use crate::beside::nats::{self, Figures, Servers, Sync};
use crate::crowd::Crowd;
use crate::drive::Pace;
use crate::generator::{Generator, Hub};
use crate::limits::quinn::{self, Job, Sent};
use crate::limits::sync;
use crate::measure::{Watch, calibrate};
use crate::progress::Step;
use crate::report::{Goal, Line, Outcome, Plot, Row, Sample, Settings};
use crate::stage::{Shape, Stage};
use crate::volley::Volley;

/// Messages of a volley that goes before and does not count, as a share of the one that does.
const WARM_UP: usize = 5;

/// Frames that saturated bare quinn sends at least, over all receivers: its CPU time is told in hundredths of a second.
const BARE_FRAMES: usize = 400_000;

/// Syncs of the bare loop in each round.
const SYNCS: usize = 100;

/// The most messages that are under way at a time, so that no queue of the hub overflows.
const IN_FLIGHT: usize = 1_024;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Followers; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10,100")]
    followers: Vec<usize>,
    /// Rooms; every follower is in each
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages of a saturated round [default: as make 200,000 deliveries]
    #[arg(long, value_name = "N")]
    messages: Option<usize>,
    /// Messages a second of a paced round
    #[arg(long, value_name = "N", default_value_t = 10_000.0)]
    rate: f64,
    /// Seconds of a paced round
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
}

impl Options {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            !self.followers.contains(&0) && self.rooms > 0,
            "no followers, or no rooms"
        );
        let paced = [self.rate, self.seconds];
        ensure!(
            paced.iter().all(|figure| *figure > 0.0 && figure.is_finite()),
            "no rate, or no time"
        );
        Ok(())
    }

    fn saturating(&self, followers: usize, quick: bool) -> usize {
        let deliveries = if quick { 20_000 } else { 200_000 };
        self.messages.unwrap_or_else(|| (deliveries / followers).max(1_000))
    }

    fn paced(&self) -> usize {
        // Bounded by what is kept in memory.
        ((self.rate * self.seconds) as usize).clamp(1, 10_000_000)
    }

    fn settings(&self, quick: bool) -> Settings {
        let messages = self.followers.iter().map(|count| self.saturating(*count, quick));
        Settings::from([
            ("followers", json!(self.followers)),
            ("rooms", json!(self.rooms)),
            ("size", json!(self.size)),
            ("messages", json!(messages.collect::<Vec<_>>())),
            ("rate", json!(self.rate)),
            ("seconds", json!(self.seconds)),
            ("in_flight", json!(IN_FLIGHT)),
        ])
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
        options.seconds = options.seconds.min(1.0);
    }
    let watch = Watch::start();
    let mut outcome = setting.outcome("fanout", options.settings(setting.quick), &watch);
    let mut throughput = Plot::new(
        "Deliveries by followers",
        "followers",
        "deliveries per CPU-second of the hub",
    );
    let mut latency =
        Plot::new("From due to shown, at the given rate", "percentile", "milliseconds").over_percentiles();
    let mut ours = Line::new("Nave");
    let mut beside = [BARE_QUINN, NATS, NATS_SYNCED].map(|name| (name, Line::new(name)));
    for followers in options.followers.clone() {
        let mut bench = Bench::set_up(setting, &options, followers).await?;
        let played = setting
            .rounds
            .play(calibrate, async |number| bench.round(number).await)
            .await?;
        outcome.fault(std::mem::take(&mut bench.faults));
        outcome.take(&played);
        for (name, line) in &mut beside {
            let of_it = |row: &&Row| row.metric.starts_with(DELIVERED) && row.name_beside == Some(*name);
            let Some(row) = outcome.rows.iter().rev().find(of_it) else {
                continue;
            };
            if *name == BARE_QUINN {
                ours.points.push((followers as f64, row.nave));
            }
            line.points.extend(row.beside.map(|figure| (followers as f64, figure)));
        }
        latency
            .lines
            .push(Line::percentiles(format!("{followers} followers"), &bench.latencies));
        outcome.settings.insert("nats_server", bench.nats.settings());
        outcome.processes.extend(bench.stage.processes());
        outcome.processes.extend(bench.nats.processes());
    }
    let beside = beside.into_iter().map(|(_, line)| line);
    throughput.lines = std::iter::once(ours).chain(beside).collect();
    throughput.lines.retain(|line| !line.points.is_empty());
    outcome.plots = vec![throughput, latency];
    outcome.machine = watch.machine();
    Ok(outcome)
}

const DELIVERED: &str = "saturated: delivered per CPU-second of the hub";

/// What stood beside it in a round.
struct Beside {
    bare: Sent,
    /// The least that a message takes.
    least: Duration,
    /// The same, if the follower makes it durable, too.
    least_kept: Duration,
    /// What NATS did when it was given as much as it takes.
    later: Option<Figures>,
    always: Option<Figures>,
    /// The same at the given rate.
    paced: Option<Figures>,
}

/// A hub with so many followers.
struct Bench<'a> {
    setting: &'a Setting,
    options: &'a Options,
    followers: usize,
    nats: Servers,
    stage: Stage,
    crowd: Crowd,
    generator: Generator,
    faults: Vec<String>,
    /// Of all paced rounds, in microseconds.
    latencies: Histogram<u64>,
}

impl<'a> Bench<'a> {
    async fn set_up(setting: &'a Setting, options: &'a Options, followers: usize) -> anyhow::Result<Self> {
        let stage = Stage::build(&setting.ground, &Shape::sinks(&[followers])).await?;
        let hub = Hub::new(&stage.clients);
        // Each follower is invited, the room founded, its founder taken out.
        let step = Step::begin(
            format!("{} rooms of {followers} followers", options.rooms),
            options.rooms * (followers + 2),
        );
        let crowd = Crowd::gather(&hub, &stage.hub_sender, &stage.followers, options.rooms, || step.tick()).await?;
        step.end();
        // What came until here is whole, too, and no part of what is measured.
        let collected = stage.collect().await?;
        let faults = collected.into_iter().flat_map(|follower| follower.faults).collect();
        Ok(Self {
            setting,
            options,
            followers,
            generator: Generator::new(&hub, crowd.source.as_str(), &crowd.rooms),
            nats: Servers::start(stage.directory(), &[Sync::Later, Sync::Always]).await,
            stage,
            crowd,
            faults,
            latencies: Histogram::new(3)?,
        })
    }

    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let followers = self.followers;
        let name = |what: &str| format!("round {}, {followers} followers: {what}", number + 1);
        let (messages, octets) = (
            self.options.saturating(followers, self.setting.quick),
            self.crowd.octets(self.options.size)?,
        );
        let bare = self.bare(messages.max(BARE_FRAMES / followers), octets, None).await?;
        let pace = Pace::InFlight(IN_FLIGHT);
        self.volley(name("warm-up"), messages / WARM_UP, pace).await?;
        let saturated = self.volley(name("saturated"), messages, pace).await?;
        let pace = Pace::InFlight(IN_FLIGHT);
        let later = self.nats(Sync::Later, &name("saturated"), messages, octets, pace).await;
        let always = self
            .nats(Sync::Always, &name("saturated"), messages, octets, pace)
            .await;

        let (messages, rate) = (self.options.paced(), self.options.rate);
        let bare_paced = self.bare(messages, octets, Some(rate)).await?;
        let synced = sync::appends(self.stage.directory(), SYNCS, octets)?;
        let pace = Pace::PerSecond(rate);
        self.volley(name("warm-up"), messages / WARM_UP, pace).await?;
        let paced = self.volley(name("paced"), messages, pace).await?;
        self.latencies.add(&paced.deliver_us)?;
        self.stage.keep(true).await?;
        let kept = self.volley(name("paced, durable"), messages, pace).await?;
        self.stage.keep(false).await?;
        let beside = Beside {
            bare,
            least: bare_paced.p50 + synced.p50,
            least_kept: bare_paced.p50 + 2 * synced.p50,
            later,
            always,
            paced: self.nats(Sync::Later, &name("paced"), messages, octets, pace).await,
        };
        Ok(self.samples(&saturated, &paced, &kept, &beside))
    }

    async fn nats(&mut self, sync: Sync, name: &str, messages: usize, octets: usize, pace: Pace) -> Option<Figures> {
        let job = nats::Job {
            followers: self.followers,
            messages,
            subjects: self.options.rooms,
            octets,
            pace,
        };
        self.nats.fan_out(sync, name, &job).await
    }

    fn samples(&self, saturated: &Volley, paced: &Volley, kept: &Volley, beside: &Beside) -> Vec<Sample> {
        let Beside {
            bare,
            least,
            least_kept,
            later,
            always,
            paced: nats_paced,
        } = beside;
        let saturated_per_second = saturated.delivered as f64 / saturated.delivering.as_secs_f64();
        let per_nats_cpu = |nats: &Option<Figures>| nats.map(|nats| nats.delivered_per_cpu_second);
        let (followers, rate) = (self.followers, self.options.rate);
        let of = |metric: &str| format!("{metric}, {followers} followers");
        let per_cpu = saturated.delivered as f64 / saturated.hub_cpu.as_secs_f64().max(0.01);
        let delivered = Sample::new(of(DELIVERED), "1/s", per_cpu);
        let at = |metric: &str| format!("paced, {rate}/s: {metric}, {followers} followers");
        let nats = Goal::RatioAtLeast(if followers < 100 { 1.0 } else { 1.2 });
        let milliseconds = |time: Duration| 1e3 * time.as_secs_f64();
        let quantile = |of: &Histogram<u64>, quantile| of.value_at_quantile(quantile) as f64 / 1e3;
        let us_per_message = 1e6 * paced.hub_cpu.as_secs_f64() / paced.messages.max(1) as f64;
        vec![
            delivered
                .clone()
                .beside(BARE_QUINN, bare.per_cpu_second)
                .goal(Goal::RatioAtLeast(0.4)),
            delivered.clone().beside_if(NATS, per_nats_cpu(later)).goal(nats),
            delivered
                .beside_if(NATS_SYNCED, per_nats_cpu(always))
                .goal(Goal::RatioAtLeast(5.0)),
            Sample::new(of("saturated: delivered"), "1/s", saturated_per_second).beside(BARE_QUINN, bare.per_second),
            Sample::new(of("saturated: delivered"), "1/s", saturated_per_second)
                .beside_if(NATS, later.map(|nats| nats.delivered_per_second)),
            Sample::new(at("due to shown, p50"), "ms", quantile(&paced.deliver_us, 0.5))
                .beside("bare quinn and one fdatasync", milliseconds(*least))
                .goal(Goal::RatioAtMost(2.0)),
            Sample::new(at("due to shown, p50"), "ms", quantile(&paced.deliver_us, 0.5))
                .beside_if(NATS, nats_paced.map(|nats| milliseconds(nats.deliver_p50))),
            Sample::new(at("due to shown, p99"), "ms", quantile(&paced.deliver_us, 0.99))
                .beside_if(NATS, nats_paced.map(|nats| milliseconds(nats.deliver_p99)))
                .goal(Goal::RatioAtMost(1.0)),
            Sample::new(
                at("due to durable at the follower, p50"),
                "ms",
                quantile(&kept.deliver_us, 0.5),
            )
            .beside("bare quinn and two fdatasyncs", milliseconds(*least_kept)),
            Sample::new(
                at("due to durable at the follower, p99"),
                "ms",
                quantile(&kept.deliver_us, 0.99),
            ),
            Sample::new(at("due to accepted, p50"), "ms", quantile(&paced.accept_us, 0.5)),
            Sample::new(at("due to accepted, p99"), "ms", quantile(&paced.accept_us, 0.99)),
            Sample::new(
                at("accepted"),
                "1/s",
                paced.messages as f64 / paced.accepting.as_secs_f64(),
            ),
            Sample::new(at("CPU of the hub per message"), "us", us_per_message)
                .beside_if(NATS, nats_paced.map(|nats| 1e6 * nats.cpu_per_message.as_secs_f64()))
                .goal(Goal::RatioAtMost(0.5)),
        ]
    }

    async fn volley(&mut self, name: String, messages: usize, pace: Pace) -> anyhow::Result<Volley> {
        let posts = tokio::task::block_in_place(|| self.crowd.write(self.options.rooms, messages, self.options.size))?;
        let step = Step::begin(name, messages);
        let rooms = &self.crowd.rooms;
        let volley = Volley::fire(&self.stage, &self.generator, rooms, posts, pace, || step.tick()).await?;
        step.end();
        self.faults.extend(volley.faults.iter().cloned());
        Ok(volley)
    }

    async fn bare(&self, frames: usize, octets: usize, rate: Option<f64>) -> anyhow::Result<Sent> {
        let directory = self.stage.directory().to_owned();
        let job = Job {
            receivers: self.followers,
            frames,
            octets,
            rate,
        };
        tokio::task::spawn_blocking(move || quinn::fan_out(&directory, &job)).await?
    }
}
