//! The service: the hub's crates put together, and its gRPC face.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fanout::Plane;
use futures::{Stream, StreamExt, stream};
use hub::frank::{FrankingError, FrankingOptions};
use hub::keys::HubKeys;
use hub::{Clock, Hub, Options, Outcome, Parts, Request, Spawner};
use ledger::abuse::Filed;
use ledger::{Ledger, Seq};
use mimi::{Encode as _, Provider, RoomUri};
use peer::Peers;
use proto::admin::admin_server::AdminServer;
use proto::follower::follower_client::FollowerClient;
use proto::hub::hub_server::{Hub as HubRpc, HubServer};
use proto::hub::{
    CloseAbuseRequest, CloseAbuseResponse, ListAbuseRequest, ListAbuseResponse, NumberedRequest, NumberedResponse,
    RoomEventsCall, RoomEventsReply, RoomHeadsCall, RoomHeadsReply, RoomRequest, RoomResponse, ShardMap, ShardsRequest,
    WakeRequest, WakeResponse, room_events_reply, room_heads_reply, room_request,
};
use room::command::ReportGrant;
use room::{Answer, Command, Founding};
use shard::{Node, NodeOptions};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};
use tracing::Instrument as _;

use crate::abuse::{Inbox, Moderation};
use crate::catch_up::{CatchUp, refused};
use crate::keys::RoomKeys;
use crate::limits::{GRPC_BYTES_MAX, REPORT_BYTES_MAX, WAKE_FOLLOWERS_MAX};
use crate::metrics::Metrics;
use crate::{AdminService, Carrier, reply};

/// How often the franking keys are read again: several times in the shortest interval.
const FRANKING_REFRESH: Duration = Duration::from_secs(10 * 60);

/// What whoever reports to a full inbox is asked to wait.
const FULL_INBOX_RETRY_AFTER: Duration = Duration::from_secs(60 * 60);

