//! Items of a Deliver as they go out: what many followers are sent is encoded once, and copied into no frame.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use proto::link::{Deliver, Item};

use crate::frame::PREFIX;

/// The fields of protobuf, as `link.proto` numbers them: HubFrame's `deliver`, Deliver's `items`.
const DELIVER: u32 = 2;
const ITEMS: u32 = 2;

/// An item, encoded. Clones share the octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    offset: u64,
    octets: Bytes,
}

impl Framed {
    /// An item at `offset` whose encoding, as a field `items` of a Deliver, is `octets`.
    pub fn new(offset: u64, octets: Bytes) -> Self {
        Self { offset, octets }
    }

    /// Where it is in its shard's log.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Octets that it takes of a frame.
    pub(crate) fn len(&self) -> usize {
        self.octets.len()
    }
}

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
        chunks.extend(items.into_iter().map(|item| item.octets));
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
    }
}
