//! Extension fields of a content (mimi-content §4.3): named by positive or negative integers or by text, in one order.
//! Unknown ones are kept as they came.

use std::collections::BTreeMap;

use super::cbor::{self, Item};
use super::value::{Bounds, Key, Value, read_map, write_map};
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits;

/// extensions. At most [`limits::EXTENSIONS_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions(pub BTreeMap<Key, Value>);

impl Extensions {
    /// senderUri: the sender as a participant.
    pub const SENDER_URI: Key = Key::Unsigned(1);
    /// roomUri: the room.
    pub const ROOM_URI: Key = Key::Unsigned(2);

    /// What the sender says its URI is.
    pub fn sender_uri(&self) -> Option<&str> {
        self.0.get(&Self::SENDER_URI)?.as_text()
    }

    /// What the sender says the room's URI is.
    pub fn room_uri(&self) -> Option<&str> {
        self.0.get(&Self::ROOM_URI)?.as_text()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Item::Map(count) = cbor::item(reader)? else {
            return Err(DecodeError::Invalid("extensions are not a map"));
        };
        if count > limits::EXTENSIONS_MAX {
            return Err(DecodeError::TooMuch {
                what: "extensions",
                max: limits::EXTENSIONS_MAX,
            });
        }
        read_map(reader, count, |reader, key| {
            check_name(key)?;
            let value = read_value(reader)?;
            let is_uri = [Self::SENDER_URI, Self::ROOM_URI].contains(key);
            if is_uri && value.as_text().is_none() {
                return Err(DecodeError::Invalid("senderUri or roomUri is not text"));
            }
            Ok(value)
        })
        .map(Self)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        write_map(writer, &self.0);
    }
}

fn check_name(key: &Key) -> Result<(), DecodeError> {
    match key {
        Key::Unsigned(0) => Err(DecodeError::Invalid("extension 0 is reserved")),
        Key::Text(name) => check_name_length(name),
        Key::Bytes(_) => Err(DecodeError::Invalid("extension named by octets")),
        Key::Unsigned(_) | Key::Negative(_) => Ok(()),
    }
}

/// Refuses a name that is empty or longer than the draft allows.
pub(super) fn check_name_length(name: &str) -> Result<(), DecodeError> {
    match name.len() {
        0 => Err(DecodeError::Invalid("empty name of an extension")),
        1..=limits::EXTENSION_NAME_BYTES_MAX => Ok(()),
        _ => Err(DecodeError::TooMuch {
            what: "octets of an extension's name",
            max: limits::EXTENSION_NAME_BYTES_MAX,
        }),
    }
}

/// Reads the value behind a name.
pub(super) fn read_value(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let start = reader.mark();
    let bounds = Bounds::of_extension(reader);
    let value = Value::read(reader, bounds)?;
    let size = match &value {
        Value::Text(text) => text.len(),
        Value::Bytes(octets) => octets.len(),
        _ => reader.since(start).len(),
    };
    if size > limits::EXTENSION_BYTES_MAX {
        return Err(DecodeError::TooMuch {
            what: "octets of an extension",
            max: limits::EXTENSION_BYTES_MAX,
        });
    }
    Ok(value)
}
