//! A hub says that entries are gone which were due to us: we took none for too long. Which rooms lack any is found by where
//! the hub's rooms stand; what it still has is fetched, and where it has not, the room's clients are told to join again.

use std::time::Duration;

use bytes::Bytes;
use mimi::catch_up::{EntriesExpired, RoomHead};
use mimi::limits::HEADS_MAX;
use mimi::{Provider, RoomUri};
use proto::follower::{FollowedRoom, Gap, ListHeadsRequest, LoseRequest};

use super::gaps::Filling;
use super::{Federation, decode};
use crate::reply::Reply;

/// For how long it is looked: hubs wait for an answer no longer than half a minute. What was done until then is not done
/// again when the hub comes back.
const LOOKING_MAX: Duration = Duration::from_secs(25);

impl Federation {
    /// Answers when nothing is lacking any more, or whoever lacks something was told.
    pub(super) async fn entries_expired(&self, hub: &Provider, target: &str, body: &Bytes) -> Result<Reply, Reply> {
        self.is_ours(target)?;
        decode::<EntriesExpired>(body)?;
        tracing::warn!(%hub, "the hub does not have entries any more that were due to us");
        match tokio::time::timeout(LOOKING_MAX, self.look_for_losses(hub)).await {
            Ok(looked) => looked.map(|()| Reply::created()),
            Err(_) => Err(Reply::unavailable("not all rooms were looked at yet")),
        }
    }

    async fn look_for_losses(&self, hub: &Provider) -> Result<(), Reply> {
        let (mut after, mut is_done) = (String::new(), true);
        loop {
            let request = ListHeadsRequest {
                after,
                max: u32::try_from(HEADS_MAX).unwrap_or(u32::MAX),
                hub: hub.as_str().to_owned(),
            };
            let mut follower = self.follower.clone();
            let listed = self.in_time(follower.list_heads(request)).await?;
            let Some(last) = listed.rooms.last().map(|room| room.room.clone()) else {
                break;
            };
            let rooms: Vec<RoomUri> = listed.rooms.iter().filter_map(|room| room.room.parse().ok()).collect();
            // What it says itself is enough to ask it for more.
            let heads = self.heads_of(hub, &rooms, 0).await;
            let heads = heads.ok_or_else(|| Reply::unavailable("the hub does not say where its rooms stand"))?;
            for room in &listed.rooms {
                let head = heads.iter().find(|head| head.room.octets() == room.room.as_bytes());
                if let Some(head) = head.filter(|head| head.seq > room.seq && head.seq > room.lost) {
                    is_done &= self.look_at(hub, room, head).await?;
                }
            }
            if !listed.more {
                break;
            }
            after = last;
        }
        match is_done {
            true => Ok(()),
            false => Err(Reply::unavailable("not all that is lacking could be asked for")),
        }
    }

    /// Fetches what a room lacks, or has its clients told. Whether that is done.
    async fn look_at(&self, hub: &Provider, room: &FollowedRoom, head: &RoomHead) -> Result<bool, Reply> {
        let gap = Gap {
            room: room.room.clone(),
            have: room.seq,
            until: head.seq,
        };
        match self.fill(&gap).await? {
            Filling::Filled => self.metrics.filled("filled"),
            Filling::Later => {
                self.metrics.filled("later");
                return Ok(false);
            }
            Filling::Lost => {
                self.metrics.filled("lost");
                let request = LoseRequest {
                    hub: hub.as_str().to_owned(),
                    room: room.room.clone(),
                    until: head.seq,
                };
                let mut follower = self.follower.clone();
                self.in_time(follower.lose(request)).await?;
            }
            // The room's next entry shows the gap.
            Filling::Never => self.metrics.filled("never"),
        }
        Ok(true)
    }
}
