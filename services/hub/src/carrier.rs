//! How entries leave this hub: to our own follower over gRPC; to another provider over the link while it offers one, else
//! by `/notify` over HTTPS, one FanoutMessage per body, so that every retry is the same octets, and one request in flight
//! for each room.

mod lacking;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use fanout::{Acknowledged, Brought, Due, Failure, Piece, Refused, Transport};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use lacking::Lacking;
use ledger::{Ledger, Offset, Shown};
use link::{Fanout, Framed, LinkError};
use mimi::catch_up::EntriesExpired;
use mimi::{Encode as _, Provider, RoomUri};
use peer::{Answer, Endpoint, Numbers, PeerError, Peers, succeeded};
use proto::follower::follower_client::FollowerClient;
use proto::follower::{Delivery, NotifyRequest, PositionRequest};
use proto::link::{Call, Deliver, Item};
use route::ShardId;
use tonic::Code;
use tonic::transport::Channel;

use crate::limits::{GRPC_BYTES_MAX, NOTIFY_ROOMS_MAX};
use crate::metrics::Metrics;

/// The transport of one ledger's entries.
#[derive(Debug, Clone)]
pub struct Carrier {
    us: Provider,
    ledger: Ledger,
    peers: Peers,
    follower: FollowerClient<Channel>,
    metrics: Metrics,
}

impl Carrier {
    /// Brings entries of `ledger` to `follower`, which is our own, and to `peers`.
    pub fn new(us: Provider, ledger: Ledger, peers: Peers, follower: FollowerClient<Channel>) -> Self {
        let follower = follower
            .max_encoding_message_size(GRPC_BYTES_MAX)
            .max_decoding_message_size(GRPC_BYTES_MAX);
        Self {
            us,
            ledger,
            peers,
            follower,
            metrics: Metrics::new(),
        }
    }

    async fn deliver_to_ours(&self, shard: ShardId, items: &[Due]) -> Result<Acknowledged, Failure> {
        let deliver = Deliver {
            shard: shard.0,
            items: items.iter().map(Item::from).collect(),
            traceparent: String::new(),
        };
        let delivery = Delivery {
            hub: self.us.as_str().to_owned(),
            ledger: self.ledger.id().0.to_vec().into(),
            deliver: Some(deliver),
            // What we did not bring to ourselves nobody else has.
            as_is: true,
            as_is_rooms: Vec::new(),
        };
        let answer = self.follower.clone().deliver(delivery).await;
        let delivered = answer.map_err(|status| refused_call(&status))?.into_inner();
        let acknowledge = delivered.acknowledge;
        Ok(acknowledge
            .ok_or_else(|| Failure::new("our follower acknowledged nothing"))?
            .into())
    }

    async fn deliver_by_link(&self, link: &Fanout, shard: ShardId, items: &[Due]) -> Result<Acknowledged, LinkError> {
        let framed = items.iter().map(framed);
        link.deliver(shard.0, framed, "").await.map(Acknowledged::from)
    }

    /// Notifies of each room in its order, rooms beside each other. What a follower is only shown the digest of has no
    /// form over HTTPS: it is not sent.
    async fn notify(&self, to: &Provider, items: &[Due]) -> Result<Acknowledged, Failure> {
        let mut rooms: BTreeMap<&str, Vec<&Due>> = BTreeMap::new();
        for due in items {
            rooms.entry(due.entry.room.as_str()).or_default().push(due);
        }
        let rooms: Vec<BoxFuture<'_, Notified>> = rooms
            .into_values()
            .map(|room| self.notify_room(to, room).boxed())
            .collect();
        let notified = stream::iter(rooms).buffer_unordered(NOTIFY_ROOMS_MAX).collect().await;
        settle(items, notified)
    }

