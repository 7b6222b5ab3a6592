//! Reports of abuse: made by users, read by the moderators of the provider whose room it was; and what moderators alone may
//! ask.

use bytes::Bytes;
use mimi::{ClientUri, RoomUri};
use proto::hub::{CloseAbuseRequest, ListAbuseRequest, ListAbuseResponse};
use proto::provider::{ExportHeadsCall, ExportHeadsPage};

use super::{Api, ApiError, outcome, room_call};

impl Api {
    /// AbuseReport (mimi-protocol §5.9). What is done about it is not told.
    pub async fn report_abuse(&self, client: &ClientUri, room: &RoomUri, body: Bytes) -> Result<(), ApiError> {
        let call = room_call(client, room, body);
        outcome(self.client.clone().report_abuse(call).await?.into_inner()).map(drop)
    }

    /// Open cases of this provider's rooms behind the case `after` (empty: from the beginning), `max` at most.
    pub async fn list_abuse(&self, after: &str, max: u32) -> Result<ListAbuseResponse, ApiError> {
        let request = ListAbuseRequest {
            after: after.to_owned(),
            max,
        };
        Ok(self.moderation.clone().list_abuse(request).await?.into_inner())
    }

    /// The case is settled.
    pub async fn close_abuse(&self, id: &str) -> Result<(), ApiError> {
        let request = CloseAbuseRequest { id: id.to_owned() };
        self.moderation.clone().close_abuse(request).await?;
        Ok(())
    }

    /// Heads that hubs sign of the rooms that this provider follows, those behind `after` (empty: from the beginning): after
    /// the last entry whose number is a multiple of `step`, or after the last one where that is 0.
    pub async fn export_heads(&self, after: &str, step: u32) -> Result<ExportHeadsPage, ApiError> {
        let call = ExportHeadsCall {
            after: after.to_owned(),
            step,
        };
        Ok(self.moderation.clone().export_heads(call).await?.into_inner())
    }
}
