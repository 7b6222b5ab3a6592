//! Moderation: the inbox of reports of abuse in our rooms, and what hubs signed, for the users whom the provider trusts with
//! it.

use std::collections::BTreeSet;
use std::sync::Arc;

use mimi::UserUri;
use proto::hub::{CloseAbuseRequest, CloseAbuseResponse, ListAbuseRequest, ListAbuseResponse};
use proto::provider::moderation_server::Moderation as ModerationService;
use proto::provider::{ExportHeadsCall, ExportHeadsPage};
use tonic::{Request, Response, Status};

use super::{status, user};
use crate::federation::Federation;

pub(super) struct Moderation {
    pub(super) federation: Arc<Federation>,
    pub(super) moderators: BTreeSet<UserUri>,
}

impl Moderation {
    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let user = user(request)?;
        if !self.moderators.contains(&user) {
            return Err(Status::permission_denied("not a moderator of this provider"));
        }
        self.federation.rates.admit_user(&user).map_err(status)
    }
}

#[tonic::async_trait]
impl ModerationService for Moderation {
    async fn list_abuse(&self, request: Request<ListAbuseRequest>) -> Result<Response<ListAbuseResponse>, Status> {
        self.admit(&request)?;
        let mut hub = self.federation.hubs.any();
        let listed = self.federation.in_time(hub.list_abuse(request.into_inner())).await;
        listed.map(Response::new).map_err(status)
    }

    async fn close_abuse(&self, request: Request<CloseAbuseRequest>) -> Result<Response<CloseAbuseResponse>, Status> {
        self.admit(&request)?;
        let mut hub = self.federation.hubs.any();
        let closed = self.federation.in_time(hub.close_abuse(request.into_inner())).await;
        closed.map(Response::new).map_err(status)
    }

    async fn export_heads(&self, request: Request<ExportHeadsCall>) -> Result<Response<ExportHeadsPage>, Status> {
        self.admit(&request)?;
        let exported = self.federation.export_heads(request.into_inner()).await;
        exported.map(Response::new).map_err(status)
    }
}
