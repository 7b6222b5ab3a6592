//! Tests of every key and value format: the octets of each release stay readable, round trips lose nothing, and octets
//! from anywhere never panic.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use bytes::Bytes;
use mimi::{Provider, RoomUri, UserUri};
use proptest::collection::vec;
use proptest::prelude::*;
use room::{AnswerKind, Chain, Digest, EntryKind, Epoch, Millis, Recipient, Recipients, Row, RowId, Seq, Shown};
use route::{ShardId, Shards};

use crate::abuse::CaseId;
use crate::cursor::{Cursor, FollowerId};
use crate::keys::{self, Generation};
use crate::records::{self, Tail};
use crate::ties::{Claim, Due, Membership};
use crate::value::{self, Reference, Value};
use crate::{LedgerId, LogEntry, Offset, SetAside, SetId, rows, set_aside};

fn room() -> RoomUri {
    "mimi://a.example/r/x".parse().unwrap()
}

fn sample_rows() -> Vec<(RowId, Row)> {
    let octets = Bytes::from_static;
    let provider: Provider = "b.example".parse().unwrap();
    let user: UserUri = "mimi://a.example/u/al".parse().unwrap();
    vec![
        (
            RowId::Head,
            Row::Head {
                seq: Seq(300),
                epoch: Epoch(2),
                accepted: Millis(1_000),
                chain: Chain([0xcc; 32]),
                snapshot: Epoch(1),
            },
        ),
        (
            RowId::Snapshot(Epoch(2)),
            Row::Snapshot {
                state: octets(b"state"),
            },
        ),
        (
            RowId::Delta(Epoch(3)),
            Row::Delta {
                commit: octets(b"commit"),
                staged: octets(b"staged"),
            },
        ),
        (
            RowId::Dictionary(Digest([0xdd; 32])),
            Row::Dictionary {
                octets: octets(b"dict"),
            },
        ),
        (
            RowId::Pending(258),
            Row::Pending {
                from: provider.clone(),
                accepted: Millis(7),
                proposals: vec![octets(b"p"), octets(b"q")],
                queued: octets(b"queued"),
            },
        ),
        (RowId::Blocked(user.clone()), Row::Blocked),
        (RowId::Leaving(user.clone()), Row::Leaving),
        (
            RowId::Frozen,
            Row::Frozen {
                successor: octets(b"next"),
            },
        ),
        (
            RowId::GroupInfo,
            Row::GroupInfo {
                group_info: octets(b"info"),
            },
        ),
        (
            RowId::Route(octets(b"\x00ref\xff")),
            Row::Route {
                provider: provider.clone(),
                expires: Millis(9),
            },
        ),
        (
            RowId::Answer(Digest([0xee; 32])),
            Row::Answer {
                kind: AnswerKind::Submit,
                accepted: Millis(5),
                answer: octets(b"answer"),
            },
        ),
        (RowId::Follower(provider), Row::Follower { since: Seq(12) }),
        (
            RowId::Grant(user.clone()),
            Row::Grant {
                code: Digest([0xc0; 32]),
                key: octets(b"key"),
            },
        ),
        (RowId::Orphan(user), Row::Orphan),
        (RowId::Over, Row::Over),
    ]
}

fn sample_due() -> Due {
    Due {
        parent: Some("mimi://a.example/r/y".parse().unwrap()),
        because: room(),
        seq: Seq(300),
    }
}

fn sample_claims() -> [Claim; 2] {
    [None, Some((3, 1))].map(|opened| Claim { room: room(), opened })
}

fn case() -> CaseId {
    CaseId::new(Millis(300), &Digest([0xca; 32]))
}

fn sample_entry() -> LogEntry {
    LogEntry {
        offset: Offset(0),
        room: room(),
        seq: Seq(300),
        kind: EntryKind::Welcome,
        accepted: Millis(1_000),
        epoch: Epoch(2),
        message: Bytes::from_static(b"message"),
        chain: Chain([0xcc; 32]),
        set: SetId([0x5e; 16]),
        recipients: std::sync::Arc::default(),
    }
}

