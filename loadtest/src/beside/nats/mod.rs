//! NATS JetStream beside Nave: the same messages through one stream on the same disk, each acknowledged to whoever publishes
//! it, pushed to as many durable consumers in a process of their own, checked there, and acknowledged by watermark. Once as
//! a server is by itself, which syncs every two minutes, and once with `sync_interval: always`, where the release has that.

mod follow;
mod publish;
mod server;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use daemon::certificates::DevelopmentCa;
use serde_json::{Value, json};

pub(crate) use follow::run as follow;
pub(crate) use server::Sync;

use crate::drive::Pace;
use crate::progress::Step;
use crate::report::ProcessUse;
use follow::{Followers, Following};
use publish::{Acknowledged, Posts, publish};
use server::{Nats, Program};
use wire::Client;

/// Connections over which messages are published: as many as Nave's generator has.
const CONNECTIONS: usize = 4;

/// Messages that go before and do not count, as a share of those that do.
const WARM_UP: usize = 5;

/// Where a server syncs each message, rates are told of so much less.
const LESS_WHERE_SYNCED: usize = 5;

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    /// Consumers.
    pub(crate) followers: usize,
    /// Messages.
    pub(crate) messages: usize,
    /// Subjects of the stream over which they are spread.
    pub(crate) subjects: usize,
    /// Octets of a message.
    pub(crate) octets: usize,
    /// When they are published.
    pub(crate) pace: Pace,
}

impl Job {
    /// Messages where a server syncs each: fewer, but several times as many as are under way.
    fn fewer(&self) -> usize {
        let least = match self.pace {
            Pace::InFlight(count) => count.saturating_mul(4),
            Pace::PerSecond(_) => 1,
        };
        self.messages.div_ceil(LESS_WHERE_SYNCED).max(least).min(self.messages)
    }
}

/// How it did. Everything arrived everywhere, once and in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Acknowledged to whoever published, in a second.
    pub(crate) accepted_per_second: f64,
    /// From due to acknowledged.
    pub(crate) accept_p50: Duration,
    /// The same.
    pub(crate) accept_p99: Duration,
    /// Shown to all consumers, in a second.
    pub(crate) delivered_per_second: f64,
    /// Shown to all consumers, for each second of the server's CPU time.
    pub(crate) delivered_per_cpu_second: f64,
    /// The server's CPU time for each message.
    pub(crate) cpu_per_message: Duration,
    /// From due to shown.
    pub(crate) deliver_p50: Duration,
    /// The same.
    pub(crate) deliver_p99: Duration,
}

/// Consumers that return to a backlog, while others are there and messages go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Returning {
    /// Consumers that return.
    pub(crate) returning: usize,
    /// Consumers that are there.
    pub(crate) well: usize,
    /// Messages that are there when they return.
    pub(crate) backlog: usize,
    /// Messages meanwhile.
    pub(crate) live: usize,
    /// Messages a second meanwhile.
    pub(crate) rate: f64,
    /// Subjects of the stream.
    pub(crate) subjects: usize,
    /// Octets of a message.
    pub(crate) octets: usize,
    /// Messages under way while the backlog is made.
    pub(crate) in_flight: usize,
}

/// The servers of this machine: one for each way to sync.
#[derive(Default)]
pub(crate) struct Servers {
    running: BTreeMap<&'static str, Nats>,
    /// Of each way to sync what there is, or why there is nothing.
    said: BTreeMap<&'static str, String>,
    jobs: usize,
}

fn name(sync: Sync) -> &'static str {
    match sync {
        Sync::Later => "un-synced",
        Sync::Always => "sync always",
    }
}

