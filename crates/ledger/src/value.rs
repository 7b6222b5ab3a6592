//! Values: how every row is encoded. The first octet says how to read the rest, so that a later format can be told from
//! this one; what follows is a protobuf message, whose unknown fields are skipped.
//!
//! | first octet | the rest |
//! |---|---|
//! | 01 | the row's message |
//! | 81 | a [`Reference`]: the row's value (which begins with 01) is in chunks elsewhere |

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::keys::Generation;

/// The longest value that is written whole, and the length of chunks: well below the store's 100 kB.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The longest value at all. A full ratchet tree of 10,000 clients is about a tenth of it.
pub const BLOB_BYTES_MAX: usize = 64 * 1024 * 1024;

const INLINE: u8 = 0x01;
const REFERENCE: u8 = 0x81;

/// Why octets are not a value of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadValue(pub(crate) &'static str);

/// Where the octets of a large value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) generation: Generation,
    /// Length in octets, at most [`BLOB_BYTES_MAX`].
    pub(crate) bytes: usize,
    pub(crate) digest: [u8; 32],
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReferenceMessage {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    number: u64,
    #[prost(uint64, tag = "3")]
    bytes: u64,
    #[prost(bytes = "bytes", tag = "4")]
    digest: Bytes,
}

impl From<&Reference> for ReferenceMessage {
    fn from(reference: &Reference) -> Self {
        Self {
            term: reference.generation.term,
            number: reference.generation.number,
            bytes: reference.bytes as u64,
            digest: Bytes::copy_from_slice(&reference.digest),
        }
    }
}

impl TryFrom<ReferenceMessage> for Reference {
    type Error = BadValue;

    fn try_from(message: ReferenceMessage) -> Result<Self, BadValue> {
        let bytes = usize::try_from(message.bytes)
            .ok()
            .filter(|bytes| *bytes <= BLOB_BYTES_MAX);
        Ok(Self {
            generation: Generation {
                term: message.term,
                number: message.number,
            },
            bytes: bytes.ok_or(BadValue("a blob longer than any"))?,
            digest: message.digest[..].try_into().map_err(|_| BadValue("not a digest"))?,
        })
    }
}

impl Reference {
    pub(crate) fn to(octets: &[u8], generation: Generation) -> Self {
        Self {
            generation,
            bytes: octets.len(),
            digest: Sha256::digest(octets).into(),
        }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.bytes.div_ceil(VALUE_BYTES_MAX)
    }

    pub(crate) fn encode(&self) -> Bytes {
        octets(REFERENCE, &ReferenceMessage::from(self))
    }

    /// Joins chunks read back, if they are what was written.
    pub(crate) fn join(&self, chunks: impl IntoIterator<Item = Bytes>) -> Result<Bytes, BadValue> {
        let mut whole = BytesMut::with_capacity(self.bytes);
        for chunk in chunks {
            if whole.len() + chunk.len() > self.bytes {
                return Err(BadValue("more chunks than the blob has"));
            }
            whole.put(chunk);
        }
        if whole.len() != self.bytes || Sha256::digest(&whole)[..] != self.digest {
            return Err(BadValue("a blob's octets are not what was written"));
        }
        Ok(whole.freeze())
    }
}

/// A value as it was read.
#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    /// Whole.
    Inline(Bytes),
    /// In chunks.
    Reference(Reference),
}

impl Value {
    /// Looks at the first octet.
    pub(crate) fn parse(value: Bytes) -> Result<Self, BadValue> {
        match value.first() {
            Some(&INLINE) => Ok(Self::Inline(value)),
            Some(&REFERENCE) => {
                let message = ReferenceMessage::decode(value.slice(1..)).map_err(|_| BadValue("not a reference"))?;
                message.try_into().map(Self::Reference)
            }
            Some(_) => Err(BadValue("a format of another release")),
            None => Err(BadValue("an empty value")),
        }
    }
}

fn octets(first: u8, message: &impl Message) -> Bytes {
    let mut octets = BytesMut::with_capacity(1 + message.encoded_len());
    octets.put_u8(first);
    message
        .encode(&mut octets)
        .expect("a buffer that grows holds every message");
    octets.freeze()
}

/// Encodes a row's message as a whole value.
pub(crate) fn encode(message: &impl Message) -> Bytes {
    octets(INLINE, message)
}

/// Decodes a whole value.
pub(crate) fn decode<M: Message + Default>(value: &Bytes) -> Result<M, BadValue> {
    match value.first() {
        Some(&INLINE) => M::decode(value.slice(1..)).map_err(|_| BadValue("not the row's message")),
        Some(&REFERENCE) => Err(BadValue("a reference where none may be")),
        Some(_) => Err(BadValue("a format of another release")),
        None => Err(BadValue("an empty value")),
    }
}
