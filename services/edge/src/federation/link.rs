//! The federation over QUIC links: the same calls, and fan-out deliveries on their way to the follower.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use link::{LedgerId, Peer, Unavailable};
use mimi::{Provider, RoomUri};
use proto::follower::{Delivery, PositionRequest};
use proto::link::{Acknowledge, Answer, Call, Deliver, Item, ItemRefusal};

use super::{Endpoint, Federation};
use crate::reply::Reply;

/// Answers what comes over links.
pub(crate) struct LinkService(pub(crate) Arc<Federation>);

impl LinkService {
    async fn answer(&self, source: &Provider, endpoint: Endpoint, call: Call) -> Reply {
        if let Err(early) = self.0.rates.admit(source, endpoint) {
            return early;
        }
        match peer::template::target(&call.target) {
            Some(target) => self.0.answer(source, endpoint, &target, call.body).await,
            None => Reply::malformed("no target"),
        }
    }

    async fn durable_position(&self, hub: &Provider, ledger: LedgerId, shard: u32) -> Result<Option<u64>, Unavailable> {
        let request = PositionRequest {
            hub: hub.as_str().to_owned(),
            ledger: Bytes::copy_from_slice(&ledger),
            shard,
        };
        let mut follower = self.0.follower.clone();
        let position = self.0.in_time(follower.position(request)).await.map_err(|_| Unavailable)?;
        Ok(position.known.then_some(position.next_offset))
    }
}

#[async_trait]
impl link::Service for LinkService {
    async fn call(&self, peer: &Peer, call: Call) -> Answer {
        let Some(endpoint) = peer::Endpoint::named(&call.endpoint).and_then(Endpoint::of) else {
            return Answer::from(&Reply::refused(404, "no such endpoint"));
        };
        let since = Instant::now();
        let source = speaker(peer, &call);
        let reply = self.answer(&source, endpoint, call).await;
        self.0.metrics.answered(endpoint.name(), "link", reply.status, since);
        Answer::from(&reply)
    }

    async fn position(&self, peer: &Peer, ledger: LedgerId, shard: u32) -> Result<Option<u64>, Unavailable> {
        self.durable_position(peer.name(), ledger, shard).await
    }

    /// Entries of rooms whose hub the peer is not are refused one by one (F-42); the others go to the follower.
    async fn deliver(&self, peer: &Peer, ledger: LedgerId, mut deliver: Deliver) -> Result<Acknowledge, Unavailable> {
        let since = Instant::now();
        let (hub, shard) = (peer.name(), deliver.shard);
        let (own, foreign): (Vec<Item>, Vec<Item>) = deliver.items.into_iter().partition(|item| owns(peer, &item.room));
        deliver.items = own;
        let mut acknowledge = if deliver.items.is_empty() {
            let next_offset = self.durable_position(hub, ledger, shard).await?.unwrap_or(0);
            Acknowledge {
                shard,
                next_offset,
                refused: Vec::new(),
            }
        } else {
            let delivery = Delivery {
                hub: hub.as_str().to_owned(),
                ledger: Bytes::copy_from_slice(&ledger),
                deliver: Some(deliver),
            };
            let mut follower = self.0.follower.clone();
            let answer = self.0.in_time(follower.deliver(delivery)).await;
            let status = answer.as_ref().map_or_else(|reply| reply.status, |_| 200);
            self.0.metrics.answered("deliver", "link", status, since);
            answer.map_err(|_| Unavailable)?
        };
        if !foreign.is_empty() {
            tracing::warn!(%peer, entries = foreign.len(), "entries of rooms that are not the sender's");
            acknowledge.refused.extend(foreign.iter().map(|item| ItemRefusal {
                offset: item.offset,
                status: 403,
                reason: "only a room's hub may bring its entries".to_owned(),
            }));
        }
        Ok(acknowledge)
    }
}

/// A link call carries no `From`: a peer with one domain speaks as that, a peer with several as the hub of the room that
/// it notifies of, else as the first.
fn speaker(peer: &Peer, call: &Call) -> Provider {
    let room = peer::template::target(&call.target).and_then(|target| target.parse::<RoomUri>().ok());
    match room {
        Some(room) if peer.may_speak_for(room.provider()) => room.provider().clone(),
        _ => peer.name().clone(),
    }
}

fn owns(peer: &Peer, room: &str) -> bool {
    room.parse::<RoomUri>()
        .is_ok_and(|room| peer.may_speak_for(room.provider()))
}
