//! Event streams of a provider's clients: many that are idle, and some that are shown what is said in a room, all over a few
//! hundred connections, as phones behind a gateway would be.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use client::api::{Acks, Api, ApiError};
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use mimi::RoomUri;
use proto::follower::Event;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use crate::measure::now_ns;
use crate::stage::Whole;

/// Streams that are opened at a time.
const OPENING_AT_A_TIME: usize = 128;

/// Those that are shown nothing for so long are given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Of a stream that is only held open.
type Held = (Acks, Box<dyn Stream<Item = Result<Event, ApiError>> + Send + Unpin>);

/// See the module.
pub(crate) struct Streams<'a> {
    provider: &'a Whole,
    connections: Vec<Api>,
    /// Apart from the clients of other rounds.
    round: usize,
    watched: Vec<Arc<Mutex<Seen>>>,
    idle: Vec<Held>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    position: u64,
    seq: u64,
    digest: [u8; 32],
}

/// What one watched stream was shown.
#[derive(Debug, Default)]
struct Seen {
    shown: Vec<Shown>,
    at_ns: Vec<u64>,
    ended: Option<String>,
}

impl<'a> Streams<'a> {
    /// So many connections, on which nothing is open yet.
    ///
    /// # Errors
    /// The root or the token cannot be used.
    pub(crate) fn new(provider: &'a Whole, connections: usize, round: usize) -> anyhow::Result<Self> {
        Ok(Self {
            provider,
            connections: (0..connections)
                .map(|_| provider.api())
                .collect::<anyhow::Result<_>>()?,
            round,
            watched: Vec::new(),
            idle: Vec::new(),
        })
    }

    /// Opens a stream on each of the first `count` connections, whose client follows `room`.
    ///
    /// # Errors
    /// The provider refuses.
    pub(crate) async fn watch(&mut self, room: &RoomUri, count: usize) -> anyhow::Result<()> {
        for (number, api) in self.connections.iter().take(count).enumerate() {
            let client = self.provider.client(&format!("watching-{}-{number}", self.round))?;
            api.follow(&client, room).await?;
            let (acks, mut events) = api.events(&client).await?;
            let seen = Arc::<Mutex<Seen>>::default();
            self.watched.push(seen.clone());
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    match event {
                        Ok(event) => {
                            acks.ack(&event.room, event.position).await;
                            lock(&seen).take(&event);
                        }
                        Err(error) => lock(&seen).ended = Some(error.to_string()),
                    }
                }
                lock(&seen).ended.get_or_insert_with(|| "it ended".to_owned());
            });
        }
        Ok(())
    }

    /// Opens streams of clients that follow no room, until each connection has `each`. `told` hears of each.
    ///
    /// # Errors
    /// The provider refuses.
    pub(crate) async fn hold(&mut self, each: usize, told: impl Fn()) -> anyhow::Result<()> {
        let watched = self.watched.len();
        let places = (0..each).flat_map(|number| (0..self.connections.len()).map(move |place| (place, number)));
        // The first ones of the first connections are open already.
        let places = places.filter(|(place, number)| *number > 0 || *place >= watched);
        let opened = places.map(|(place, number)| {
            let (api, told) = (&self.connections[place], &told);
            let client = self.provider.client(&format!("idle-{}-{place}-{number}", self.round));
            async move {
                let (acks, events) = api.events(&client?).await?;
                told();
                let held: Held = (acks, Box::new(events));
                anyhow::Ok(held)
            }
        });
        let opened: Vec<Held> = stream::iter(opened)
            .buffer_unordered(OPENING_AT_A_TIME)
            .try_collect()
            .await
            .context("open an event stream")?;
        self.idle.extend(opened);
        Ok(())
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.watched.len() + self.idle.len()
    }

    /// Forgets what was shown until now.
    pub(crate) fn forget(&self) {
        for seen in &self.watched {
            let mut seen = lock(seen);
            seen.shown.clear();
            seen.at_ns.clear();
        }
    }

    /// Waits until each watched stream was shown `messages` events; when each came, in nanoseconds since the UNIX epoch, of
    /// each stream in their order. Adds what is not as it must be to `faults`.
    ///
    /// # Errors
    /// A stream is shown nothing any more.
    pub(crate) async fn shown(&self, messages: usize, faults: &mut Vec<String>) -> anyhow::Result<Vec<Vec<u64>>> {
        let began = Instant::now();
        loop {
            let counts: Vec<usize> = self.watched.iter().map(|seen| lock(seen).shown.len()).collect();
            if counts.iter().all(|count| *count >= messages) {
                break;
            }
            let ended: Vec<_> = self
                .watched
                .iter()
                .filter_map(|seen| lock(seen).ended.clone())
                .collect();
            ensure!(
                began.elapsed() < PATIENCE && ended.is_empty(),
                "event streams were shown {counts:?} of {messages} messages, and nothing more comes: {ended:?}"
            );
            sleep(LOOK).await;
        }
        let mut times = Vec::new();
        let mut first: Option<Vec<Shown>> = None;
        for (number, seen) in self.watched.iter().enumerate() {
            let mut seen = lock(seen);
            let shown = std::mem::take(&mut seen.shown);
            faults.extend(misfit(&shown, messages).map(|fault| format!("watched stream {number}: {fault}")));
            let first = first.get_or_insert_with(|| shown.clone());
            if *first != shown {
                faults.push(format!("watched stream {number} was shown something else than others"));
            }
            times.push(std::mem::take(&mut seen.at_ns));
        }
        Ok(times)
    }

    /// Looks whether each idle stream is open still, and was shown nothing. Adds what is not so to `faults`.
    pub(crate) fn look(&mut self, faults: &mut Vec<String>) {
        let (mut ended, mut shown) = (0, 0);
        for (_, events) in &mut self.idle {
            match events.next().now_or_never() {
                None => {}
                Some(Some(Ok(_))) => shown += 1,
                Some(_) => ended += 1,
            }
        }
        if ended > 0 {
            faults.push(format!("{ended} idle streams ended"));
        }
        if shown > 0 {
            faults.push(format!("{shown} idle streams were shown something"));
        }
    }
}

impl Seen {
    fn take(&mut self, event: &Event) {
        self.at_ns.push(now_ns());
        self.shown.push(Shown {
            position: event.position,
            seq: event.seq,
            digest: Sha256::digest(&event.message).into(),
        });
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is not as it must be about so many events of one room.
fn misfit(shown: &[Shown], messages: usize) -> Option<String> {
    let whole = shown.windows(2).all(|pair| pair[1].position == pair[0].position + 1);
    match (shown.len() == messages, whole) {
        (false, _) => Some(format!("{} events of {messages} messages", shown.len())),
        (_, false) => Some("a gap, or another order".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_and_an_event_too_many_are_misfits() {
        let shown = |positions: &[u64]| -> Vec<Shown> {
            let one = |position: &u64| Shown {
                position: *position,
                seq: 0,
                digest: [0; 32],
            };
            positions.iter().map(one).collect()
        };
        assert_eq!(misfit(&shown(&[4, 5, 6]), 3), None);
        assert!(misfit(&shown(&[4, 5, 7]), 3).is_some());
        assert!(misfit(&shown(&[4, 5, 6, 7]), 3).is_some());
    }
}
