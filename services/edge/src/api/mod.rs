//! The provider API: what clients of our own users call. The token says which user it is; that user's clients are the
//! only ones it may act for. Rooms of other providers are reached through their hubs.

mod assets;
mod contacts;
mod events;
mod heads;
mod key_packages;
mod moderation;
mod names;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mimi::limits::BODY_BYTES_MAX;
use mimi::mls::CipherSuite;
use mimi::{ClientUri, RoomUri, UserUri};
use prost::Message;
use proto::follower::{Done, EventsRequest, FollowRequest, UploadResponse};
use proto::hub::CreateRoom;
use proto::provider::assets_server::AssetsServer;
use proto::provider::contacts_server::ContactsServer;
use proto::provider::moderation_server::ModerationServer;
use proto::provider::provider_server::{Provider as ProviderService, ProviderServer};
use proto::provider::{
    Answer, CreateRoomRequest, FollowCall, HubSender, RegisterPseudonymRequest, RoomCall, UploadKeyPackagesRequest,
    WhoAmIRequest, WhoAmIResponse,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status, Streaming};

use crate::assets::Assets;
use crate::federation::{Asked, Endpoint, Federation};
use crate::limits::{CHUNK_BYTES_MAX, GRPC_BYTES_MAX};
use crate::reply::Reply;
use crate::tokens::Tokens;
use names::Speaker;

/// What the provider API is made of.
pub(crate) struct ApiParts {
    pub(crate) federation: Arc<Federation>,
    pub(crate) assets: Arc<Assets>,
    pub(crate) tokens: Tokens,
    pub(crate) moderators: BTreeSet<UserUri>,
    pub(crate) hub_sender: Bytes,
    pub(crate) hub_senders: Vec<(CipherSuite, Bytes)>,
    pub(crate) cancel: CancellationToken,
}

pub(crate) fn routes(parts: ApiParts) -> tonic::service::Routes {
    let ApiParts { federation, tokens, .. } = parts;
    let event_streams = federation.limits.event_streams_max.min(Semaphore::MAX_PERMITS);
    let hub_senders = parts.hub_senders.into_iter().map(|(suite, sender)| HubSender {
        cipher_suite: suite.into(),
        sender,
    });
    let api = Api {
        federation: federation.clone(),
        tokens: tokens.clone(),
        hub_sender: parts.hub_sender,
        hub_senders: hub_senders.collect(),
        event_streams: Arc::new(Semaphore::new(event_streams)),
        cancel: parts.cancel,
    };
    let moderation = moderation::Moderation {
        federation: federation.clone(),
        moderators: parts.moderators,
    };
    let assets = assets::AssetCalls {
        federation: federation.clone(),
        assets: parts.assets,
    };
    // The token is checked before a message is read, so that strangers cannot make us hold any.
    let check = move |request: Request<()>| authenticate(&tokens, request);
    let provider = ProviderServer::new(api)
        .max_decoding_message_size(CALL_BYTES_MAX)
        .max_encoding_message_size(GRPC_BYTES_MAX);
    let contacts = ContactsServer::new(contacts::Contacts(federation))
        .max_decoding_message_size(CALL_BYTES_MAX)
        .max_encoding_message_size(GRPC_BYTES_MAX);
    let moderation = ModerationServer::new(moderation).max_encoding_message_size(GRPC_BYTES_MAX);
    let assets = AssetsServer::new(assets)
        .max_decoding_message_size(CHUNK_BYTES_MAX)
        .max_encoding_message_size(GRPC_BYTES_MAX);
    tonic::service::Routes::new(InterceptedService::new(provider, check.clone()))
        .add_service(InterceptedService::new(contacts, check.clone()))
        .add_service(InterceptedService::new(moderation, check.clone()))
        .add_service(InterceptedService::new(assets, check))
        .prepare()
}

/// Octets of a message from a client: the largest body, and what is around it.
const CALL_BYTES_MAX: usize = BODY_BYTES_MAX + (1 << 20);

