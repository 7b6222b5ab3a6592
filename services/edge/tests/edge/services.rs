//! A hub, a follower and other providers that record what they are asked and say what they are told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use mimi::catch_up::RoomHead;
use mimi::mls::{CipherSuite, ExternalSender};
use mimi::{Encode as _, Provider};
use nave_edge::{AssetBody, FetchError, Relay, Unreachable, asset_body};
use peer::{AssetUrl, Wanted};
use proto::follower::follower_server::{Follower, FollowerServer};
use proto::follower::{
    ClaimRequest, ClaimResponse, ConsentReceipt, ConsentScope, Delivered, Delivery, Done, Event, EventsRequest,
    FillRequest, FillResponse, FollowRequest, Gap, Granted, KeepHeadsRequest, ListConsentsRequest,
    ListConsentsResponse, ListHeadsRequest, ListHeadsResponse, LoseRequest, NotifyRequest, PositionRequest, Profile,
    Pseudonym, PseudonymAnswer, QueryRequest, QueryResponse, ReadProfileRequest, SayConsentRequest, SayConsentResponse,
    SetProfileRequest, UploadRequest, UploadResponse, events_request,
};
use proto::hub::hub_server::{Hub, HubServer};
use proto::hub::{
    AbuseCase, CloseAbuseRequest, CloseAbuseResponse, ListAbuseRequest, ListAbuseResponse, RoomEventsCall,
    RoomEventsReply, RoomHeadsCall, RoomHeadsReply, RoomRequest, RoomResponse, ShardMap, ShardsRequest, WakeRequest,
    WakeResponse, room_events_reply, room_heads_reply, room_response::Outcome,
};
use proto::hub::{NumberedRequest, NumberedResponse};
use proto::link::{Acknowledge, Answer, Call, Item, Position, RoomEvents};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// A gRPC channel to `routes` without a socket.
pub fn channel(routes: tonic::service::Routes) -> Channel {
    let connect = tower::service_fn(move |_| {
        let routes = routes.clone();
        async move {
            let (near, far) = tokio::io::duplex(1 << 16);
            let incoming = futures::stream::iter([Ok::<_, std::io::Error>(far)]);
            tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    });
    Endpoint::from_static("http://in.memory").connect_with_connector_lazy(connect)
}

/// What was asked, and what to say next; when nothing is left to say, the default.
pub struct Script<Q, A> {
    asked: Mutex<Vec<Q>>,
    next: Mutex<VecDeque<A>>,
}

impl<Q, A> Default for Script<Q, A> {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            next: Mutex::default(),
        }
    }
}

impl<Q: Clone, A> Script<Q, A> {
    pub fn say(&self, answer: A) {
        self.next.lock().unwrap().push_back(answer);
    }

    pub fn asked(&self) -> Vec<Q> {
        self.asked.lock().unwrap().clone()
    }

    fn take(&self, question: Q) -> Option<A> {
        self.asked.lock().unwrap().push(question);
        self.next.lock().unwrap().pop_front()
    }
}

/// Answers `hub` to everything.
#[derive(Default)]
pub struct FakeHub(
    pub Script<RoomRequest, Result<Outcome, Status>>,
    pub Script<ListAbuseRequest, Status>,
    pub Script<CloseAbuseRequest, Status>,
    pub Script<WakeRequest, Status>,
    pub Script<RoomHeadsCall, room_heads_reply::Outcome>,
    pub Script<RoomEventsCall, room_events_reply::Outcome>,
);

/// What a hub answers about a room of a.example whose last entry is `head`.
pub fn events(head: u64, items: Vec<Item>) -> RoomEvents {
    let head = RoomHead {
        room: crate::bodies::uri(crate::bodies::ROOM),
        ledger: [7; 16],
        seq: head,
        chain: [1; 32],
        epoch: 1,
        cipher_suite: 1,
        signature: Bytes::from_static(b"signature"),
    };
    RoomEvents {
        items,
        head: head.encode().into(),
    }
}

pub struct Shared<T>(pub Arc<T>);

#[tonic::async_trait]
impl Hub for Shared<FakeHub> {
    async fn call(&self, request: Request<RoomRequest>) -> Result<Response<RoomResponse>, Status> {
        let said = self.0.0.take(request.into_inner());
        let outcome = said.unwrap_or_else(|| Ok(Outcome::Answer(Bytes::from_static(b"hub"))))?;
        Ok(Response::new(RoomResponse { outcome: Some(outcome) }))
    }

