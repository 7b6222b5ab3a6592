//! Beat and fence rows. Each value begins with the version of its format.
//!
//! | key | value |
//! |---|---|
//! | `F` shard (u32) | 01, term (u64), owner: 00, or 01 and 16 octets of incarnation |
//! | `B` incarnation (16 octets) | 02, count (u64), lease in milliseconds (u32), leaving (u8: 0 or 1), weight (u32), zone, address, wall clock in milliseconds since the UNIX epoch (u64), unfit (u8: 0 or 1) |
//!
//! Integers are big-endian; texts are UTF-8 behind their length (u8). A beat of version 1, which is read too, ends with the
//! address.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use route::ShardId;
use store::KeyRange;

use crate::site::Site;

const VERSION: u8 = 1;
/// A beat that says what its node's wall clock says.
const VERSION_CLOCK: u8 = 2;

/// Names one life of a node's process: random, new at each start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}

/// How often a shard was taken over; the owner of a higher term is the owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// Who may write to a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fence {
    pub(crate) term: Term,
    /// `None`: resigned.
    pub(crate) owner: Option<Incarnation>,
}

/// A sign of life, and what the node says of itself. That it changes is all that says whether the node lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) count: u64,
    /// How long it may stay unchanged.
    pub(crate) lease: Duration,
    pub(crate) leaving: bool,
    pub(crate) site: Site,
    /// `None`: of a node whose release does not tell.
    pub(crate) clock: Option<Reading>,
}

/// What a node says of its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// When the beat was written, in milliseconds since the UNIX epoch.
    pub(crate) wall_ms: u64,
    /// The node takes no shards, because its clock is off or has not been compared yet.
    pub(crate) unfit: bool,
}

/// Octets under a key of ours that no release of ours wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadRow;

pub(crate) fn fence_key(shard: ShardId) -> Vec<u8> {
    [&b"F"[..], &shard.0.to_be_bytes()].concat()
}

/// All fences.
pub(crate) fn fence_keys() -> KeyRange {
    KeyRange::prefix(b"F")
}

pub(crate) fn fence_of(key: &[u8]) -> Option<ShardId> {
    let shard = key.strip_prefix(b"F")?.try_into().ok()?;
    Some(ShardId(u32::from_be_bytes(shard)))
}

pub(crate) fn beat_key(incarnation: Incarnation) -> Vec<u8> {
    [&b"B"[..], &incarnation.0].concat()
}

/// All beats.
pub(crate) fn beat_keys() -> KeyRange {
    KeyRange::prefix(b"B")
}

pub(crate) fn beat_of(key: &[u8]) -> Option<Incarnation> {
    key.strip_prefix(b"B")?.try_into().ok().map(Incarnation)
}

impl Fence {
    pub(crate) fn encode(&self) -> Bytes {
        let mut octets = vec![VERSION];
        octets.extend_from_slice(&self.term.0.to_be_bytes());
        octets.push(u8::from(self.owner.is_some()));
        octets.extend(self.owner.iter().flat_map(|owner| owner.0));
        octets.into()
    }

    pub(crate) fn decode(octets: &[u8]) -> Result<Self, BadRow> {
        let (&[VERSION], rest) = octets.split_first_chunk().ok_or(BadRow)? else {
            return Err(BadRow);
        };
        let (term, rest) = rest.split_first_chunk().ok_or(BadRow)?;
        let owner = match rest.split_first().ok_or(BadRow)? {
            (0, []) => None,
            (1, owner) => Some(Incarnation(owner.try_into().map_err(|_| BadRow)?)),
            _ => return Err(BadRow),
        };
        Ok(Self {
            term: Term(u64::from_be_bytes(*term)),
            owner,
        })
    }
}

impl Beat {
    pub(crate) fn encode(&self) -> Bytes {
        let lease_ms = u32::try_from(self.lease.as_millis()).unwrap_or(u32::MAX);
        let mut octets = vec![if self.clock.is_some() { VERSION_CLOCK } else { VERSION }];
        octets.extend_from_slice(&self.count.to_be_bytes());
        octets.extend_from_slice(&lease_ms.to_be_bytes());
        octets.push(u8::from(self.leaving));
        octets.extend_from_slice(&self.site.weight().to_be_bytes());
        for text in [self.site.zone(), self.site.address()] {
            octets.push(u8::try_from(text.len()).expect("a site's texts have at most 255 octets"));
            octets.extend_from_slice(text.as_bytes());
        }
        if let Some(Reading { wall_ms, unfit }) = self.clock {
            octets.extend_from_slice(&wall_ms.to_be_bytes());
            octets.push(u8::from(unfit));
        }
        octets.into()
    }

