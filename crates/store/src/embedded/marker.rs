//! The commit marker: written in the same atomic batch as each group, it says what the group was, so that opening a
//! directory can tell a whole last group from a damaged one.

use bytes::{Buf, BufMut, Bytes};
use sha2::{Digest, Sha256};

use super::engine::{Changes, EngineError};
use crate::key::Version;
use crate::limits::MARKER_KEYS_MAX;

/// Where the marker lies: above every key that a user may have.
pub(crate) const MARKER_KEY: &[u8] = b"\xffmarker";

const FORMAT: u8 = 1;
const CHECKSUM_OCTETS: usize = 8;
/// Rows above this are not sampled, so that hashing the sample costs microseconds.
const SAMPLED_ROW_OCTETS_MAX: usize = 1_024;

/// What the last group was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) version: Version,
    /// How many rows the group changed.
    pub(crate) changes: u32,
    /// Some of the changed keys, spread evenly.
    pub(crate) sample: Vec<Bytes>,
    /// Hash of the sampled keys with their new values.
    pub(crate) digest: [u8; 32],
}

impl Marker {
    /// The marker of a group.
    pub(crate) fn of(version: Version, changes: &Changes) -> Self {
        let stride = changes.len().div_ceil(MARKER_KEYS_MAX).max(1);
        let sampled: Vec<_> = changes
            .iter()
            .step_by(stride)
            .filter(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len) <= SAMPLED_ROW_OCTETS_MAX)
            .collect();
        let digest = digest(sampled.iter().map(|(key, value)| (*key, value.as_ref())));
        let sample = sampled.into_iter().map(|(key, _)| key.clone()).collect();
        Self {
            version,
            changes: u32::try_from(changes.len()).unwrap_or(u32::MAX),
            sample,
            digest,
        }
    }

    /// Whether the sampled keys still have the values that the group gave them.
    pub(crate) fn matches(
        &self,
        mut read: impl FnMut(&[u8]) -> Result<Option<Bytes>, EngineError>,
    ) -> Result<bool, EngineError> {
        let mut values = Vec::with_capacity(self.sample.len());
        for key in &self.sample {
            values.push(read(key)?);
        }
        Ok(digest(self.sample.iter().zip(values.iter().map(Option::as_ref))) == self.digest)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        octets.put_u8(FORMAT);
        octets.put_u64(self.version.0);
        octets.put_u32(self.changes);
        octets.put_slice(&self.digest);
        octets.put_u8(u8::try_from(self.sample.len()).expect("MARKER_KEYS_MAX is below 256"));
        for key in &self.sample {
            octets.put_u16(u16::try_from(key.len()).expect("KEY_OCTETS_MAX is below 65,536"));
            octets.put_slice(key);
        }
        octets.put_slice(&checksum(&octets.clone()));
        octets
    }

    /// `None` if these are not the octets of a marker.
    pub(crate) fn decode(octets: &[u8]) -> Option<Self> {
        let (mut rest, sum) = octets.split_at_checked(octets.len().checked_sub(CHECKSUM_OCTETS)?)?;
        if checksum(rest) != sum || rest.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let version = Version(rest.try_get_u64().ok()?);
        let changes = rest.try_get_u32().ok()?;
        let mut digest = [0; 32];
        rest.try_copy_to_slice(&mut digest).ok()?;
        let mut sample = Vec::new();
        for _ in 0..rest.try_get_u8().ok()? {
            let length = usize::from(rest.try_get_u16().ok()?);
            let (key, behind) = rest.split_at_checked(length)?;
            sample.push(Bytes::copy_from_slice(key));
            rest = behind;
        }
        rest.is_empty().then_some(Self {
            version,
            changes,
            sample,
            digest,
        })
    }
}

/// A checksum against damage (not against an adversary, who could write a whole store).
pub(crate) fn checksum(octets: &[u8]) -> [u8; CHECKSUM_OCTETS] {
    let hash: [u8; 32] = Sha256::digest(octets).into();
    let mut sum = [0; CHECKSUM_OCTETS];
    sum.copy_from_slice(&hash[..CHECKSUM_OCTETS]);
    sum
}

fn digest<'a>(rows: impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>)>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (key, value) in rows {
        hash.update((key.len() as u64).to_be_bytes());
        hash.update(key);
        match value {
            None => hash.update([0]),
            Some(value) => {
                hash.update([1]);
                hash.update((value.len() as u64).to_be_bytes());
                hash.update(value);
            }
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn marker(count: u8) -> (Marker, Changes) {
        let changes: Changes = (0..count)
            .map(|n| (Bytes::from(vec![b'k', n]), (n % 3 > 0).then(|| Bytes::from(vec![n; 9]))))
            .collect();
        (Marker::of(Version(7), &changes), changes)
    }

    #[test]
    fn a_marker_survives_its_encoding() {
        for count in [0, 1, 15, 16, 17, 200] {
            let (marker, _) = marker(count);
            assert_eq!(Marker::decode(&marker.encode()), Some(marker));
        }
    }

    #[test]
    fn the_format_of_the_marker_is_fixed() {
        let changes = Changes::from([(Bytes::from_static(b"a"), Some(Bytes::from_static(b"1")))]);
        assert_eq!(
            hex(&Marker::of(Version(258), &changes).encode()),
            include_str!("marker.golden").trim()
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let octets = marker(20).0.encode();
        for at in 0..octets.len() * 8 {
            let mut damaged = octets.clone();
            damaged[at / 8] ^= 1 << (at % 8);
            assert_eq!(Marker::decode(&damaged), None, "bit {at}");
        }
        for length in 0..octets.len() {
            assert_eq!(Marker::decode(&octets[..length]), None);
        }
    }

    #[test]
    fn a_missing_or_changed_row_of_the_last_group_is_noticed() {
        let (marker, changes) = marker(16);
        assert!(marker.matches(|key| Ok(changes[key].clone())).unwrap());
        for lost in changes.keys() {
            let damaged = |key: &[u8]| {
                Ok(if key == lost {
                    Some(Bytes::new())
                } else {
                    changes[key].clone()
                })
            };
            assert!(!marker.matches(damaged).unwrap());
        }
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}