    async fn list_abuse(&self, request: Request<ListAbuseRequest>) -> Result<Response<ListAbuseResponse>, Status> {
        let listed = ListAbuseResponse {
            cases: vec![AbuseCase {
                id: "case".to_owned(),
                ..AbuseCase::default()
            }],
            more: false,
        };
        or_refuse(self.0.1.take(request.into_inner()), listed)
    }

    async fn wake(&self, request: Request<WakeRequest>) -> Result<Response<WakeResponse>, Status> {
        or_refuse(self.0.3.take(request.into_inner()), WakeResponse {})
    }

    async fn close_abuse(&self, request: Request<CloseAbuseRequest>) -> Result<Response<CloseAbuseResponse>, Status> {
        or_refuse(self.0.2.take(request.into_inner()), CloseAbuseResponse {})
    }

    type CallsStream = futures::stream::Pending<Result<NumberedResponse, Status>>;

    /// Of an earlier release: each request comes in a call of its own.
    async fn calls(&self, _: Request<Streaming<NumberedRequest>>) -> Result<Response<Self::CallsStream>, Status> {
        Err(Status::unimplemented("calls"))
    }

    async fn room_heads(&self, request: Request<RoomHeadsCall>) -> Result<Response<RoomHeadsReply>, Status> {
        let said = self.0.4.take(request.into_inner());
        let heads = || room_heads_reply::Outcome::Response(Bytes::from_static(b"heads"));
        let outcome = Some(said.unwrap_or_else(heads));
        Ok(Response::new(RoomHeadsReply { outcome }))
    }

    async fn room_events(&self, request: Request<RoomEventsCall>) -> Result<Response<RoomEventsReply>, Status> {
        let said = self.0.5.take(request.into_inner());
        let none = || room_events_reply::Outcome::Events(events(99, Vec::new()));
        let outcome = Some(said.unwrap_or_else(none));
        Ok(Response::new(RoomEventsReply { outcome }))
    }

    type ShardsStream = futures::stream::Pending<Result<ShardMap, Status>>;

    async fn shards(&self, _: Request<ShardsRequest>) -> Result<Response<Self::ShardsStream>, Status> {
        Ok(Response::new(futures::stream::pending()))
    }
}

pub fn hub_routes(hub: Arc<FakeHub>) -> tonic::service::Routes {
    let server = HubServer::new(Shared(hub)).max_decoding_message_size(32 << 20);
    tonic::service::Routes::new(server)
}

/// Stores nothing and says so cheerfully.
#[derive(Default)]
pub struct FakeFollower {
    pub notified: Script<NotifyRequest, Status>,
    pub claimed: Script<ClaimRequest, Status>,
    pub delivered: Script<Delivery, Status>,
    /// What it says that it lacks, one for each delivery.
    pub gaps: Mutex<VecDeque<Gap>>,
    pub filled: Script<FillRequest, Status>,
    pub heads_kept: Script<KeepHeadsRequest, Status>,
    pub lost: Script<LoseRequest, Status>,
    pub heads_listed: Script<ListHeadsRequest, ListHeadsResponse>,
    pub uploaded: Script<UploadRequest, Status>,
    pub followed: Script<(FollowRequest, bool), Status>,
    pub consent_received: Script<ConsentReceipt, Status>,
    pub consent_said: Script<SayConsentRequest, Result<Bytes, Status>>,
    pub consents_listed: Script<ListConsentsRequest, ListConsentsResponse>,
    pub granted_taken: Script<ConsentScope, Status>,
    pub profile_set: Script<SetProfileRequest, Status>,
    pub queried: Script<QueryRequest, Status>,
    /// What came on event streams; `None`: one ended.
    pub events: Script<Option<EventsRequest>, Status>,
    /// What was registered.
    pub pseudonyms: Script<Pseudonym, Status>,
}

fn or_refuse<T>(said: Option<Status>, answer: T) -> Result<Response<T>, Status> {
    said.map_or_else(|| Ok(Response::new(answer)), Err)
}

