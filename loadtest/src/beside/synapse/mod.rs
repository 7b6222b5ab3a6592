//! Two Synapses beside two providers of Nave's: two Matrix servers that federate with mutual trust in one CA, a user of each,
//! both in one room. What the one sends by the client API counts when the other is shown it by /sync. Nothing is encrypted for
//! them: what is sent is as long as what MLS makes of a message.

mod api;
mod files;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use daemon::certificates::DevelopmentCa;
use hdrhistogram::Histogram;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Server, program};
use crate::cli::Common;
use crate::drive::Pace;
use crate::measure::{Usage, now_ns};
use crate::progress::Step;
use crate::report::ProcessUse;
use api::{User, escaped};
use files::Files;

/// Names a Python that has Synapse where that is not the `python3` in PATH.
const VARIABLE: &str = "SYNAPSE_PYTHON";

/// Both serve by then.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(250);

/// A receiver that is shown nothing for so long is shown nothing any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// For how long /sync waits for something to show.
const SYNC_WAIT: Duration = Duration::from_secs(10);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    /// Messages.
    pub(crate) messages: usize,
    /// Octets of each.
    pub(crate) octets: usize,
    /// When.
    pub(crate) pace: Pace,
}

/// How they did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Messages that were shown to the other server's user, each once. Fewer than were sent: the rest never came.
    pub(crate) arrived: usize,
    /// The same in a second, from when the first message was due until the last one was shown.
    pub(crate) arrived_per_second: f64,
    /// From due to shown, of those that were shown.
    pub(crate) cross_p50: Duration,
    /// The same.
    pub(crate) cross_p99: Duration,
    /// CPU time of both servers for each message sent.
    pub(crate) cpu_per_message: Duration,
}

/// What is sent where they are tried alone.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Messages
    #[arg(long, value_name = "N", default_value_t = 200)]
    messages: usize,
    /// Messages under way at a time
    #[arg(long, value_name = "N", default_value_t = 64)]
    in_flight: usize,
    /// Messages a second, instead
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Octets of a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
}

/// Both alone: says how they did, and whether everything arrived.
///
/// # Errors
/// They do not start, refuse, or go.
pub(crate) async fn alone(common: &Common, options: &Options) -> anyhow::Result<bool> {
    let directory = tempfile::Builder::new()
        .prefix("nave-load-")
        .tempdir_in(common.directory()?)?;
    let job = Job {
        messages: options.messages,
        octets: options.size,
        pace: match options.rate {
            Some(rate) if rate > 0.0 && rate.is_finite() => Pace::PerSecond(rate),
            Some(_) => bail!("no rate"),
            None => Pace::InFlight(options.in_flight),
        },
    };
    let mut synapses = Synapses::start(directory.path()).await?;
    let figures = synapses.measure(&job).await?;
    let said = json!({
        "synapse": synapses.version,
        "sent": job.messages,
        "arrived": figures.arrived,
        "arrived_per_second": figures.arrived_per_second,
        "cross_p50_ms": 1e3 * figures.cross_p50.as_secs_f64(),
        "cross_p99_ms": 1e3 * figures.cross_p99.as_secs_f64(),
        "cpu_per_message_ms": 1e3 * figures.cpu_per_message.as_secs_f64(),
        "processes": synapses.processes(),
    });
    println!("{said:#}");
    Ok(figures.arrived == job.messages)
}

/// Both, or why there are none: for whoever measures Nave, and is never ended by what stands beside.
pub(crate) struct Beside {
    running: Option<Synapses>,
    said: String,
}

impl Beside {
    /// As [`Synapses::start`]; what is wrong is said on standard error.
    pub(crate) async fn start(directory: &Path) -> Self {
        let (running, said) = match Synapses::start(directory).await {
            Ok(synapses) => {
                let said = synapses.version.clone();
                (Some(synapses), said)
            }
            Err(error) => {
                let why = format!("not measured: {error:#}");
                eprintln!("two Synapses: {why}");
                (None, why)
            }
        };
        Self { running, said }
    }

    /// None, since `why`.
    pub(crate) fn none(why: &str) -> Self {
        Self {
            running: None,
            said: format!("not measured: {why}"),
        }
    }