/// What the service is made of.
#[derive(Clone)]
pub struct HubParts {
    /// Whose hub it is. Only rooms under this authority are served.
    pub provider: Provider,
    /// Where rooms are durable.
    pub ledger: Ledger,
    /// This life of the process.
    pub node: NodeOptions,
    /// The other providers.
    pub peers: Peers,
    /// Our own follower.
    pub follower: FollowerClient<Channel>,
    /// What the hub signs with.
    pub keys: Arc<HubKeys>,
    /// How long what moderators need is kept.
    pub moderation: Moderation,
    /// Says when commands are accepted.
    pub clock: Arc<dyn Clock>,
    /// Where shards run.
    pub spawner: Arc<dyn Spawner>,
    /// Where couriers run: where the links of `peers` are.
    pub plane: Plane,
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
    /// The franking keys cannot be read or made.
    #[error("read the franking keys")]
    Franking(#[source] FrankingError),
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
    keys: Arc<HubKeys>,
    inbox: Inbox,
    catch_up: CatchUp,
    metrics: Metrics,
    draining: CancellationToken,
    /// Nothing is asked any more that would not be sent elsewhere.
    drained: CancellationToken,
}

impl HubService {
    /// Starts the node and its hub (see [`Hub::start`]). Couriers run on the runtime that this is called on.
    ///
    /// # Errors
    /// The store fails.
    pub async fn start(parts: HubParts) -> Result<Self, StartError> {
        let node = Node::start(parts.ledger.database().clone(), parts.node)
            .await
            .map_err(StartError::Node)?;
        let Moderation { franking, retention } = parts.moderation;
        let refreshed = parts.keys.refresh_franking(&parts.ledger, parts.clock.now(), &franking);
        refreshed.await.map_err(StartError::Franking)?;
        let metrics = Metrics::new();
        let inbox = Inbox {
            ledger: parts.ledger.clone(),
            keys: parts.keys.clone(),
            clock: parts.clock.clone(),
            retention,
            metrics: metrics.clone(),
        };
        let catch_up = CatchUp::new(parts.provider.clone(), parts.ledger.clone(), parts.keys.clone());
        let draining = CancellationToken::new();
        let room_keys = RoomKeys {
            ours: parts.keys.clone(),
            peers: parts.peers.clone(),
        };
        let carrier = Carrier::new(
            parts.provider.clone(),
            parts.ledger.clone(),
            parts.peers,
            parts.follower,
        );
        let hub = Hub::start(Parts {
            ledger: parts.ledger,
            node: node.clone(),
            transport: Arc::new(carrier),
            clock: parts.clock,
            keys: Arc::new(room_keys),
            spawner: parts.spawner,
            couriers: parts.plane,
            runtime: tokio::runtime::Handle::current(),
            seed: parts.seed,
            options: parts.options,
        });
        let hub = hub.await.map_err(StartError::Hub)?;
        tokio::spawn(keep_franking(inbox.clone(), franking, draining.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                provider: parts.provider,
                hub,
                node,
                keys: parts.keys,
                inbox,
                catch_up,
                metrics,
                draining,
                drained: CancellationToken::new(),
            }),
        })
    }

    /// The gRPC face, for whichever listener serves it.
    pub fn server(&self) -> HubServer<Self> {
        HubServer::new(self.clone())
            .max_decoding_message_size(GRPC_BYTES_MAX)
            .max_encoding_message_size(GRPC_BYTES_MAX)
    }

    /// What operators call, for whichever listener serves them.
    pub fn admin(&self) -> AdminServer<AdminService> {
        AdminServer::new(AdminService::of(&self.inner.hub, self.inner.node.incarnation()))
    }

    /// Takes no more requests, makes durable and releases what was decided, resigns the shards and ends the node's life.
    pub async fn drain(&self) {
        self.inner.draining.cancel();
        self.inner.hub.drain().await;
        self.inner.drained.cancel();
        if let Err(error) = self.inner.node.clone().stop().await {
            tracing::warn!(%error, "end the node's life");
        }
    }

    async fn answer(&self, request: RoomRequest, traceparent: Option<&str>) -> RoomResponse {
        let begun = Instant::now();
        let span = tracing::info_span!(
            "hub.call",
            kind = tracing::field::Empty,
            outcome = tracing::field::Empty
        );
        if let Some(traceparent) = traceparent.filter(|traceparent| !traceparent.is_empty()) {
            daemon::traces::go_on(&span, traceparent);
        }
        let (response, kind, outcome) = self.ask(request).instrument(span.clone()).await;
        span.record("kind", kind).record("outcome", outcome);
        self.inner.metrics.called(kind, outcome, begun.elapsed());
        response
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
        if matches!(&body, room_request::Body::ReportAbuse(report) if report.len() > REPORT_BYTES_MAX) {
            return (
                reply::refused(413, "a report larger than is taken", Duration::ZERO),
                "report_abuse",
                "refused",
            );
        }
        let (kind, asked) = match asked(from.clone(), body) {
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
            Request::Found(_) | Request::Follow => None,
            Request::Command(command) => Some(command.clone()),
        };
        let outcome = hub.call(room.clone(), asked).await;
        if let Outcome::Answer(Answer::Report(grant)) = &outcome {
            let (response, outcome) = self.file(&room, &from, grant).await;
            return (response, kind, outcome);
        }
        let (response, outcome) = reply::response(outcome, command.as_ref(), &room, keys);
        (response, kind, outcome)
    }

    async fn file(&self, room: &RoomUri, from: &Provider, grant: &ReportGrant) -> (RoomResponse, &'static str) {
        match self.inner.inbox.file(room, from, grant).await {
            Ok(Filed::Added | Filed::Known) => (reply::answer(Bytes::new()), "answered"),
            Ok(Filed::Full) => (
                reply::refused(503, "the abuse inbox is full", FULL_INBOX_RETRY_AFTER),
                "overloaded",
            ),
            Err(error) => {
                tracing::error!(%error, "file a report of abuse");
                (
                    reply::refused(503, "unavailable", Duration::from_secs(1)),
                    "unavailable",
                )
            }
        }
    }
}