impl Servers {
    /// Starts what can be started, with files in `directory` and certificates of the CA in `directory/ca`. What cannot be
    /// says why on standard error and is not measured.
    pub(crate) async fn start(directory: &Path, syncs: &[Sync]) -> Self {
        let mut servers = Self::default();
        for sync in syncs {
            let (name, said) = (name(*sync), &mut servers.said);
            match start(directory, *sync).await {
                Ok((nats, version)) => {
                    said.insert(name, version);
                    servers.running.insert(name, nats);
                }
                Err(error) => {
                    let why = format!("not measured: {error:#}");
                    eprintln!("NATS JetStream, {name}: {why}");
                    said.insert(name, why);
                }
            }
        }
        servers
    }

    /// What there is of each, for the settings of a report.
    pub(crate) fn settings(&self) -> Value {
        json!(self.said)
    }

    /// What they used until now.
    pub(crate) fn processes(&self) -> Vec<ProcessUse> {
        let of = |(name, nats): (&&str, &Nats)| nats.process(&format!("nats-server, {name}"));
        self.running.iter().filter_map(of).collect()
    }

    /// How `job` goes, after a shorter one that does not count. `None`: there is no such server, or it failed, which is said
    /// on standard error: what stands beside Nave never ends a run of Nave's.
    pub(crate) async fn fan_out(&mut self, sync: Sync, step: &str, job: &Job) -> Option<Figures> {
        let mut job = *job;
        if sync == Sync::Always {
            job.messages = job.fewer();
        }
        let warm_up = Job {
            messages: job.messages.div_ceil(WARM_UP),
            ..job
        };
        let (nats, stream) = self.next(sync)?;
        let step = Step::begin(format!("{step}: NATS JetStream, {}", name(sync)), job.messages);
        let figures = async {
            fan_out(nats, &format!("{stream}W"), &warm_up).await?;
            fan_out(nats, &stream, &job).await
        };
        let figures = figures.await;
        step.end();
        told(sync, figures)
    }

    /// Messages of the backlog shown in a second, over all that return, from the first one that any of them is shown. `None`
    /// as in [`Self::fan_out`].
    pub(crate) async fn catch_up(&mut self, sync: Sync, step: &str, job: &Returning) -> Option<f64> {
        let (nats, stream) = self.next(sync)?;
        let step = Step::begin(format!("{step}: NATS JetStream, {}", name(sync)), job.backlog);
        let rate = catch_up(nats, &stream, job).await;
        step.end();
        told(sync, rate)
    }

    fn next(&mut self, sync: Sync) -> Option<(&Nats, String)> {
        self.jobs += 1;
        let nats = self.running.get(name(sync))?;
        Some((nats, format!("S{}", self.jobs)))
    }
}

fn told<T>(sync: Sync, result: anyhow::Result<T>) -> Option<T> {
    let why = |error| eprintln!("NATS JetStream, {}, fails in this round: {error:#}", name(sync));
    result.map_err(why).ok()
}

async fn start(directory: &Path, sync: Sync) -> anyhow::Result<(Nats, String)> {
    let program = Program::find()?;
    let ca = DevelopmentCa::in_directory(&directory.join("ca"))?;
    let (roots, home) = (directory.join("ca/ca.pem"), directory.join(format!("nats-{sync:?}")));
    let nats = program.start(sync, &home, &ca, &roots).await?;
    Ok((nats, program.version))
}

async fn clients(nats: &Nats) -> anyhow::Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(nats.caller.connect().await?);
    }
    Ok(clients)
}

async fn fan_out(nats: &Nats, stream: &str, job: &Job) -> anyhow::Result<Figures> {
    let mut api = nats.caller.connect().await?;
    nats.lay(&mut api, stream, job.followers).await?;
    let figures = measure(nats, stream, job).await;
    nats.clear(&mut api, stream).await?;
    figures
}

