//! Finds the hub node that owns a room. The shard map is a hint; a node's `Elsewhere` is the truth, and is followed for
//! a bounded time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use proto::hub::hub_client::HubClient;
use proto::hub::{RoomRequest, ShardsRequest, room_response};
use route::{Owner, ShardMap, Shards};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::limits::{GRPC_BYTES_MAX, RETRY_AFTER};
use crate::metrics::Metrics;
use crate::reply::Reply;

/// Pauses before a request is tried again after an `Elsewhere`: a takeover takes about as long as all together.
const PAUSES: [Duration; 6] = [
    Duration::from_millis(1),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1_500),
    Duration::from_millis(2_500),
];

/// A shard map broken off is asked for again after this long.
const RESUBSCRIBE: Duration = Duration::from_secs(1);

/// The request, told which trace it belongs to.
fn traced(request: RoomRequest) -> tonic::Request<RoomRequest> {
    let mut request = tonic::Request::new(request);
    if let Some(traceparent) = daemon::traces::current().and_then(|text| text.parse().ok()) {
        request.metadata_mut().insert(daemon::traces::HEADER, traceparent);
    }
    request
}

/// Makes a client for a node's address; `None` when it is not one.
pub type Dialer = Arc<dyn Fn(&str) -> Option<HubClient<Channel>> + Send + Sync>;

/// The hub's nodes.
pub struct Hubs {
    first: HubClient<Channel>,
    dial: Option<Dialer>,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    shards: Option<Shards>,
    map: ShardMap,
    clients: BTreeMap<String, HubClient<Channel>>,
}

/// Nodes that clients are kept for; a cluster has fewer.
const CLIENTS_MAX: usize = 1_024;

impl From<HubClient<Channel>> for Hubs {
    /// One node that owns every shard.
    fn from(only: HubClient<Channel>) -> Self {
        Self {
            first: sized(only),
            dial: None,
            known: RwLock::default(),
        }
    }
}

impl Hubs {
    /// Several nodes: `first` is asked for the map and for rooms whose owner is not known.
    pub fn of_cluster(first: HubClient<Channel>, dial: Dialer) -> Self {
        Self {
            dial: Some(dial),
            ..Self::from(first)
        }
    }

    /// Follows the shard map until `cancel`.
    pub(crate) async fn follow_map(&self, cancel: CancellationToken) {
        let follow = async {
            loop {
                if let Err(status) = self.read_map().await {
                    tracing::debug!(%status, "shard map broken off");
                }
                tokio::time::sleep(RESUBSCRIBE).await;
            }
        };
        cancel.run_until_cancelled(follow).await;
    }

    async fn read_map(&self) -> Result<(), tonic::Status> {
        let mut maps = self.first.clone().shards(ShardsRequest {}).await?.into_inner();
        while let Some(map) = maps.message().await? {
            let key = <[u8; 16]>::try_from(&*map.hash_key).ok();
            let shards = key.and_then(|key| Shards::new(map.shards, key).ok());
            let owners = map.owners.into_iter().map(|owner| {
                let known = Owner {
                    node: owner.node,
                    term: owner.term,
                };
                (route::ShardId(owner.shard), known)
            });
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.map = ShardMap {
                version: map.version,
                owners: owners.collect(),
            };
            known.shards = shards;
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
        let call = async {
            let mut client = self.locate(&request.room);
            for pause in PAUSES {
                let response = client.call(traced(request.clone())).await;
                let response = response.map_err(|status| Reply::of_status(&status))?.into_inner();
                match response.outcome {
                    Some(room_response::Outcome::Answer(body)) => return Ok(body),
                    Some(room_response::Outcome::Refused(refused)) => {
                        let retry_after =
                            (refused.retry_after_ms > 0).then(|| Duration::from_millis(refused.retry_after_ms));
                        let status = u16::try_from(refused.status).unwrap_or(500);
                        return Err(Reply {
                            retry_after: retry_after.or_else(|| matches!(status, 429 | 503).then_some(RETRY_AFTER)),
                            ..Reply::refused(status, refused.reason)
                        });
                    }
                    Some(room_response::Outcome::Elsewhere(elsewhere)) => {
                        metrics.redirected();
                        client = self.redirect(&request.room, elsewhere);
                        tokio::time::sleep(pause).await;
                    }
                    None => return Err(Reply::refused(500, "internal failure")),
                }
            }
            Err(Reply::unavailable("the room is changing its owner"))
        };
        tokio::time::timeout(patience, call)
            .await
            .unwrap_or_else(|_| Err(Reply::unavailable("overloaded")))
    }

    /// A node for what is not about one room.
    pub(crate) fn any(&self) -> HubClient<Channel> {
        self.first.clone()
    }

    fn locate(&self, room: &str) -> HubClient<Channel> {
        let node = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let owner = known
                .shards
                .as_ref()
                .and_then(|shards| known.map.owner(shards.of(room)));
            owner.map(|owner| owner.node.clone())
        };
        self.client(node.as_deref())
    }

    fn redirect(&self, room: &str, elsewhere: proto::hub::Elsewhere) -> HubClient<Channel> {
        if elsewhere.node.is_empty() {
            return self.locate(room);
        }
        let client = self.client(Some(&elsewhere.node));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(shard) = known.shards.as_ref().map(|shards| shards.of(room)) {
            let owner = Owner {
                node: elsewhere.node,
                term: elsewhere.term,
            };
            known.map.note(shard, owner);
        }
        client
    }

    fn client(&self, node: Option<&str>) -> HubClient<Channel> {
        let (Some(node), Some(dial)) = (node, &self.dial) else {
            return self.first.clone();
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.clients.get(node) {
            return client.clone();
        }
        let Some(client) = dial(node).map(sized) else {
            return self.first.clone();
        };
        if known.clients.len() >= CLIENTS_MAX {
            known.clients.pop_first();
        }
        known.clients.insert(node.to_owned(), client.clone());
        client
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
