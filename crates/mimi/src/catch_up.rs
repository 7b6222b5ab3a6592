//! Catch-up, which no draft has: a follower asks a hub where rooms stand, and for entries that it missed. A head is
//! signed, so that two followers to whom a hub shows different histories can prove it. Nothing is signed or verified here.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, codes, wire};
use crate::identifier::IdentifierUri;
use crate::limits;
use crate::mls::CipherSuite;

/// RoomHead: a room's history up to one entry, signed by its hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHead {
    /// The room.
    pub room: IdentifierUri,
    /// The hub's ledger: a hub that lost it numbers its rooms' entries anew, in another.
    pub ledger: [u8; 16],
    /// The entry's number in the room; 0: the room has none.
    pub seq: u64,
    /// The chain after that entry.
    pub chain: [u8; 32],
    /// The room's MLS epoch after it.
    pub epoch: u64,
    /// Whose signature scheme it is signed with: the hub's key is the one that its directory names for this suite.
    pub cipher_suite: CipherSuite,
    /// Over [`RoomHead::tbs`].
    pub signature: Bytes,
}

impl RoomHead {
    /// What keeps these signatures apart from all others of the same key: those of MLS begin with `MLS 1.0`.
    pub const LABEL: &str = "Nave RoomHead 1.0";

    /// RoomHeadTBS: what is signed, as it is.
    pub fn tbs(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.opaque(Self::LABEL.as_bytes());
        self.write_content(&mut writer);
        writer.into_octets()
    }

    fn write_content(&self, writer: &mut Writer) {
        self.room.write(writer);
        self.ledger.write(writer);
        self.seq.write(writer);
        self.chain.write(writer);
        self.epoch.write(writer);
        self.cipher_suite.write(writer);
    }
}

impl Encode for RoomHead {
    fn write(&self, writer: &mut Writer) {
        self.write_content(writer);
        self.signature.write(writer);
    }
}

impl Decode for RoomHead {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            room: Decode::decode(reader)?,
            ledger: Decode::decode(reader)?,
            seq: Decode::decode(reader)?,
            chain: Decode::decode(reader)?,
            epoch: Decode::decode(reader)?,
            cipher_suite: Decode::decode(reader)?,
            signature: Decode::decode(reader)?,
        })
    }
}

/// RoomHeadsRequest: where do these rooms stand?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHeadsRequest {
    /// At most [`limits::HEADS_MAX`].
    pub rooms: Vec<IdentifierUri>,
    /// 0 and 1: after the last entry. Else after the last whose number is a multiple of this, so that followers who ask at
    /// different times get heads that can be compared.
    pub step: u32,
}

impl Encode for RoomHeadsRequest {
    fn write(&self, writer: &mut Writer) {
        self.rooms.write(writer);
        self.step.write(writer);
    }
}

impl Decode for RoomHeadsRequest {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rooms: reader.list(limits::HEADS_MAX, "rooms", IdentifierUri::decode)?,
            step: Decode::decode(reader)?,
        })
    }
}

/// What a hub says of one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomHeadAnswer {
    /// This is its head.
    Head(RoomHead),
    /// There is no such room, or the asking provider has no participants in it: which of the two is not said.
    Unknown,
    /// The hub does not keep the entry any more, or the room has not come that far.
    NotKept,
}
// The discriminants on the wire.
const HEAD: u8 = 1;
const UNKNOWN: u8 = 2;
const NOT_KEPT: u8 = 3;

impl Encode for RoomHeadAnswer {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Head(head) => {
                HEAD.write(writer);
                head.write(writer);
            }
            Self::Unknown => UNKNOWN.write(writer),
            Self::NotKept => NOT_KEPT.write(writer),
        }
    }
}

impl Decode for RoomHeadAnswer {
    const LIST_MAX: usize = limits::HEADS_MAX;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            HEAD => RoomHead::decode(reader).map(Self::Head),
            UNKNOWN => Ok(Self::Unknown),
            NOT_KEPT => Ok(Self::NotKept),
            value => Err(DecodeError::Unknown {
                what: "answer about a room's head",
                value: value.into(),
            }),
        }
    }
}

/// RoomHeadsResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomHeadsResponse {
    /// One for each room, in the order in which they were asked for.
    pub answers: Vec<RoomHeadAnswer>,
}
wire!(RoomHeadsResponse { answers });

/// EntriesExpired: of a shard of the hub's ledger, entries that were due to the follower are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntriesExpired {
    /// The hub's ledger.
    pub ledger: [u8; 16],
    /// The shard, as the link names it.
    pub shard: u32,
}
wire!(EntriesExpired { ledger, shard });

codes!(
    /// How the entries are to be answered.
    RoomEventsForm, "form of a room's events" {
        /// FanoutMessages one after the other, as /notify carries them. Ends before an entry that is not like the first: one
        /// that is for others, which has no octets here, or one that is not.
        Messages = 1,
        /// Items of the link with their numbers and the chain, and a signed head.
        Items = 2,
    }
);

/// RoomEventsRequest: the entries of a room behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomEventsRequest {
    /// The number of the last entry that the follower has; 0: none.
    pub after_seq: u64,
    /// How many at most; 0, and more than the hub's own limit: that limit.
    pub max: u32,
    /// How they are answered.
    pub form: RoomEventsForm,
}
wire!(RoomEventsRequest { after_seq, max, form });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_1_what_is_signed_of_a_head_is_everything_but_its_signature_behind_a_label_of_its_own() {
        let head = RoomHead {
            room: IdentifierUri(Bytes::from_static(b"mimi://a.example/r/x")),
            ledger: [0x1e; 16],
            seq: 258,
            chain: [0xcc; 32],
            epoch: 3,
            cipher_suite: 1,
            signature: Bytes::from_static(b"sig"),
        };
        let content = [
            &[20][..],
            b"mimi://a.example/r/x",
            &[0x1e; 16],
            &258_u64.to_be_bytes(),
            &[0xcc; 32],
            &3_u64.to_be_bytes(),
            &[0, 1],
        ]
        .concat();
        assert_eq!(head.tbs(), [&[17][..], b"Nave RoomHead 1.0", &content].concat());
        assert_eq!(head.encode(), [&content[..], &[3], b"sig"].concat());
        assert_eq!(RoomHead::decode_exact(&head.encode()), Ok(head));
    }

    #[test]
    fn b_1_w_7_no_question_is_about_more_rooms_than_the_limit() {
        let request = |count| RoomHeadsRequest {
            rooms: vec![IdentifierUri(Bytes::from_static(b"mimi://a.example/r/x")); count],
            step: 0,
        };
        let most = request(limits::HEADS_MAX);
        assert_eq!(RoomHeadsRequest::decode_exact(&most.encode()), Ok(most));
        let more = RoomHeadsRequest::decode_exact(&request(limits::HEADS_MAX + 1).encode());
        assert!(matches!(more, Err(DecodeError::TooMuch { .. })));
    }
}