async fn measure(nats: &Nats, stream: &str, job: &Job) -> anyhow::Result<Figures> {
    let following = Following {
        server: nats.setup.clone(),
        stream: stream.to_owned(),
        well: job.followers,
        returning: 0,
        messages: job.messages,
        backlog: 0,
    };
    let posts = Posts {
        stream: stream.into(),
        subjects: job.subjects,
        first: 0,
        count: job.messages,
        octets: job.octets,
        pace: job.pace,
    };
    let followers = Followers::start(&nats.directory, &following).await?;
    let mut clients = clients(nats).await?;
    let before = nats.usage()?.cpu;
    let Acknowledged {
        first_ns,
        last_ns,
        accept_us,
    } = publish(&mut clients, &posts).await?;
    let shown = followers.report().await?.well;
    let cpu = nats.usage()?.cpu.saturating_sub(before);
    let delivered = job.messages * job.followers;
    ensure!(
        shown.messages == delivered,
        "{} of {delivered} messages came",
        shown.messages
    );
    let seconds = |from_us: u64, to_us: u64| to_us.saturating_sub(from_us).max(1) as f64 / 1e6;
    let quantile = |quantile| Duration::from_micros(accept_us.value_at_quantile(quantile));
    Ok(Figures {
        accepted_per_second: job.messages as f64 / seconds(first_ns / 1_000, last_ns / 1_000),
        accept_p50: quantile(0.5),
        accept_p99: quantile(0.99),
        delivered_per_second: delivered as f64 / seconds(first_ns / 1_000, shown.last_us),
        delivered_per_cpu_second: delivered as f64 / cpu.as_secs_f64().max(0.01),
        cpu_per_message: cpu.div_f64(job.messages as f64),
        deliver_p50: Duration::from_micros(shown.p50_us),
        deliver_p99: Duration::from_micros(shown.p99_us),
    })
}

async fn catch_up(nats: &Nats, stream: &str, job: &Returning) -> anyhow::Result<f64> {
    let mut api = nats.caller.connect().await?;
    nats.lay(&mut api, stream, job.well + job.returning).await?;
    let rate = returned(nats, stream, job).await;
    nats.clear(&mut api, stream).await?;
    rate
}

async fn returned(nats: &Nats, stream: &str, job: &Returning) -> anyhow::Result<f64> {
    let following = Following {
        server: nats.setup.clone(),
        stream: stream.to_owned(),
        well: job.well,
        returning: job.returning,
        messages: job.backlog + job.live,
        backlog: job.backlog,
    };
    let backlog = Posts {
        stream: stream.into(),
        subjects: job.subjects,
        first: 0,
        count: job.backlog,
        octets: job.octets,
        pace: Pace::InFlight(job.in_flight),
    };
    let live = Posts {
        first: job.backlog as u64,
        count: job.live,
        pace: Pace::PerSecond(job.rate),
        ..backlog.clone()
    };
    let mut followers = Followers::start(&nats.directory, &following).await?;
    let mut clients = clients(nats).await?;
    publish(&mut clients, &backlog).await?;
    followers.shown_backlog().await?;
    followers.come()?;
    let (published, report) = tokio::join!(publish(&mut clients, &live), followers.report());
    published?;
    let shown = report?.returned;
    let all = following.messages * job.returning;
    ensure!(shown.messages == all, "{} of {all} messages came", shown.messages);
    let took = shown
        .backlog_us
        .checked_sub(shown.first_us)
        .context("nobody returned")?;
    Ok((job.backlog * job.returning) as f64 / (took.max(1) as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synced_server_has_fewer_messages_but_more_than_are_under_way() {
        let fewer = |messages, pace| {
            let job = Job {
                followers: 1,
                messages,
                subjects: 1,
                octets: 16,
                pace,
            };
            job.fewer()
        };
        assert_eq!(fewer(20_000, Pace::InFlight(1_000)), 4_000);
        assert_eq!(fewer(20_000, Pace::InFlight(4_000)), 16_000);
        assert_eq!(fewer(20_000, Pace::InFlight(10_000)), 20_000);
        assert_eq!(fewer(20_000, Pace::PerSecond(1.0)), 4_000);
    }
}
