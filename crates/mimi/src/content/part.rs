//! The body of a content (mimi-content §4.4): parts nested at most [`limits::CONTENT_DEPTH_MAX`] deep, each with an
//! implied index, counted depth first from zero. What a part says is not looked at.

use bytes::Bytes;

use super::cbor::{self, Item};
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits;

/// NestedPart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NestedPart {
    /// What it is meant for.
    pub disposition: Disposition,
    /// Language tags separated by commas, or empty.
    pub language: String,
    /// What it holds.
    pub part: Part,
}

/// What a part holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// NullPart: nothing, as in a deletion.
    Null,
    /// Something in the message itself.
    Single(SinglePart),
    /// Something elsewhere.
    External(Box<ExternalPart>),
    /// Parts.
    Multi(MultiPart),
}

/// SinglePart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinglePart {
    /// Media type with its parameters.
    pub content_type: String,
    /// The content.
    pub content: Bytes,
}

/// ExternalPart (mimi-content §4.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalPart {
    /// Media type with its parameters.
    pub content_type: String,
    /// Where it is.
    pub url: String,
    /// Until when it is there, in seconds since the UNIX epoch; zero if it stays.
    pub expires: u32,
    /// Octets of it, or zero if the sender does not tell.
    pub size: u64,
    /// AEAD algorithm (IANA), or zero if it is not encrypted.
    pub enc_alg: u16,
    /// AEAD key.
    pub key: Bytes,
    /// AEAD nonce.
    pub nonce: Bytes,
    /// AEAD additional data.
    pub aad: Bytes,
    /// Named information hash algorithm (IANA), or zero if there is no hash.
    pub hash_alg: u8,
    /// Hash of what is at the URL.
    pub content_hash: Bytes,
    /// For people.
    pub description: String,
    /// Name that a file of it may get.
    pub filename: String,
}

impl ExternalPart {
    /// AES-128-GCM, the AEAD algorithm that every client knows.
    pub const AES_128_GCM: u16 = 1;
    /// SHA-256.
    pub const SHA_256: u8 = 1;
}

/// MultiPart: two parts or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiPart {
    /// How the parts relate.
    pub semantics: PartSemantics,
    /// The parts.
    pub parts: Vec<NestedPart>,
}

/// How a receiver treats the parts of a multipart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PartSemantics {
    /// It picks exactly one; the order is the sender's preference.
    ChooseOne = 0,
    /// All of them as one, or none.
    SingleUnit = 1,
    /// As many as it can.
    ProcessAll = 2,
}

/// Disposition: what a part is meant for (mimi-content §8.2.2). Any number decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Disposition(pub u8);

impl Disposition {
    /// No hint.
    pub const UNSPECIFIED: Self = Self(0);
    /// Rendered as the receiver's policy says.
    pub const RENDER: Self = Self(1);
    /// A reaction to another message.
    pub const REACTION: Self = Self(2);
    /// A profile of a participant or of the room.
    pub const PROFILE: Self = Self(3);
    /// Rendered in the chat itself.
    pub const INLINE: Self = Self(4);
    /// An icon such as an avatar.
    pub const ICON: Self = Self(5);
    /// Downloaded rather than rendered.
    pub const ATTACHMENT: Self = Self(6);
    /// A multimedia session, or a URI that joins one.
    pub const SESSION: Self = Self(7);
    /// A preview made by the sender.
    pub const PREVIEW: Self = Self(8);

    /// The disposition that a receiver acts on: one that it does not know is as [`Disposition::RENDER`].
    pub fn effective(self) -> Self {
        if self.0 <= Self::PREVIEW.0 { self } else { Self::RENDER }
    }
}

/// The parts of a part, itself first, in the order of their indices.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// What comes next, last first.
    ahead: Vec<&'a NestedPart>,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a NestedPart;

    fn next(&mut self) -> Option<&'a NestedPart> {
        let next = self.ahead.pop()?;
        if let Part::Multi(multi) = &next.part {
            self.ahead.extend(multi.parts.iter().rev());
        }
        Some(next)
    }
}

/// What is left for parts.
#[derive(Debug)]
pub(super) struct Room {
    levels: usize,
    parts: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            levels: limits::CONTENT_DEPTH_MAX,
            parts: limits::CONTENT_PARTS_MAX,
        }
    }
}

impl Room {
    fn enter(&mut self) -> Result<(), DecodeError> {
        self.levels = self.levels.checked_sub(1).ok_or(DecodeError::TooMuch {
            what: "depth of parts",
            max: limits::CONTENT_DEPTH_MAX,
        })?;
        self.parts = self.parts.checked_sub(1).ok_or(DecodeError::TooMuch {
            what: "parts",
            max: limits::CONTENT_PARTS_MAX,
        })?;
        Ok(())
    }

    fn leave(&mut self) {
        self.levels += 1;
    }
}

