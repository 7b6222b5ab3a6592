//! One function from (provider, request) to answer, whatever brought the request: checks of shape and identity here,
//! decisions behind. A room that does not exist answers as one that refuses a stranger.

mod catch_up;
mod consent;
mod downloads;
mod expired;
mod gaps;
mod https;
mod key_material;
mod link;

use std::sync::Arc;

use bytes::Bytes;
use mimi::abuse::AbuseReport;
use mimi::group_info::{GroupInfoRefusal, GroupInfoRequest, GroupInfoResponse};
use mimi::identifier::IdentifierRequest;
use mimi::key_material::{KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode, Protocol};
use mimi::limits::{BODY_BYTES_MAX, FANOUT_MESSAGES_MAX, NOTIFY_BYTES_MAX};
use mimi::notify::FanoutMessage;
use mimi::submit::{SubmitMessageRequest, SubmitMessageResponse, SubmitOutcome};
use mimi::update::{UpdateOutcome, UpdateRequest, UpdateRoomResponse};
use mimi::{Decode, DecodeError, Encode, IdentifierUri, Provider, RoomUri};
use proto::follower::follower_client::FollowerClient;
use proto::follower::{ClaimRequest, NotifyRequest, QueryRequest};
use proto::hub::{RoomRequest, room_request::Body};
use proto::link::Call;
use tonic::transport::Channel;

use crate::heard::Heard;
use crate::hubs::Hubs;
use crate::limits::{CONSENT_BYTES_MAX, Limits, QUERY_BYTES_MAX};
use crate::metrics::Metrics;
use crate::rates::Rates;
use crate::relay::Relay;
use crate::reply::Reply;

pub(crate) use https::Https;
pub(crate) use key_material::Asked;
pub(crate) use link::LinkService;

/// The endpoints that this edge serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// §5.2
    KeyMaterial,
    /// §5.3
    Update,
    /// §5.4
    SubmitMessage,
    /// §5.5
    Notify,
    /// §5.6
    GroupInfo,
    /// §5.7
    RequestConsent,
    /// §5.7
    UpdateConsent,
    /// §5.8
    IdentifierQuery,
    /// §5.9
    ReportAbuse,
    /// Catch-up.
    RoomEvents,
    /// Catch-up.
    RoomHeads,
    /// What was due to us and is gone.
    EntriesExpired,
}

impl Endpoint {
    pub(crate) const ALL: [Self; 12] = [
        Self::KeyMaterial,
        Self::Update,
        Self::SubmitMessage,
        Self::Notify,
        Self::GroupInfo,
        Self::RequestConsent,
        Self::UpdateConsent,
        Self::IdentifierQuery,
        Self::ReportAbuse,
        Self::RoomEvents,
        Self::RoomHeads,
        Self::EntriesExpired,
    ];

    /// As the directory lists it.
    pub(crate) const fn listed(self) -> peer::Endpoint {
        match self {
            Self::KeyMaterial => peer::Endpoint::KeyMaterial,
            Self::Update => peer::Endpoint::Update,
            Self::SubmitMessage => peer::Endpoint::SubmitMessage,
            Self::Notify => peer::Endpoint::Notify,
            Self::GroupInfo => peer::Endpoint::GroupInfo,
            Self::RequestConsent => peer::Endpoint::RequestConsent,
            Self::UpdateConsent => peer::Endpoint::UpdateConsent,
            Self::IdentifierQuery => peer::Endpoint::IdentifierQuery,
            Self::ReportAbuse => peer::Endpoint::ReportAbuse,
            Self::RoomEvents => peer::Endpoint::RoomEvents,
            Self::RoomHeads => peer::Endpoint::RoomHeads,
            Self::EntriesExpired => peer::Endpoint::EntriesExpired,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        self.listed().name()
    }

    pub(crate) fn of(listed: peer::Endpoint) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.listed() == listed)
    }

    /// Octets of the largest request body (E-8).
    pub(crate) const fn body_bytes_max(self) -> usize {
        match self {
            Self::Notify => NOTIFY_BYTES_MAX,
            Self::KeyMaterial | Self::Update | Self::SubmitMessage | Self::GroupInfo | Self::ReportAbuse => {
                BODY_BYTES_MAX
            }
            Self::IdentifierQuery | Self::RoomEvents | Self::RoomHeads | Self::EntriesExpired => QUERY_BYTES_MAX,
            Self::RequestConsent | Self::UpdateConsent => CONSENT_BYTES_MAX,
        }
    }
}

/// What answers requests: our hub and follower, and the way to other providers.
pub(crate) struct Federation {
    pub(crate) us: Provider,
    /// Whether our users may have pseudonyms.
    pub(crate) minimal_metadata: bool,
    pub(crate) hubs: Hubs,
    pub(crate) follower: FollowerClient<Channel>,
    pub(crate) relay: Arc<dyn Relay>,
    pub(crate) heard: Heard,
    pub(crate) rates: Rates,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
}