const GENERATION: Generation = Generation { term: 3, number: 258 };

fn golden(what: &str, octets: &[u8]) -> String {
    format!("{what} {}", hex::encode(octets))
}

#[test]
fn version_1_of_each_value_stays_as_it_was_released() {
    let mut found: Vec<String> = sample_rows()
        .iter()
        .map(|(id, row)| golden(format!("{id:?}").split(['(', ' ']).next().unwrap(), &rows::encode(row)))
        .collect();
    let reference = Reference::to(b"octets", GENERATION);
    let entry = sample_entry();
    let recipient = |name: &str, shown, first| Recipient {
        provider: name.parse().unwrap(),
        shown,
        first,
    };
    let set = Recipients(vec![
        recipient("a.example", Shown::Message, true),
        recipient("b.example", Shown::Digest, false),
    ]);
    let mut cursor = Cursor::at(Offset(300));
    cursor.set_aside(Offset(302)).unwrap();
    cursor.set_aside(Offset(310)).unwrap();
    let mut expired = Cursor::at(Offset(4));
    expired.expired = true;
    let tail = Tail {
        term: 3,
        opening: 1,
        batch: 300,
        next: Offset(5),
    };
    let provider = "b.example".parse().unwrap();
    found.extend([
        golden("reference", &reference.encode()),
        golden("ledger", &records::encode_ledger(LedgerId(*b"0123456789abcdef"))),
        golden(
            "shards",
            &records::encode_shards(&Shards::new(16, *b"0123456789abcdef").unwrap()),
        ),
        golden("tail", &records::encode_tail(&tail)),
        golden("tail-start", &records::encode_offset(Offset(300))),
        golden("entry", &records::encode_entry(&entry, None)),
        golden("large-entry", &records::encode_entry(&entry, Some(&reference))),
        golden("set", &records::encode_set(&set).1),
        golden("set-name", &records::encode_set(&set).0.0),
        golden("follower", &records::encode_follower(&provider)),
        golden("follower-number", &records::encode_follower_id(FollowerId(513))),
        golden(
            "cursors",
            &records::encode_cursors([(0, &cursor), (511, &expired)].into_iter()),
        ),
        golden(
            "index",
            &records::encode_index(&[Offset(300), Offset(301), Offset(1_000)]),
        ),
        golden("set-aside", &set_aside::encode(&sample_set_aside())),
        golden("paused", &set_aside::encode_paused()),
        golden("due", &sample_due().encode()),
        golden("claim-held", &sample_claims()[0].encode()),
        golden("claim", &sample_claims()[1].encode()),
    ]);
    assert_eq!(found.join("\n"), include_str!("values.golden").trim());
}

fn sample_set_aside() -> SetAside {
    SetAside {
        follower: "b.example".parse().unwrap(),
        offset: Offset(300),
        room: room(),
        seq: Seq(12),
        status: 413,
        reason: "too large".to_owned(),
        tries: 5,
    }
}

#[test]
fn what_was_set_aside_is_read_as_it_was_written() {
    let aside = sample_set_aside();
    let read = |octets: &Bytes| set_aside::decode(&aside.follower, aside.offset, octets);
    assert_eq!(read(&set_aside::encode(&aside)), Ok(aside.clone()));
    let talkative = SetAside {
        reason: "ä".repeat(1_000),
        ..aside.clone()
    };
    let kept = read(&set_aside::encode(&talkative)).unwrap().reason;
    assert_eq!(kept.chars().count(), SetAside::REASON_CHARS_MAX);
}