    /// What there is, for the settings of a report.
    pub(crate) fn settings(&self) -> Value {
        json!(self.said)
    }

    /// What both used until now.
    pub(crate) fn processes(&self) -> Vec<ProcessUse> {
        self.running.iter().flat_map(Synapses::processes).collect()
    }

    /// As [`Synapses::measure`]. `None`: there are none, or they failed, which is said on standard error, as is what never
    /// came.
    pub(crate) async fn measure(&mut self, step: &str, job: &Job) -> Option<Figures> {
        let synapses = self.running.as_mut()?;
        let step = Step::begin(format!("{step}: two Synapses"), job.messages);
        let figures = synapses.measure(job).await;
        step.end();
        match figures {
            Ok(figures) => {
                let Figures { arrived, .. } = figures;
                if arrived < job.messages {
                    eprintln!("two Synapses: of {} messages {arrived} came", job.messages);
                }
                Some(figures)
            }
            Err(error) => {
                eprintln!("two Synapses fail in this round: {error:#}");
                None
            }
        }
    }
}

/// Two servers with a room across them.
struct Synapses {
    servers: [Server; 2],
    /// As they say themselves.
    version: String,
    sender: Arc<User>,
    receiver: User,
    room: String,
    /// Where the receiver's next /sync goes on.
    since: String,
    jobs: usize,
}

impl Synapses {
    /// Starts both, with files in `directory` and certificates of the CA in `directory/ca`, which is made where there is none.
    ///
    /// # Errors
    /// They are not on this machine, or do not start, or refuse.
    async fn start(directory: &Path) -> anyhow::Result<Self> {
        let python = program(VARIABLE, "python3");
        let found = python.and_then(|python| Some((version(&python)?, python)));
        let found =
            found.with_context(|| format!("no python3 in PATH has Synapse, and {VARIABLE} names none that has"));
        let (version, python) = found?;
        let ca = DevelopmentCa::in_directory(&directory.join("ca"))?;
        let roots = directory.join("ca/ca.pem");
        let one = |name: &str| {
            let files = files::lay(&directory.join(name), &ca, &roots)?;
            Ok::<_, anyhow::Error>((run(&python, &files)?, files))
        };
        let ((mut first, of_first), (mut second, of_second)) = (one("synapse-a")?, one("synapse-b")?);
        let sender = registered(&mut first, &of_first, "sender").await?;
        let receiver = registered(&mut second, &of_second, "receiver").await?;
        let room = meet(&sender, &receiver, &of_first.name).await?;
        let mut synapses = Self {
            servers: [first, second],
            version,
            sender: Arc::new(sender),
            receiver,
            room,
            since: String::new(),
            jobs: 0,
        };
        synapses.shown().await?;
        Ok(synapses)
    }

    /// What both used until now.
    fn processes(&self) -> Vec<ProcessUse> {
        let names = ["synapse, the sender's", "synapse, the receiver's"];
        let of = |(server, name): (&Server, &str)| {
            let usage = server.usage().ok()?;
            Some(ProcessUse {
                name: name.to_owned(),
                cpu_seconds: usage.cpu.as_secs_f64(),
                rss_bytes: usage.rss,
                rss_peak_bytes: usage.rss_peak,
            })
        };
        self.servers.iter().zip(names).filter_map(of).collect()
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        let usages: Vec<Usage> = self.servers.iter().map(Server::usage).collect::<anyhow::Result<_>>()?;
        Ok(usages.iter().map(|usage| usage.cpu).sum())
    }