impl Federation {
    /// Answers one request of `source`, who has proved to be that provider and been admitted by [`Rates`]. `target` is
    /// the identifier in the request's URI.
    pub(crate) async fn answer(&self, source: &Provider, endpoint: Endpoint, target: &str, body: Bytes) -> Reply {
        self.answer_numbered(source, endpoint, target, body, None).await
    }

    /// The same, of a body of which `numbers` are those of the first entry and of the last.
    #[tracing::instrument(name = "edge.answer", skip_all, fields(endpoint = endpoint.name(), provider = %source))]
    pub(crate) async fn answer_numbered(
        &self,
        source: &Provider,
        endpoint: Endpoint,
        target: &str,
        body: Bytes,
        numbers: Option<(u64, u64)>,
    ) -> Reply {
        if *source != self.us {
            self.heard.of(source);
        }
        if body.len() > endpoint.body_bytes_max() {
            return Reply::refused(413, "body too large");
        }
        let answer = match endpoint {
            Endpoint::KeyMaterial => self.key_material(source, target, body).await,
            Endpoint::Update => self.update(source, target, body).await,
            Endpoint::SubmitMessage => self.submit(source, target, body).await,
            Endpoint::Notify => self.notify(source, target, body, numbers).await,
            Endpoint::GroupInfo => self.group_info(source, target, body).await,
            Endpoint::RequestConsent | Endpoint::UpdateConsent => self.consent(source, endpoint, target, body).await,
            Endpoint::IdentifierQuery => self.identifier_query(source, target, body).await,
            Endpoint::ReportAbuse => self.report_abuse(source, target, body).await,
            Endpoint::RoomEvents => self.room_events(source, target, body).await,
            Endpoint::RoomHeads => self.room_heads(source, target, body).await,
            Endpoint::EntriesExpired => self.entries_expired(source, target, &body).await,
        };
        answer.unwrap_or_else(|refused| refused)
    }

    async fn update(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        let room = self.room_of_ours(target)?;
        decode::<UpdateRequest>(&body)?;
        let outcome = self.ask(&room, source, Body::Update(body)).await;
        outcome.map(Reply::ok).or_else(|refused| {
            let response = UpdateRoomResponse {
                outcome: UpdateOutcome::NotAllowed,
                error_description: STRANGER.to_owned(),
            };
            hide(refused, &response)
        })
    }

    async fn submit(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        let room = self.room_of_ours(target)?;
        let request = decode::<SubmitMessageRequest>(&body)?;
        let sender = request.sending_uri.user().map_err(uri("sendingUri"))?;
        speaks_for(source, sender.provider())?;
        let outcome = self.ask(&room, source, Body::Submit(body)).await;
        outcome
            .map(Reply::ok)
            .or_else(|refused| hide(refused, &SubmitMessageResponse::from(SubmitOutcome::NotAllowed)))
    }

    async fn group_info(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        let room = self.room_of_ours(target)?;
        let request = decode::<GroupInfoRequest>(&body)?;
        if let Ok(client) = request.requesting_credential.client() {
            speaks_for(source, client.provider())?;
        }
        let outcome = self.ask(&room, source, Body::GroupInfo(body)).await;
        outcome.map(Reply::ok).or_else(|refused| {
            let response = GroupInfoResponse {
                version: Protocol::Mls10,
                room_id: IdentifierUri::from(&room),
                outcome: Err(GroupInfoRefusal::NotAuthorized),
            };
            hide(refused, &response)
        })
    }

    /// F-42: only a room's hub brings its entries.
    async fn notify(
        &self,
        source: &Provider,
        target: &str,
        body: Bytes,
        numbers: Option<(u64, u64)>,
    ) -> Result<Reply, Reply> {
        let room = room(target)?;
        if room.provider() != source {
            return Err(Reply::refused(403, "only a room's hub may notify of it"));
        }
        FanoutMessage::decode_all_shared(&body, FANOUT_MESSAGES_MAX).map_err(malformed)?;
        let request = NotifyRequest {
            hub: source.as_str().to_owned(),
            room: room.as_str().to_owned(),
            body,
            first_seq: numbers.map_or(0, |(first, _)| first),
            last_seq: numbers.map_or(0, |(_, last)| last),
        };
        let mut follower = self.follower.clone();
        self.in_time(follower.notify(request)).await?;
        Ok(Reply::created())
    }

    /// a search among our users. What may be found, and by whom, the follower says.
    async fn identifier_query(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        self.is_ours(target)?;
        decode::<IdentifierRequest>(&body)?;
        let request = QueryRequest {
            source: source.as_str().to_owned(),
            request: body,
        };
        let mut follower = self.follower.clone();
        let answer = self.in_time(follower.query(request)).await?;
        Ok(Reply::ok(answer.response))
    }

