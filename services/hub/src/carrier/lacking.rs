//! Our own follower took nothing for so long that entries for it are gone. Which of a shard's rooms lack any is found by what
//! it has of them: what the log still has is brought, and where it has not, the room's clients are told to join again.

use fanout::Failure;
use ledger::{Ledger, ReadLimit, RoomEntries, Seq};
use mimi::limits::HEADS_MAX;
use mimi::{Provider, RoomUri};
use proto::follower::follower_client::FollowerClient;
use proto::follower::{FillRequest, ListHeadsRequest, LoseRequest};
use proto::link::Item;
use route::ShardId;
use tonic::transport::Channel;

use super::refused_call;
use crate::catch_up::items;
use crate::limits::{EVENTS_BYTES, EVENTS_MAX};

/// What our own follower is held to.
pub(super) struct Lacking<'a> {
    pub(super) us: &'a Provider,
    pub(super) ledger: &'a Ledger,
    pub(super) follower: FollowerClient<Channel>,
}

impl Lacking<'_> {
    /// Returns when no room of the shard lacks anything, or whoever lacks something was told. What was done before a failure
    /// is not done again.
    pub(super) async fn settle(&mut self, shard: ShardId) -> Result<(), Failure> {
        let mut after = String::new();
        loop {
            let request = ListHeadsRequest {
                after,
                max: u32::try_from(HEADS_MAX).unwrap_or(u32::MAX),
                hub: self.us.as_str().to_owned(),
            };
            let listed = self.follower.list_heads(request).await;
            let listed = listed.map_err(|status| refused_call(&status))?.into_inner();
            let last = listed.rooms.last().map(|followed| followed.room.clone());
            for followed in &listed.rooms {
                let Ok(room) = followed.room.parse::<RoomUri>() else {
                    continue;
                };
                if self.ledger.shards().of(room.as_str()) == shard {
                    self.make_whole(&room, Seq(followed.seq)).await?;
                }
            }
            match last {
                Some(last) if listed.more => after = last,
                _ => return Ok(()),
            }
        }
    }

    /// Brings what the log has of a room behind `have`, or says that it is lost.
    async fn make_whole(&mut self, room: &RoomUri, mut have: Seq) -> Result<(), Failure> {
        let limit = ReadLimit {
            entries: EVENTS_MAX,
            bytes: EVENTS_BYTES,
        };
        loop {
            let from = Seq(have.0.saturating_add(1));
            let found = self.ledger.followed_entries(room, self.us, from, limit).await;
            let (standing, entries) = match found.map_err(|error| Failure::new(error.to_string()))? {
                RoomEntries::Unknown => return Ok(()),
                RoomEntries::Expired(standing) => return self.lose(room, standing.seq).await,
                RoomEntries::Found(standing, entries) => (standing, entries),
            };
            let items = items(entries, self.us);
            if items.is_empty() {
                return Ok(());
            }
            let filled = self.fill(room, items).await?;
            // Where it cannot follow, it sees by the room's next entry what it lacks.
            if filled <= have || filled >= standing.seq {
                return Ok(());
            }
            have = filled;
        }
    }

    async fn fill(&mut self, room: &RoomUri, items: Vec<Item>) -> Result<Seq, Failure> {
        let request = FillRequest {
            hub: self.us.as_str().to_owned(),
            room: room.as_str().to_owned(),
            items,
            ..FillRequest::default()
        };
        let filled = self.follower.fill(request).await;
        Ok(Seq(filled.map_err(|status| refused_call(&status))?.into_inner().seq))
    }

    async fn lose(&mut self, room: &RoomUri, until: Seq) -> Result<(), Failure> {
        let request = LoseRequest {
            hub: self.us.as_str().to_owned(),
            room: room.as_str().to_owned(),
            until: until.0,
        };
        let told = self.follower.lose(request).await;
        told.map(|_| ()).map_err(|status| refused_call(&status))
    }
}
