//! Two whole providers and real MLS clients of both in one room: what is said by a client of the one goes through its
//! provider to the hub, is made durable, goes to the other provider, is stored there, and counts when a client of the other
//! has decrypted it. Both ways at once.

use anyhow::ensure;
use clap::Args;
use client::mls::IN_FLIGHT_MAX;
use hdrhistogram::Histogram;
use serde_json::json;

use super::Setting;
use super::bench::milliseconds;
use crate::beside::synapse::{Beside, Job};
use crate::drive::Pace;
use crate::limits::sync;
use crate::measure::{Watch, calibrate};
use crate::parties::{Parties, Talk};
use crate::progress::Step;
use crate::report::{Goal, Line, Outcome, Plot, Sample, Settings};
use crate::stage::Wholes;

/// What people would run instead.
const SYNAPSE: &str = "two Synapses";

/// What a message cannot do without: the hub makes it durable, and so does the other provider.
const BARE: &str = "two bare fdatasyncs";

/// Syncs of the bare loop in each round.
const SYNCS: usize = 100;

/// Messages that Synapse is given at most in each round: it takes a few dozen a second.
const SYNAPSE_MESSAGES: usize = 200;

/// Messages a second that Synapse is given at most where its latency is told: it keeps up with these.
const SYNAPSE_RATE: f64 = 10.0;

/// How many these are at most.
const SYNAPSE_PACED: usize = 100;

