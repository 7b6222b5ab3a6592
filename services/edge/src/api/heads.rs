//! Signed heads of the rooms that this provider follows: asked of their hubs, kept, and told. Two providers that compare
//! them find out whether a hub showed them the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use mimi::catch_up::{RoomHead, RoomHeadAnswer, RoomHeadsRequest, RoomHeadsResponse};
use mimi::limits::HEADS_MAX;
use mimi::{Decode as _, Encode as _, IdentifierUri, Provider, RoomUri};
use proto::follower::{KeepHeadsRequest, ListHeadsRequest};
use proto::link::Call;
use proto::provider::{ExportHeadsCall, ExportHeadsPage};

use crate::federation::{Endpoint, Federation};
use crate::reply::Reply;

/// Hubs asked beside each other.
const HUBS_AT_ONCE: usize = 8;

impl Federation {
    /// A page of rooms that we follow, each with a head that its hub signs now, or the last that was kept.
    pub(super) async fn export_heads(&self, call: ExportHeadsCall) -> Result<ExportHeadsPage, Reply> {
        let ExportHeadsCall { after, step } = call;
        let request = ListHeadsRequest {
            after,
            max: u32::try_from(HEADS_MAX).unwrap_or(u32::MAX),
            hub: String::new(),
        };
        let mut follower = self.follower.clone();
        let listed = self.in_time(follower.list_heads(request)).await?;
        let mut hubs: BTreeMap<Provider, Vec<RoomUri>> = BTreeMap::new();
        for room in listed.rooms.iter().filter_map(|room| room.room.parse::<RoomUri>().ok()) {
            hubs.entry(room.provider().clone()).or_default().push(room);
        }
        let asked: Vec<_> = hubs
            .into_iter()
            .map(|(hub, rooms)| self.ask_heads(hub, rooms, step).boxed())
            .collect();
        let signed: Vec<Vec<RoomHead>> = stream::iter(asked).buffer_unordered(HUBS_AT_ONCE).collect().await;
        let signed: BTreeMap<Bytes, Bytes> = signed
            .into_iter()
            .flatten()
            .map(|head| (head.room.0.clone(), head.encode().into()))
            .collect();
        let request = KeepHeadsRequest {
            heads: signed.values().cloned().collect(),
        };
        self.in_time(follower.keep_heads(request)).await?;
        let mut page = ExportHeadsPage {
            more: listed.more,
            last: listed.rooms.last().map(|room| room.room.clone()).unwrap_or_default(),
            ..ExportHeadsPage::default()
        };
        for room in listed.rooms {
            match signed.get(room.room.as_bytes()) {
                Some(head) => page.heads.push(head.clone()),
                None if !room.head.is_empty() => page.heads.push(room.head),
                None => page.without.push(room.room),
            }
        }
        Ok(page)
    }

    /// What a hub says of these rooms of its own, as far as its signatures hold.
    async fn ask_heads(&self, hub: Provider, rooms: Vec<RoomUri>, step: u32) -> Vec<RoomHead> {
        let mut heads = self.heads_of(&hub, &rooms, step).await.unwrap_or_default();
        // What our own hub signs needs no proof here.
        heads.retain(|head| hub == self.us || self.is_signed(&hub, head));
        heads
    }

    /// What a hub says of these rooms of its own, whoever signed it; `None`: it says nothing now.
    pub(crate) async fn heads_of(&self, hub: &Provider, rooms: &[RoomUri], step: u32) -> Option<Vec<RoomHead>> {
        let request = RoomHeadsRequest {
            rooms: rooms.iter().map(IdentifierUri::from).collect(),
            step,
        };
        let (endpoint, body) = (Endpoint::RoomHeads, Bytes::from(request.encode()));
        let answered = match *hub == self.us {
            true => {
                let reply = self.room_heads(hub, hub.as_str(), body).await.ok();
                reply.map(|reply| reply.body)
            }
            false => {
                let call = Call {
                    endpoint: endpoint.name().to_owned(),
                    target: hub.as_str().to_owned(),
                    body,
                };
                let answer = self.relay.request(hub, call).await.ok();
                answer.filter(|answer| answer.status == 200).map(|answer| answer.body)
            }
        };
        let response = answered.and_then(|body| RoomHeadsResponse::decode_exact(&body).ok());
        let Some(response) = response.filter(|response| response.answers.len() == rooms.len()) else {
            tracing::info!(%hub, "the hub does not say where its rooms stand");
            return None;
        };
        let head = |(room, answer): (&RoomUri, RoomHeadAnswer)| match answer {
            RoomHeadAnswer::Head(head) => (head.room == IdentifierUri::from(room)).then_some(head),
            RoomHeadAnswer::Unknown | RoomHeadAnswer::NotKept => None,
        };
        Some(rooms.iter().zip(response.answers).filter_map(head).collect())
    }
}
