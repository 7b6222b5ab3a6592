//! What members say to each other (mimi-content, media type `application/mimi-content`): a content that decodes is
//! deterministic CBOR inside the draft's limits, and encodes back to the same octets. The hub never sees one; nothing
//! here renders, fetches or decrypts, and nobody's right to edit or delete is judged.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;
use crate::uri::{RoomUri, UserUri};

mod cbor;
mod compose;
mod derived;
mod extensions;
mod framing;
mod id;
mod part;
mod status;
mod value;

pub use compose::{content_id, html_mention, markdown_mention};
pub use derived::{MessageDerivedValues, Timestamp, reply_chain_loops};
pub use extensions::Extensions;
pub use framing::ApplicationFraming;
pub use id::{MessageId, Salt};
pub use part::{Disposition, ExternalPart, MultiPart, NestedPart, Part, PartSemantics, Parts, SinglePart};
pub use status::{MessageStatusReport, PerMessageStatus, Status};
pub use value::{Float, KEY_INTEGER_MAX, Key, Value};

/// Media types that this module and the draft name.
pub mod media_type {
    /// A message content.
    pub const MIMI_CONTENT: &str = "application/mimi-content";
    /// A report of statuses.
    pub const MIMI_MESSAGE_STATUS: &str = "application/mimi-message-status";
    /// Plain text, which every client receives.
    pub const TEXT_PLAIN: &str = "text/plain;charset=utf-8";
    /// GitHub Flavored Markdown as MIMI limits it, which every client receives.
    pub const MARKDOWN: &str = "text/markdown;variant=GFM-MIMI";
    /// HTML.
    pub const HTML: &str = "text/html;charset=utf-8";
}

/// Seconds of a year, beyond which an expiration makes no sense.
const YEAR_S: u64 = 366 * 24 * 60 * 60;

/// mimiContent: one message (mimi-content §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MimiContent {
    /// Random and used once.
    pub salt: Salt,
    /// The first version of the message that this one edits or deletes.
    pub replaces: Option<MessageId>,
    /// Groups messages; empty means no group. At most [`limits::TOPIC_BYTES_MAX`] octets.
    pub topic_id: Bytes,
    /// When receivers are to forget the message.
    pub expires: Option<Expiration>,
    /// The message that this one answers or reacts to.
    pub in_reply_to: Option<MessageId>,
    /// Sender, room and whatever else.
    pub extensions: Extensions,
    /// The body.
    pub body: NestedPart,
}

impl MimiContent {
    /// Encodes what is to be sent.
    ///
    /// # Errors
    /// What a receiver would refuse it for: the message breaks a limit or the draft's data model.
    pub fn seal(&self) -> Result<Vec<u8>, DecodeError> {
        let octets = self.encode();
        Self::decode_exact(&octets)?;
        Ok(octets)
    }

    /// The message's id when `sender` sends it to `room`. Content that was decoded encodes to the octets received, so
    /// this is their id as well.
    pub fn message_id(&self, sender: &UserUri, room: &RoomUri) -> MessageId {
        MessageId::of(sender, room, &self.encode(), &self.salt)
    }

    /// The part that a `cid:N@local.invalid` URI inside another part means: only a single or an external one.
    pub fn referenced(&self, content_id: &str) -> Option<&NestedPart> {
        let number = content_id.strip_prefix("cid:")?.strip_suffix("@local.invalid")?;
        let index: usize = number.parse().ok()?;
        let part = self.body.parts().nth(index)?;
        let canonical = index.to_string() == number;
        (canonical && matches!(part.part, Part::Single(_) | Part::External(_))).then_some(part)
    }
}

impl Encode for MimiContent {
    fn write(&self, writer: &mut Writer) {
        cbor::write(writer, cbor::Item::Array(7));
        self.salt.write(writer);
        cbor::write_nullable(writer, self.replaces.as_ref(), MessageId::write);
        cbor::write(writer, cbor::Item::Bytes(&self.topic_id));
        cbor::write_nullable(writer, self.expires.as_ref(), Expiration::write);
        cbor::write_nullable(writer, self.in_reply_to.as_ref(), MessageId::write);
        self.extensions.write(writer);
        self.body.write(writer);
    }
}

impl Decode for MimiContent {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.mark();
        cbor::array(reader, 7, "content is not an array of seven")?;
        let salt = Salt::read(reader)?;
        let replaces = cbor::nullable(reader, MessageId::read)?;
        let topic_id = cbor::kept(reader, "topicId is not a byte string")?;
        if topic_id.len() > limits::TOPIC_BYTES_MAX {
            return Err(DecodeError::TooMuch {
                what: "octets of a topicId",
                max: limits::TOPIC_BYTES_MAX,
            });
        }
        let expires = cbor::nullable(reader, Expiration::read)?;
        let in_reply_to = cbor::nullable(reader, MessageId::read)?;
        let extensions = Extensions::read(reader)?;
        let body = NestedPart::read(reader, &mut part::Room::default())?;
        if reader.since(start).len() > limits::CONTENT_BYTES_MAX {
            return Err(DecodeError::TooMuch {
                what: "octets of a content",
                max: limits::CONTENT_BYTES_MAX,
            });
        }
        Ok(Self {
            salt,
            replaces,
            topic_id,
            expires,
            in_reply_to,
            extensions,
            body,
        })
    }
}

/// Expiration: a hint, which nobody can be made to follow (mimi-content §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expiration {
    /// Seconds after the receiver read the message.
    AfterReading(u32),
    /// Seconds since the UNIX epoch.
    At(u32),
}

impl Expiration {
    /// Whether it lies within a year of the time at which the hub accepted the message, in milliseconds since the UNIX
    /// epoch. A message with any other is most likely malicious and to be discarded (mimi-content §9.1).
    pub fn is_plausible(self, accepted_ms: u64) -> bool {
        match self {
            Self::AfterReading(seconds) => u64::from(seconds) <= YEAR_S,
            Self::At(seconds) => u64::from(seconds).abs_diff(accepted_ms / 1_000) <= YEAR_S,
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        cbor::array(reader, 2, "expires is not an array of two")?;
        let relative = cbor::bool(reader, "relative is not a bool")?;
        let seconds = cbor::unsigned(reader, "time is not an integer of 32 bits")?;
        Ok(if relative {
            Self::AfterReading(seconds)
        } else {
            Self::At(seconds)
        })
    }

    fn write(&self, writer: &mut Writer) {
        let (relative, seconds) = match *self {
            Self::AfterReading(seconds) => (true, seconds),
            Self::At(seconds) => (false, seconds),
        };
        cbor::write(writer, cbor::Item::Array(2));
        cbor::write_bool(writer, relative);
        cbor::write(writer, cbor::Item::Unsigned(seconds.into()));
    }
}
