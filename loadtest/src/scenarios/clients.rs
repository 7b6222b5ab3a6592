//! Event streams of a provider's own clients: very many, over fewer connections, on which nothing happens. What each of them
//! costs the provider's process, and whether a message comes to a sample of them as it does where there are no others.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use hdrhistogram::Histogram;
use serde_json::json;

use super::Setting;
use super::bench::milliseconds;
use crate::drive::Pace;
use crate::measure::{Watch, calibrate};
use crate::parties::Parties;
use crate::progress::Step;
use crate::report::{Line, Outcome, Plot, ProcessUse, Sample, Settings};
use crate::streams::Streams;

/// What stands beside a provider with idle streams.
const WITHOUT: &str = "the same without idle streams";

/// After the last stream was opened, until memory is read.
const REST: Duration = Duration::from_secs(2);

/// Octets of a message's application data.
const SIZE: usize = 256;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 500)]
    connections: usize,
    /// Event streams on each of them
    #[arg(long, value_name = "N", default_value_t = 100)]
    streams: usize,
    /// Streams, on as many connections, whose clients are in the room in which something is said
    #[arg(long, value_name = "N", default_value_t = 100)]
    sample: usize,
    /// Messages a second in that room
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    rate: f64,
    /// Messages there, before the idle streams are opened and again afterwards
    #[arg(long, value_name = "N", default_value_t = 25)]
    messages: usize,
    /// Seconds in which nothing happens, while the provider's CPU time is read
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    seconds: f64,
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    let counts = [options.connections, options.streams, options.sample, options.messages];
    ensure!(!counts.contains(&0), "no connections, streams or messages");
    ensure!(
        options.rate > 0.0 && options.rate.is_finite() && options.seconds >= 0.0 && options.seconds < 3_600.0,
        "no rate, or no time"
    );
    let mut options = options.clone();
    if setting.quick {
        options.connections = options.connections.min(50);
        options.seconds = options.seconds.min(3.0);
        options.messages = options.messages.min(10);
    }
    options.sample = options.sample.min(options.connections);
    let settings = Settings::from([
        ("connections", json!(options.connections)),
        ("streams_on_each", json!(options.streams)),
        ("streams", json!(options.connections * options.streams)),
        ("sample", json!(options.sample)),
        ("rate", json!(options.rate)),
        ("messages", json!(options.messages)),
        ("seconds", json!(options.seconds)),
        ("against", json!(setting.against)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("clients", settings, &watch);
    let mut case = Case {
        setting,
        options: &options,
        faults: Vec::new(),
        processes: Vec::new(),
        latencies: [Histogram::new(3)?, Histogram::new(3)?],
    };
    let played = setting
        .rounds
        .play(calibrate, async |number| Box::pin(case.round(number)).await)
        .await?;
    let mut plot = Plot::new("From due to shown to the sample", "percentile", "milliseconds").over_percentiles();
    let [with, without] = &case.latencies;
    plot.lines = vec![
        Line::percentiles("beside idle streams", with),
        Line::percentiles(WITHOUT, without),
    ];
    outcome.plots.push(plot);
    outcome.processes = case.processes;
    outcome.fault(case.faults);
    outcome.take(&played);
    outcome.machine = watch.machine();
    Ok(outcome)
}

struct Case<'a> {
    setting: &'a Setting,
    options: &'a Options,
    faults: Vec<String>,
    /// Of the last round.
    processes: Vec<ProcessUse>,
    /// Beside the idle streams and without them, in microseconds.
    latencies: [Histogram<u64>; 2],
}

impl Case<'_> {
    /// A provider of its own for each round: what a process once had in memory it seldom gives back.
    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let Options {
            connections,
            streams,
            sample,
            seconds,
            ..
        } = *self.options;
        let name = |what: &str| format!("round {}: {what}", number + 1);
        let wholes = self.setting.wholes(&["a"]).await?;
        let provider = &wholes.providers[0];
        let mut parties = Parties::gather(&wholes.providers[..1], 1, &format!("quiet-{number}")).await?;
        let mut all = Streams::new(provider, connections, number)?;
        all.watch(&parties.room, sample).await?;
        self.say(&name("warm-up"), &mut parties, &all).await?;
        let without = self.say(&name("the sample alone"), &mut parties, &all).await?;

        let before = provider.usage()?;
        let step = Step::begin(name("event streams"), connections * streams - sample);
        let began = std::time::Instant::now();
        all.hold(streams, || step.tick()).await?;
        let took = began.elapsed();
        step.end();
        tokio::time::sleep(REST).await;
        let after = provider.usage()?;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let rested = provider.usage()?;
        let with = self.say(&name("beside all that are idle"), &mut parties, &all).await?;
        all.look(&mut self.faults);
        self.latencies[0].add(&with)?;
        self.latencies[1].add(&without)?;
        self.processes = wholes.processes();

        let idle = all.count() - sample;
        let mut samples = vec![
            Sample::new("event streams open", "", all.count() as f64),
            Sample::new("opened", "1/s", idle as f64 / took.as_secs_f64().max(1e-9)),
        ];
        if let (Some(before), Some(after), Some(rested)) = (before, after, rested) {
            let kibibytes = after.rss.saturating_sub(before.rss) as f64 / 1_024.0;
            samples.push(Sample::new(
                "memory of the provider for each idle stream",
                "KiB",
                kibibytes / idle.max(1) as f64,
            ));
            if seconds > 0.0 {
                let busy = rested.cpu.saturating_sub(after.cpu).as_secs_f64();
                samples.push(Sample::new(
                    "CPU of the provider while all are idle",
                    "ms/s",
                    1e3 * busy / seconds,
                ));
            }
        }
        for (metric, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            let metric = format!("said to shown to a sample of {sample}, {metric}");
            let (with, without) = (milliseconds(&with, quantile), milliseconds(&without, quantile));
            samples.push(Sample::new(metric, "ms", with).beside(WITHOUT, without));
        }
        Ok(samples)
    }

    /// Says something, and waits until the sample was shown it; from due to shown, in microseconds.
    async fn say(&mut self, name: &str, parties: &mut Parties, all: &Streams<'_>) -> anyhow::Result<Histogram<u64>> {
        let Options { rate, messages, .. } = *self.options;
        all.forget();
        let step = Step::begin(name, messages);
        let talk = parties
            .talk(messages, SIZE, Pace::PerSecond(rate), || step.tick())
            .await?;
        step.end();
        self.faults.extend(talk.faults);
        let mut us = Histogram::new(3)?;
        for times in all.shown(messages, &mut self.faults).await? {
            for (due_ns, at_ns) in talk.due_ns.iter().zip(times) {
                us.record(at_ns.saturating_sub(*due_ns) / 1_000)?;
            }
        }
        Ok(us)
    }
}