#[test]
fn each_key_stays_as_it_was_released() {
    let (shard, room) = (ShardId(258), room());
    let provider = "b.example".parse().unwrap();
    let range = |range: store::KeyRange| [&range.begin[..], b"..", &range.end[..]].concat();
    let mut found: Vec<String> = sample_rows()
        .iter()
        .map(|(id, _)| golden("row", &keys::row(shard, &room, id)))
        .collect();
    let user = RowId::Blocked("mimi://a.example/u/al".parse().unwrap());
    found.extend([
        golden("ledger", keys::LEDGER),
        golden("shards", keys::SHARDS),
        golden("abuse-count", keys::ABUSE_COUNT),
        golden("abuse-case", &keys::abuse_case(case())),
        golden("abuse-part", &keys::part(&keys::abuse_parts(case()), 1)),
        golden("abuse-mark", &keys::abuse_mark(&Digest([0x3a; 32]))),
        golden("interval", &keys::interval(Millis(300))),
        golden("membership", &keys::membership(&Membership(Digest([0x3e; 32])))),
        golden("child", &keys::child(&room, &"mimi://a.example/r/y".parse().unwrap())),
        golden("due", &keys::due(&room)),
        golden("tail", &keys::tail(shard)),
        golden("tail-start", &keys::tail_start(shard)),
        golden("trimmed", &keys::trimmed(shard)),
        golden("log", &keys::log(shard, Offset(300))),
        golden("log-from", &range(keys::log_from(shard, Offset(300)))),
        golden("set", &keys::part(&keys::set(shard, SetId([0x5e; 16])), 1)),
        golden("follower", &keys::follower(shard, FollowerId(513))),
        golden("follower-name", &keys::follower_name(shard, &provider)),
        golden(
            "cursors",
            &keys::part(&keys::cursor_chunk(shard, FollowerId(513).chunk()), 0),
        ),
        golden("index", &keys::index(shard, FollowerId(513), Offset(300))),
        golden(
            "index-from",
            &range(keys::index_from(shard, FollowerId(513), Offset(300))),
        ),
        golden("set-aside", &keys::set_aside(shard, FollowerId(513), Offset(300))),
        golden("all-set-aside", &range(keys::all_set_aside(shard, FollowerId(513)))),
        golden(
            "set-aside-below",
            &range(keys::set_aside_below(shard, FollowerId(513), Offset(300))),
        ),
        golden(
            "set-aside-from",
            &range(keys::set_aside_from(shard, FollowerId(513), Offset(300))),
        ),
        golden("set-aside-in", &range(keys::set_aside_in(shard))),
        golden("paused", &keys::paused(shard, &provider)),
        golden("all-paused", &range(keys::all_paused(shard))),
        golden("room-index", &keys::room_index(shard, &room, Seq(300))),
        golden("room-index-from", &range(keys::room_index_from(shard, &room, Seq(300)))),
        golden(
            "index-below",
            &range(keys::index_below(shard, FollowerId(513), Offset(300))),
        ),
        golden(
            "room-index-below",
            &range(keys::room_index_below(shard, &room, Seq(300))),
        ),
        golden("rows", &range(keys::rows(shard, &room))),
        golden(
            "row-blobs-before",
            &range(keys::row_blobs_before(shard, &room, &user, GENERATION)),
        ),
        golden(
            "row-blob",
            &keys::part(&keys::row_blob(shard, &room, &user, GENERATION), 1),
        ),
        golden(
            "entry-blob",
            &keys::part(&keys::entry_blob(shard, &room, Seq(300), GENERATION), 1),
        ),
        golden(
            "entry-blobs-from",
            &range(keys::entry_blobs_from(shard, &room, Seq(300))),
        ),
    ]);
    assert_eq!(found.join("\n"), include_str!("keys.golden").trim());
}

#[test]
fn a_value_of_a_later_release_is_told_from_ours() {
    for first in (0..=255_u8).filter(|first| ![0x01, 0x81].contains(first)) {
        let octets = Bytes::from(vec![first, 0, 0]);
        assert!(Value::parse(octets.clone()).is_err());
        assert!(rows::decode(&RowId::Frozen, &octets).is_err());
    }
    assert!(Value::parse(Bytes::new()).is_err());
}

