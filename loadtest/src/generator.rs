//! Submits messages to a hub, as an edge does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use mimi::Decode as _;
use mimi::RoomUri;
use mimi::submit::{SubmitMessageResponse, SubmitOutcome};
use proto::hub::hub_client::HubClient;
use proto::hub::room_request::Body;
use proto::hub::room_response::Outcome;
use proto::hub::{Refused, RoomRequest};
use tier::Calls;
use tonic::transport::Channel;

use crate::drive::{Pace, drive};
use crate::measure::now_ns;

/// For how long a hub that is overloaded is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Before a hub that cannot be reached is asked again.
const UNREACHABLE: Duration = Duration::from_millis(50);

/// Ways to a hub, used in turn. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Hub {
    ways: Arc<[Calls]>,
    turn: Arc<AtomicUsize>,
    turned_away: Arc<AtomicUsize>,
    /// Whether a hub that cannot be reached is asked again.
    patient: bool,
}

impl Hub {
    /// At least one way.
    pub(crate) fn new(clients: &[HubClient<Channel>]) -> Self {
        Self {
            ways: clients.iter().cloned().map(Calls::from).collect(),
            turn: Arc::default(),
            turned_away: Arc::default(),
            patient: false,
        }
    }

    /// How often the hub said that it was overloaded, until now.
    pub(crate) fn turned_away(&self) -> usize {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// What the hub answers `source` about `room`. While the hub is overloaded the same is asked again, when it says.
    ///
    /// # Errors
    /// It refuses, or cannot be reached.
    pub(crate) async fn ask(&self, room: &str, source: &str, body: Body) -> anyhow::Result<Bytes> {
        let request = RoomRequest {
            room: room.to_owned(),
            source: source.to_owned(),
            body: Some(body),
        };
        let began = Instant::now();
        loop {
            let way = &self.ways[self.turn.fetch_add(1, Ordering::Relaxed) % self.ways.len()];
            let response = match way.call(request.clone(), None).await {
                Ok(response) => response,
                Err(_) if self.patient && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(UNREACHABLE).await;
                    continue;
                }
                Err(status) => return Err(status.into()),
            };
            match response.outcome {
                Some(Outcome::Answer(answer)) => return Ok(answer),
                Some(Outcome::Refused(refused)) => {
                    wait(&refused, began).await?;
                    self.turned_away.fetch_add(1, Ordering::Relaxed);
                }
                Some(Outcome::Elsewhere(_)) if self.patient && began.elapsed() < PATIENCE => {
                    tokio::time::sleep(UNREACHABLE).await;
                }
                Some(Outcome::Elsewhere(_)) => bail!("the hub has no such shard"),
                None => bail!("the hub answers nothing"),
            }
        }
    }
}

async fn wait(refused: &Refused, began: Instant) -> anyhow::Result<()> {
    let Refused {
        status,
        reason,
        retry_after_ms,
    } = refused;
    if !matches!(status, 429 | 503) || began.elapsed() > PATIENCE {
        bail!("the hub refuses with {status}: {reason}");
    }
    tokio::time::sleep(Duration::from_millis(*retry_after_ms)).await;
    Ok(())
}

/// A message to be submitted.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// The room's number.
    pub(crate) room: usize,
    /// SubmitMessageRequest (mimi-protocol §5.4).
    pub(crate) body: Bytes,
}

/// A message that was accepted. Times are nanoseconds since the UNIX epoch, where nothing else is said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shot {
    /// The room's number.
    pub(crate) room: usize,
    /// When it was due.
    pub(crate) due_ns: u64,
    /// When its acceptance was here.
    pub(crate) answered_ns: u64,
    /// When the hub accepted it, in milliseconds: in a room no two are equal.
    pub(crate) accepted_ms: u64,
}

impl Shot {
    /// A message to the room of this number that was due then and answered now, with a SubmitMessageResponse.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn of(room: usize, due_ns: u64, answer: &[u8]) -> anyhow::Result<Self> {
        let answered_ns = now_ns();
        match SubmitMessageResponse::decode_exact(answer)?.outcome {
            SubmitOutcome::Accepted { accepted_timestamp, .. } => Ok(Self {
                room,
                due_ns,
                answered_ns,
                accepted_ms: accepted_timestamp,
            }),
            refused => bail!("the message is refused: {refused:?}"),
        }
    }
}

/// Who submits, and where.
#[derive(Debug, Clone)]
pub(crate) struct Generator {
    hub: Hub,
    source: Arc<str>,
    rooms: Arc<[RoomUri]>,
}

impl Generator {
    /// Submits to `rooms` on behalf of the provider `source`.
    pub(crate) fn new(hub: &Hub, source: &str, rooms: &[RoomUri]) -> Self {
        Self {
            hub: hub.clone(),
            source: source.into(),
            rooms: rooms.into(),
        }
    }

    /// The same, asking a hub that cannot be reached, or does not have the shard yet, again with the same octets.
    pub(crate) fn patient(&self) -> Self {
        let mut patient = self.clone();
        patient.hub.patient = true;
        patient
    }

    /// Has all of `posts` accepted. `told` hears of each.
    ///
    /// # Errors
    /// The hub refuses one, or cannot be reached.
    pub(crate) async fn fire(&self, posts: Vec<Post>, pace: Pace, told: impl Fn()) -> anyhow::Result<Vec<Shot>> {
        let generator = self.clone();
        drive(
            posts,
            pace,
            move |post, due_ns| generator.clone().submit(post, due_ns),
            told,
        )
        .await
    }

    async fn submit(self, post: Post, due_ns: u64) -> anyhow::Result<Shot> {
        let room = self.rooms[post.room].as_str();
        let answer = self.hub.ask(room, &self.source, Body::Submit(post.body)).await?;
        Shot::of(post.room, due_ns, &answer).with_context(|| room.to_owned())
    }
}
