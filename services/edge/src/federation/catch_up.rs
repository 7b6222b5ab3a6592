//! Catch-up: where rooms of our hub stand, and their entries behind a seq, for providers that have participants in them.
//! What a provider is told of other rooms is the same as of none.

use bytes::{Bytes, BytesMut};
use mimi::catch_up::{RoomEventsForm, RoomEventsRequest, RoomHead, RoomHeadsRequest};
use mimi::limits::BODY_BYTES_MAX;
use mimi::{Decode as _, Provider};
use prost::Message as _;
use proto::hub::{RoomEventsCall, RoomHeadsCall, room_events_reply, room_heads_reply};
use proto::link::{Item, RoomEvents, item};

use super::{Federation, decode};
use crate::hubs::refusal;
use crate::reply::{Reply, Span};

impl Federation {
    /// Where rooms stand, signed.
    pub(crate) async fn room_heads(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        self.is_ours(target)?;
        decode::<RoomHeadsRequest>(&body)?;
        let call = RoomHeadsCall {
            source: source.as_str().to_owned(),
            request: body,
        };
        let mut hub = self.hubs.any();
        match self.in_time(hub.room_heads(call)).await?.outcome {
            Some(room_heads_reply::Outcome::Response(response)) => Ok(Reply::ok(response)),
            Some(room_heads_reply::Outcome::Refused(refused)) => Err(refusal(refused)),
            None => Err(Reply::refused(500, "internal failure")),
        }
    }

    /// Entries of a room, in the form that was asked for.
    pub(super) async fn room_events(&self, source: &Provider, target: &str, body: Bytes) -> Result<Reply, Reply> {
        let room = self.room_of_ours(target)?;
        let RoomEventsRequest { after_seq, max, form } = decode(&body)?;
        let call = RoomEventsCall {
            source: source.as_str().to_owned(),
            room: room.as_str().to_owned(),
            after_seq,
            max,
        };
        let mut hub = self.hubs.any();
        let events = match self.in_time(hub.room_events(call)).await?.outcome {
            Some(room_events_reply::Outcome::Events(events)) => events,
            Some(room_events_reply::Outcome::Refused(refused)) => return Err(refusal(refused)),
            None => return Err(Reply::refused(500, "internal failure")),
        };
        match form {
            RoomEventsForm::Items => as_items(events),
            RoomEventsForm::Messages => as_messages(&events),
        }
    }
}

/// As many items as fit into an answer.
fn as_items(mut events: RoomEvents) -> Result<Reply, Reply> {
    while events.encoded_len() > BODY_BYTES_MAX {
        if events.items.len() < 2 {
            return Err(Reply::refused(413, "the entry does not fit into an answer"));
        }
        events.items.pop();
    }
    Ok(Reply::ok(events.encode_to_vec().into()))
}

/// The messages up to the first entry that is not like the first one: the numbers of a body are then without a gap.
fn as_messages(events: &RoomEvents) -> Result<Reply, Reply> {
    let head = RoomHead::decode_exact(&events.head);
    let head = head.map_err(|_| Reply::refused(500, "internal failure"))?;
    let first = events.items.first();
    let is_shown = first.is_some_and(|item| message(item).is_some());
    let alike = events
        .items
        .iter()
        .take_while(|item| message(item).is_some() == is_shown);
    let mut body = BytesMut::new();
    let mut seqs = None;
    for item in alike {
        body.extend_from_slice(message(item).unwrap_or_default());
        let (first, _) = seqs.unwrap_or((item.seq, item.seq));
        seqs = Some((first, item.seq));
    }
    Ok(Reply {
        span: Some(Span { seqs, head: head.seq }),
        ..Reply::ok(body.freeze())
    })
}

fn message(item: &Item) -> Option<&[u8]> {
    match &item.body {
        Some(item::Body::Message(message)) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use mimi::{Encode as _, IdentifierUri};

    use super::*;

    fn events(bodies: &[Option<&'static str>]) -> RoomEvents {
        let items = (7..).zip(bodies).map(|(seq, body)| Item {
            seq,
            body: Some(match body {
                Some(message) => item::Body::Message(Bytes::from_static(message.as_bytes())),
                None => item::Body::Digest(Bytes::from_static(&[0; 32])),
            }),
            ..Item::default()
        });
        let head = RoomHead {
            room: IdentifierUri(Bytes::from_static(b"mimi://a.example/r/x")),
            ledger: [1; 16],
            seq: 99,
            chain: [2; 32],
            epoch: 3,
            cipher_suite: 1,
            signature: Bytes::new(),
        };
        RoomEvents {
            items: items.collect(),
            head: head.encode().into(),
        }
    }

    #[test]
    fn b_1_the_numbers_of_a_body_are_those_of_its_messages() {
        let page = |bodies: &[Option<&'static str>]| {
            let reply = as_messages(&events(bodies)).unwrap();
            let Span { seqs, head } = reply.span.unwrap();
            assert_eq!((reply.status, head), (200, 99));
            (reply.body, seqs)
        };
        let octets = Bytes::from_static;
        assert_eq!(
            page(&[Some("a"), Some("b"), None, Some("c")]),
            (octets(b"ab"), Some((7, 8)))
        );
        assert_eq!(page(&[None, None, Some("c")]), (octets(b""), Some((7, 8))));
        assert_eq!(page(&[]), (octets(b""), None));
    }

    #[test]
    fn b_1_an_answer_of_items_holds_what_fits_and_one_that_never_fits_is_refused() {
        let large: &'static str = String::leak("x".repeat(BODY_BYTES_MAX));
        let some = as_items(events(&[Some("a"), Some(large)])).unwrap();
        assert_eq!(RoomEvents::decode(some.body).unwrap().items.len(), 1);
        assert_eq!(as_items(events(&[Some(large)])).unwrap_err().status, 413);
    }
}