#[test]
fn every_row_id_has_its_own_key_and_no_key_begins_another() {
    let keys: BTreeSet<Vec<u8>> = sample_rows()
        .iter()
        .map(|(id, _)| keys::row(ShardId(0), &room(), id))
        .collect();
    assert_eq!(keys.len(), sample_rows().len());
    for one in &keys {
        assert!(keys.iter().all(|other| one == other || !other.starts_with(one)));
    }
}

fn octets() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

/// A KeyPackageRef is a hash (RFC 9420 §5.2): one of another length would begin with it, and its key with the other's.
fn key_package_ref() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 32).prop_map(Bytes::from)
}

fn provider() -> impl Strategy<Value = Provider> {
    "[a-z]{1,8}\\.example".prop_map(|name| name.parse().unwrap())
}

fn user() -> impl Strategy<Value = UserUri> {
    "mimi://[a-z]{1,8}\\.example/u/[a-z0-9]{1,9}".prop_map(|name| name.parse().unwrap())
}

fn row() -> impl Strategy<Value = (RowId, Row)> {
    let millis = || any::<u64>().prop_map(Millis);
    let digest = || any::<[u8; 32]>().prop_map(Digest);
    let epoch = || any::<u64>().prop_map(Epoch);
    prop_oneof![
        (any::<[u64; 4]>(), any::<[u8; 32]>()).prop_map(|([seq, epoch, accepted, snapshot], chain)| (
            RowId::Head,
            Row::Head {
                seq: Seq(seq),
                epoch: Epoch(epoch),
                accepted: Millis(accepted),
                chain: Chain(chain),
                snapshot: Epoch(snapshot),
            }
        )),
        (epoch(), octets()).prop_map(|(epoch, state)| (RowId::Snapshot(epoch), Row::Snapshot { state })),
        (epoch(), octets(), octets())
            .prop_map(|(epoch, commit, staged)| (RowId::Delta(epoch), Row::Delta { commit, staged })),
        (digest(), octets()).prop_map(|(digest, octets)| (RowId::Dictionary(digest), Row::Dictionary { octets })),
        (any::<u32>(), provider(), millis(), vec(octets(), 0..3), octets()).prop_map(
            |(n, from, accepted, proposals, queued)| (
                RowId::Pending(n),
                Row::Pending {
                    from,
                    accepted,
                    proposals,
                    queued
                }
            )
        ),
        user().prop_map(|user| (RowId::Blocked(user), Row::Blocked)),
        user().prop_map(|user| (RowId::Leaving(user), Row::Leaving)),
        user().prop_map(|user| (RowId::Orphan(user), Row::Orphan)),
        Just((RowId::Over, Row::Over)),
        octets().prop_map(|successor| (RowId::Frozen, Row::Frozen { successor })),
        octets().prop_map(|group_info| (RowId::GroupInfo, Row::GroupInfo { group_info })),
        (key_package_ref(), provider(), millis())
            .prop_map(|(key_package, provider, expires)| (RowId::Route(key_package), Row::Route { provider, expires })),
        (digest(), any::<bool>(), millis(), octets()).prop_map(|(digest, update, accepted, answer)| (
            RowId::Answer(digest),
            Row::Answer {
                kind: if update { AnswerKind::Update } else { AnswerKind::Submit },
                accepted,
                answer,
            }
        )),
        (provider(), any::<u64>())
            .prop_map(|(provider, since)| (RowId::Follower(provider), Row::Follower { since: Seq(since) })),
        (user(), digest(), octets()).prop_map(|(user, code, key)| (RowId::Grant(user), Row::Grant { code, key })),
    ]
}

