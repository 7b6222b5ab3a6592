//! Contacts: a user's consent to others, theirs to it, and its profile. The user is the token's, whichever client calls.

use std::sync::Arc;
use std::time::Instant;

use mimi::{Provider, UserUri};
use proto::follower::{
    ConsentOperation, ConsentScope, Done, Granted, ListConsentsRequest, ListConsentsResponse, Profile,
    ReadProfileRequest, SetProfileRequest,
};
use proto::provider::contacts_server::Contacts as ContactsService;
use proto::provider::{Answer, ListConsentsCall, QueryCall, ReadProfileCall, SayConsentCall, TakeGrantedCall};
use tonic::{Request, Response, Status};

use super::{status, user};
use crate::federation::{Endpoint, Federation};

pub(super) struct Contacts(pub(super) Arc<Federation>);

impl Contacts {
    /// The token's user, for whom a token of its bucket was taken.
    fn admit<T>(&self, request: &Request<T>) -> Result<UserUri, Status> {
        let user = user(request)?;
        self.0.rates.admit_user(&user).map_err(status)?;
        Ok(user)
    }
}

#[tonic::async_trait]
impl ContactsService for Contacts {
    async fn say_consent(&self, request: Request<SayConsentCall>) -> Result<Response<Answer>, Status> {
        let (user, since) = (user(&request)?, Instant::now());
        let call = request.into_inner();
        let endpoint = match call.operation() {
            ConsentOperation::Cancel | ConsentOperation::Request => Endpoint::RequestConsent,
            ConsentOperation::Grant | ConsentOperation::Revoke => Endpoint::UpdateConsent,
        };
        let said = match self.0.rates.admit_contact(&user) {
            Ok(()) => self.0.say_consent(&user, call).await,
            Err(early) => Err(early),
        };
        let (Ok(reply) | Err(reply)) = said;
        self.0.metrics.answered(endpoint.name(), "api", reply.status, since);
        Ok(Response::new(reply.into()))
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsCall>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let user = self.admit(&request)?;
        let call = request.into_inner();
        let list = ListConsentsRequest {
            user: user.as_str().to_owned(),
            book: call.book,
            after_other: call.after_other,
            after_room: call.after_room,
        };
        let mut follower = self.0.follower.clone();
        let page = self.0.in_time(follower.list_consents(list)).await;
        page.map(Response::new).map_err(status)
    }

    async fn take_granted(&self, request: Request<TakeGrantedCall>) -> Result<Response<Granted>, Status> {
        let user = self.admit(&request)?;
        let call = request.into_inner();
        let scope = ConsentScope {
            user: user.as_str().to_owned(),
            other: call.other,
            room: call.room,
        };
        let mut follower = self.0.follower.clone();
        let granted = self.0.in_time(follower.take_granted(scope)).await;
        granted.map(Response::new).map_err(status)
    }

    async fn set_profile(&self, request: Request<Profile>) -> Result<Response<Done>, Status> {
        let user = self.admit(&request)?;
        let set = SetProfileRequest {
            user: user.as_str().to_owned(),
            profile: Some(request.into_inner()),
        };
        let mut follower = self.0.follower.clone();
        let done = self.0.in_time(follower.set_profile(set)).await;
        done.map(Response::new).map_err(status)
    }

    async fn read_profile(&self, request: Request<ReadProfileCall>) -> Result<Response<Profile>, Status> {
        let user = self.admit(&request)?;
        let read = ReadProfileRequest {
            user: user.as_str().to_owned(),
        };
        let mut follower = self.0.follower.clone();
        let profile = self.0.in_time(follower.read_profile(read)).await;
        profile.map(Response::new).map_err(status)
    }

    async fn query(&self, request: Request<QueryCall>) -> Result<Response<Answer>, Status> {
        let (user, since) = (user(&request)?, Instant::now());
        let call = request.into_inner();
        let provider = call.provider.parse::<Provider>();
        let provider = provider.map_err(|_| Status::invalid_argument("provider is not a domain"))?;
        let reply = match self.0.rates.admit_contact(&user) {
            Ok(()) => self.0.query(&provider, call.body).await,
            Err(early) => early,
        };
        let endpoint = Endpoint::IdentifierQuery.name();
        self.0.metrics.answered(endpoint, "api", reply.status, since);
        Ok(Response::new(reply.into()))
    }
}