/// Messages that go before and do not count, as a share of those that do.
const WARM_UP: usize = 5;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Clients of each provider, all in one room; Synapse has one of each
    #[arg(long, value_name = "N", default_value_t = 1)]
    clients: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 900)]
    size: usize,
    /// Messages of a saturated round, at most 4,096 for each client
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    messages: usize,
    /// Messages under way at a time in a saturated round
    #[arg(long, value_name = "N", default_value_t = 256)]
    in_flight: usize,
    /// Messages a second of a paced round
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    rate: f64,
    /// Seconds of a paced round
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    ensure!(
        options.clients > 0 && options.messages > 0 && options.in_flight > 0,
        "no clients, or no messages"
    );
    let said_by_each = options.messages.div_ceil(2 * options.clients);
    ensure!(
        said_by_each <= IN_FLIGHT_MAX,
        "each client would say {said_by_each} messages, which it writes beforehand: it remembers {IN_FLIGHT_MAX}"
    );
    let paced = [options.rate, options.seconds];
    ensure!(
        paced.iter().all(|figure| *figure > 0.0 && figure.is_finite()),
        "no rate, or no time"
    );
    let mut options = options.clone();
    if setting.quick {
        options.messages = options.messages.min(1_000);
        options.seconds = options.seconds.min(2.0);
    }
    let settings = Settings::from([
        ("clients_of_each", json!(options.clients)),
        ("size", json!(options.size)),
        ("messages", json!(options.messages)),
        ("in_flight", json!(options.in_flight)),
        ("rate", json!(options.rate)),
        ("seconds", json!(options.seconds)),
        ("against", json!(setting.against)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("providers", settings, &watch);
    let wholes = setting.wholes(&["a", "b"]).await?;
    // Beside a running deployment they would say nothing: they are on this machine.
    let place = tempfile::tempdir_in(&setting.ground.directory)?;
    let synapses = match setting.against.is_empty() {
        true => Beside::start(place.path()).await,
        false => Beside::none("beside a running deployment they would say nothing"),
    };
    outcome.settings.insert("synapse", synapses.settings());
    let step = Step::begin("two providers, and their clients in a room", 1);
    let parties = Box::pin(Parties::gather(&wholes.providers, options.clients, "load")).await?;
    step.end();
    let mut case = Case {
        setting,
        options: &options,
        wholes,
        parties,
        synapses,
        faults: Vec::new(),
        latencies: Histogram::new(3)?,
    };
    let played = setting
        .rounds
        .play(calibrate, async |number| case.round(number).await)
        .await?;
    let title = "From due to decrypted at the other provider, at the given rate";
    let mut plot = Plot::new(title, "percentile", "milliseconds").over_percentiles();
    plot.lines.push(Line::percentiles("Nave", &case.latencies));
    outcome.plots.push(plot);
    outcome.processes = case.wholes.processes();
    outcome.processes.extend(case.synapses.processes());
    outcome.fault(case.faults);
    outcome.take(&played);
    outcome.machine = watch.machine();
    Ok(outcome)
}

struct Case<'a> {
    setting: &'a Setting,
    options: &'a Options,
    wholes: Wholes,
    parties: Parties,
    synapses: Beside,
    faults: Vec<String>,
    /// Of all paced rounds, in microseconds.
    latencies: Histogram<u64>,
}

impl Case<'_> {
    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let Options {
            messages,
            in_flight,
            rate,
            seconds,
            clients,
            ..
        } = *self.options;
        let name = |what: &str| format!("round {}: {what}", number + 1);
        let flood = Pace::InFlight(in_flight);
        self.talk(name("warm-up"), messages.div_ceil(WARM_UP), flood).await?;
        let before = self.cpu()?;
        let saturated = self.talk(name("saturated"), messages, flood).await?;
        let cpu = self.cpu()?;
        // The disk of a running deployment is not this one.
        let synced = match self.setting.against.is_empty() {
            true => Some(sync::appends(&self.setting.ground.directory, SYNCS, self.options.size)?),
            false => None,
        };
        // Bounded by what is kept in memory.
        let due = ((rate * seconds) as usize).clamp(1, 1_000_000);
        let paced = self.talk(name("paced"), due, Pace::PerSecond(rate)).await?;
        let flooded = Job {
            messages: messages.min(SYNAPSE_MESSAGES),
            octets: self.options.size,
            pace: flood,
        };
        let flooded = self.synapses.measure(&name("saturated"), &flooded).await;
        let slow = rate.min(SYNAPSE_RATE);
        let slow = Job {
            messages: due.min(SYNAPSE_PACED),
            octets: self.options.size,
            pace: Pace::PerSecond(slow),
        };
        let slow = self.synapses.measure(&name("paced"), &slow).await;
        self.latencies.add(&paced.cross_us)?;

        let arrived = saturated.messages as f64 / saturated.took.as_secs_f64().max(1e-9);
        let at = |metric: &str| format!("paced, {rate}/s: {metric}");
        let crossed = Sample::new(
            at("due to decrypted at the other provider, p50"),
            "ms",
            milliseconds(&paced.cross_us, 0.5),
        );
        let mut samples = vec![
            Sample::new("saturated: messages that arrived at the other provider", "1/s", arrived)
                .beside_if(SYNAPSE, flooded.map(|synapse| synapse.arrived_per_second))
                .goal(Goal::RatioAtLeast(500.0)),
            Sample::new(
                format!("saturated: shown to clients of the other provider, {clients} there"),
                "1/s",
                saturated.crossed as f64 / saturated.took.as_secs_f64().max(1e-9),
            ),
            Sample::new(at("due to accepted, p50"), "ms", milliseconds(&paced.accept_us, 0.5)),
            match synced {
                Some(synced) => crossed.beside(BARE, 2e3 * synced.p50.as_secs_f64()),
                None => crossed,
            },
            Sample::new(
                at("due to decrypted at the other provider, p99"),
                "ms",
                milliseconds(&paced.cross_us, 0.99),
            )
            .beside_if(SYNAPSE, slow.map(|synapse| 1e3 * synapse.cross_p99.as_secs_f64()))
            .goal(Goal::RatioAtMost(0.01)),
        ];
        if let Some((before, after)) = before.zip(cpu) {
            let each = 1e6 * (after - before) / saturated.messages.max(1) as f64;
            samples.push(Sample::new("saturated: CPU of both providers per message", "us", each));
        }
        Ok(samples)
    }

    async fn talk(&mut self, name: String, messages: usize, pace: Pace) -> anyhow::Result<Talk> {
        let step = Step::begin(name, messages);
        let talk = self
            .parties
            .talk(messages, self.options.size, pace, || step.tick())
            .await?;
        step.end();
        self.faults.extend(talk.faults.iter().cloned());
        Ok(talk)
    }

    /// Seconds that both have worked; nothing where they are no processes of ours.
    fn cpu(&self) -> anyhow::Result<Option<f64>> {
        let mut sum = 0.0;
        for provider in &self.wholes.providers {
            let Some(usage) = provider.usage()? else {
                return Ok(None);
            };
            sum += usage.cpu.as_secs_f64();
        }
        Ok(Some(sum))
    }
}
