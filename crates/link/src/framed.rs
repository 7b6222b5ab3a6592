//! Items of a Deliver as they go out: what many followers are sent is encoded once, and copied into no frame. Those that lie
//! beside each other in memory go to QUIC as one, which looks for what is due in each packet among all that it was given.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use proto::link::{Deliver, Item};

use crate::frame::PREFIX;

/// The fields of protobuf, as `link.proto` numbers them: HubFrame's `deliver`, Deliver's `items`.
const DELIVER: u32 = 2;
const ITEMS: u32 = 2;

/// An item, encoded. Clones share the octets.
#[derive(Debug, Clone)]
pub struct Framed {
    offset: u64,
    run: Bytes,
    at: Range<usize>,
}

impl Framed {
    /// An item at `offset` whose encoding, as a field `items` of a Deliver, is `octets`.
    pub fn new(offset: u64, octets: Bytes) -> Self {
        let at = 0..octets.len();
        Self::within(offset, octets, at)
    }

    /// As [`new`](Self::new), of items that were encoded one behind the other.
    ///
    /// # Panics
    /// If `at` is not within `run`.
    pub fn within(offset: u64, run: Bytes, at: Range<usize>) -> Self {
        assert!(at.start <= at.end && at.end <= run.len(), "an item within its run");
        Self { offset, run, at }
    }

    /// Where it is in its shard's log.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Octets that it takes of a frame.
    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    fn octets(&self) -> &[u8] {
        &self.run[self.at.clone()]
    }

    /// Whether `next` lies behind it in memory.
    fn is_before(&self, next: &Self) -> bool {
        let same = self.run.as_ptr() == next.run.as_ptr() && self.run.len() == next.run.len();
        same && self.at.end == next.at.start
    }
}

impl PartialEq for Framed {
    fn eq(&self, other: &Self) -> bool {
        self.offset == other.offset && self.octets() == other.octets()
    }
}

impl Eq for Framed {}

impl From<&Item> for Framed {
    fn from(item: &Item) -> Self {
        let mut octets = BytesMut::new();
        prost::encoding::message::encode(ITEMS, item, &mut octets);
        Self::new(item.offset, octets.freeze())
    }
}

impl From<Item> for Framed {
    fn from(item: Item) -> Self {
        Self::from(&item)
    }
}

/// A frame in pieces, in the order in which they are written.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) chunks: Vec<Bytes>,
}

impl From<Bytes> for Frame {
    fn from(octets: Bytes) -> Self {
        Self { chunks: vec![octets] }
    }
}

impl Frame {
    /// The frame of a Deliver.
    pub(crate) fn deliver(shard: u32, items: Vec<Framed>, traceparent: &str) -> Self {
        let before = Deliver {
            shard,
            ..Deliver::default()
        };
        let behind = Deliver {
            traceparent: traceparent.to_owned(),
            ..Deliver::default()
        };
        let items_len: usize = items.iter().map(Framed::len).sum();
        let deliver = before.encoded_len() + items_len + behind.encoded_len();
        let length = key_len(DELIVER) + encoded_len_varint(deliver as u64) + deliver;
        let mut head = BytesMut::with_capacity(PREFIX + length - items_len);
        head.put_u32(u32::try_from(length).expect("frames are bounded far below 4 GiB"));
        encode_key(DELIVER, WireType::LengthDelimited, &mut head);
        encode_varint(deliver as u64, &mut head);
        before.encode(&mut head).expect("the buffer grows");
        let mut chunks = Vec::with_capacity(items.len() + 2);
        chunks.push(head.freeze());
        chunks.extend(joined(items));
        if !traceparent.is_empty() {
            chunks.push(behind.encode_to_vec().into());
        }
        Self { chunks }
    }

    /// Octets, prefix included.
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

/// The octets of `items`, in as few pieces as can be without copying.
fn joined(items: Vec<Framed>) -> impl Iterator<Item = Bytes> {
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut item = items.next()?;
        while let Some(next) = items.next_if(|next| item.is_before(next)) {
            item.at.end = next.at.end;
        }
        Some(item.run.slice(item.at))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::link::{HubFrame, hub_frame, item};

    use super::*;
    use crate::frame;

    fn item() -> impl Strategy<Value = Item> {
        (
            any::<[u64; 4]>(),
            "[a-z/]{0,30}",
            prop::collection::vec(any::<u8>(), 0..300),
        )
            .prop_map(|([offset, seq, previous_seq, epoch], room, message)| Item {
                offset,
                room,
                seq,
                previous_seq,
                chain: vec![1; 32].into(),
                recipient_set: vec![2; 16].into(),
                epoch,
                body: Some(item::Body::Message(message.into())),
            })
    }

    proptest! {
        #[test]
        fn a_frame_in_pieces_is_the_frame(
            shard in prop_oneof![Just(0), any::<u32>()],
            items in prop::collection::vec(item(), 0..5),
            traceparent in "[0-9a-f-]{0,55}",
        ) {
            let pieces = Frame::deliver(shard, items.iter().map(Framed::from).collect(), &traceparent);
            let deliver = Deliver { shard, items, traceparent };
            let whole = frame::encode(&HubFrame { kind: Some(hub_frame::Kind::Deliver(deliver)) });
            prop_assert_eq!(pieces.len(), whole.len());
            prop_assert_eq!(pieces.chunks.concat(), whole);
        }

        #[test]
        fn items_that_lie_beside_each_other_are_one_piece(
            items in prop::collection::vec(item(), 1..8),
            left_out in any::<prop::sample::Index>(),
        ) {
            let mut run = BytesMut::new();
            let places: Vec<_> = items.iter().map(|item| {
                let begin = run.len();
                prost::encoding::message::encode(ITEMS, item, &mut run);
                begin..run.len()
            }).collect();
            let run = run.freeze();
            let framed = items.iter().zip(places);
            let mut framed: Vec<Framed> =
                framed.map(|(item, at)| Framed::within(item.offset, run.clone(), at)).collect();
            let whole = Frame::deliver(7, framed.clone(), "");
            prop_assert_eq!(whole.chunks.len(), 2);
            prop_assert_eq!(whole.chunks.concat(), Frame::deliver(7, items.iter().map(Framed::from).collect(), "").chunks.concat());

            let (left_out, count) = (left_out.index(framed.len()), framed.len());
            framed.remove(left_out);
            let pieces = Frame::deliver(7, framed, "").chunks.len() - 1;
            let expected = usize::from(left_out > 0) + usize::from(left_out + 1 < count);
            prop_assert_eq!(pieces, expected);
        }
    }
}