    /// Sends all messages of `job` and waits until the other user was shown them, or is shown nothing any more.
    ///
    /// # Errors
    /// A server refuses, or goes, or shows a message twice.
    async fn measure(&mut self, job: &Job) -> anyhow::Result<Figures> {
        ensure!(job.messages > 0, "nothing to send");
        self.jobs += 1;
        let before = self.cpu()?;
        let sending = tokio::spawn(send(self.sender.clone(), self.room.clone(), self.jobs, *job));
        let mut crossed = Crossed::new(job.messages)?;
        let mut last = Instant::now();
        while crossed.arrived < job.messages {
            if sending.is_finished() && last.elapsed() > PATIENCE {
                break;
            }
            let events = self.shown().await?;
            let received_ns = now_ns();
            for event in &events {
                if crossed.take(&event["content"], self.jobs, received_ns)? {
                    last = Instant::now();
                }
            }
        }
        sending.await??;
        let cpu = self.cpu()?.saturating_sub(before);
        let took = crossed.last_ns.saturating_sub(crossed.first_ns).max(1) as f64 / 1e9;
        let quantile = |quantile| Duration::from_micros(crossed.times_us.value_at_quantile(quantile));
        Ok(Figures {
            arrived: crossed.arrived,
            arrived_per_second: crossed.arrived as f64 / took,
            cross_p50: quantile(0.5),
            cross_p99: quantile(0.99),
            cpu_per_message: cpu.div_f64(job.messages as f64),
        })
    }

    /// What came to the room since this was asked last, to the receiver.
    async fn shown(&mut self) -> anyhow::Result<Vec<Value>> {
        let filter = json!({
            "presence": { "types": [] }, "account_data": { "types": [] },
            "room": { "timeline": { "limit": 1_000_000 }, "ephemeral": { "types": [] }, "account_data": { "types": [] } },
        });
        let mut path = format!("/_matrix/client/v3/sync?filter={}", escaped(&filter.to_string()));
        if !self.since.is_empty() {
            path.push_str(&format!(
                "&timeout={}&since={}",
                SYNC_WAIT.as_millis(),
                escaped(&self.since)
            ));
        }
        let mut answer = self.receiver.ask(Method::GET, &path, None).await?;
        let next = answer["next_batch"].as_str().context("Synapse shows no way to go on")?;
        self.since = next.to_owned();
        let timeline = &mut answer["rooms"]["join"][&self.room]["timeline"]["events"];
        match timeline.take() {
            Value::Array(events) => Ok(events),
            _ => Ok(Vec::new()),
        }
    }
}

/// What has arrived.
struct Crossed {
    came: Vec<bool>,
    arrived: usize,
    first_ns: u64,
    last_ns: u64,
    times_us: Histogram<u64>,
}

impl Crossed {
    fn new(messages: usize) -> anyhow::Result<Self> {
        Ok(Self {
            came: vec![false; messages],
            arrived: 0,
            first_ns: u64::MAX,
            last_ns: 0,
            times_us: Histogram::new(3)?,
        })
    }

    /// Takes the content of an event in; whether it is a message of the job `job`.
    fn take(&mut self, content: &Value, job: usize, received_ns: u64) -> anyhow::Result<bool> {
        if content["job"].as_u64() != Some(job as u64) {
            return Ok(false);
        }
        let number = content["number"]
            .as_u64()
            .and_then(|number| usize::try_from(number).ok());
        let due_ns = content["due_ns"].as_str().and_then(|due| due.parse::<u64>().ok());
        let (number, due_ns) = number.zip(due_ns).context("Synapse shows a message that nobody sent")?;
        let came = self
            .came
            .get_mut(number)
            .context("Synapse shows a message that nobody sent")?;
        ensure!(!std::mem::replace(came, true), "Synapse shows message {number} twice");
        self.arrived += 1;
        (self.first_ns, self.last_ns) = (self.first_ns.min(due_ns), self.last_ns.max(received_ns));
        self.times_us.record(received_ns.saturating_sub(due_ns) / 1_000)?;
        Ok(true)
    }
}