/// Octets that pass for a value more often than random ones.
fn suspicious() -> impl Strategy<Value = Bytes> {
    let random = vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let tagged = (
        prop_oneof![Just(0x01_u8), Just(0x81)],
        vec(prop_oneof![any::<u8>(), 0..64_u8], 0..80),
    );
    let tagged = tagged.prop_map(|(first, rest)| Bytes::from([vec![first], rest].concat()));
    let damaged = (row(), any::<proptest::sample::Index>(), any::<u8>()).prop_map(|((_, row), at, octet)| {
        let mut octets = rows::encode(&row).to_vec();
        let at = at.index(octets.len());
        octets[at] = octet;
        Bytes::from(octets)
    });
    prop_oneof![random, tagged, damaged]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_row_comes_back_from_its_key_and_value((id, row) in row()) {
        let prefix = keys::rows(ShardId(3), &room()).begin;
        let key = keys::row(ShardId(3), &room(), &id);
        prop_assert!(key.starts_with(&prefix));
        prop_assert_eq!(keys::parse_row(&key, prefix.len()), Some(id.clone()));
        prop_assert_eq!(rows::decode(&id, &rows::encode(&row)), Ok(row));
    }

    #[test]
    fn two_ids_have_two_keys_and_neither_begins_the_other((one, _) in row(), (other, _) in row()) {
        prop_assume!(one != other);
        let key = |id| keys::row(ShardId(3), &room(), id);
        prop_assert!(!key(&one).starts_with(&key(&other)));
        prop_assert!(!key(&other).starts_with(&key(&one)));
    }

    #[test]
    fn octets_from_anywhere_never_panic(octets in suspicious()) {
        for (id, _) in sample_rows() {
            if let Ok(row) = rows::decode(&id, &octets) {
                prop_assert_eq!(rows::decode(&id, &rows::encode(&row)), Ok(row));
            }
        }
        let _ = Value::parse(octets.clone());
        let _ = keys::parse_row(&octets, 1);
        let _ = keys::blob_generation(&octets);
        let _ = records::decode_ledger(&octets);
        let _ = records::decode_shards(&octets);
        let _ = records::decode_tail(&octets);
        let _ = records::decode_offset(&octets);
        let _ = Due::decode(&octets);
        let _ = Claim::decode(&octets);
        let _ = keys::last_room(&octets, 1);
        let _ = keys::last_provider(&octets, 1);
        let _ = set_aside::decode(&"b.example".parse().unwrap(), Offset(0), &octets);
        let _ = records::decode_entry(Offset(0), &octets);
        let _ = records::decode_follower(&octets);
        let _ = records::decode_follower_id(&octets);
        let _ = records::decode_index(&octets);
        let _ = records::decode_set(SetId([0; 16]), &octets);
        if let Ok(cursors) = records::decode_cursors(&octets) {
            let again = records::encode_cursors(cursors.iter().map(|(slot, cursor)| (*slot, cursor)));
            prop_assert_eq!(records::decode_cursors(&again), Ok(cursors));
        }
    }

    #[test]
    fn an_index_block_comes_back(offsets in proptest::collection::btree_set(any::<u64>(), 1..100)) {
        let offsets: Vec<Offset> = offsets.into_iter().map(Offset).collect();
        prop_assert_eq!(records::decode_index(&records::encode_index(&offsets)), Ok(offsets));
    }
}

#[test]
fn marks_and_claims_come_back() {
    let parentless = Due {
        parent: None,
        ..sample_due()
    };
    for due in [sample_due(), parentless] {
        assert_eq!(Due::decode(&due.encode()), Ok(due));
    }
    for claim in sample_claims() {
        assert_eq!(Claim::decode(&claim.encode()), Ok(claim));
    }
    assert_eq!(keys::last_room(&keys::due(&room()), 1), Some(room()));
}

#[test]
fn a_reference_comes_back_and_joins_what_it_refers_to() {
    let octets = Bytes::from(vec![5; 3 * value::VALUE_BYTES_MAX + 1]);
    let reference = Reference::to(&octets, GENERATION);
    assert_eq!(reference.chunks(), 4);
    assert_eq!(Value::parse(reference.encode()), Ok(Value::Reference(reference)));
    let chunks = || octets.chunks(value::VALUE_BYTES_MAX).map(Bytes::copy_from_slice);
    assert_eq!(reference.join(chunks()), Ok(octets.clone()));
    assert!(reference.join(chunks().skip(1)).is_err());
    assert!(reference.join(chunks().chain([Bytes::from_static(b"more")])).is_err());
}