/// Reads the franking keys again and again, until the hub drains.
async fn keep_franking(inbox: Inbox, options: FrankingOptions, draining: CancellationToken) {
    let mut ticks = tokio::time::interval(FRANKING_REFRESH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while draining.run_until_cancelled(ticks.tick()).await.is_some() {
        let refreshed = inbox.keys.refresh_franking(&inbox.ledger, inbox.clock.now(), &options);
        if let Err(error) = refreshed.await {
            tracing::error!(%error, "refresh the franking keys");
        }
    }
}

/// How an answer of catch-up counts.
fn outcome<T>(told: &Result<T, proto::hub::Refused>) -> &'static str {
    match told {
        Ok(_) => "answered",
        Err(refused) if refused.status == 503 => "overloaded",
        Err(_) => "refused",
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
        room_request::Body::ReportAbuse(body) => ("report_abuse", Command::ReportAbuse { from, body }),
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
        let traceparent = request.metadata().get(daemon::traces::HEADER);
        let traceparent = traceparent.and_then(|text| text.to_str().ok()).map(str::to_owned);
        Ok(Response::new(
            self.answer(request.into_inner(), traceparent.as_deref()).await,
        ))
    }

    type CallsStream = Pin<Box<dyn Stream<Item = Result<NumberedResponse, Status>> + Send>>;

    async fn calls(
        &self,
        request: tonic::Request<Streaming<NumberedRequest>>,
    ) -> Result<Response<Self::CallsStream>, Status> {
        let (service, drained) = (self.clone(), self.inner.drained.clone());
        let requests = request.into_inner().take_until(drained.cancelled_owned());
        let answer = move |request, traceparent: String| {
            let service = service.clone();
            async move { service.answer(request, Some(&traceparent)).await }
        };
        Ok(Response::new(Box::pin(tier::calls::answered(requests, answer))))
    }

    type ShardsStream = Pin<Box<dyn Stream<Item = Result<ShardMap, Status>> + Send>>;

    async fn shards(&self, _request: tonic::Request<ShardsRequest>) -> Result<Response<Self::ShardsStream>, Status> {
        let lapse = self.inner.hub.lapse();
        if lapse.has_begun() {
            return Err(Status::unavailable("this node's lease has lapsed"));
        }
        let shards = self.inner.hub.shards();
        let mut map = self.inner.hub.map();
        map.mark_changed();
        let maps = stream::unfold(map, move |mut map| async move {
            map.changed().await.ok()?;
            let known = reply::shard_map(&shards, &map.borrow_and_update());
            Some((Ok(known), map))
        });
        let draining = self.inner.draining.clone();
        let over = async move {
            tokio::select! {
                biased;
                () = draining.cancelled() => {}
                () = lapse.begins() => {}
            }
        };
        Ok(Response::new(Box::pin(maps.take_until(over))))
    }

    async fn wake(&self, request: tonic::Request<WakeRequest>) -> Result<Response<WakeResponse>, Status> {
        let followers = request.get_ref().followers.iter().take(WAKE_FOLLOWERS_MAX);
        for follower in followers.filter_map(|follower| follower.parse().ok()) {
            self.inner.hub.wake(&follower);
        }
        Ok(Response::new(WakeResponse {}))
    }

    async fn room_heads(&self, request: tonic::Request<RoomHeadsCall>) -> Result<Response<RoomHeadsReply>, Status> {
        let begun = Instant::now();
        let RoomHeadsCall { source, request } = request.into_inner();
        let told = match source.parse() {
            Ok(source) => self.inner.catch_up.heads(&source, &request).await,
            Err(_) => Err(refused(400, "the source is no provider")),
        };
        self.inner.metrics.called("room_heads", outcome(&told), begun.elapsed());
        let outcome = match told {
            Ok(response) => room_heads_reply::Outcome::Response(response.encode().into()),
            Err(refused) => room_heads_reply::Outcome::Refused(refused),
        };
        Ok(Response::new(RoomHeadsReply { outcome: Some(outcome) }))
    }

    async fn room_events(&self, request: tonic::Request<RoomEventsCall>) -> Result<Response<RoomEventsReply>, Status> {
        let begun = Instant::now();
        let call = request.into_inner();
        let told = match (call.source.parse(), call.room.parse()) {
            (Ok(source), Ok(room)) => {
                let (after, max) = (Seq(call.after_seq), call.max);
                self.inner.catch_up.events(&source, &room, after, max).await
            }
            _ => Err(refused(400, "not a provider and a room")),
        };
        self.inner
            .metrics
            .called("room_events", outcome(&told), begun.elapsed());
        let outcome = match told {
            Ok(events) => room_events_reply::Outcome::Events(events),
            Err(refused) => room_events_reply::Outcome::Refused(refused),
        };
        Ok(Response::new(RoomEventsReply { outcome: Some(outcome) }))
    }

    async fn list_abuse(
        &self,
        request: tonic::Request<ListAbuseRequest>,
    ) -> Result<Response<ListAbuseResponse>, Status> {
        match self.inner.inbox.list(request.get_ref()).await {
            Ok(Some(page)) => Ok(Response::new(page)),
            Ok(None) => Err(Status::invalid_argument("not the id of a case")),
            Err(error) => {
                tracing::error!(%error, "list cases of abuse");
                Err(Status::unavailable("the abuse inbox cannot be read"))
            }
        }
    }

    async fn close_abuse(
        &self,
        request: tonic::Request<CloseAbuseRequest>,
    ) -> Result<Response<CloseAbuseResponse>, Status> {
        let id = request.get_ref().id.parse();
        let id = id.map_err(|_| Status::invalid_argument("not the id of a case"))?;
        match self.inner.inbox.close(id).await {
            Ok(true) => Ok(Response::new(CloseAbuseResponse {})),
            Ok(false) => Err(Status::not_found("no such open case")),
            Err(error) => {
                tracing::error!(%error, "close a case of abuse");
                Err(Status::unavailable("the abuse inbox cannot be written"))
            }
        }
    }
}
