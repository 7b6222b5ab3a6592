//! A hub's way to its followers: the link's frames over simulated TCP, one stream for each follower and shard. Nothing is
//! sent without the follower's credit, and a stream on which anything went wrong is not used again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use fanout::{Acknowledged, Due, Failure, Transport};
use ledger::{LedgerId, Offset};
use mimi::Provider;
use prost::Message as _;
use proto::link::{
    Acknowledge, Deliver, FanoutStream, FollowerFrame, HubFrame, Item, Resume, StreamHeader, Want, follower_frame,
    hub_frame, stream_header,
};
use rand::Rng;
use rand::rngs::StdRng;
use route::ShardId;

use crate::follower::PORT;
use crate::wire;
use crate::world::{self, Stream};

/// See the module.
pub(crate) struct Link {
    ledger: LedgerId,
    /// Streams in order, and what may be sent on them.
    lanes: Mutex<BTreeMap<(Provider, ShardId), Lane>>,
    /// How often it cannot tell a follower's position, as where a peer is notified over HTTPS.
    blind: f64,
    random: Mutex<StdRng>,
}

struct Lane {
    stream: Stream,
    credit: u64,
    sent: u64,
}

impl Link {
    pub(crate) fn new(ledger: LedgerId, blind: f64, random: StdRng) -> Self {
        Self {
            ledger,
            lanes: Mutex::default(),
            blind,
            random: Mutex::new(random),
        }
    }

    /// Takes the stream out: whoever is interrupted leaves none behind.
    fn take(&self, to: &Provider, shard: ShardId) -> Option<Lane> {
        self.lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(to.clone(), shard))
    }

    fn put_back(&self, to: &Provider, shard: ShardId, lane: Lane) {
        self.lanes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((to.clone(), shard), lane);
    }

    async fn open(&self, to: &Provider, shard: ShardId) -> io::Result<(Lane, Option<Offset>)> {
        let mut stream = world::connect(to.as_str(), PORT).await?;
        let fanout = FanoutStream {
            ledger: self.ledger.0.to_vec().into(),
        };
        wire::write(
            &mut stream,
            &StreamHeader {
                kind: Some(stream_header::Kind::Fanout(fanout)),
            },
        )
        .await?;
        let mut lane = Lane {
            stream,
            credit: 0,
            sent: 0,
        };
        lane.send(hub_frame::Kind::Resume(Resume { shard: shard.0 })).await?;
        let position = match lane.receive().await? {
            follower_frame::Kind::Position(position) => position.known.then_some(Offset(position.next_offset)),
            _ => return Err(io::Error::other("no position")),
        };
        lane.await_credit().await?;
        Ok((lane, position))
    }
}

impl Lane {
    async fn send(&mut self, kind: hub_frame::Kind) -> io::Result<usize> {
        wire::write(&mut self.stream, &HubFrame { kind: Some(kind) }).await
    }

    async fn receive(&mut self) -> io::Result<follower_frame::Kind> {
        let frame: FollowerFrame = wire::expect(&mut self.stream).await?;
        frame.kind.ok_or_else(|| io::Error::other("an unknown frame"))
    }

    async fn await_credit(&mut self) -> io::Result<()> {
        match self.receive().await? {
            follower_frame::Kind::Credit(credit) => self.credit = credit.bytes_total,
            _ => return Err(io::Error::other("no credit")),
        }
        Ok(())
    }

    async fn deliver(&mut self, deliver: Deliver) -> io::Result<Acknowledge> {
        let shard = deliver.shard;
        let kind = hub_frame::Kind::Deliver(deliver);
        let bytes_total = self.sent
            + HubFrame {
                kind: Some(kind.clone()),
            }
            .encoded_len() as u64;
        if bytes_total > self.credit {
            self.send(hub_frame::Kind::Want(Want { shard, bytes_total })).await?;
            self.await_credit().await?;
        }
        self.send(kind).await?;
        self.sent = bytes_total;
        let follower_frame::Kind::Acknowledge(acknowledge) = self.receive().await? else {
            return Err(io::Error::other("no acknowledgement"));
        };
        self.await_credit().await?;
        Ok(acknowledge)
    }
}

#[async_trait]
impl Transport for Link {
    async fn position(&self, to: &Provider, shard: ShardId) -> Result<Option<Offset>, Failure> {
        self.take(to, shard);
        let (lane, position) = self.open(to, shard).await.map_err(|error| broken(&error))?;
        self.put_back(to, shard, lane);
        let blind = self
            .random
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .random_bool(self.blind);
        Ok(position.filter(|_| !blind))
    }

    async fn deliver(&self, to: &Provider, shard: ShardId, items: &[Due]) -> Result<Acknowledged, Failure> {
        let mut lane = match self.take(to, shard) {
            Some(lane) => lane,
            None => self.open(to, shard).await.map_err(|error| broken(&error))?.0,
        };
        let items = items.iter().map(Item::from).collect();
        let deliver = Deliver {
            shard: shard.0,
            items,
            traceparent: String::new(),
        };
        let acknowledge = lane.deliver(deliver).await.map_err(|error| broken(&error))?;
        self.put_back(to, shard, lane);
        Ok(acknowledge.into())
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::new(error.to_string())
}