#[tonic::async_trait]
impl Follower for Shared<FakeFollower> {
    async fn deliver(&self, request: Request<Delivery>) -> Result<Response<Delivered>, Status> {
        let delivery = request.into_inner();
        let deliver = delivery.deliver.clone().unwrap();
        let acknowledge = Acknowledge {
            shard: deliver.shard,
            next_offset: deliver.items.last().unwrap().offset + 1,
            refused: Vec::new(),
        };
        // Whoever is told to take it as it is lacks nothing.
        let as_is = delivery.as_is || !delivery.as_is_rooms.is_empty();
        let gap = (!as_is).then(|| self.0.gaps.lock().unwrap().pop_front()).flatten();
        let delivered = Delivered {
            acknowledge: Some(acknowledge),
            gap,
        };
        or_refuse(self.0.delivered.take(delivery), delivered)
    }

    async fn fill(&self, request: Request<FillRequest>) -> Result<Response<FillResponse>, Status> {
        let request = request.into_inner();
        let filled = FillResponse {
            seq: request.items.last().map_or(0, |item| item.seq),
            broken: false,
        };
        or_refuse(self.0.filled.take(request), filled)
    }

    async fn lose(&self, request: Request<LoseRequest>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.lost.take(request.into_inner()), Done {})
    }

    async fn keep_heads(&self, request: Request<KeepHeadsRequest>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.heads_kept.take(request.into_inner()), Done {})
    }

    async fn list_heads(&self, request: Request<ListHeadsRequest>) -> Result<Response<ListHeadsResponse>, Status> {
        let listed = self.0.heads_listed.take(request.into_inner());
        Ok(Response::new(listed.unwrap_or_default()))
    }

    async fn position(&self, request: Request<PositionRequest>) -> Result<Response<Position>, Status> {
        let position = Position {
            shard: request.into_inner().shard,
            known: true,
            next_offset: 40,
        };
        Ok(Response::new(position))
    }

    async fn notify(&self, request: Request<NotifyRequest>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.notified.take(request.into_inner()), Done {})
    }

    async fn claim(&self, request: Request<ClaimRequest>) -> Result<Response<ClaimResponse>, Status> {
        let claimed = ClaimResponse {
            response: Bytes::from_static(b"claimed"),
        };
        or_refuse(self.0.claimed.take(request.into_inner()), claimed)
    }

    async fn upload_key_packages(&self, request: Request<UploadRequest>) -> Result<Response<UploadResponse>, Status> {
        let request = request.into_inner();
        let stored = request.key_packages.len().try_into().unwrap();
        let uploaded = UploadResponse {
            stored,
            available: stored,
        };
        or_refuse(self.0.uploaded.take(request), uploaded)
    }

    async fn register_pseudonym(&self, request: Request<Pseudonym>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.pseudonyms.take(request.into_inner()), Done {})
    }

    /// What was registered is.
    async fn is_pseudonym(&self, request: Request<Pseudonym>) -> Result<Response<PseudonymAnswer>, Status> {
        let is_the_users = self.0.pseudonyms.asked().contains(request.get_ref());
        Ok(Response::new(PseudonymAnswer { is_the_users }))
    }

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.followed.take((request.into_inner(), true)), Done {})
    }

    async fn unfollow(&self, request: Request<FollowRequest>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.followed.take((request.into_inner(), false)), Done {})
    }

    async fn receive_consent(&self, request: Request<ConsentReceipt>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.consent_received.take(request.into_inner()), Done {})
    }

    async fn say_consent(&self, request: Request<SayConsentRequest>) -> Result<Response<SayConsentResponse>, Status> {
        let said = self.0.consent_said.take(request.into_inner());
        let entry = said.unwrap_or_else(|| Err(Status::not_found("nothing to say")))?;
        Ok(Response::new(SayConsentResponse { entry }))
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsRequest>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let listed = self.0.consents_listed.take(request.into_inner());
        Ok(Response::new(listed.unwrap_or_default()))
    }

    async fn take_granted(&self, request: Request<ConsentScope>) -> Result<Response<Granted>, Status> {
        let key_packages = vec![Bytes::from_static(b"granted")];
        or_refuse(
            self.0.granted_taken.take(request.into_inner()),
            Granted { key_packages },
        )
    }

    async fn set_profile(&self, request: Request<SetProfileRequest>) -> Result<Response<Done>, Status> {
        or_refuse(self.0.profile_set.take(request.into_inner()), Done {})
    }

    /// The profile that was set last for anybody.
    async fn read_profile(&self, _: Request<ReadProfileRequest>) -> Result<Response<Profile>, Status> {
        let set = self.0.profile_set.asked().pop();
        Ok(Response::new(set.and_then(|set| set.profile).unwrap_or_default()))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let response = Bytes::from_static(b"found");
        or_refuse(self.0.queried.take(request.into_inner()), QueryResponse { response })
    }

    type EventsStream = std::pin::Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    /// For each request, an event that names what was asked.
    async fn events(&self, request: Request<Streaming<EventsRequest>>) -> Result<Response<Self::EventsStream>, Status> {
        let mut requests = request.into_inner();
        let (events, stream) = mpsc::channel(16);
        let follower = self.0.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                let event = match request.kind.as_ref().unwrap() {
                    events_request::Kind::Open(open) => Event {
                        room: open.client.clone(),
                        ..Event::default()
                    },
                    events_request::Kind::Ack(ack) => Event {
                        room: ack.room.clone(),
                        position: ack.position,
                        ..Event::default()
                    },
                };
                follower.events.take(Some(request));
                if events.send(Ok(event)).await.is_err() {
                    break;
                }
            }
            follower.events.take(None);
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