    pub(crate) fn decode(octets: &[u8]) -> Result<Self, BadRow> {
        let (&[version @ (VERSION | VERSION_CLOCK)], rest) = octets.split_first_chunk().ok_or(BadRow)? else {
            return Err(BadRow);
        };
        let (count, rest) = rest.split_first_chunk().ok_or(BadRow)?;
        let (lease_ms, rest) = rest.split_first_chunk().ok_or(BadRow)?;
        let (&[leaving @ (0 | 1)], rest) = rest.split_first_chunk().ok_or(BadRow)? else {
            return Err(BadRow);
        };
        let (weight, rest) = rest.split_first_chunk().ok_or(BadRow)?;
        let (zone, rest) = text(rest)?;
        let (address, rest) = text(rest)?;
        let clock = match (version, rest) {
            (VERSION, []) => None,
            (VERSION_CLOCK, [wall_ms @ .., unfit @ (0 | 1)]) => Some(Reading {
                wall_ms: u64::from_be_bytes(wall_ms.try_into().map_err(|_| BadRow)?),
                unfit: *unfit == 1,
            }),
            _ => return Err(BadRow),
        };
        Ok(Self {
            count: u64::from_be_bytes(*count),
            lease: Duration::from_millis(u32::from_be_bytes(*lease_ms).into()),
            leaving: leaving == 1,
            site: Site::new(address, zone, u32::from_be_bytes(*weight)).map_err(|_| BadRow)?,
            clock,
        })
    }
}

fn text(octets: &[u8]) -> Result<(&str, &[u8]), BadRow> {
    let (length, rest) = octets.split_first().ok_or(BadRow)?;
    let (text, rest) = rest.split_at_checked((*length).into()).ok_or(BadRow)?;
    Ok((std::str::from_utf8(text).map_err(|_| BadRow)?, rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_version_of_each_row_stays_as_it_was_released() {
        let owned = Fence {
            term: Term(0x0102),
            owner: Some(Incarnation(*b"0123456789abcdef")),
        };
        assert_eq!(owned.encode(), &b"\x01\0\0\0\0\0\0\x01\x02\x010123456789abcdef"[..]);
        let free = Fence {
            term: Term(7),
            owner: None,
        };
        assert_eq!(free.encode(), &b"\x01\0\0\0\0\0\0\0\x07\0"[..]);
        let beat = Beat {
            count: 3,
            lease: Duration::from_secs(3),
            leaving: true,
            site: Site::new("hub-1:7000", "east", 5).unwrap(),
            clock: None,
        };
        let compared = Beat {
            clock: Some(Reading {
                wall_ms: 0x0102,
                unfit: true,
            }),
            ..beat.clone()
        };
        assert_eq!(
            beat.encode(),
            &b"\x01\0\0\0\0\0\0\0\x03\0\0\x0b\xb8\x01\0\0\0\x05\x04east\x0ahub-1:7000"[..]
        );
        assert_eq!(
            compared.encode(),
            &b"\x02\0\0\0\0\0\0\0\x03\0\0\x0b\xb8\x01\0\0\0\x05\x04east\x0ahub-1:7000\0\0\0\0\0\0\x01\x02\x01"[..]
        );
        assert_eq!(fence_key(ShardId(258)), b"F\0\0\x01\x02");
        assert_eq!(beat_key(Incarnation(*b"0123456789abcdef")), b"B0123456789abcdef");
        assert_eq!(fence_of(b"F\0\0\x01\x02"), Some(ShardId(258)));
        assert_eq!(Fence::decode(&owned.encode()), Ok(owned));
        assert_eq!(Fence::decode(&free.encode()), Ok(free));
        assert_eq!(Beat::decode(&beat.encode()), Ok(beat));
        assert_eq!(Beat::decode(&compared.encode()), Ok(compared));
    }

    fn suspicious() -> impl Strategy<Value = Vec<u8>> {
        let small = proptest::collection::vec(0..3_u8, 0..30);
        let begun = (1..4_u8, small.clone()).prop_map(|(version, rest)| {
            [&[version], &b"\0\0\0\0\0\0\0\x03\0\0\x0b\xb8\0\0\0\0\x01"[..], &rest].concat()
        });
        prop_oneof![small, begun]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn octets_that_decode_are_what_encodes_again(octets in suspicious()) {
            if let Ok(fence) = Fence::decode(&octets) {
                prop_assert_eq!(&fence.encode()[..], &octets[..]);
            }
            if let Ok(beat) = Beat::decode(&octets) {
                prop_assert_eq!(&beat.encode()[..], &octets[..]);
            }
        }
    }
}
