#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use std::time::Duration;

use super::*;

fn key(octet: u8) -> KeyRange {
    KeyRange::key(&[octet])
}

fn between(begin: u8, end: u8) -> KeyRange {
    KeyRange::from([begin]..[end])
}

#[test]
fn only_later_writes_into_what_was_read_conflict() {
    let mut resolver = Resolver::new(Version(0));
    let now = Instant::now();
    resolver.remember(Version(1), now, [key(b'a')]);
    resolver.remember(Version(2), now, [between(b'd', b'g')]);
    assert_eq!(resolver.check(Version(0), &[key(b'a')]), Err(Error::Conflict));
    assert_eq!(
        resolver.check(Version(1), &[key(b'a'), key(b'c'), key(b'g'), between(b'a', b'd')]),
        Ok(())
    );
    assert_eq!(
        resolver.check(Version(1), &[key(b'c'), key(b'f')]),
        Err(Error::Conflict)
    );
    assert_eq!(resolver.check(Version(2), &[between(b'a', b'z')]), Ok(()));
}

#[test]
fn what_is_forgotten_makes_older_transactions_too_old() {
    let mut resolver = Resolver::new(Version(0));
    let start = Instant::now();
    resolver.remember(Version(1), start, [key(b'a')]);
    resolver.remember(Version(2), start + Duration::from_secs(3), [key(b'b')]);
    resolver.forget(start + TRANSACTION_AGE_MAX);
    assert_eq!(resolver.check(Version(0), &[key(b'c')]), Ok(()));
    resolver.forget(start + TRANSACTION_AGE_MAX + Duration::from_millis(1));
    assert_eq!(resolver.check(Version(0), &[key(b'c')]), Err(Error::TooOld));
    assert_eq!(resolver.check(Version(0), &[]), Ok(()));
    assert_eq!(resolver.check(Version(1), &[key(b'a')]), Ok(()));
    assert_eq!(resolver.check(Version(1), &[key(b'b')]), Err(Error::Conflict));
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut resolver = Resolver::new(Version(0));
    let now = Instant::now();
    let each = 1_000_u32;
    let commits = 2 * u32::try_from(REMEMBERED_KEYS_MAX).unwrap() / each;
    for commit in 0..commits {
        let names = (0..each).map(|name| KeyRange::key(&(commit * each + name).to_be_bytes()));
        resolver.remember(Version(u64::from(commit) + 1), now, names);
        resolver.forget(now);
    }
    assert!(resolver.keys.len() <= REMEMBERED_KEYS_MAX);
    assert_eq!(resolver.keys.len(), resolver.remembered_keys);
    assert_eq!(resolver.check(Version(1), &[key(b'a')]), Err(Error::TooOld));
    assert_eq!(resolver.check(Version(u64::from(commits)), &[key(b'a')]), Ok(()));
    resolver.forget(now + TRANSACTION_AGE_MAX * 2);
    assert_eq!(
        (
            resolver.keys.len(),
            resolver.remembered_keys,
            resolver.remembered_octets
        ),
        (0, 0, 0)
    );
}

#[test]
fn forgotten_ranges_take_no_memory() {
    let mut resolver = Resolver::new(Version(0));
    let start = Instant::now();
    for version in 1..1_000_u64 {
        let at = start + Duration::from_millis(version * 100);
        let begin = version.to_be_bytes().to_vec();
        resolver.forget(at);
        resolver.remember(
            Version(version),
            at,
            [KeyRange::from(begin.clone()..[begin, vec![9]].concat())],
        );
    }
    assert!(resolver.steps.len() < 400, "{} steps", resolver.steps.len());
}

/// A commit: its writes as octet ranges, and how long after the one before it came.
type Written = (Vec<(u8, u8)>, u16);

/// Single octets as often as ranges of them.
fn range() -> impl Strategy<Value = (u8, u8)> {
    (0..12_u8, prop_oneof![Just(1_u8), 1..6_u8]).prop_map(|(begin, length)| (begin, begin + length))
}

/// One octet as the one key, several as the range, so that both maps of the resolver are used.
fn named((begin, end): (u8, u8)) -> KeyRange {
    if end == begin + 1 {
        key(begin)
    } else {
        between(begin, end)
    }
}

proptest! {
    #[test]
    fn answers_as_a_list_of_all_writes_would(
        commits in prop::collection::vec((prop::collection::vec(range(), 0..4), 0..1_500_u16), 1..30),
        reads in prop::collection::vec((range(), 0..31_u64), 1..20),
    ) {
        let mut resolver = Resolver::new(Version(0));
        let mut now = Instant::now();
        let mut at = Vec::new();
        for (index, (writes, pause)) in commits.iter().enumerate() {
            now += Duration::from_millis(u64::from(*pause));
            at.push(now);
            resolver.forget(now);
            resolver.remember(Version(index as u64 + 1), now, writes.iter().copied().map(named));
        }
        let forgotten = at.iter().filter(|at| now - **at > TRANSACTION_AGE_MAX).count() as u64;
        for (read, version) in reads {
            let expected = naive(&commits, forgotten, read, version);
            prop_assert_eq!(resolver.check(Version(version), &[named(read)]), expected, "{:?} at {}", read, version);
        }
    }
}

fn naive(commits: &[Written], forgotten: u64, read: (u8, u8), version: u64) -> Result<(), Error> {
    if version < forgotten {
        return Err(Error::TooOld);
    }
    let read = named(read);
    let later = commits.iter().skip(usize::try_from(version).unwrap());
    let conflicts = later
        .flat_map(|(writes, _)| writes)
        .any(|written| named(*written).intersects(&read));
    if conflicts { Err(Error::Conflict) } else { Ok(()) }
}