    async fn notify_room(&self, to: &Provider, items: Vec<&Due>) -> Notified {
        let mut notified = Notified::default();
        for (due, numbers) in items.iter().zip(numbers(&items)) {
            let (offset, room) = (due.entry.offset, &due.entry.room);
            match due.shown {
                Shown::Digest => notified.done.push(offset),
                Shown::Message => match self.notify_one(to, room, due, Some(numbers)).await {
                    Ok(None) => notified.done.push(offset),
                    Ok(Some(refused)) => {
                        // What is behind it in its room waits until it is taken, or set aside.
                        notified.refused.push(refused);
                        break;
                    }
                    Err(failure) => {
                        notified.failure = Some(failure);
                        break;
                    }
                },
            }
        }
        notified
    }

    /// Our own follower passes over what is below its position, but not over what it is notified of.
    async fn notify_ours(&self, due: &Due) -> Result<Brought, Failure> {
        let request = NotifyRequest {
            hub: self.us.as_str().to_owned(),
            room: due.entry.room.as_str().to_owned(),
            body: due.entry.message.clone(),
            ..NotifyRequest::default()
        };
        match self.follower.clone().notify(request).await {
            Ok(_) => Ok(Brought::Taken),
            Err(status) => {
                let code = match status.code() {
                    Code::InvalidArgument => 400,
                    Code::OutOfRange => 413,
                    _ => return Err(refused_call(&status)),
                };
                Ok(Brought::Refused(Refused {
                    offset: due.entry.offset,
                    status: code,
                    reason: status.message().to_owned(),
                    is_final: true,
                }))
            }
        }
    }

    /// `numbers`: the entry's, where they are to be said.
    async fn notify_one(
        &self,
        to: &Provider,
        room: &RoomUri,
        due: &Due,
        numbers: Option<Numbers>,
    ) -> Result<Option<Refused>, Failure> {
        let answer = self.peers.notify(to, room, due.entry.message.clone(), numbers).await;
        let answer = answer.map_err(|error| Failure::new(error.to_string()))?;
        if succeeded(&answer) {
            return Ok(None);
        }
        let reason = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
        match u16::try_from(answer.status) {
            // These speak of the entry itself, which is set aside after some tries. Any other refusal may end: it is tried
            // again, ever more slowly.
            Ok(status @ (400 | 413 | 422)) => Ok(Some(Refused {
                offset: due.entry.offset,
                status,
                reason: reason(),
                is_final: false,
            })),
            _ => Err(Failure {
                retry_after: retry_after(&answer),
                why: format!("notify answered {}", answer.status),
            }),
        }
    }
}

#[async_trait]
impl Transport for Carrier {
    async fn position(&self, to: &Provider, shard: ShardId) -> Result<Option<Offset>, Failure> {
        if *to == self.us {
            let request = PositionRequest {
                hub: self.us.as_str().to_owned(),
                ledger: self.ledger.id().0.to_vec().into(),
                shard: shard.0,
            };
            let answer = self
                .follower
                .clone()
                .position(request)
                .await
                .map_err(|status| refused_call(&status))?;
            let position = answer.into_inner();
            return Ok(position.known.then_some(Offset(position.next_offset)));
        }
        match self.peers.fanout(to, self.ledger.id().0).await {
            Some(link) => Ok(link
                .position(shard.0)
                .await
                .map_err(|error| broken(&error))?
                .map(Offset)),
            None => Ok(None),
        }
    }

