//! Publishes to a stream as Nave's generator submits to a hub: over as many connections, each message acknowledged by the
//! server, with so many under way or so many due a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::follow::head;
use super::wire::{Client, published};
use crate::drive::Pace;
use crate::measure::now_ns;

/// For how long a server may acknowledge nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is published.
#[derive(Debug, Clone)]
pub(super) struct Posts {
    pub(super) stream: Arc<str>,
    /// Subjects over which they are spread in turn.
    pub(super) subjects: usize,
    /// The number of the first.
    pub(super) first: u64,
    pub(super) count: usize,
    pub(super) octets: usize,
    pub(super) pace: Pace,
}

/// What the server acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    /// When the first message was due, in nanoseconds since the UNIX epoch.
    pub(super) first_ns: u64,
    /// When the last acknowledgement was here.
    pub(super) last_ns: u64,
    /// From due to acknowledged, in microseconds.
    pub(super) accept_us: Histogram<u64>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    seq: Option<u64>,
    error: Option<serde_json::Value>,
}

struct Shot {
    due_ns: u64,
    answered_ns: u64,
    seq: u64,
}

/// Publishes all of `posts` and waits for every acknowledgement. `clients` is given back.
///
/// # Errors
/// The server refuses one or goes, or gives two messages one place.
pub(super) async fn publish(clients: &mut Vec<Client>, posts: &Posts) -> anyhow::Result<Acknowledged> {
    let count = posts.count;
    ensure!(count > 0 && !clients.is_empty(), "nothing to publish, or no way to");
    let in_flight = match posts.pace {
        Pace::InFlight(count) => count,
        Pace::PerSecond(_) => count,
    };
    let free = Arc::new(Semaphore::new(in_flight.clamp(1, Semaphore::MAX_PERMITS)));
    let (ended, mut shots) = mpsc::channel(count);
    let queues: Vec<_> = clients
        .iter()
        .map(|client| (client.queue(), client.inbox().to_owned()))
        .collect();
    let ways = clients.len();
    let mut readers = JoinSet::new();
    for (number, mut client) in clients.drain(..).enumerate() {
        // Of `count` messages sent over the ways in turn.
        let due_here = count / ways + usize::from(number < count % ways);
        let (free, ended) = (free.clone(), ended.clone());
        readers.spawn(async move {
            for _ in 0..due_here {
                let answer = timeout(PATIENCE, client.next()).await;
                let message = answer.context("nats-server acknowledges nothing any more")??;
                let answered_ns = now_ns();
                free.add_permits(1);
                let status = String::from_utf8_lossy(&message.headers);
                ensure!(status.is_empty(), "nats-server: {}", status.trim());
                let answer: Answer = serde_json::from_slice(&message.payload)?;
                ensure!(answer.error.is_none(), "nats-server refuses: {:?}", answer.error);
                let due = message.subject.rsplit_once('.').and_then(|(_, due)| due.parse().ok());
                let shot = Shot {
                    due_ns: due.context("an acknowledgement of nothing")?,
                    answered_ns,
                    seq: answer.seq.context("an acknowledgement without a place")?,
                };
                ended.send(shot).await.ok().context("nobody listens")?;
            }
            Ok(client)
        });
    }
    drop(ended);
    let writing = {
        let posts = posts.clone();
        // A thread of its own: it sleeps more exactly than the runtime does.
        tokio::task::spawn_blocking(move || write(&posts, &queues, &free))
    };
    let (mut accept_us, mut seqs) = (Histogram::new(3)?, Vec::with_capacity(count));
    let (mut first_ns, mut last_ns) = (u64::MAX, 0);
    while let Some(shot) = shots.recv().await {
        accept_us.record(shot.answered_ns.saturating_sub(shot.due_ns) / 1_000)?;
        seqs.push(shot.seq);
        (first_ns, last_ns) = (first_ns.min(shot.due_ns), last_ns.max(shot.answered_ns));
    }
    while let Some(client) = readers.join_next().await {
        clients.push(client??);
    }
    writing.await??;
    seqs.sort_unstable();
    seqs.dedup();
    ensure!(
        seqs.len() == count,
        "of {count} messages nats-server kept {}",
        seqs.len()
    );
    Ok(Acknowledged {
        first_ns,
        last_ns,
        accept_us,
    })
}

type Queue = (mpsc::Sender<Bytes>, String);

fn write(posts: &Posts, queues: &[Queue], free: &Semaphore) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Handle::current();
    let subjects: Vec<String> = (0..posts.subjects.max(1))
        .map(|number| format!("{}.{number}", posts.stream))
        .collect();
    let (began, began_ns) = (Instant::now(), now_ns());
    let mut payload = vec![0x5a; posts.octets.max(head::OCTETS)];
    for number in 0..posts.count {
        let due_ns = match posts.pace {
            Pace::PerSecond(rate) => {
                let due = Duration::from_secs_f64(number as f64 / rate);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
                began_ns + u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)
            }
            Pace::InFlight(_) => {
                if let Ok(permit) = free.try_acquire() {
                    permit.forget();
                } else {
                    let waited = runtime.block_on(async { timeout(PATIENCE, free.acquire()).await });
                    waited.context("nats-server acknowledges nothing any more")??.forget();
                }
                now_ns()
            }
        };
        head::write(&mut payload, posts.first + number as u64, due_ns);
        let (queue, inbox) = &queues[number % queues.len()];
        let reply = format!("{inbox}.{due_ns}");
        let frame = published(&subjects[number % subjects.len()], Some(&reply), &payload);
        if queue.blocking_send(frame).is_err() {
            // Whoever reads from it says why.
            return Ok(());
        }
    }
    Ok(())
}
