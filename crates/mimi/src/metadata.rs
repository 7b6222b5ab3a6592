//! Room metadata (mimi-protocol §7.6, component 0x0023): names and descriptions for people. An update replaces the
//! whole.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, wire};
use crate::identifier::IdentifierUri;

/// UTF8String: UTF-8 without NUL, at most [`crate::limits::TEXT_BYTES_MAX`] octets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub String);

impl Encode for Text {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
    }
}

impl Decode for Text {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let text = String::decode(reader)?;
        if text.contains('\0') {
            return Err(DecodeError::Invalid("text holds NUL"));
        }
        Ok(Self(text))
    }
}

/// RichDescription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RichDescription {
    /// Media type; empty means `text/plain;charset=utf-8`.
    pub media_type: Bytes,
    /// Language tag.
    pub language_tag: Bytes,
    /// The description.
    pub content: Bytes,
}
wire!(RichDescription {
    media_type,
    language_tag,
    content
});

/// RoomMetaData.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomMetaData {
    /// The room.
    pub room_uri: IdentifierUri,
    /// Its name.
    pub room_name: Text,
    /// Its descriptions.
    pub room_descriptions: Vec<RichDescription>,
    /// An https URI of an image, or empty.
    pub room_avatar: IdentifierUri,
    /// What is talked about.
    pub room_subject: Text,
    /// The mood.
    pub room_mood: Text,
}
wire!(RoomMetaData {
    room_uri,
    room_name,
    room_descriptions,
    room_avatar,
    room_subject,
    room_mood
});
