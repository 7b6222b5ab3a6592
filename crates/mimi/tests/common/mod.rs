//! Samples of every decodable value, small enough that thousands are made in a moment.
#![allow(clippy::unwrap_used, dead_code, reason = "tests, of which each uses a part")]

pub(crate) mod catch_up;
pub(crate) mod content;
pub(crate) mod mls;
pub(crate) mod policies;
pub(crate) mod requests;
pub(crate) mod values;

use bytes::Bytes;
use proptest::prelude::*;

pub(crate) fn octets() -> impl Strategy<Value = Bytes> + Clone {
    prop::collection::vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

/// Something done to octets on their way.
#[derive(Debug, Clone)]
pub(crate) enum Harm {
    Replace(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
    Append(u8),
}

pub(crate) fn harm() -> impl Strategy<Value = Vec<Harm>> {
    let index = any::<prop::sample::Index>;
    // Small numbers are counts, codes and flags: where the structure is.
    let octet = || prop_oneof![0u8..5, any::<u8>()];
    prop::collection::vec(
        prop_oneof![
            4 => (index(), octet()).prop_map(|(at, octet)| Harm::Replace(at, octet)),
            1 => (index(), octet()).prop_map(|(at, octet)| Harm::Insert(at, octet)),
            1 => index().prop_map(Harm::Remove),
            1 => index().prop_map(Harm::Truncate),
            1 => octet().prop_map(Harm::Append),
        ],
        0..4,
    )
}

pub(crate) fn harmed(mut octets: Vec<u8>, harms: &[Harm]) -> Vec<u8> {
    for harm in harms {
        match harm {
            Harm::Append(octet) => octets.push(*octet),
            _ if octets.is_empty() => {}
            Harm::Replace(at, octet) => {
                let at = at.index(octets.len());
                octets[at] = *octet;
            }
            Harm::Insert(at, octet) => octets.insert(at.index(octets.len()), *octet),
            Harm::Remove(at) => {
                octets.remove(at.index(octets.len()));
            }
            Harm::Truncate(at) => octets.truncate(at.index(octets.len())),
        }
    }
    octets
}
