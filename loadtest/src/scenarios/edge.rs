//! The outer tier: another provider's messages over HTTPS and mutual TLS, on connections that are kept and on fresh ones.
//! The edge brings each of them to a hub, which makes it durable before it is answered. Beside it a bare echo, of the same
//! libraries, takes the same octets and answers at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use mimi::RoomUri;
use peer::Directory;
use serde_json::json;

use super::Setting;
use super::bench::{Bench, milliseconds};
use crate::drive::{Pace, drive};
use crate::generator::{Post, Shot};
use crate::https::{Kept, Way};
use crate::limits::echo::Echo;
use crate::measure::{Watch, calibrate, now_ns};
use crate::progress::Step;
use crate::report::{Goal, Line, Outcome, Plot, ProcessUse, Sample, Settings};
use crate::stage::{Edge, HUB, Shape};
use crate::volley::Volley;

/// What stands beside the edge.
const BARE: &str = "bare echo";

/// Messages that go before and do not count, as a share of those that do.
const WARM_UP: usize = 5;

/// Within which a fresh connection is to be answered.
const FRESH: Duration = Duration::from_millis(10);

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Connections that are kept; each has one request under way at a time
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
    /// Rooms
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages of a saturated round
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: usize,
    /// Messages a second of a paced round
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    rate: f64,
    /// Seconds of a paced round
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
    /// Fresh connections of a round, one after the other, each for one message
    #[arg(long, value_name = "N", default_value_t = 300)]
    fresh: usize,
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    let counts = [options.connections, options.rooms, options.messages, options.fresh];
    ensure!(!counts.contains(&0), "no connections, rooms or messages");
    let paced = [options.rate, options.seconds];
    ensure!(
        paced.iter().all(|figure| *figure > 0.0 && figure.is_finite()),
        "no rate, or no time"
    );
    let mut options = options.clone();
    if setting.quick {
        options.messages = options.messages.min(4_000);
        options.seconds = options.seconds.min(1.0);
        options.fresh = options.fresh.min(50);
    }
    let settings = Settings::from([
        ("connections", json!(options.connections)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
        ("messages", json!(options.messages)),
        ("rate", json!(options.rate)),
        ("seconds", json!(options.seconds)),
        ("fresh", json!(options.fresh)),
        ("rate_limit", json!("above what is sent")),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("edge", settings, &watch);
    let bench = Bench::set_up(setting, &Shape::sinks(&[1]), options.rooms, options.size).await?;
    let edge = bench.stage.start_edge(&setting.ground).await?;
    let echo = bench.stage.start_echo()?;
    let [to_edge, to_echo] = bench.stage.ways(&edge, &echo)?;
    let directory = Directory::publish(HUB, [peer::Endpoint::SubmitMessage], None)?;
    let template = &directory.endpoints[&peer::Endpoint::SubmitMessage];
    let target = |room: &RoomUri| anyhow::Ok(template.expand(room.as_str()).parse::<http::Uri>()?.path().to_owned());
    let paths: Arc<[String]> = bench.crowd.rooms.iter().map(target).collect::<anyhow::Result<_>>()?;
    let mut case = Case {
        options: &options,
        paths,
        bench,
        edge,
        echo,
        to_edge,
        to_echo,
        latencies: [Histogram::new(3)?, Histogram::new(3)?],
    };
    let played = setting
        .rounds
        .play(calibrate, async |number| case.round(number).await)
        .await?;
    let mut plot = Plot::new("From due to answered, connections kept", "percentile", "milliseconds").over_percentiles();
    let [ours, bare] = &case.latencies;
    plot.lines = vec![Line::percentiles("Nave", ours), Line::percentiles(BARE, bare)];
    outcome.plots.push(plot);
    let tiers = [("nave-edge", case.edge.id()), (BARE, case.echo.id())];
    let tiers = tiers
        .into_iter()
        .filter_map(|(name, id)| ProcessUse::of(name.to_owned(), id));
    outcome.processes = tiers.collect();
    let others = case.bench.end(&mut outcome);
    outcome.processes.extend(others);
    outcome.take(&played);
    outcome.machine = watch.machine();
    Ok(outcome)
}

struct Case<'a> {
    options: &'a Options,
    /// Of each room, where its messages are sent.
    paths: Arc<[String]>,
    bench: Bench,
    edge: Edge,
    echo: Echo,
    to_edge: Arc<Way>,
    to_echo: Arc<Way>,
    /// Paced, Nave's and those of the echo, in microseconds.
    latencies: [Histogram<u64>; 2],
}

/// What one side did with the messages of a round.
struct Did {
    per_second: f64,
    per_cpu_second: f64,
    /// From due to answered, in microseconds.
    us: Histogram<u64>,
}

impl Did {
    fn of(times: &[(u64, u64)], cpu: Duration) -> anyhow::Result<Self> {
        let mut us = Histogram::new(3)?;
        for (due_ns, answered_ns) in times {
            us.record(answered_ns.saturating_sub(*due_ns) / 1_000)?;
        }
        let first = times.iter().map(|(due, _)| *due).min().unwrap_or_default();
        let last = times.iter().map(|(_, answered)| *answered).max().unwrap_or(first);
        let count = times.len() as f64;
        Ok(Self {
            per_second: count / Duration::from_nanos(last - first).as_secs_f64().max(1e-9),
            per_cpu_second: count / cpu.as_secs_f64().max(0.01),
            us,
        })
    }
}

impl Case<'_> {
    async fn round(&mut self, number: usize) -> anyhow::Result<Vec<Sample>> {
        let Options { messages, rate, .. } = *self.options;
        let name = |what: &str| format!("round {}: {what}", number + 1);
        // Bounded by what is kept in memory.
        let due = ((rate * self.options.seconds) as usize).clamp(1, 1_000_000);
        let (flood, pace) = (Pace::InFlight(self.options.connections), Pace::PerSecond(rate));
        self.kept(name("warm-up"), messages.div_ceil(WARM_UP), flood).await?;
        let [ours, bare] = self.kept(name("connections kept, saturated"), messages, flood).await?;
        let paced = self.kept(name("connections kept, paced"), due, pace).await?;
        for (all, did) in self.latencies.iter_mut().zip(&paced) {
            all.add(&did.us)?;
        }
        let [paced, bare_paced] = paced;
        let [fresh, bare_fresh] = self.fresh(name("fresh connections")).await?;
        let count = self.options.connections;
        let at = |metric: &str| format!("kept, {rate}/s: due to answered, {metric}");
        let p50 = milliseconds(&fresh.us, 0.5);
        Ok(vec![
            Sample::new(format!("kept, {count} connections: accepted"), "1/s", ours.per_second)
                .beside(BARE, bare.per_second)
                .goal(Goal::RatioAtLeast(0.5)),
            Sample::new(
                format!("kept, {count} connections: accepted per CPU-second of the edge"),
                "1/s",
                ours.per_cpu_second,
            )
            .beside(BARE, bare.per_cpu_second)
            .goal(Goal::RatioAtLeast(0.5)),
            Sample::new(at("p50"), "ms", milliseconds(&paced.us, 0.5)).beside(BARE, milliseconds(&bare_paced.us, 0.5)),
            Sample::new(at("p99"), "ms", milliseconds(&paced.us, 0.99))
                .beside(BARE, milliseconds(&bare_paced.us, 0.99)),
            Sample::new("fresh: connected to answered, p50", "ms", p50)
                .beside("10 ms", 1e3 * FRESH.as_secs_f64())
                .goal(Goal::RatioAtMost(1.0)),
            Sample::new("fresh: connected to answered, p50", "ms", p50).beside(BARE, milliseconds(&bare_fresh.us, 0.5)),
            Sample::new("fresh: connected to answered, p99", "ms", milliseconds(&fresh.us, 0.99))
                .beside(BARE, milliseconds(&bare_fresh.us, 0.99)),
            Sample::new(
                "fresh: connections per CPU-second of the edge",
                "1/s",
                fresh.per_cpu_second,
            )
            .beside(BARE, bare_fresh.per_cpu_second),
        ])
    }

    /// Messages on connections that are kept, first to the edge, then to the echo.
    async fn kept(&mut self, name: String, messages: usize, pace: Pace) -> anyhow::Result<[Did; 2]> {
        let posts = self.bench.write(messages)?;
        let step = Step::begin(name, 2 * messages);
        let open = Kept::open(&self.to_edge, self.options.connections);
        let (kept, paths) = (Arc::new(open.await?), self.paths.clone());
        let post = move |post: Post, due_ns| {
            let (kept, paths) = (kept.clone(), paths.clone());
            async move {
                let answer = kept.post(&paths[post.room], &post.body).await?;
                Shot::of(post.room, due_ns, &answer)
            }
        };
        let before = self.edge.usage()?.cpu;
        let shots = drive(posts.clone(), pace, post, || step.tick()).await?;
        let cpu = self.edge.usage()?.cpu.saturating_sub(before);
        let ours = self.accepted(shots, cpu).await?;

        let open = Kept::open(&self.to_echo, self.options.connections);
        let (kept, paths) = (Arc::new(open.await?), self.paths.clone());
        let post = move |post: Post, due_ns| {
            let (kept, paths) = (kept.clone(), paths.clone());
            async move {
                kept.post(&paths[post.room], &post.body).await?;
                Ok((due_ns, now_ns()))
            }
        };
        let before = self.echo.cpu()?;
        let times = drive(posts, pace, post, || step.tick()).await?;
        let bare = Did::of(&times, self.echo.cpu()?.saturating_sub(before))?;
        step.end();
        Ok([ours, bare])
    }

    /// A message on each of so many fresh connections, one after the other, to the edge and to the echo in turn.
    async fn fresh(&mut self, name: String) -> anyhow::Result<[Did; 2]> {
        let posts = self.bench.write(self.options.fresh)?;
        let step = Step::begin(name, 2 * posts.len());
        let before = self.edge.usage()?.cpu;
        let mut shots = Vec::new();
        for post in &posts {
            let (due_ns, answer) = afresh(&self.to_edge, &self.paths, post).await?;
            shots.push(Shot::of(post.room, due_ns, &answer)?);
            step.tick();
        }
        let cpu = self.edge.usage()?.cpu.saturating_sub(before);
        let ours = self.accepted(shots, cpu).await?;
        let before = self.echo.cpu()?;
        let mut times = Vec::new();
        for post in &posts {
            let (due_ns, _) = afresh(&self.to_echo, &self.paths, post).await?;
            times.push((due_ns, now_ns()));
            step.tick();
        }
        step.end();
        Ok([ours, Did::of(&times, self.echo.cpu()?.saturating_sub(before))?])
    }

    /// Waits until the follower was shown what was accepted, and checks that.
    async fn accepted(&mut self, shots: Vec<Shot>, cpu: Duration) -> anyhow::Result<Did> {
        let volley = Volley::seen(&self.bench.stage, &self.bench.crowd.rooms, shots).await?;
        self.bench.fault(volley.faults);
        let times: Vec<_> = volley
            .shots
            .iter()
            .map(|shot| (shot.due_ns, shot.answered_ns))
            .collect();
        Did::of(&times, cpu)
    }
}

async fn afresh(way: &Way, paths: &[String], post: &Post) -> anyhow::Result<(u64, Bytes)> {
    let due_ns = now_ns();
    Ok((due_ns, way.post_afresh(&paths[post.room], &post.body).await?))
}