    /// A local user searches among the users of `provider`, ours or another's.
    pub(crate) async fn query(&self, provider: &Provider, body: Bytes) -> Reply {
        let (endpoint, target) = (Endpoint::IdentifierQuery, provider.as_str());
        if *provider == self.us {
            return self.answer(&self.us, endpoint, target, body).await;
        }
        match decode::<IdentifierRequest>(&body) {
            Ok(_) => self.relay(provider, endpoint, target, body).await,
            Err(malformed) => malformed,
        }
    }

    /// the status says whether the report was taken, nothing says what became of it. A room that there is not takes
    /// none, as one to which the asking provider is a stranger.
    async fn report_abuse(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        let room = self.room_of_ours(target)?;
        let report = decode::<AbuseReport>(&body)?;
        if !report.reporting_user.is_empty() {
            let reporter = report.reporting_user.user().map_err(uri("reportingUser"))?;
            speaks_for(source, reporter.provider())?;
        }
        report.alleged_abuser.user().map_err(uri("allegedAbuserUri"))?;
        match self.ask(&room, source, Body::ReportAbuse(body)).await {
            Ok(_) => Ok(Reply::created()),
            Err(refused) if matches!(refused.status, 403 | 404) => Err(Reply::refused(403, STRANGER)),
            Err(refused) => Err(refused),
        }
    }

    /// Asks the room's hub, which is ours.
    async fn ask(&self, room: &RoomUri, source: &Provider, body: Body) -> Result<Bytes, Reply> {
        let request = RoomRequest {
            room: room.as_str().to_owned(),
            source: source.as_str().to_owned(),
            body: Some(body),
        };
        self.hubs.call(request, self.limits.answer(), &self.metrics).await
    }

    /// Founds a room of ours.
    pub(crate) async fn create(&self, room: &RoomUri, founding: Bytes) -> Reply {
        let outcome = self.ask(room, &self.us, Body::Create(founding)).await;
        outcome.map_or_else(|refused| refused, Reply::ok)
    }

    /// Claims KeyPackages of a user of ours for `source`.
    async fn claim(&self, source: &Provider, request: Bytes) -> Result<Bytes, Reply> {
        let request = ClaimRequest {
            source: source.as_str().to_owned(),
            request,
        };
        let mut follower = self.follower.clone();
        Ok(self.in_time(follower.claim(request)).await?.response)
    }

    /// Brings a request of a local user to another provider.
    pub(crate) async fn relay(&self, to: &Provider, endpoint: Endpoint, target: &str, body: Bytes) -> Reply {
        let call = Call {
            endpoint: endpoint.name().to_owned(),
            target: target.to_owned(),
            body,
        };
        match self.relay.request(to, call).await {
            Ok(answer) => Reply::of_answer(answer),
            Err(error) => {
                tracing::info!(provider = %to, %error, "no answer");
                Reply::unavailable("the other provider does not answer")
            }
        }
    }

    /// The answer of a service behind, unless it takes too long.
    pub(crate) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, Reply> {
        match tokio::time::timeout(self.limits.answer(), answer).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(Reply::of_status(&status)),
            Err(_) => Err(Reply::unavailable("overloaded")),
        }
    }

    fn room_of_ours(&self, target: &str) -> Result<RoomUri, Reply> {
        let room = room(target)?;
        if *room.provider() != self.us {
            return Err(Reply::refused(421, "not the hub of this room"));
        }
        Ok(room)
    }
}

fn room(target: &str) -> Result<RoomUri, Reply> {
    target.parse().map_err(uri("the room"))
}

/// Decodes a body; trailing octets make it malformed.
pub(crate) fn decode<T: Decode>(body: &Bytes) -> Result<T, Reply> {
    T::decode_exact(body).map_err(malformed)
}

fn malformed(error: DecodeError) -> Reply {
    Reply::malformed(format!("malformed body: {error}"))
}

fn uri(what: &'static str) -> impl Fn(mimi::UriError) -> Reply {
    move |error| Reply::malformed(format!("{what} is not a canonical URI: {error}"))
}

/// A provider acts for its own users only.
fn speaks_for(source: &Provider, user: &Provider) -> Result<(), Reply> {
    if source == user {
        Ok(())
    } else {
        Err(Reply::refused(403, "not a user of the asking provider"))
    }
}

/// What a room tells who is not in it, word for word.
const STRANGER: &str = "not a participant";

/// A room that there is not, and one that does not know the asking provider, give the same answer (A-07, H-52).
fn hide(refused: Reply, to_a_stranger: &impl Encode) -> Result<Reply, Reply> {
    match refused.status {
        403 | 404 => Ok(Reply::ok(Bytes::from(to_a_stranger.encode()))),
        _ => Err(refused),
    }
}

fn no_consent(request: &KeyMaterialRequest) -> KeyMaterialResponse {
    KeyMaterialResponse::refusal(KeyMaterialUserCode::NoConsent, request.target_user.clone())
}