/// Leaves the token's user among the request's extensions.
fn authenticate(tokens: &Tokens, mut request: Request<()>) -> Result<Request<()>, Status> {
    let header = request
        .metadata()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    let user = token.and_then(|token| tokens.user(token)).cloned();
    let user = user.ok_or_else(|| Status::unauthenticated("no or unknown bearer token"))?;
    request.extensions_mut().insert(user);
    Ok(request)
}

/// Whom [`authenticate`] found.
fn user<T>(request: &Request<T>) -> Result<UserUri, Status> {
    let user = request.extensions().get::<UserUri>();
    user.cloned().ok_or_else(|| Status::unauthenticated("no bearer token"))
}

/// The client that acts, if it is the token's user's.
fn actor<T>(request: &Request<T>, client: &str) -> Result<Actor, Status> {
    Actor::new(user(request)?, client)
}

struct Api {
    federation: Arc<Federation>,
    tokens: Tokens,
    hub_sender: Bytes,
    hub_senders: Vec<HubSender>,
    /// Event streams that may still be opened.
    event_streams: Arc<Semaphore>,
    cancel: CancellationToken,
}

/// One of a user's own clients, which acts.
struct Actor {
    user: UserUri,
    client: ClientUri,
}

impl Actor {
    fn new(user: UserUri, client: &str) -> Result<Self, Status> {
        let client: ClientUri = client
            .parse()
            .map_err(|error| Status::invalid_argument(format!("client is not a canonical client URI: {error}")))?;
        if client.user() != user {
            return Err(Status::permission_denied("not a client of the token's user"));
        }
        Ok(Self { user, client })
    }
}

impl Api {
    /// Takes a token of the user's bucket and brings the call to the room's hub.
    async fn room_call(
        &self,
        endpoint: Endpoint,
        request: Request<RoomCall>,
        speaker: fn(&Bytes) -> Result<Speaker, Reply>,
    ) -> Result<Response<Answer>, Status> {
        let actor = actor(&request, &request.get_ref().client)?;
        let call = request.into_inner();
        let room = room(&call.room)?;
        let since = Instant::now();
        let reply = self.to_hub(endpoint, &actor, &room, call.body, speaker).await;
        Ok(self.answer(endpoint, reply, since))
    }

    async fn to_hub(
        &self,
        endpoint: Endpoint,
        actor: &Actor,
        room: &RoomUri,
        body: Bytes,
        speaker: fn(&Bytes) -> Result<Speaker, Reply>,
    ) -> Result<Reply, Reply> {
        let federation = &self.federation;
        federation.rates.admit_user(&actor.user)?;
        self.speaks_for_itself(actor, speaker(&body)?).await?;
        Ok(if *room.provider() == federation.us {
            federation.answer(&federation.us, endpoint, room.as_str(), body).await
        } else {
            federation.relay(room.provider(), endpoint, room.as_str(), body).await
        })
    }

    fn answer(&self, endpoint: Endpoint, reply: Result<Reply, Reply>, since: Instant) -> Response<Answer> {
        let (Ok(reply) | Err(reply)) = reply;
        let metrics = &self.federation.metrics;
        metrics.answered(endpoint.name(), "api", reply.status, since);
        Response::new(reply.into())
    }

    async fn ask_key_material(&self, actor: &Actor, call: RoomCall) -> Result<Reply, Reply> {
        self.federation.rates.admit_user(&actor.user)?;
        let asked = Asked::decode(&call.body)?;
        let room = asked.room.as_ref().map_or("", RoomUri::as_str);
        if call.room != room {
            return Err(Reply::malformed("another room in the body than in the call"));
        }
        let requester = Speaker::User((&asked.requester).into(), "requestingUser is not the token's user");
        self.speaks_for_itself(actor, requester).await?;
        Ok(self.federation.key_material_of_local(&asked, call.body).await)
    }
}

fn room(text: &str) -> Result<RoomUri, Status> {
    text.parse()
        .map_err(|error| Status::invalid_argument(format!("room is not a canonical room URI: {error}")))
}

