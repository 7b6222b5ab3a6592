//! keyMaterial (mimi-protocol §5.2): the hub of the room asks the target's provider on behalf of the requester's, and
//! remembers who holds each KeyPackage before it answers. Without a room, the target's provider is asked directly.

use bytes::Bytes;
use mimi::key_material::KeyMaterialRequest;
use mimi::{Provider, RoomUri, UserUri};
use proto::hub::{KeyMaterialRecord, room_request::Body};

use super::{Endpoint, Federation, decode, hide, no_consent, speaks_for, uri};
use crate::reply::Reply;

/// A request and whom it is about.
pub(crate) struct Asked {
    pub(crate) request: KeyMaterialRequest,
    pub(crate) requester: UserUri,
    pub(crate) target: UserUri,
    /// None: not for a room.
    pub(crate) room: Option<RoomUri>,
}

impl Asked {
    pub(crate) fn decode(body: &Bytes) -> Result<Self, Reply> {
        let request = decode::<KeyMaterialRequest>(body)?;
        let room = match request.room_id.is_empty() {
            true => None,
            false => Some(request.room_id.room().map_err(uri("roomId"))?),
        };
        Ok(Self {
            requester: request.requesting_user.user().map_err(uri("requestingUser"))?,
            target: request.target_user.user().map_err(uri("targetUser"))?,
            room,
            request,
        })
    }
}

impl Federation {
    pub(super) async fn key_material(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        let asked = Asked::decode(&body)?;
        if target != asked.target.as_str() {
            return Err(Reply::malformed("another targetUser in the body than in the path"));
        }
        let Some(room) = &asked.room else {
            speaks_for(source, asked.requester.provider())?;
            return self.claim_of_ours(source, &asked, body).await;
        };
        if *room.provider() == self.us {
            speaks_for(source, asked.requester.provider())?;
            self.key_material_for(room, source, &asked, body).await
        } else if room.provider() == source {
            self.claim_of_ours(source, &asked, body).await
        } else {
            Err(Reply::refused(403, "neither the room's hub nor asked as it"))
        }
    }

    /// We are the target's provider.
    async fn claim_of_ours(&self, source: &Provider, asked: &Asked, body: Bytes) -> Result<Reply, Reply> {
        if *asked.target.provider() != self.us {
            return Err(Reply::refused(421, "not the provider of this user"));
        }
        self.claim(source, body).await.map(Reply::ok)
    }

    /// We are the hub: authorise, ask the target's provider, record, answer (H-1, H-2, H-4). The body is passed on as it
    /// came, since the requester's signature covers it (H-3).
    async fn key_material_for(
        &self,
        room: &RoomUri,
        source: &Provider,
        asked: &Asked,
        body: Bytes,
    ) -> Result<Reply, Reply> {
        let hidden = |refused| hide(refused, &no_consent(&asked.request));
        match self.ask(room, source, Body::AuthorizeKeyMaterial(body.clone())).await {
            Err(refused) => return hidden(refused),
            // The room's own answer: it refuses.
            Ok(refusal) if !refusal.is_empty() => return Ok(Reply::ok(refusal)),
            Ok(_) => {}
        }
        let target = asked.target.provider();
        let response = if *target == self.us {
            self.claim(&self.us, body.clone()).await?
        } else {
            self.key_material_elsewhere(target, asked, body.clone()).await?
        };
        let record = KeyMaterialRecord {
            request: body,
            target: target.as_str().to_owned(),
            response,
        };
        match self.ask(room, source, Body::RecordKeyMaterial(record)).await {
            Ok(response) => Ok(Reply::ok(response)),
            Err(refused) => hidden(refused),
        }
    }

    async fn key_material_elsewhere(&self, target: &Provider, asked: &Asked, body: Bytes) -> Result<Bytes, Reply> {
        let reply = self
            .relay(target, Endpoint::KeyMaterial, asked.target.as_str(), body)
            .await;
        match reply.status {
            200..=299 => Ok(reply.body),
            429 | 503 => Err(Reply { status: 503, ..reply }),
            // Not the asking provider's fault, and not ours.
            _ => Err(Reply::refused(502, "the target's provider refused the request")),
        }
    }

    /// A local user asks. The one place that knows the way: through the room's hub, or directly without a room.
    pub(crate) async fn key_material_of_local(&self, asked: &Asked, body: Bytes) -> Reply {
        let asked_of = asked
            .room
            .as_ref()
            .map_or_else(|| asked.target.provider(), RoomUri::provider);
        let target = asked.target.as_str();
        if *asked_of == self.us {
            self.answer(&self.us, Endpoint::KeyMaterial, target, body).await
        } else {
            self.relay(asked_of, Endpoint::KeyMaterial, target, body).await
        }
    }
}
