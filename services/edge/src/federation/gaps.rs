//! Deliveries on their way to the follower, and what it lacks before them: that is asked of the room's hub, and stored
//! first, so that clients see a room's entries in order. The follower itself asks nobody.

use std::time::Duration;

use mimi::catch_up::{RoomEventsForm, RoomEventsRequest, RoomHead};
use mimi::{Decode as _, Encode as _, Provider, RoomUri};
use proto::follower::{Delivery, FillRequest, Gap};
use proto::link::{Acknowledge, Call, RoomEvents};

use super::Federation;
use crate::relay::Unreachable;
use crate::reply::Reply;

/// Rooms of one delivery whose gaps are filled; what is behind the next one waits for the hub to come back.
const ROOMS_MAX: usize = 64;

/// Answers asked for to fill one gap; a longer one is filled the next time that the hub comes back.
const PAGES_MAX: usize = 64;

/// For how long gaps of one delivery are filled: hubs wait for an acknowledgement no longer than a minute.
const FILLING_MAX: Duration = Duration::from_secs(30);

/// What became of a gap.
pub(super) enum Filling {
    /// It is none any more.
    Filled,
    /// There is no filling it now; later there may be.
    Later,
    /// Its hub does not have what is in it any more.
    Lost,
    /// Its hub does not say what is in it, or says what cannot be.
    Never,
}

impl Federation {
    /// Stores a delivery, and before it what rooms of it lack; what cannot be had is taken as lacking.
    pub(super) async fn store(&self, mut delivery: Delivery) -> Result<Acknowledge, Reply> {
        let filling = async {
            for _ in 0..=ROOMS_MAX {
                let mut follower = self.follower.clone();
                let delivered = self.in_time(follower.deliver(delivery.clone())).await?;
                let Some(gap) = delivered.gap else {
                    let acknowledge = delivered.acknowledge;
                    return acknowledge.ok_or_else(|| Reply::refused(500, "internal failure"));
                };
                match self.fill(&gap).await? {
                    Filling::Filled => self.metrics.filled("filled"),
                    Filling::Later => {
                        self.metrics.filled("later");
                        break;
                    }
                    // The follower makes of it that the room's clients join again.
                    Filling::Lost => {
                        self.metrics.filled("lost");
                        delivery.as_is_rooms.push(gap.room);
                    }
                    Filling::Never => {
                        self.metrics.filled("never");
                        delivery.as_is_rooms.push(gap.room);
                    }
                }
            }
            Err(Reply::unavailable("entries before these are lacking"))
        };
        let stored = tokio::time::timeout(FILLING_MAX, filling).await;
        stored.unwrap_or_else(|_| Err(Reply::unavailable("overloaded")))
    }

    pub(super) async fn fill(&self, gap: &Gap) -> Result<Filling, Reply> {
        let room: Result<RoomUri, _> = gap.room.parse();
        let room = room.map_err(|_| Reply::refused(500, "internal failure"))?;
        let mut have = gap.have;
        for _ in 0..PAGES_MAX {
            if have >= gap.until {
                return Ok(Filling::Filled);
            }
            let events = match self.ask_events(&room, have, gap.until).await {
                Ok(events) => events,
                Err(filling) => return Ok(filling),
            };
            let request = FillRequest {
                hub: room.provider().as_str().to_owned(),
                room: gap.room.clone(),
                head: self.verified(room.provider(), &events),
                items: events.items,
            };
            let mut follower = self.follower.clone();
            let filled = self.in_time(follower.fill(request)).await?;
            if filled.broken || filled.seq <= have {
                tracing::warn!(%room, have, "the hub's answer does not fill the gap");
                return Ok(Filling::Never);
            }
            have = filled.seq;
        }
        Ok(match have >= gap.until {
            true => Filling::Filled,
            false => Filling::Later,
        })
    }

    /// Asks a room's hub for entries behind `have`.
    async fn ask_events(&self, room: &RoomUri, have: u64, until: u64) -> Result<RoomEvents, Filling> {
        let request = RoomEventsRequest {
            after_seq: have,
            max: u32::try_from(until - have).unwrap_or(u32::MAX),
            form: RoomEventsForm::Items,
        };
        let call = Call {
            endpoint: peer::Endpoint::RoomEvents.name().to_owned(),
            target: room.as_str().to_owned(),
            body: request.encode().into(),
        };
        let answer = match self.relay.request(room.provider(), call).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%room, %error, "a gap cannot be filled");
                return Err(match error {
                    Unreachable::Now(_) => Filling::Later,
                    Unreachable::Ever(_) => Filling::Never,
                });
            }
        };
        match answer.status {
            200 => link::decode_room_events(answer.body, room.as_str()).ok_or(Filling::Never),
            429 | 503 => Err(Filling::Later),
            410 => Err(Filling::Lost),
            status => {
                tracing::warn!(%room, status, "a gap cannot be filled");
                Err(Filling::Never)
            }
        }
    }

    /// The signed head of an answer, if the hub's published key verifies it.
    fn verified(&self, hub: &Provider, events: &RoomEvents) -> bytes::Bytes {
        let head = RoomHead::decode_exact(&events.head).ok();
        let is_signed = head.is_some_and(|head| self.is_signed(hub, &head));
        if is_signed {
            events.head.clone()
        } else {
            bytes::Bytes::new()
        }
    }

    /// Whether the hub, whose key its directory names, signed this head of a room of its own.
    pub(crate) fn is_signed(&self, hub: &Provider, head: &RoomHead) -> bool {
        let sender = self.relay.hub_sender(hub, head.cipher_suite);
        sender.is_some_and(|sender| peer::heads::verifies(head, &sender))
    }
}
