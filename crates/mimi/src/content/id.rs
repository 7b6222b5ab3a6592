//! Message ids (mimi-content §3.3): a hash over the sender, the room and the octets of the message, so that an id names
//! one message of one sender in one room. Whether a message with the id exists is not known here.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::cbor::{self, Item};
use crate::codec::{DecodeError, Reader, Writer};
use crate::uri::{RoomUri, UserUri};

/// Sixteen octets, random and used in one message only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt(pub [u8; 16]);

impl Salt {
    /// The salt that a client derives from the group's exported `salt_base_secret` and a nonce of its own
    /// (mimi-content §9.2). A nonce used twice in an epoch gives the same salt.
    pub fn derive(salt_base_secret: &[u8], nonce: &[u8]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(salt_base_secret).expect("HMAC takes a key of any length");
        mac.update(nonce);
        let output: [u8; 32] = mac.finalize().into_bytes().into();
        let mut salt = [0; 16];
        salt.copy_from_slice(&output[..16]);
        Self(salt)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        cbor::octets(reader, "salt is not 16 octets").map(Self)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        cbor::write(writer, Item::Bytes(&self.0));
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// MessageId: a number of a hash and 31 octets of its output. Ordered as octets: of two messages accepted in the same
/// millisecond, the one with the lower id sorts first (mimi-content §5.11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 32]);

impl MessageId {
    /// SHA-256 in the registry of named information, the one hash that the draft uses.
    pub const SHA_256: u8 = 1;

    /// The id that `octets` are.
    ///
    /// # Errors
    /// When its hash is unknown: such an id most likely is malicious (mimi-content §9.1).
    pub fn from_octets(octets: [u8; 32]) -> Result<Self, DecodeError> {
        if octets[0] != Self::SHA_256 {
            return Err(DecodeError::Unknown {
                what: "hash of a message id",
                value: octets[0].into(),
            });
        }
        Ok(Self(octets))
    }

    /// The id of a message as received: `message` is the whole encoded content, `salt` the one in it.
    pub fn of(sender: &UserUri, room: &RoomUri, message: &[u8], salt: &Salt) -> Self {
        let (sender, room) = (sender.as_str().as_bytes(), room.as_str().as_bytes());
        Self::of_uris(sender, room, message, salt).expect("an identifier is far shorter than 65,536 octets")
    }

    /// As [`MessageId::of`], with URIs of any scheme. None when a URI is longer than 65,535 octets.
    pub fn of_uris(sender: &[u8], room: &[u8], message: &[u8], salt: &Salt) -> Option<Self> {
        let mut hash = Sha256::new();
        for uri in [sender, room] {
            hash.update(u16::try_from(uri.len()).ok()?.to_be_bytes());
            hash.update(uri);
        }
        hash.update(message);
        hash.update(salt.0);
        let output = hash.finalize();
        let mut id = [Self::SHA_256; 32];
        id[1..].copy_from_slice(&output[..31]);
        Some(Self(id))
    }

    /// The octets.
    pub fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::from_octets(cbor::octets(reader, "message id is not 32 octets")?)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        cbor::write(writer, Item::Bytes(&self.0));
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}