impl NestedPart {
    /// This part and those in it; the position is the part index.
    pub fn parts(&self) -> Parts<'_> {
        Parts { ahead: vec![self] }
    }

    pub(super) fn read(reader: &mut Reader<'_>, room: &mut Room) -> Result<Self, DecodeError> {
        room.enter()?;
        let Item::Array(items) = cbor::item(reader)? else {
            return Err(DecodeError::Invalid("part is not an array"));
        };
        let disposition = cbor::unsigned(reader, "disposition is not an integer of 8 bits").map(Disposition)?;
        let language = cbor::text(reader, "language is not text")?;
        let cardinality: u64 = cbor::unsigned(reader, "cardinality is not an integer")?;
        let part = match (cardinality, items) {
            (0, 3) => Part::Null,
            (1, 5) => Part::Single(SinglePart::read(reader)?),
            (2, 15) => Part::External(Box::new(ExternalPart::read(reader)?)),
            (3, 5) => Part::Multi(MultiPart::read(reader, room)?),
            (0..=3, _) => {
                return Err(DecodeError::Invalid(
                    "part has another number of items than its cardinality",
                ));
            }
            _ => return Err(DecodeError::Invalid("unknown cardinality")),
        };
        room.leave();
        Ok(Self {
            disposition,
            language,
            part,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let (cardinality, items) = match &self.part {
            Part::Null => (0, 3),
            Part::Single(_) => (1, 5),
            Part::External(_) => (2, 15),
            Part::Multi(_) => (3, 5),
        };
        cbor::write(writer, Item::Array(items));
        cbor::write(writer, Item::Unsigned(self.disposition.0.into()));
        cbor::write(writer, Item::Text(&self.language));
        cbor::write(writer, Item::Unsigned(cardinality));
        match &self.part {
            Part::Null => {}
            Part::Single(single) => single.write(writer),
            Part::External(external) => external.write(writer),
            Part::Multi(multi) => multi.write(writer),
        }
    }
}

impl SinglePart {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            content_type: cbor::text(reader, "contentType is not text")?,
            content: cbor::kept(reader, "content is not a byte string")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        cbor::write(writer, Item::Text(&self.content_type));
        cbor::write(writer, Item::Bytes(&self.content));
    }
}

impl ExternalPart {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            content_type: cbor::text(reader, "contentType is not text")?,
            url: cbor::text(reader, "url is not text")?,
            expires: cbor::unsigned(reader, "expires is not an integer of 32 bits")?,
            size: cbor::unsigned(reader, "size is not an integer of 64 bits")?,
            enc_alg: cbor::unsigned(reader, "encAlg is not an integer of 16 bits")?,
            key: cbor::kept(reader, "key is not a byte string")?,
            nonce: cbor::kept(reader, "nonce is not a byte string")?,
            aad: cbor::kept(reader, "aad is not a byte string")?,
            hash_alg: cbor::unsigned(reader, "hashAlg is not an integer of 8 bits")?,
            content_hash: cbor::kept(reader, "contentHash is not a byte string")?,
            description: cbor::text(reader, "description is not text")?,
            filename: cbor::text(reader, "filename is not text")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        cbor::write(writer, Item::Text(&self.content_type));
        cbor::write(writer, Item::Text(&self.url));
        cbor::write(writer, Item::Unsigned(self.expires.into()));
        cbor::write(writer, Item::Unsigned(self.size));
        cbor::write(writer, Item::Unsigned(self.enc_alg.into()));
        cbor::write(writer, Item::Bytes(&self.key));
        cbor::write(writer, Item::Bytes(&self.nonce));
        cbor::write(writer, Item::Bytes(&self.aad));
        cbor::write(writer, Item::Unsigned(self.hash_alg.into()));
        cbor::write(writer, Item::Bytes(&self.content_hash));
        cbor::write(writer, Item::Text(&self.description));
        cbor::write(writer, Item::Text(&self.filename));
    }
}

impl MultiPart {
    fn read(reader: &mut Reader<'_>, room: &mut Room) -> Result<Self, DecodeError> {
        let semantics = match cbor::unsigned(reader, "partSemantics is not an integer of 8 bits")? {
            0u8 => PartSemantics::ChooseOne,
            1 => PartSemantics::SingleUnit,
            2 => PartSemantics::ProcessAll,
            value => {
                return Err(DecodeError::Unknown {
                    what: "partSemantics",
                    value: value.into(),
                });
            }
        };
        let Item::Array(count @ 2..) = cbor::item(reader)? else {
            return Err(DecodeError::Invalid("parts are not an array of two or more"));
        };
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(NestedPart::read(reader, room)?);
        }
        Ok(Self { semantics, parts })
    }

    fn write(&self, writer: &mut Writer) {
        cbor::write(writer, Item::Unsigned(self.semantics as u64));
        cbor::write(writer, Item::Array(self.parts.len()));
        self.parts.iter().for_each(|part| part.write(writer));
    }
}
