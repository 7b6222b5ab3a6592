//! Finds the hub node that owns a room. The shard map is a hint, learned from any node that can be reached; a node's
//! `Elsewhere` is the truth, and is followed.
//!
//! While a shard moves, a request that was lost with its connection is brought again, to another node or after a pause:
//! whoever owns the room answers a repeat as it answered the first (it knows requests by their digest), so nothing happens
//! twice. That goes on for as long as the caller has patience; then the answer is 503.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use proto::hub::hub_client::HubClient;
use proto::hub::{Elsewhere, Refused, RoomRequest, ShardsRequest, room_response::Outcome};
use route::{Owner, ShardMap, Shards};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::limits::{GRPC_BYTES_MAX, RETRY_AFTER};
use crate::metrics::Metrics;
use crate::reply::{self, Reply};

/// Pauses before a request is brought again; the last one repeats. A takeover takes seconds, a hand-over much less.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
];

/// A shard map broken off is asked for again, from another node, after this long.
const RESUBSCRIBE: Duration = Duration::from_millis(200);

/// Nodes that clients are kept for; a cluster has fewer.
const CLIENTS_MAX: usize = 1_024;

/// Makes a client for a node's address; it connects when it is used.
pub type Dialer = Arc<dyn Fn(&str) -> HubClient<Channel> + Send + Sync>;

/// The hub's nodes.
pub struct Hubs {
    way: Way,
    turn: AtomicUsize,
    known: RwLock<Known>,
}

enum Way {
    Only(HubClient<Channel>),
    Cluster { seeds: Vec<String>, dial: Dialer },
}

#[derive(Default)]
struct Known {
    shards: Option<Shards>,
    map: ShardMap,
    /// The node whose map is being followed.
    source: Option<String>,
    clients: BTreeMap<String, HubClient<Channel>>,
}

impl From<HubClient<Channel>> for Hubs {
    /// One node that owns every shard, and is there whenever we are.
    fn from(only: HubClient<Channel>) -> Self {
        Self::by(Way::Only(sized(only)))
    }
}

impl Hubs {
    /// Several nodes, of which some are always found at one of `seeds`; the others are learned from them. Without a seed
    /// no request is answered.
    pub fn of_cluster(seeds: Vec<String>, dial: Dialer) -> Self {
        Self::by(Way::Cluster { seeds, dial })
    }

    fn by(way: Way) -> Self {
        Self {
            way,
            turn: AtomicUsize::new(rand::random::<u16>().into()),
            known: RwLock::default(),
        }
    }

    /// Follows the shard map until `cancel`.
    pub(crate) async fn follow_map(&self, cancel: CancellationToken) {
        let follow = async {
            let mut node = self.other_than("");
            loop {
                if let Err(status) = self.read_map(&node).await {
                    tracing::debug!(%status, %node, "shard map broken off");
                }
                self.write(|known| known.source = None);
                node = self.other_than(&node);
                tokio::time::sleep(RESUBSCRIBE).await;
            }
        };
        cancel.run_until_cancelled(follow).await;
    }

    async fn read_map(&self, node: &str) -> Result<(), tonic::Status> {
        let mut maps = self.client(node).shards(ShardsRequest {}).await?.into_inner();
        while let Some(map) = maps.message().await? {
            self.write(|known| {
                known.source = Some(node.to_owned());
                self.learn(known, map);
            });
        }
        Ok(())
    }

    /// Takes a map, but for owners of whom something newer is known. Clients of nodes that are gone are let go.
    fn learn(&self, known: &mut Known, map: proto::hub::ShardMap) {
        let key = <[u8; 16]>::try_from(&*map.hash_key).ok();
        known.shards = key.and_then(|key| Shards::new(map.shards, key).ok());
        let newer = std::mem::replace(
            &mut known.map,
            ShardMap {
                version: map.version,
                owners: BTreeMap::new(),
            },
        );
        for owner in map.owners {
            let (shard, told) = (
                route::ShardId(owner.shard),
                Owner {
                    node: owner.node,
                    term: owner.term,
                },
            );
            let before = newer.owner(shard).filter(|before| before.term > told.term);
            known.map.owners.insert(shard, before.cloned().unwrap_or(told));
        }
        if let Way::Cluster { seeds, .. } = &self.way {
            let owners = &known.map.owners;
            known
                .clients
                .retain(|node, _| seeds.contains(node) || owners.values().any(|owner| owner.node == *node));
        }
    }

