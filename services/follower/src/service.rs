//! The follower over gRPC, for edges and couriers.

mod catch_up;
mod contacts;

use std::pin::Pin;

use futures::Stream;
use ledger::follower::InboxPosition;
use ledger::{Chain, Digest, LedgerId, Offset, Seq};
use mimi::{ClientUri, RoomUri, UserUri};
use proto::follower::follower_server::{Follower as Service, FollowerServer};
use proto::follower::{
    ClaimRequest, ClaimResponse, ConsentReceipt, ConsentScope, Delivered, Delivery, Done, Event, EventAck,
    EventsRequest, FillRequest, FillResponse, FollowRequest, Granted, KeepHeadsRequest, ListConsentsRequest,
    ListConsentsResponse, ListHeadsRequest, ListHeadsResponse, LoseRequest, NotifyRequest, Open, PositionRequest,
    Profile, Pseudonym, PseudonymAnswer, PseudonymousKeyPackage, QueryRequest, QueryResponse, ReadProfileRequest,
    SayConsentRequest, SayConsentResponse, SetProfileRequest, UploadRequest, UploadResponse, events_request,
};
use proto::link::{Position, item};
use route::ShardId;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::deliver::{Body, Item};
use crate::events::Acks;
use crate::{Fault, Follower, Pseudonymous};

/// Octets of the largest message taken: a delivery of full frames with its names.
const MESSAGE_BYTES_MAX: usize = 20 << 20;

/// The gRPC service of a follower.
pub fn server(follower: Follower) -> FollowerServer<impl Service> {
    FollowerServer::new(Rpc(follower))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

struct Rpc(Follower);

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed(_) => Self::invalid_argument(fault.to_string()),
            Fault::Forbidden(_) => Self::permission_denied(fault.to_string()),
            Fault::Absent(_) => Self::not_found(fault.to_string()),
            Fault::TooMuch(_) => Self::out_of_range(fault.to_string()),
            Fault::Storage(error) => {
                tracing::warn!(%error, "the store does not serve");
                Self::unavailable("storage")
            }
        }
    }
}

fn parse<T: std::str::FromStr>(text: &str, what: &'static str) -> Result<T, Status> {
    text.parse().map_err(|_| Fault::Malformed(what).into())
}

fn array<const N: usize>(octets: &[u8], what: &'static str) -> Result<[u8; N], Status> {
    octets.try_into().map_err(|_| Fault::Malformed(what).into())
}

fn parse_item(item: proto::link::Item) -> Result<Item, Status> {
    let body = match item.body {
        Some(item::Body::Message(message)) => Body::Message(message),
        Some(item::Body::Digest(digest)) => Body::Digest(Digest(array(&digest, "digest")?)),
        None => return Err(Fault::Malformed("an item without a body").into()),
    };
    Ok(Item {
        offset: Offset(item.offset),
        room: parse(&item.room, "room")?,
        seq: Seq(item.seq),
        previous: Seq(item.previous_seq),
        chain: Chain(array(&item.chain, "chain")?),
        body,
    })
}

fn parse_pseudonymous(key_package: PseudonymousKeyPackage) -> Result<Pseudonymous, Status> {
    Ok(Pseudonymous {
        client: parse(&key_package.client, "client")?,
        key_package: key_package.key_package,
    })
}

