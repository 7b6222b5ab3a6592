//! What a receiver knows of a message besides its content (mimi-content §4.6), and what follows from it: the order of
//! messages. None of it is taken from the sender's word.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::cbor::{self, Item};
use super::extensions::{check_name_length, read_value};
use super::id::MessageId;
use super::value::{Key, Value, read_map, write_map};
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;

/// Tag of an extended time (RFC 9581 §3).
const TAG_EXTENDED_TIME: u64 = 1001;

/// When the hub accepted a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Timestamp {
    /// Milliseconds since the UNIX epoch.
    Millis(u64),
    /// ExtendedTime, whose elements are not interpreted beyond [`Timestamp::millis`].
    Extended(BTreeMap<Key, Value>),
}

impl Timestamp {
    /// Milliseconds since the UNIX epoch, rounded down. None for an extended time without an integer as its base (key 1)
    /// or with a fraction (keys -3, -6, -9) that is none.
    pub fn millis(&self) -> Option<u64> {
        let elements = match self {
            Self::Millis(millis) => return Some(*millis),
            Self::Extended(elements) => elements,
        };
        let element = |key: i64| elements.get(&Key::from(key)).map(Value::as_integer);
        let mut millis = element(1)??.checked_mul(1_000)?;
        for (key, per_second) in [(-3, 1_000), (-6, 1_000_000), (-9, 1_000_000_000)] {
            if let Some(fraction) = element(key) {
                let fraction = fraction.filter(|fraction| (0..per_second).contains(fraction))?;
                millis += fraction * 1_000 / per_second;
            }
        }
        u64::try_from(millis).ok()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WRONG: DecodeError = DecodeError::Invalid("timestamp is neither milliseconds nor an extended time");
        match cbor::item(reader)? {
            Item::Unsigned(millis) => return Ok(Self::Millis(millis)),
            Item::Tag(TAG_EXTENDED_TIME) => {}
            _ => return Err(WRONG),
        }
        let Item::Map(count @ 0..=limits::EXTENSIONS_MAX) = cbor::item(reader)? else {
            return Err(WRONG);
        };
        read_map(reader, count, |reader, key| {
            match key {
                Key::Text(name) => check_name_length(name)?,
                Key::Bytes(_) => return Err(WRONG),
                Key::Unsigned(_) | Key::Negative(_) => {}
            }
            read_value(reader)
        })
        .map(Self::Extended)
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Millis(millis) => cbor::write(writer, Item::Unsigned(*millis)),
            Self::Extended(elements) => {
                cbor::write(writer, Item::Tag(TAG_EXTENDED_TIME));
                write_map(writer, elements);
            }
        }
    }
}

/// MessageDerivedValues. URIs are kept as text of any scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageDerivedValues {
    /// The message.
    pub message_id: MessageId,
    /// When the hub accepted it.
    pub hub_accepted_timestamp: Timestamp,
    /// The MLS group.
    pub mls_group_id: Bytes,
    /// The sender's leaf.
    pub sender_leaf_index: u32,
    /// The sending client.
    pub sender_client_url: String,
    /// The sending user.
    pub sender_user_url: String,
    /// The room.
    pub room_url: String,
}

impl MessageDerivedValues {
    /// Sorts messages: by the time of acceptance, and within a millisecond by the id (mimi-content §5.11). A time that
    /// cannot be told sorts first.
    pub fn order(&self) -> (Option<u64>, MessageId) {
        (self.hub_accepted_timestamp.millis(), self.message_id)
    }
}

impl Encode for MessageDerivedValues {
    fn write(&self, writer: &mut Writer) {
        cbor::write(writer, Item::Array(7));
        self.message_id.write(writer);
        self.hub_accepted_timestamp.write(writer);
        cbor::write(writer, Item::Bytes(&self.mls_group_id));
        cbor::write(writer, Item::Unsigned(self.sender_leaf_index.into()));
        cbor::write(writer, Item::Text(&self.sender_client_url));
        cbor::write(writer, Item::Text(&self.sender_user_url));
        cbor::write(writer, Item::Text(&self.room_url));
    }
}

impl Decode for MessageDerivedValues {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        cbor::array(reader, 7, "derived values are not an array of seven")?;
        Ok(Self {
            message_id: MessageId::read(reader)?,
            hub_accepted_timestamp: Timestamp::read(reader)?,
            mls_group_id: cbor::kept(reader, "mlsGroupId is not a byte string")?,
            sender_leaf_index: cbor::unsigned(reader, "senderLeafIndex is not an integer of 32 bits")?,
            sender_client_url: cbor::text(reader, "senderClientUrl is not text")?,
            sender_user_url: cbor::text(reader, "senderUserUrl is not text")?,
            room_url: cbor::text(reader, "roomUrl is not text")?,
        })
    }
}

/// Whether a reply of `message` to `replied_to` closes a loop (mimi-content §4.1): `in_reply_to` tells what a message
/// known here replies to. A chain that is a loop without `message` counts too, and ends the search.
pub fn reply_chain_loops(
    message: MessageId,
    replied_to: MessageId,
    in_reply_to: impl Fn(&MessageId) -> Option<MessageId>,
) -> bool {
    let mut seen = BTreeSet::from([message]);
    let mut next = Some(replied_to);
    while let Some(id) = next {
        if !seen.insert(id) {
            return true;
        }
        next = in_reply_to(&id);
    }
    false
}