    /// Brings a request to the owner of its room: the draft's answer, or what to say instead.
    pub(crate) async fn call(
        &self,
        request: RoomRequest,
        patience: Duration,
        metrics: &Metrics,
    ) -> Result<Bytes, Reply> {
        let mut moving = false;
        let call = async {
            let mut node = self.owner(&request.room).unwrap_or_else(|| self.other_than(""));
            let last = PAUSES[PAUSES.len() - 1];
            for pause in PAUSES.into_iter().chain(std::iter::repeat(last)) {
                let response = self.client(&node).call(traced(request.clone())).await;
                match response.map(|response| response.into_inner().outcome) {
                    Ok(Some(Outcome::Answer(body))) => return Ok(body),
                    Ok(Some(Outcome::Refused(refused))) => return Err(refusal(refused)),
                    Ok(Some(Outcome::Elsewhere(elsewhere))) => {
                        metrics.redirected();
                        self.note(&request.room, elsewhere);
                    }
                    Ok(None) => return Err(Reply::refused(500, "internal failure")),
                    Err(status) if self.may_be_elsewhere(&status) => {
                        tracing::debug!(%status, %node, "a hub node was lost");
                        metrics.brought_again();
                    }
                    Err(status) => return Err(Reply::of_status(&status)),
                }
                moving = true;
                tokio::time::sleep(pause).await;
                let owner = self.owner(&request.room).filter(|owner| *owner != node);
                node = owner.unwrap_or_else(|| self.other_than(&node));
            }
            Err(Reply::unavailable("the room is changing its owner"))
        };
        let answered = tokio::time::timeout(patience, call).await;
        answered.unwrap_or_else(|_| {
            Err(Reply::unavailable(match moving {
                true => "the room is changing its owner",
                false => "overloaded",
            }))
        })
    }

    /// A node for what is not about one room: the one whose map is followed, so it is known to be there.
    pub(crate) fn any(&self) -> HubClient<Channel> {
        let source = self.read(|known| known.source.clone());
        self.client(&source.unwrap_or_else(|| self.other_than("")))
    }

    fn owner(&self, room: &str) -> Option<String> {
        self.read(|known| {
            let owner = known.map.owner(known.shards.as_ref()?.of(room))?;
            (!owner.node.is_empty()).then(|| owner.node.clone())
        })
    }

    /// The next of all known nodes, and not `node` if there is another.
    fn other_than(&self, node: &str) -> String {
        let Way::Cluster { seeds, .. } = &self.way else {
            return String::new();
        };
        let mut nodes = seeds.clone();
        self.read(|known| nodes.extend(known.map.owners.values().map(|owner| owner.node.clone())));
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|other| !other.is_empty() && other != node);
        if nodes.is_empty() {
            return node.to_owned();
        }
        nodes.swap_remove(self.turn.fetch_add(1, Ordering::Relaxed) % nodes.len())
    }

    fn note(&self, room: &str, Elsewhere { node, term }: Elsewhere) {
        if node.is_empty() {
            return;
        }
        self.write(|known| {
            if let Some(shard) = known.shards.as_ref().map(|shards| shards.of(room)) {
                known.map.note(shard, Owner { node, term });
            }
        });
    }

    /// Whether the node was lost before it answered, or does not take requests.
    fn may_be_elsewhere(&self, status: &tonic::Status) -> bool {
        matches!(self.way, Way::Cluster { .. })
            && (status.code() == tonic::Code::Unavailable || reply::is_broken(status))
    }

    fn client(&self, node: &str) -> HubClient<Channel> {
        let dial = match &self.way {
            Way::Only(only) => return only.clone(),
            Way::Cluster { dial, .. } => dial,
        };
        if let Some(client) = self.read(|known| known.clients.get(node).cloned()) {
            return client;
        }
        self.write(|known| {
            if known.clients.len() >= CLIENTS_MAX {
                known.clients.pop_first();
            }
            let client = known.clients.entry(node.to_owned());
            client.or_insert_with(|| sized(dial(node))).clone()
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The request, told which trace it belongs to.
fn traced(request: RoomRequest) -> tonic::Request<RoomRequest> {
    let mut request = tonic::Request::new(request);
    if let Some(traceparent) = daemon::traces::current().and_then(|text| text.parse().ok()) {
        request.metadata_mut().insert(daemon::traces::HEADER, traceparent);
    }
    request
}

fn refusal(refused: Refused) -> Reply {
    let retry_after = (refused.retry_after_ms > 0).then(|| Duration::from_millis(refused.retry_after_ms));
    let status = u16::try_from(refused.status).unwrap_or(500);
    Reply {
        retry_after: retry_after.or_else(|| matches!(status, 429 | 503).then_some(RETRY_AFTER)),
        ..Reply::refused(status, refused.reason)
    }
}

fn sized(client: HubClient<Channel>) -> HubClient<Channel> {
    client
        .max_decoding_message_size(GRPC_BYTES_MAX)
        .max_encoding_message_size(GRPC_BYTES_MAX)
}

impl fmt::Debug for Hubs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hubs").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