pub fn follower_routes(follower: Arc<FakeFollower>) -> tonic::service::Routes {
    let server = FollowerServer::new(Shared(follower)).max_decoding_message_size(32 << 20);
    tonic::service::Routes::new(server)
}

/// How a store of assets answers.
pub type Keeper = Box<dyn Fn(&AssetUrl, &Wanted) -> Result<http::Response<AssetBody>, FetchError> + Send + Sync>;

/// The other providers. c.example keeps assets at assets.c.example, and a proxy and a gateway of its own.
#[derive(Default)]
pub struct FakePeers {
    pub calls: Script<(Provider, Call), Result<Answer, Unreachable>>,
    pub fetched: Script<(String, Wanted), Keeper>,
    pub proxied: Script<(Provider, String, Wanted), Keeper>,
    pub oblivious: Script<(Provider, Option<Bytes>), Result<Answer, Unreachable>>,
    /// The hubs' keys.
    pub senders: Mutex<BTreeMap<(Provider, CipherSuite), ExternalSender>>,
}

fn said(answer: Option<Result<Answer, Unreachable>>) -> Result<Answer, Unreachable> {
    answer.unwrap_or_else(|| {
        Ok(Answer {
            status: 200,
            retry_after_ms: 0,
            body: Bytes::from_static(b"peer"),
        })
    })
}

fn kept(keeper: Option<Keeper>, url: &AssetUrl, wanted: &Wanted) -> Result<http::Response<AssetBody>, FetchError> {
    let keeper = keeper.unwrap_or_else(|| Box::new(|_, _| Ok(http::Response::new(asset_body("asset")))));
    keeper(url, wanted)
}

#[async_trait]
impl Relay for FakePeers {
    async fn request(&self, to: &Provider, call: Call) -> Result<Answer, Unreachable> {
        said(self.calls.take((to.clone(), call)))
    }

    fn hub_sender(&self, of: &Provider, suite: CipherSuite) -> Option<ExternalSender> {
        self.senders.lock().unwrap().get(&(of.clone(), suite)).cloned()
    }

    fn holder(&self, url: &AssetUrl) -> Option<Provider> {
        (url.authority() == "assets.c.example:443").then(|| "c.example".parse().unwrap())
    }

    async fn fetch_asset(&self, url: &AssetUrl, wanted: Wanted) -> Result<http::Response<AssetBody>, FetchError> {
        let keeper = self.fetched.take((url.as_uri().to_string(), wanted.clone()));
        kept(keeper, url, &wanted)
    }

    async fn proxy_download(
        &self,
        hub: &Provider,
        url: &AssetUrl,
        wanted: Wanted,
    ) -> Result<http::Response<AssetBody>, FetchError> {
        let asked = (hub.clone(), url.as_uri().to_string(), wanted.clone());
        kept(self.proxied.take(asked), url, &wanted)
    }

    async fn gateway_keys(&self, of: &Provider) -> Result<Answer, Unreachable> {
        said(self.oblivious.take((of.clone(), None)))
    }

    async fn oblivious(&self, to: &Provider, request: Bytes) -> Result<Answer, Unreachable> {
        said(self.oblivious.take((to.clone(), Some(request))))
    }
}
