//! The service: the hub's crates put together, and its gRPC face.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{Stream, StreamExt, stream};
use hub::seal::HubKeys;
use hub::{Clock, Hub, Options, Parts, Request, Spawner};
use ledger::Ledger;
use mimi::{Provider, RoomUri};
use peer::Peers;
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_server::{Hub as HubRpc, HubServer};
use proto::hub::{RoomRequest, RoomResponse, ShardMap, ShardOwner, ShardsRequest, room_request};
use room::{Command, Founding};
use shard::{Node, NodeOptions};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Response, Status};
use tracing::Instrument as _;

use crate::Carrier;
use crate::limits::GRPC_BYTES_MAX;
use crate::metrics::Metrics;
use crate::reply;

/// What the service is made of.
#[derive(Clone)]
pub struct HubParts {
    /// Whose hub it is. Only rooms under this authority are served.
    pub provider: Provider,
    /// Where rooms are durable.
    pub ledger: Ledger,
    /// This life of the process.
    pub node: NodeOptions,
    /// Where this node's RPC answers, for the shard map; empty when callers know.
    pub address: String,
    /// The other providers.
    pub peers: Peers,
    /// Our own follower.
    pub follower: FollowerClient<Channel>,
    /// What the hub signs with.
    pub keys: Arc<HubKeys>,
    /// Says when commands are accepted.
    pub clock: Arc<dyn Clock>,
    /// Where shards run.
    pub spawner: Arc<dyn Spawner>,
    /// Seeds the jitter of retries.
    pub seed: u64,
    /// Limits.
    pub options: Options,
}

impl std::fmt::Debug for HubParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubParts")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// This life could not be made known.
    #[error("start the node")]
    Node(#[source] store::Error),
    /// The shards are not ours, or cannot be opened.
    #[error("start the hub")]
    Hub(#[source] hub::StartError),
}

/// A running hub. Clones share it; [`HubService::drain`] ends it in order, dropping the last clone as a crash would.
#[derive(Debug, Clone)]
pub struct HubService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    provider: Provider,
    hub: Hub,
    node: Node,
    address: String,
    keys: Arc<HubKeys>,
    metrics: Metrics,
    draining: CancellationToken,
}

impl HubService {
    /// Acquires the shards, opens their logs, starts their couriers. Couriers run on the runtime that this is called on.
    ///
    /// # Errors
    /// The store fails, or a shard is held by another node that lives.
    pub async fn start(parts: HubParts) -> Result<Self, StartError> {
        let node = Node::start(parts.ledger.database().clone(), parts.node)
            .await
            .map_err(StartError::Node)?;
        let carrier = Carrier::new(parts.provider.clone(), parts.ledger.id(), parts.peers, parts.follower);
        let hub = Hub::start(Parts {
            ledger: parts.ledger,
            node: node.clone(),
            transport: Arc::new(carrier),
            clock: parts.clock,
            keys: parts.keys.clone(),
            spawner: parts.spawner,
            couriers: tokio::runtime::Handle::current(),
            seed: parts.seed,
            options: parts.options,
        });
        let hub = hub.await.map_err(StartError::Hub)?;
        Ok(Self {
            inner: Arc::new(Inner {
                provider: parts.provider,
                hub,
                node,
                address: parts.address,
                keys: parts.keys,
                metrics: Metrics::new(),
                draining: CancellationToken::new(),
            }),
        })
    }

    /// The gRPC face, for whichever listener serves it.
    pub fn server(&self) -> HubServer<Self> {
        HubServer::new(self.clone())
            .max_decoding_message_size(GRPC_BYTES_MAX)
            .max_encoding_message_size(GRPC_BYTES_MAX)
    }

    /// The follower can be reached again: its couriers try now.
    pub fn wake(&self, follower: &Provider) {
        self.inner.hub.wake(follower);
    }

    /// Takes no more requests, makes durable and releases what was decided, resigns the shards and ends the node's life.
    pub async fn drain(&self) {
        self.inner.draining.cancel();
        self.inner.hub.drain().await;
        if let Err(error) = self.inner.node.clone().stop().await {
            tracing::warn!(%error, "end the node's life");
        }
    }

