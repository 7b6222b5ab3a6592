//! Keys, ranges of keys, and the versions of the database.

use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;
use std::ops::Range;

use crate::error::Error;
use crate::limits::KEY_OCTETS_MAX;

/// First octet that no user's key begins with: what is above belongs to the store.
pub(crate) const RESERVED: u8 = 0xff;

/// A state of the whole database: grows with every commit, never returns, survives restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a commit puts in the place of a versionstamp: 10 octets that sort in the order of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versionstamp(pub [u8; Self::OCTETS]);

impl Versionstamp {
    /// Length of every versionstamp, in octets.
    pub const OCTETS: usize = 10;

    /// The stamp of the transaction numbered `order` among those that share the commit version.
    pub fn new(version: Version, order: u16) -> Self {
        let mut octets = [0; Self::OCTETS];
        octets[..8].copy_from_slice(&version.0.to_be_bytes());
        octets[8..].copy_from_slice(&order.to_be_bytes());
        Self(octets)
    }
}

/// The keys from `begin` (included) to `end` (excluded). Empty when `begin >= end`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    pub begin: Bytes,
    pub end: Bytes,
}

impl KeyRange {
    /// The range of exactly one key.
    pub fn key(key: &[u8]) -> Self {
        Self {
            begin: Bytes::copy_from_slice(key),
            end: after(key),
        }
    }

    /// Every key that begins with `prefix`; all keys when it is empty.
    pub fn prefix(prefix: &[u8]) -> Self {
        let kept = prefix
            .iter()
            .rposition(|octet| *octet != 0xff)
            .map_or(0, |last| last + 1);
        let mut end = BytesMut::from(&prefix[..kept]);
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end.put_u8(RESERVED),
        }
        Self {
            begin: Bytes::copy_from_slice(prefix),
            end: end.freeze(),
        }
    }

    /// Whether no key lies in it.
    pub fn is_empty(&self) -> bool {
        self.begin >= self.end
    }

    /// Whether `key` lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.begin.as_ref() <= key && key < self.end.as_ref()
    }

    /// Whether some key lies in both.
    pub fn intersects(&self, other: &Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.begin < other.end && other.begin < self.end
    }

    /// If it holds exactly one key, that key.
    pub(crate) fn as_key(&self) -> Option<&Bytes> {
        let (last, rest) = self.end.split_last()?;
        (*last == 0 && rest == self.begin.as_ref()).then_some(&self.begin)
    }

    pub(crate) fn octets(&self) -> usize {
        self.begin.len() + self.end.len()
    }

    /// Refuses what no transaction may name: keys too long, or in the store's own part.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for bound in [&self.begin, &self.end] {
            // One octet more than a key: the end of a range of one longest key.
            if bound.len() > KEY_OCTETS_MAX + 1 {
                return Err(Error::KeyTooLarge {
                    octets: bound.len(),
                    max: KEY_OCTETS_MAX,
                });
            }
        }
        let legal = self.begin.first() != Some(&RESERVED) && self.end.as_ref() <= [RESERVED].as_slice();
        if legal { Ok(()) } else { Err(Error::IllegalKey) }
    }
}

impl<T: AsRef<[u8]>> From<Range<T>> for KeyRange {
    fn from(range: Range<T>) -> Self {
        Self {
            begin: Bytes::copy_from_slice(range.start.as_ref()),
            end: Bytes::copy_from_slice(range.end.as_ref()),
        }
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.begin, self.end)
    }
}

/// The first key after `key`.
pub(crate) fn after(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}

/// Refuses a key that is empty, too long or the store's own.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    match key.first() {
        None | Some(&RESERVED) => Err(Error::IllegalKey),
        Some(_) if key.len() > KEY_OCTETS_MAX => Err(Error::KeyTooLarge {
            octets: key.len(),
            max: KEY_OCTETS_MAX,
        }),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        assert_eq!(KeyRange::prefix(b"ab"), KeyRange::from(b"ab"..b"ac"));
        assert_eq!(
            KeyRange::prefix(b"a\xff\xff"),
            KeyRange::from(b"a\xff\xff".as_slice()..b"b".as_slice())
        );
        assert_eq!(
            KeyRange::prefix(b""),
            KeyRange::from(b"".as_slice()..b"\xff".as_slice())
        );
    }

    #[test]
    fn a_range_of_one_key_is_known_as_such() {
        assert_eq!(KeyRange::key(b"a").as_key().map(AsRef::as_ref), Some(b"a".as_slice()));
        assert_eq!(KeyRange::from(b"a"..b"b").as_key(), None);
        assert_eq!(KeyRange::from(b"a".as_slice()..b"b\0".as_slice()).as_key(), None);
    }

    #[test]
    fn stamps_sort_in_commit_order() {
        assert!(Versionstamp::new(Version(1), 7) < Versionstamp::new(Version(2), 0));
        assert!(Versionstamp::new(Version(255), 0) < Versionstamp::new(Version(256), 0));
        assert!(Versionstamp::new(Version(2), 0) < Versionstamp::new(Version(2), 1));
    }

    #[test]
    fn keys_outside_the_users_part_are_refused() {
        assert_eq!(check_key(b""), Err(Error::IllegalKey));
        assert_eq!(check_key(b"\xffa"), Err(Error::IllegalKey));
        assert_eq!(check_key(&[1; KEY_OCTETS_MAX]), Ok(()));
        assert!(matches!(
            check_key(&[1; KEY_OCTETS_MAX + 1]),
            Err(Error::KeyTooLarge { .. })
        ));
        assert_eq!(KeyRange::key(&[1; KEY_OCTETS_MAX]).check(), Ok(()));
        assert_eq!(
            KeyRange::from(b"a".as_slice()..b"\xff\0".as_slice()).check(),
            Err(Error::IllegalKey)
        );
    }
}
