//! Followers of a stream, in a process of their own as Nave's sinks are: each has a connection and a durable consumer, checks
//! that every message comes once and in its place, and acknowledges by watermark.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::Server;
use super::server::{Setup, deliver};
use super::wire::{Client, published};
use crate::measure::now_ns;

/// The least messages between two acknowledgements, unless no more are here.
const ACK_EVERY: usize = 256;

/// A follower to which nothing comes for so long is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What such a process is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Following {
    pub(super) server: Setup,
    pub(super) stream: String,
    /// Followers that are there from the beginning.
    pub(super) well: usize,
    /// Followers that come when they are told to.
    pub(super) returning: usize,
    /// Messages that each is to be shown.
    pub(super) messages: usize,
    /// Messages of these that are a backlog: the first ones.
    pub(super) backlog: usize,
}

/// What the followers of one kind were shown.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Shown {
    /// Messages over all of them.
    pub(super) messages: usize,
    /// When the first message came, in microseconds since the UNIX epoch.
    pub(super) first_us: u64,
    /// When the last one's backlog was whole.
    pub(super) backlog_us: u64,
    /// When the last message came.
    pub(super) last_us: u64,
    /// From due to shown, in microseconds, of messages that are no backlog.
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

/// What all of them were shown.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) well: Shown,
    pub(super) returned: Shown,
}

/// What stands at the beginning of each message: its number, and when it was due.
pub(super) mod head {
    /// Octets of it.
    pub(in super::super) const OCTETS: usize = 16;

    /// Writes it into a message of at least so many octets.
    pub(in super::super) fn write(payload: &mut [u8], number: u64, due_ns: u64) {
        payload[..8].copy_from_slice(&number.to_be_bytes());
        payload[8..OCTETS].copy_from_slice(&due_ns.to_be_bytes());
    }

    /// Number, and when it was due.
    pub(in super::super) fn read(payload: &[u8]) -> Option<(u64, u64)> {
        let (number, rest) = payload.split_first_chunk()?;
        let (due_ns, _) = rest.split_first_chunk()?;
        Some((u64::from_be_bytes(*number), u64::from_be_bytes(*due_ns)))
    }
}

/// Such a process, seen from the one that started it. It ends when this is dropped.
pub(super) struct Followers {
    process: Server,
    ask: ChildStdin,
    said: Option<BufReader<ChildStdout>>,
}

impl Followers {
    /// Starts one, with files in `directory`, and waits until all that are there from the beginning have subscribed.
    pub(super) async fn start(directory: &Path, following: &Following) -> anyhow::Result<Self> {
        let (file, log) = (directory.join("follow.json"), directory.join("follow.log"));
        std::fs::write(&file, serde_json::to_vec(following)?)?;
        let mut child = Command::new(std::env::current_exe().context("find this program")?)
            .arg("nats-follow")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("start the followers of nats-server")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let process = Server { child, log };
        let (ask, said) = pipes.context("the followers' pipes")?;
        let mut followers = Self {
            process,
            ask,
            said: Some(BufReader::new(said)),
        };
        let line = followers.said().await?;
        let lines = followers.process.lines();
        ensure!(
            line.trim() == "ready",
            "the followers of nats-server do not start: {lines}"
        );
        Ok(followers)
    }

    /// Has those come that were not there.
    pub(super) fn come(&mut self) -> anyhow::Result<()> {
        writeln!(self.ask, "come")?;
        Ok(self.ask.flush()?)
    }

    /// Waits until those that are there from the beginning were shown the backlog.
    pub(super) async fn shown_backlog(&mut self) -> anyhow::Result<()> {
        let line = self.said().await?;
        ensure!(line.trim() == "backlog", "{}", self.process.lines());
        Ok(())
    }

    /// What they were shown, when they were shown everything.
    pub(super) async fn report(mut self) -> anyhow::Result<Report> {
        let line = self.said().await?;
        serde_json::from_str(&line).with_context(|| format!("the followers of nats-server: {}", self.process.lines()))
    }

    async fn said(&mut self) -> anyhow::Result<String> {
        let mut said = self.said.take().context("the followers of nats-server are gone")?;
        let (line, said) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            said.read_line(&mut line).map(|_| (line, said))
        })
        .await??;
        self.said = Some(said);
        Ok(line)
    }
}

