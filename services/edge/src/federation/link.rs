//! The federation over QUIC links: the same calls, and fan-out deliveries on their way to the follower.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use link::{LedgerId, Peer, Unavailable};
use mimi::{Provider, RoomUri};
use proto::follower::{Delivery, PositionRequest};
use proto::link::{Acknowledge, Answer, Call, Deliver, ItemRefusal};

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
        let position = self
            .0
            .in_time(follower.position(request))
            .await
            .map_err(|_| Unavailable)?;
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
        self.0.heard.of(peer.name());
        self.durable_position(peer.name(), ledger, shard).await
    }

    /// Entries of rooms whose hub the peer is not are refused one by one (F-42); the others go to the follower.
    async fn deliver(&self, peer: &Peer, ledger: LedgerId, mut deliver: Deliver) -> Result<Acknowledge, Unavailable> {
        let since = Instant::now();
        let (hub, shard) = (peer.name(), deliver.shard);
        let offered: Vec<(u64, bool)> = deliver
            .items
            .iter()
            .map(|item| (item.offset, owns(peer, &item.room)))
            .collect();
        deliver.items.retain(|item| owns(peer, &item.room));
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
                as_is: false,
                as_is_rooms: Vec::new(),
            };
            let answer = self.0.store(delivery).await;
            let status = answer.as_ref().map_or_else(|reply| reply.status, |_| 200);
            self.0.metrics.answered("deliver", "link", status, since);
            answer.map_err(|_| Unavailable)?
        };
        if offered.iter().any(|(_, own)| !own) {
            tracing::warn!(%peer, shard, "entries of rooms that are not the sender's");
            refuse_foreign(&mut acknowledge, &offered);
        }
        Ok(acknowledge)
    }
}

/// Adds the refusals of entries that were not passed on. The watermark moves past them, up to the first entry of the
/// follower's own that is not durable.
fn refuse_foreign(acknowledge: &mut Acknowledge, offered: &[(u64, bool)]) {
    for (offset, own) in offered {
        if !own {
            acknowledge.refused.push(ItemRefusal {
                offset: *offset,
                status: 403,
                reason: "only a room's hub may bring its entries".to_owned(),
            });
        }
    }
    for (offset, own) in offered {
        if *offset < acknowledge.next_offset {
            continue;
        }
        if *own {
            break;
        }
        acknowledge.next_offset = offset + 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_moves_past_what_was_refused_and_not_past_what_is_missing() {
        let offered = [
            (40, false),
            (41, true),
            (42, false),
            (45, false),
            (46, true),
            (47, false),
        ];
        let next = |durable| {
            let mut acknowledge = Acknowledge {
                shard: 3,
                next_offset: durable,
                refused: Vec::new(),
            };
            refuse_foreign(&mut acknowledge, &offered);
            let refused: Vec<u64> = acknowledge.refused.iter().map(|refused| refused.offset).collect();
            assert_eq!(refused, [40, 42, 45, 47]);
            acknowledge.next_offset
        };
        assert_eq!((next(40), next(42), next(47)), (41, 46, 48));
    }
}