async fn send(user: Arc<User>, room: String, of_job: usize, job: Job) -> anyhow::Result<()> {
    let in_flight = match job.pace {
        Pace::InFlight(count) => count.clamp(1, Semaphore::MAX_PERMITS),
        Pace::PerSecond(_) => job.messages,
    };
    let free = Arc::new(Semaphore::new(in_flight));
    let (began, began_ns) = (Instant::now(), now_ns());
    let text: Arc<str> = "x".repeat(job.octets).into();
    let mut sending = JoinSet::new();
    for number in 0..job.messages {
        let permit = free.clone().acquire_owned().await?;
        let due_ns = match job.pace {
            Pace::InFlight(_) => now_ns(),
            Pace::PerSecond(rate) => {
                let due = Duration::from_secs_f64(number as f64 / rate);
                sleep_until(began + due).await;
                began_ns + u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)
            }
        };
        let (user, text) = (user.clone(), text.clone());
        let path = format!(
            "/_matrix/client/v3/rooms/{}/send/m.room.encrypted/{of_job}-{number}",
            escaped(&room)
        );
        sending.spawn(async move {
            // In Matrix's canonical JSON a number has no more than 53 bits.
            let content = json!({
                "algorithm": "none", "ciphertext": &*text, "job": of_job, "number": number, "due_ns": due_ns.to_string(),
            });
            let sent = user.ask(Method::PUT, &path, Some(&content)).await;
            drop(permit);
            sent.map(drop)
        });
        // The first failure ends it.
        while let Some(sent) = sending.try_join_next() {
            sent??;
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent??;
    }
    Ok(())
}

/// What Synapse of `python` calls itself; nothing where it has none.
fn version(python: &Path) -> Option<String> {
    let said = Command::new(python)
        .args([
            "-c",
            "import synapse, synapse.util; print(synapse.util.SYNAPSE_VERSION)",
        ])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let version = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    (said.status.success() && !version.is_empty()).then_some(version)
}

fn run(python: &Path, files: &Files) -> anyhow::Result<Server> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(python);
        command
            .args(["-m", "synapse.app.homeserver", "-c"])
            .arg(&files.config)
            .args(arguments);
        command
    };
    let directory = files.config.parent().context("a configuration in a directory")?;
    let keys = command(&["--generate-keys"]).current_dir(directory).output()?;
    let said = String::from_utf8_lossy(&keys.stderr);
    ensure!(keys.status.success(), "Synapse makes no keys: {said}");
    let log: PathBuf = directory.join("synapse.log");
    Server::start(command(&[]).current_dir(directory), &log)
}

/// Registers a user as soon as the server serves.
async fn registered(server: &mut Server, files: &Files, name: &str) -> anyhow::Result<User> {
    let began = Instant::now();
    loop {
        let error = match User::register(files.clients, name).await {
            Ok(user) => return Ok(user),
            Err(error) => error,
        };
        if server.has_ended() || began.elapsed() > DEADLINE {
            bail!("Synapse does not start: {error:#}: {}", server.lines());
        }
        sleep(LOOK).await;
    }
}

/// A room of the sender's server in which the receiver is, too.
async fn meet(sender: &User, receiver: &User, via: &str) -> anyhow::Result<String> {
    let room = json!({ "preset": "private_chat", "invite": [receiver.id] });
    let made = sender
        .ask(Method::POST, "/_matrix/client/v3/createRoom", Some(&room))
        .await?;
    let room = made["room_id"]
        .as_str()
        .context("Synapse makes a room without a name")?
        .to_owned();
    let join = format!(
        "/_matrix/client/v3/join/{}?server_name={}",
        escaped(&room),
        escaped(via)
    );
    let began = Instant::now();
    // The invitation may still be on its way.
    while let Err(error) = receiver.ask(Method::POST, &join, Some(&json!({}))).await {
        ensure!(began.elapsed() < PATIENCE, "the receiver does not come in: {error:#}");
        sleep(LOOK).await;
    }
    Ok(room)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_message_counts_once_and_only_in_its_job() {
        let mut crossed = Crossed::new(2).unwrap();
        let content = |job: usize, number: usize| json!({ "job": job, "number": number, "due_ns": "1000000" });
        assert!(crossed.take(&content(1, 1), 1, 3_000_000).unwrap());
        assert!(!crossed.take(&content(2, 0), 1, 3_000_000).unwrap());
        assert!(!crossed.take(&json!({ "membership": "join" }), 1, 3_000_000).unwrap());
        assert!(crossed.take(&content(1, 1), 1, 3_000_000).is_err());
        assert!(crossed.take(&content(1, 2), 1, 3_000_000).is_err());
        assert_eq!((crossed.arrived, crossed.times_us.max()), (1, 2_000));
    }
}