fn parse_pseudonym(pseudonym: &Pseudonym) -> Result<(UserUri, UserUri), Status> {
    let user = parse(&pseudonym.user, "user")?;
    Ok((user, parse(&pseudonym.pseudonym, "pseudonym")?))
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Service for Rpc {
    type EventsStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

    async fn deliver(&self, request: Request<Delivery>) -> Answer<Delivered> {
        let mut delivery = request.into_inner();
        let as_is = catch_up::as_is(&delivery);
        let deliver = delivery.deliver.take();
        let deliver = deliver.ok_or(Fault::Malformed("a delivery without items"))?;
        let hub = parse(&delivery.hub, "hub")?;
        let ledger = LedgerId(array(&delivery.ledger, "ledger")?);
        let items: Result<Vec<_>, Status> = deliver.items.into_iter().map(parse_item).collect();
        let (shard, items) = (ShardId(deliver.shard), items?);
        let stored = self.0.deliver_up_to_a_gap(&hub, ledger, shard, &items, &as_is).await?;
        Ok(Response::new(catch_up::delivered(shard, stored)))
    }

    async fn fill(&self, request: Request<FillRequest>) -> Answer<FillResponse> {
        let FillRequest { hub, room, items, head } = request.into_inner();
        let (hub, room) = (parse(&hub, "hub")?, parse(&room, "room")?);
        let items: Result<Vec<_>, Status> = items.into_iter().map(parse_item).collect();
        let head = catch_up::head(&head)?;
        let filled = self.0.fill(&hub, &room, &items?, head.as_ref()).await?;
        Ok(Response::new(FillResponse {
            seq: filled.seq.0,
            broken: filled.broken,
        }))
    }

    async fn lose(&self, request: Request<LoseRequest>) -> Answer<Done> {
        let LoseRequest { hub, room, until } = request.into_inner();
        self.0
            .lose(&parse(&hub, "hub")?, &parse(&room, "room")?, Seq(until))
            .await?;
        Ok(Response::new(Done {}))
    }

    async fn keep_heads(&self, request: Request<KeepHeadsRequest>) -> Answer<Done> {
        self.0.keep_heads(&catch_up::heads(request.get_ref())?).await?;
        Ok(Response::new(Done {}))
    }

    async fn list_heads(&self, request: Request<ListHeadsRequest>) -> Answer<ListHeadsResponse> {
        let ListHeadsRequest { after, max, hub } = request.into_inner();
        let hub = (!hub.is_empty()).then(|| parse(&hub, "hub")).transpose()?;
        let after = (!after.is_empty()).then(|| parse(&after, "room")).transpose()?;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let (rooms, more) = self.0.rooms(hub.as_ref(), after.as_ref(), max).await?;
        Ok(Response::new(catch_up::listed(rooms, more)))
    }

    async fn position(&self, request: Request<PositionRequest>) -> Answer<Position> {
        let PositionRequest { hub, ledger, shard } = request.into_inner();
        let hub = parse(&hub, "hub")?;
        let ledger = LedgerId(array(&ledger, "ledger")?);
        let next = self.0.position(&hub, ledger, ShardId(shard)).await?;
        Ok(Response::new(Position {
            shard,
            known: next.is_some(),
            next_offset: next.unwrap_or_default().0,
        }))
    }

    async fn notify(&self, request: Request<NotifyRequest>) -> Answer<Done> {
        let request = request.into_inner();
        let (hub, room) = (parse(&request.hub, "hub")?, parse(&request.room, "room")?);
        let numbers = (request.first_seq > 0).then_some((Seq(request.first_seq), Seq(request.last_seq)));
        self.0.notify_numbered(&hub, &room, &request.body, numbers).await?;
        Ok(Response::new(Done {}))
    }

    async fn claim(&self, request: Request<ClaimRequest>) -> Answer<ClaimResponse> {
        let ClaimRequest { source, request } = request.into_inner();
        let response = self.0.claim(&parse(&source, "source")?, &request).await?;
        Ok(Response::new(ClaimResponse { response }))
    }

    async fn upload_key_packages(&self, request: Request<UploadRequest>) -> Answer<UploadResponse> {
        let UploadRequest {
            user,
            client,
            key_packages,
            pseudonymous,
        } = request.into_inner();
        let (user, client) = (parse(&user, "user")?, parse(&client, "client")?);
        let stored = key_packages.len() + pseudonymous.len();
        let available = match (key_packages.is_empty(), pseudonymous.is_empty()) {
            (_, true) => self.0.upload(&user, &client, &key_packages).await?,
            (true, false) => {
                let pseudonymous: Result<Vec<_>, Status> = pseudonymous.into_iter().map(parse_pseudonymous).collect();
                self.0.upload_sets(&user, &pseudonymous?).await?
            }
            (false, false) => return Err(Fault::Malformed("KeyPackages with and without pseudonyms").into()),
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Response::new(UploadResponse {
            stored: count(stored),
            available: count(available),
        }))
    }

    async fn register_pseudonym(&self, request: Request<Pseudonym>) -> Answer<Done> {
        let (user, pseudonym) = parse_pseudonym(request.get_ref())?;
        self.0.register_pseudonym(&user, &pseudonym).await?;
        Ok(Response::new(Done {}))
    }

    async fn is_pseudonym(&self, request: Request<Pseudonym>) -> Answer<PseudonymAnswer> {
        let (user, pseudonym) = parse_pseudonym(request.get_ref())?;
        let is_the_users = self.0.is_pseudonym(&user, &pseudonym).await?;
        Ok(Response::new(PseudonymAnswer { is_the_users }))
    }

    async fn follow(&self, request: Request<FollowRequest>) -> Answer<Done> {
        let FollowRequest { client, room } = request.into_inner();
        self.0
            .follow(&parse(&client, "client")?, &parse(&room, "room")?)
            .await?;
        Ok(Response::new(Done {}))
    }

    async fn unfollow(&self, request: Request<FollowRequest>) -> Answer<Done> {
        let FollowRequest { client, room } = request.into_inner();
        self.0
            .unfollow(&parse(&client, "client")?, &parse(&room, "room")?)
            .await?;
        Ok(Response::new(Done {}))
    }

    async fn receive_consent(&self, request: Request<ConsentReceipt>) -> Answer<Done> {
        let ConsentReceipt { source, entry } = request.into_inner();
        self.0.receive_consent(&parse(&source, "source")?, &entry).await?;
        Ok(Response::new(Done {}))
    }

    async fn say_consent(&self, request: Request<SayConsentRequest>) -> Answer<SayConsentResponse> {
        let request = request.into_inner();
        let (user, scope) = contacts::scope(&request.scope.clone().unwrap_or_default())?;
        let entry = self.0.say(&user, &scope, &contacts::saying(request)?).await?;
        Ok(Response::new(SayConsentResponse { entry }))
    }

    async fn list_consents(&self, request: Request<ListConsentsRequest>) -> Answer<ListConsentsResponse> {
        let request = request.into_inner();
        let (user, after) = contacts::after(&request)?;
        let page = self.0.consents(&user, contacts::book(&request)?, after.as_ref());
        Ok(Response::new(contacts::page(page.await?)))
    }

    async fn take_granted(&self, request: Request<ConsentScope>) -> Answer<Granted> {
        let (user, scope) = contacts::scope(request.get_ref())?;
        let key_packages = self.0.take_granted(&user, &scope).await?;
        Ok(Response::new(Granted { key_packages }))
    }

    async fn set_profile(&self, request: Request<SetProfileRequest>) -> Answer<Done> {
        let SetProfileRequest { user, profile } = request.into_inner();
        let profile = profile.ok_or(Fault::Malformed("no profile"))?;
        self.0
            .set_profile(&parse(&user, "user")?, &contacts::profile(&profile)?)
            .await?;
        Ok(Response::new(Done {}))
    }

    async fn read_profile(&self, request: Request<ReadProfileRequest>) -> Answer<Profile> {
        let profile = self.0.profile(&parse(&request.get_ref().user, "user")?).await?;
        Ok(Response::new(contacts::profile_message(&profile)))
    }

    async fn query(&self, request: Request<QueryRequest>) -> Answer<QueryResponse> {
        let QueryRequest { source, request } = request.into_inner();
        let response = self.0.query(&parse(&source, "source")?, &request).await?;
        Ok(Response::new(QueryResponse { response }))
    }

    async fn events(&self, request: Request<Streaming<EventsRequest>>) -> Answer<Self::EventsStream> {
        let mut requests = request.into_inner();
        let first = requests.next().await.transpose()?.and_then(|request| request.kind);
        let Some(events_request::Kind::Open(Open { client })) = first else {
            return Err(Fault::Malformed("a stream opens with the client's name").into());
        };
        let client: ClientUri = parse(&client, "client")?;
        let (events, acks) = self.0.open(client).await?;
        tokio::spawn(take_acks(requests, acks));
        let events = ReceiverStream::new(events).map(|event| event.map_err(Status::from));
        Ok(Response::new(Box::pin(events)))
    }
}

/// Writes acknowledgements until the client ends its side. The last one of what has arrived together stands for all.
async fn take_acks(mut requests: Streaming<EventsRequest>, acks: Acks) {
    while let Some(Ok(request)) = requests.next().await {
        let Some(events_request::Kind::Ack(EventAck { room, position })) = request.kind else {
            return;
        };
        let Ok(room) = room.parse::<RoomUri>() else {
            return;
        };
        if let Err(error) = acks.acknowledge(&room, InboxPosition(position)).await {
            tracing::warn!(%error, "an acknowledgement is not written");
        }
    }
}