/// Such followers, in this process.
///
/// # Errors
/// Something is lost, or comes twice, or the server goes.
pub(crate) async fn run(setup: &Path) -> anyhow::Result<()> {
    let following: Following = serde_json::from_slice(&std::fs::read(setup)?)?;
    let caller = following.server.caller()?;
    let (come, told) = watch::channel(false);
    let (whole, mut backlogs) = tokio::sync::mpsc::channel(following.well.max(1));
    let mut all = JoinSet::new();
    for number in 0..following.well + following.returning {
        let mut client = caller.connect().await?;
        let returns = number >= following.well;
        let follower = Follower::new(&following, number)?;
        if !returns {
            follower.subscribe(&client).await?;
            client.settle().await?;
        }
        let (mut told, whole) = (told.clone(), whole.clone());
        all.spawn(async move {
            if returns {
                told.wait_for(|told| *told).await?;
                follower.subscribe(&client).await?;
            }
            anyhow::Ok((
                returns,
                follower
                    .follow(client, || {
                        if !returns {
                            // There is a place for each that tells.
                            let _ = whole.try_send(());
                        }
                    })
                    .await?,
            ))
        });
    }
    drop(whole);
    println!("ready");
    // Ends with the process that started this one.
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match line.as_deref() {
                Ok("come") => drop(come.send(true)),
                _ => break,
            }
        }
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
    let (mut well, mut returned) = (Times::new()?, Times::new()?);
    let mut shown = 0;
    while !all.is_empty() {
        tokio::select! {
            biased;
            Some(()) = backlogs.recv() => {
                shown += 1;
                if shown == following.well && following.backlog > 0 {
                    println!("backlog");
                }
            }
            Some(ended) = all.join_next() => {
                let (returns, times) = ended??;
                let of_its_kind = if returns { &mut returned } else { &mut well };
                of_its_kind.add(&times)?;
            }
        }
    }
    let report = Report {
        well: well.shown(),
        returned: returned.shown(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// One of them.
struct Follower {
    subject: String,
    messages: usize,
    backlog: usize,
    /// Whether the message of each number has come.
    came: Vec<bool>,
    times: Times,
}

impl Follower {
    fn new(following: &Following, number: usize) -> anyhow::Result<Self> {
        Ok(Self {
            subject: deliver(&following.stream, number),
            messages: following.messages,
            backlog: following.backlog,
            came: vec![false; following.messages],
            times: Times::new()?,
        })
    }

    async fn subscribe(&self, client: &Client) -> anyhow::Result<()> {
        client.send(format!("SUB {} 2\r\n", self.subject).into()).await
    }

    async fn follow(mut self, mut client: Client, backlog_is_whole: impl Fn()) -> anyhow::Result<Times> {
        let mut unacknowledged = 0;
        for place in 1..=self.messages {
            let message = timeout(PATIENCE, client.next()).await;
            let message = message.with_context(|| format!("nothing comes any more after {} messages", place - 1))??;
            let received_ns = now_ns();
            let reply = message.reply.context("a message that cannot be acknowledged")?;
            let seq = seq_of(&reply).context("a message without a place")?;
            ensure!(seq == place as u64, "message {seq} came in the place of {place}");
            let (number, due_ns) = head::read(&message.payload).context("a message that is too short")?;
            let came = usize::try_from(number)
                .ok()
                .and_then(|number| self.came.get_mut(number));
            let came = came.with_context(|| format!("there is no message {number}"))?;
            ensure!(!std::mem::replace(came, true), "message {number} came twice");
            let times = &mut self.times;
            times.first_us = times.first_us.min(received_ns / 1_000);
            times.last_us = received_ns / 1_000;
            if place > self.backlog {
                times.latencies_us.record(received_ns.saturating_sub(due_ns) / 1_000)?;
            }
            if place == self.backlog {
                times.backlog_us = received_ns / 1_000;
                backlog_is_whole();
            }
            times.messages += 1;
            unacknowledged += 1;
            if place == self.messages || unacknowledged >= ACK_EVERY || !client.has_more() {
                client.send(acknowledgement(&reply)).await?;
                unacknowledged = 0;
            }
        }
        client.settle().await?;
        Ok(self.times)
    }
}

/// `$JS.ACK.stream.consumer.delivered.seq…`; in newer servers with domain and account before the stream.
fn seq_of(reply: &str) -> Option<u64> {
    let words: Vec<&str> = reply.split('.').collect();
    let place = match words.len() {
        9 => 5,
        11.. => 7,
        _ => return None,
    };
    words.get(place)?.parse().ok()
}

fn acknowledgement(reply: &str) -> Bytes {
    published(reply, None, b"+ACK")
}

/// When messages came.
struct Times {
    messages: usize,
    first_us: u64,
    backlog_us: u64,
    last_us: u64,
    latencies_us: Histogram<u64>,
}

impl Times {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            messages: 0,
            first_us: u64::MAX,
            backlog_us: 0,
            last_us: 0,
            latencies_us: Histogram::new(3)?,
        })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.messages += other.messages;
        self.first_us = self.first_us.min(other.first_us);
        self.backlog_us = self.backlog_us.max(other.backlog_us);
        self.last_us = self.last_us.max(other.last_us);
        Ok(self.latencies_us.add(&other.latencies_us)?)
    }

    fn shown(&self) -> Shown {
        Shown {
            messages: self.messages,
            first_us: self.first_us,
            backlog_us: self.backlog_us,
            last_us: self.last_us,
            p50_us: self.latencies_us.value_at_quantile(0.5),
            p99_us: self.latencies_us.value_at_quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_message_is_read_from_both_forms_of_its_reply() {
        assert_eq!(seq_of("$JS.ACK.S.f0.1.42.7.1700000000000000000.0"), Some(42));
        assert_eq!(seq_of("$JS.ACK._.acc.S.f0.1.42.7.1700000000000000000.0"), Some(42));
        assert_eq!(seq_of("$JS.ACK._.acc.S.f0.1.42.7.1700000000000000000.0.x"), Some(42));
        assert_eq!(seq_of("_INBOX.1"), None);
    }

    #[test]
    fn number_and_time_of_a_message_are_read_as_written() {
        let mut payload = [0; 20];
        head::write(&mut payload, 7, 9);
        assert_eq!(head::read(&payload), Some((7, 9)));
        assert_eq!(head::read(&payload[..15]), None);
    }
}