    async fn ask(&self, request: RoomRequest) -> (RoomResponse, &'static str, &'static str) {
        let Inner {
            provider, hub, keys, ..
        } = &*self.inner;
        let room: Option<RoomUri> = request.room.parse().ok();
        let source: Option<Provider> = request.source.parse().ok();
        let (Some(room), Some(from), Some(body)) = (room, source, request.body) else {
            return (
                reply::refused(400, "malformed room request", Duration::ZERO),
                "malformed",
                "refused",
            );
        };
        if room.provider() != provider {
            return (
                reply::refused(421, "not a room of this hub", Duration::ZERO),
                "misdirected",
                "refused",
            );
        }
        let (kind, asked) = match asked(from, body) {
            Ok(asked) => asked,
            Err(why) => return (reply::refused(400, why, Duration::ZERO), "malformed", "refused"),
        };
        let command = match &asked {
            Request::Found(founding) if founding.from != *provider => {
                return (
                    reply::refused(403, "rooms are founded by their hub's users", Duration::ZERO),
                    kind,
                    "refused",
                );
            }
            Request::Found(_) => None,
            Request::Command(command) => Some(command.clone()),
        };
        let outcome = hub.call(room.clone(), asked).await;
        let (response, outcome) = reply::response(outcome, command.as_ref(), &room, keys);
        (response, kind, outcome)
    }

    fn map(&self) -> ShardMap {
        let shards = self.inner.hub.shards();
        let owner = |shard| ShardOwner {
            shard,
            node: self.inner.address.clone(),
            term: 0,
        };
        ShardMap {
            version: 1,
            shards: shards.count(),
            hash_key: shards.key().to_vec().into(),
            owners: (0..shards.count()).map(owner).collect(),
        }
    }
}

fn asked(from: Provider, body: room_request::Body) -> Result<(&'static str, Request), &'static str> {
    let (kind, command) = match body {
        room_request::Body::Create(create) => {
            let create: proto::hub::CreateRoom = prost::Message::decode(create).map_err(|_| "not a CreateRoom")?;
            let founding = Founding {
                from,
                group_info: create.group_info,
                ratchet_tree: create.ratchet_tree,
            };
            return Ok(("create", Request::Found(founding)));
        }
        room_request::Body::Update(body) => ("update", Command::Update { from, body }),
        room_request::Body::Submit(body) => ("submit", Command::Submit { from, body }),
        room_request::Body::GroupInfo(body) => ("group_info", Command::GroupInfo { from, body }),
        room_request::Body::AuthorizeKeyMaterial(body) => {
            ("authorize_key_material", Command::AuthorizeKeyMaterial { from, body })
        }
        room_request::Body::ReportAbuse(_) => return Err("reports of abuse are not taken"),
        room_request::Body::RecordKeyMaterial(record) => {
            let target = record.target.parse().map_err(|_| "the target is no provider")?;
            let (request, response) = (record.request, record.response);
            (
                "record_key_material",
                Command::RecordKeyMaterial {
                    from,
                    request,
                    target,
                    response,
                },
            )
        }
    };
    Ok((kind, Request::Command(command)))
}

#[async_trait]
impl HubRpc for HubService {
    async fn call(&self, request: tonic::Request<RoomRequest>) -> Result<Response<RoomResponse>, Status> {
        let begun = Instant::now();
        let span = tracing::info_span!(
            "hub.call",
            kind = tracing::field::Empty,
            outcome = tracing::field::Empty
        );
        if let Some(traceparent) = request
            .metadata()
            .get(daemon::traces::HEADER)
            .and_then(|text| text.to_str().ok())
        {
            daemon::traces::go_on(&span, traceparent);
        }
        let (response, kind, outcome) = self.ask(request.into_inner()).instrument(span.clone()).await;
        span.record("kind", kind).record("outcome", outcome);
        self.inner.metrics.called(kind, outcome, begun.elapsed());
        Ok(Response::new(response))
    }

    type ShardsStream = Pin<Box<dyn Stream<Item = Result<ShardMap, Status>> + Send>>;

    async fn shards(&self, _request: tonic::Request<ShardsRequest>) -> Result<Response<Self::ShardsStream>, Status> {
        // One node owns all shards for as long as it lives, so the first map is the last.
        let first = stream::once(std::future::ready(Ok(self.map())));
        let rest = stream::pending().take_until(self.inner.draining.clone().cancelled_owned());
        Ok(Response::new(Box::pin(first.chain(rest))))
    }

    async fn list_abuse(
        &self,
        _: tonic::Request<proto::hub::ListAbuseRequest>,
    ) -> Result<Response<proto::hub::ListAbuseResponse>, Status> {
        Err(Status::unimplemented("reports of abuse"))
    }

    async fn close_abuse(
        &self,
        _: tonic::Request<proto::hub::CloseAbuseRequest>,
    ) -> Result<Response<proto::hub::CloseAbuseResponse>, Status> {
        Err(Status::unimplemented("reports of abuse"))
    }
}