    async fn deliver(&self, to: &Provider, shard: ShardId, items: &[Due]) -> Result<Acknowledged, Failure> {
        if *to == self.us {
            self.metrics.delivered_by("own");
            return self.deliver_to_ours(shard, items).await;
        }
        if let Some(link) = self.peers.fanout(to, self.ledger.id().0).await {
            self.metrics.delivered_by("link");
            match self.deliver_by_link(&link, shard, items).await {
                Ok(acknowledged) => return Ok(acknowledged),
                // What does not fit into a frame goes the other way, and so does what has no place on the stream.
                Err(LinkError::TooLarge { .. } | LinkError::TooManyShards) => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        self.metrics.delivered_by("https");
        self.notify(to, items).await
    }

    async fn tell_expired(&self, to: &Provider, shard: ShardId) -> Result<(), Failure> {
        if *to == self.us {
            let mut lacking = Lacking {
                us: &self.us,
                ledger: &self.ledger,
                follower: self.follower.clone(),
            };
            return lacking.settle(shard).await;
        }
        let notice = EntriesExpired {
            ledger: self.ledger.id().0,
            shard: shard.0,
        };
        let call = Call {
            endpoint: Endpoint::EntriesExpired.name().to_owned(),
            target: to.as_str().to_owned(),
            body: notice.encode().into(),
        };
        let answer = match self.peers.request(to, call).await {
            Ok(answer) => answer,
            Err(PeerError::NoEndpoint(_)) => return Ok(()),
            Err(error) => return Err(Failure::new(error.to_string())),
        };
        // It may not know what it is asked, and then sees by the next entries what it lacks.
        if succeeded(&answer) || matches!(answer.status, 400 | 404 | 405) {
            return Ok(());
        }
        Err(Failure {
            retry_after: retry_after(&answer),
            why: format!("x-entriesExpired answered {}", answer.status),
        })
    }

    /// By `/notify`, whichever way its entries go: over the link it has passed this one. Its number is not said, since a
    /// follower may have numbered later ones of the room, and would take this one for another by the same number. What it is
    /// only shown the digest of has no form there.
    async fn bring_again(&self, to: &Provider, _shard: ShardId, due: &Due) -> Result<Brought, Failure> {
        if due.shown == Shown::Digest {
            return Ok(Brought::Passed);
        }
        if *to == self.us {
            return self.notify_ours(due).await;
        }
        let refused = self.notify_one(to, &due.entry.room, due, None).await?;
        Ok(refused.map_or(Brought::Taken, Brought::Refused))
    }

    fn heard_from(&self, follower: &Provider) {
        self.peers.heard_from(follower);
    }
}

fn framed(due: &Due) -> Framed {
    let Piece { run, at } = due.framed();
    Framed::within(due.entry.offset.0, run, at)
}

/// How far the notifications of one room came.
#[derive(Debug, Default)]
struct Notified {
    done: Vec<Offset>,
    refused: Vec<Refused>,
    failure: Option<Failure>,
}

/// What is said with each of the entries of one room: its own number, and that of the last of them.
fn numbers(items: &[&Due]) -> impl Iterator<Item = Numbers> {
    let head = items.last().map_or(0, |due| due.entry.seq.0);
    items.iter().map(move |due| Numbers {
        first: due.entry.seq.0,
        last: due.entry.seq.0,
        head,
    })
}

/// What all rooms together acknowledged of `items`.
fn settle(items: &[Due], notified: Vec<Notified>) -> Result<Acknowledged, Failure> {
    let (mut settled, mut refused, mut failure) = (Vec::new(), Vec::new(), None);
    let mut retry_after: Option<Duration> = None;
    for room in notified {
        settled.extend(room.done);
        refused.extend(room.refused);
        if let Some(failed) = room.failure {
            retry_after = retry_after.max(failed.retry_after);
            failure = Some(failed);
        }
    }
    if let (true, true, Some(failure)) = (settled.is_empty(), refused.is_empty(), failure) {
        return Err(Failure { retry_after, ..failure });
    }
    settled.sort_unstable();
    let mut offsets = items.iter().map(|due| due.entry.offset);
    let past = offsets.clone().next_back().map(|last| last.plus(1));
    let first_left = offsets.find(|offset| settled.binary_search(offset).is_err());
    let next = first_left.or(past).unwrap_or_default();
    let above = settled.into_iter().filter(|offset| *offset > next).collect();
    Ok(Acknowledged {
        next,
        above,
        refused,
        retry_after,
    })
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    (answer.retry_after_ms > 0).then(|| Duration::from_millis(answer.retry_after_ms))
}

fn broken(error: &LinkError) -> Failure {
    Failure::new(error.to_string())
}

fn refused_call(status: &tonic::Status) -> Failure {
    Failure::new(format!("our follower answered {}: {}", status.code(), status.message()))
}

#[cfg(test)]
mod tests;
