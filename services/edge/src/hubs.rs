//! Finds the hub node that owns a room. The shard map is a hint, learned from any node that can be reached; a node's
//! `Elsewhere` is the truth, and is followed.
//!
//! While a shard moves, a request that was lost with its connection is brought again, to another node or after a pause:
//! whoever owns the room answers a repeat as it answered the first (it knows requests by their digest), so nothing happens
//! twice. That goes on for as long as the caller has patience; then the answer is 503.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use mimi::Provider;
use proto::hub::hub_client::HubClient;
use proto::hub::{Elsewhere, Refused, RoomRequest, ShardOwner, ShardsRequest, WakeRequest, room_response::Outcome};
use route::{Course, Nodes, Owner, ShardId, ShardMap, Shards};
use tier::Calls;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::limits::{GRPC_BYTES_MAX, RETRY_AFTER};
use crate::metrics::Metrics;
use crate::reply::{self, Reply};

/// A shard map broken off is asked for again, from another node, after this long.
const RESUBSCRIBE: Duration = Duration::from_millis(200);

/// A node that takes longer to be told something is not waited for.
const WAKE_MAX: Duration = Duration::from_secs(2);

/// Nodes to which ways are kept; a cluster has fewer.
const WAYS_MAX: usize = 1_024;

/// Makes a client for a node's address; it connects when it is used.
pub type Dialer = Arc<dyn Fn(&str) -> HubClient<Channel> + Send + Sync>;

/// The hub's nodes.
pub struct Hubs {
    way: Way,
    known: RwLock<Known>,
}

enum Way {
    Only(Calls),
    Cluster(Dialer),
}

#[derive(Default)]
struct Known {
    nodes: Nodes,
    /// The node whose map is being followed.
    source: Option<String>,
    ways: BTreeMap<String, Calls>,
}

impl From<HubClient<Channel>> for Hubs {
    /// One node that owns every shard, and is there whenever we are.
    fn from(only: HubClient<Channel>) -> Self {
        Self::by(Way::Only(sized(only).into()), Vec::new())
    }
}

impl Hubs {
    /// Several nodes, of which some are always found at one of `seeds`; the others are learned from them. Without a seed
    /// no request is answered.
    pub fn of_cluster(seeds: Vec<String>, dial: Dialer) -> Self {
        Self::by(Way::Cluster(dial), seeds)
    }

    fn by(way: Way, seeds: Vec<String>) -> Self {
        let known = Known {
            nodes: Nodes::found_at(seeds, rand::random::<u16>().into()),
            ..Known::default()
        };
        Self {
            way,
            known: RwLock::new(known),
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
                known.learn(map);
            });
        }
        Ok(())
    }

    /// Brings a request to the owner of its room: the draft's answer, or what to say instead.
    pub(crate) async fn call(
        &self,
        request: RoomRequest,
        patience: Duration,
        metrics: &Metrics,
    ) -> Result<Bytes, Reply> {
        let room = &request.room;
        let mut course = self.read(|known| Course::to(room, &known.nodes));
        let call = async {
            loop {
                let way = self.way(course.node());
                let response = way.call(request.clone(), daemon::traces::current()).await;
                match response.map(|response| response.outcome) {
                    Ok(Some(Outcome::Answer(body))) => return Ok(body),
                    Ok(Some(Outcome::Refused(refused))) => return Err(refusal(refused)),
                    Ok(Some(Outcome::Elsewhere(Elsewhere { node, term }))) => {
                        metrics.redirected();
                        self.write(|known| known.nodes.note(room, Owner { node, term }));
                    }
                    Ok(None) => return Err(Reply::refused(500, "internal failure")),
                    Err(status) if self.may_be_elsewhere(&status) => {
                        tracing::debug!(%status, node = course.node(), "a hub node was lost");
                        metrics.brought_again();
                    }
                    Err(status) => return Err(Reply::of_status(&status)),
                }
                tokio::time::sleep(course.leave()).await;
                self.read(|known| course.turn(room, &known.nodes));
            }
        };
        let answered = tokio::time::timeout(patience, call).await;
        answered.unwrap_or_else(|_| {
            Err(Reply::unavailable(match course.has_turned() {
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

    /// Tells every node that these providers were heard from. A hint: who does not hear it will be told again.
    pub(crate) async fn wake(&self, followers: &[Provider]) {
        let followers: Vec<String> = followers.iter().map(ToString::to_string).collect();
        let nodes = match &self.way {
            Way::Only(_) => vec![String::new()],
            Way::Cluster(_) => self.read(|known| known.nodes.all().to_vec()),
        };
        let tell = async |node: &String| {
            let request = WakeRequest {
                followers: followers.clone(),
            };
            let told = tokio::time::timeout(WAKE_MAX, self.client(node).wake(request)).await;
            if !matches!(told, Ok(Ok(_))) {
                tracing::debug!(%node, "a hub node was not told who was heard from");
            }
        };
        join_all(nodes.iter().map(tell)).await;
    }

    fn other_than(&self, node: &str) -> String {
        self.read(|known| known.nodes.other_than(node))
    }

    /// Whether the node was lost before it answered, or does not take requests.
    fn may_be_elsewhere(&self, status: &tonic::Status) -> bool {
        matches!(self.way, Way::Cluster(_)) && (status.code() == tonic::Code::Unavailable || reply::is_broken(status))
    }

    fn client(&self, node: &str) -> HubClient<Channel> {
        self.way(node).client()
    }

    fn way(&self, node: &str) -> Calls {
        let dial = match &self.way {
            Way::Only(only) => return only.clone(),
            Way::Cluster(dial) => dial,
        };
        if let Some(way) = self.read(|known| known.ways.get(node).cloned()) {
            return way;
        }
        self.write(|known| {
            if known.ways.len() >= WAYS_MAX {
                known.ways.pop_first();
            }
            let way = known.ways.entry(node.to_owned());
            way.or_insert_with(|| sized(dial(node)).into()).clone()
        })
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// Takes a map. Ways to nodes that are gone are let go.
    fn learn(&mut self, map: proto::hub::ShardMap) {
        let key = <[u8; 16]>::try_from(&*map.hash_key).ok();
        let shards = key.and_then(|key| Shards::new(map.shards, key).ok());
        let owner = |owner: ShardOwner| {
            let ShardOwner { shard, node, term } = owner;
            (ShardId(shard), Owner { node, term })
        };
        let told = ShardMap {
            version: map.version,
            owners: map.owners.into_iter().map(owner).collect(),
        };
        self.nodes.learn(shards, told);
        let nodes = &self.nodes;
        self.ways.retain(|node, _| nodes.has(node));
    }
}

/// What a hub refuses, as a reply.
pub(crate) fn refusal(refused: Refused) -> Reply {
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