/// What did not become an answer of the draft, as a gRPC status.
fn status(reply: Reply) -> Status {
    let reason = reply.reason.into_owned();
    match reply.status {
        400 => Status::invalid_argument(reason),
        403 => Status::permission_denied(reason),
        404 => Status::not_found(reason),
        413 => Status::out_of_range(reason),
        429 => Status::resource_exhausted(reason),
        503 => Status::unavailable(reason),
        _ => Status::internal(reason),
    }
}

#[tonic::async_trait]
impl ProviderService for Api {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let user = user(&request)?;
        Ok(Response::new(WhoAmIResponse {
            provider: self.federation.us.as_str().to_owned(),
            user: user.as_str().to_owned(),
            hub_sender: self.hub_sender.clone(),
            hub_senders: self.hub_senders.clone(),
            minimal_metadata: self.federation.minimal_metadata,
        }))
    }

    async fn upload_key_packages(
        &self,
        request: Request<UploadKeyPackagesRequest>,
    ) -> Result<Response<UploadResponse>, Status> {
        self.upload(request).await
    }

    async fn register_pseudonym(&self, request: Request<RegisterPseudonymRequest>) -> Result<Response<Done>, Status> {
        self.name(request).await
    }

    async fn create_room(&self, request: Request<CreateRoomRequest>) -> Result<Response<Answer>, Status> {
        let actor = actor(&request, &request.get_ref().client)?;
        let request = request.into_inner();
        let room = room(&request.room)?;
        if *room.provider() != self.federation.us {
            return Err(Status::invalid_argument("a room is created at the provider of its URI"));
        }
        if let Err(early) = self.federation.rates.admit_user(&actor.user) {
            return Ok(Response::new(early.into()));
        }
        let founding = CreateRoom {
            group_info: request.group_info,
            ratchet_tree: request.ratchet_tree,
        };
        let reply = self.federation.create(&room, founding.encode_to_vec().into()).await;
        Ok(Response::new(reply.into()))
    }

    async fn key_material(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        let actor = actor(&request, &request.get_ref().client)?;
        let since = Instant::now();
        let reply = self.ask_key_material(&actor, request.into_inner()).await;
        Ok(self.answer(Endpoint::KeyMaterial, reply, since))
    }

    async fn update(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        self.room_call(Endpoint::Update, request, names::signer).await
    }

    async fn submit(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        self.room_call(Endpoint::SubmitMessage, request, names::sender).await
    }

    async fn group_info(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        self.room_call(Endpoint::GroupInfo, request, names::joiner).await
    }

    async fn report_abuse(&self, request: Request<RoomCall>) -> Result<Response<Answer>, Status> {
        self.room_call(Endpoint::ReportAbuse, request, names::reporter).await
    }

    async fn follow(&self, request: Request<FollowCall>) -> Result<Response<Done>, Status> {
        let follow = self.follow_request(request)?;
        let mut follower = self.federation.follower.clone();
        let done = self.federation.in_time(follower.follow(follow)).await;
        done.map(Response::new).map_err(status)
    }

    async fn unfollow(&self, request: Request<FollowCall>) -> Result<Response<Done>, Status> {
        let follow = self.follow_request(request)?;
        let mut follower = self.federation.follower.clone();
        let done = self.federation.in_time(follower.unfollow(follow)).await;
        done.map(Response::new).map_err(status)
    }

    type EventsStream = events::EventStream;

    async fn events(&self, request: Request<Streaming<EventsRequest>>) -> Result<Response<Self::EventsStream>, Status> {
        let user = user(&request)?;
        let events = self.open_events(user, request.into_inner()).await?;
        Ok(Response::new(events))
    }
}

impl Api {
    fn follow_request(&self, request: Request<FollowCall>) -> Result<FollowRequest, Status> {
        let actor = actor(&request, &request.get_ref().client)?;
        self.federation.rates.admit_user(&actor.user).map_err(status)?;
        let room = room(&request.get_ref().room)?;
        Ok(FollowRequest {
            client: actor.client.as_str().to_owned(),
            room: room.as_str().to_owned(),
        })
    }
}
