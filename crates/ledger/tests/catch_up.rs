//! A room's entries by their seq, for a provider to which they are due.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ledger::{Batch, Change, Offset, ReadLimit, RoomEntries, ShardLog};
use mimi::Provider;
use proptest::prelude::*;
use room::{Chain, Epoch, Millis, Row, RowChange, RowId, Seq};
use shard::Tenure;
use store::KeyRange;
use support::{SHARD, World, entry, room, written};

const ALL: ReadLimit = ReadLimit {
    entries: 1_000,
    bytes: usize::MAX,
};

fn provider(name: &str) -> Provider {
    format!("{name}.example").parse().unwrap()
}

fn head(seq: u64) -> RowChange {
    RowChange {
        id: RowId::Head,
        row: Some(Row::Head {
            seq: Seq(seq),
            epoch: Epoch(4),
            accepted: Millis(1_000 + seq),
            chain: Chain([7; 32]),
            snapshot: Epoch(0),
        }),
    }
}

fn follower(name: &str, since: u64) -> RowChange {
    RowChange {
        id: RowId::Follower(provider(name)),
        row: Some(Row::Follower { since: Seq(since) }),
    }
}

/// A room as the test appends to it.
struct Written<'a> {
    log: &'a mut ShardLog,
    tenure: &'a Tenure,
}

impl Written<'_> {
    /// One batch: of each named room, these entries, each with `length` octets.
    async fn append(&mut self, rooms: &[(&str, std::ops::RangeInclusive<u64>)], length: usize) {
        let mut batch = Batch::default();
        for (name, seqs) in rooms {
            for seq in seqs.clone() {
                let entry = entry(
                    &room(name),
                    seq,
                    message(name, seq, length),
                    &["a.example", "b.example"],
                );
                let change = Change {
                    room: room(name),
                    entries: vec![entry],
                    rows: vec![head(seq), follower("b", 2)],
                    ties: Vec::new(),
                };
                batch.push(written(&self.log.rooms(), self.tenure, change).await);
            }
        }
        self.log.append(self.tenure, batch).await.unwrap();
    }
}

fn message(name: &str, seq: u64, length: usize) -> String {
    format!("{name} {seq} {}", "x".repeat(length))
}

async fn read(world: &World, name: &str, asking: &str, from: u64, limit: ReadLimit) -> RoomEntries {
    let (room, asking) = (room(name), provider(asking));
    let found = world.ledger.followed_entries(&room, &asking, Seq(from), limit);
    found.await.unwrap()
}

async fn seqs(world: &World, name: &str, from: u64, limit: ReadLimit) -> Vec<u64> {
    match read(world, name, "b", from, limit).await {
        RoomEntries::Found(_, entries) => {
            for entry in &entries {
                assert_eq!(entry.room, room(name));
                assert!(entry.message.starts_with(format!("{name} {} ", entry.seq.0).as_bytes()));
            }
            entries.iter().map(|entry| entry.seq.0).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn b_1_a_provider_reads_what_is_due_to_it_and_nothing_of_other_rooms() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut written = Written {
        log: &mut log,
        tenure: &tenure,
    };
    written.append(&[("x", 1..=3), ("xy", 1..=1)], 9).await;
    written.append(&[("xy", 2..=4), ("x", 4..=4)], 100_000).await;
    assert_eq!(seqs(&world, "x", 3, ALL).await, [3, 4]);
    assert_eq!(
        seqs(&world, "xy", 1, ALL).await,
        [2, 3, 4],
        "the first is not due to b.example"
    );
    assert_eq!(seqs(&world, "x", 5, ALL).await, [0; 0]);
    assert_eq!(seqs(&world, "x", u64::MAX, ALL).await, [0; 0]);
    for (name, asking) in [("x", "c"), ("x", "a"), ("y", "b")] {
        assert_eq!(
            read(&world, name, asking, 1, ALL).await,
            RoomEntries::Unknown,
            "{name} {asking}"
        );
        let standing = world.ledger.followed_room(&room(name), &provider(asking)).await;
        assert_eq!(standing.unwrap(), None);
    }
    let standing = world
        .ledger
        .followed_room(&room("x"), &provider("b"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((standing.seq, standing.since), (Seq(4), Seq(2)));
}

#[tokio::test(start_paused = true)]
async fn b_1_an_answer_is_bounded_in_entries_and_in_octets_and_has_one_entry_at_least() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut written = Written {
        log: &mut log,
        tenure: &tenure,
    };
    written.append(&[("x", 1..=60)], 1_000).await;
    written.append(&[("x", 61..=61)], 100_000).await;
    let limit = |entries, bytes| ReadLimit { entries, bytes };
    assert_eq!(seqs(&world, "x", 2, limit(5, usize::MAX)).await, [2, 3, 4, 5, 6]);
    assert_eq!(seqs(&world, "x", 2, limit(60, 2_500)).await, [2, 3, 4]);
    assert_eq!(seqs(&world, "x", 61, limit(0, 0)).await, [61]);
}

#[tokio::test(start_paused = true)]
async fn b_2_what_the_log_does_not_keep_is_expired_and_what_it_keeps_is_found() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut written = Written {
        log: &mut log,
        tenure: &tenure,
    };
    written.append(&[("x", 1..=9)], 9).await;
    let mut transaction = world.database.begin();
    let logged = |offset: u64| [&[b'S', 0, 0, 0, 0, b'l'][..], &offset.to_be_bytes()].concat();
    transaction.clear_range(KeyRange {
        begin: logged(0).into(),
        end: logged(5).into(),
    });
    transaction.commit().await.unwrap();
    for from in [1, 5] {
        assert!(
            matches!(read(&world, "x", "b", from, ALL).await, RoomEntries::Expired(standing) if standing.seq == Seq(9))
        );
    }
    assert_eq!(seqs(&world, "x", 6, ALL).await, [6, 7, 8, 9]);
    // Entries of a release that wrote no places.
    let mut transaction = world.database.begin();
    transaction.clear_range(KeyRange::prefix(&[b'S', 0, 0, 0, 0, b'a']));
    transaction.commit().await.unwrap();
    assert!(matches!(read(&world, "x", "b", 6, ALL).await, RoomEntries::Expired(_)));
}

#[tokio::test(start_paused = true)]
async fn b_1_the_places_of_a_busy_rooms_entries_take_a_few_octets_each() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut written = Written {
        log: &mut log,
        tenure: &tenure,
    };
    for batch in 0..10 {
        written.append(&[("busy", batch * 64 + 1..=batch * 64 + 64)], 9).await;
    }
    written.append(&[("quiet", 1..=1)], 9).await;
    let places = KeyRange::prefix(&[b'S', 0, 0, 0, 0, b'a']);
    let rows = world.database.begin().range(places, 1_000, false).await.unwrap();
    let octets = |(key, value): &(bytes::Bytes, bytes::Bytes)| key.len() + value.len();
    let (quiet, busy): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|(key, _)| key.windows(5).any(|part| part == b"quiet"));
    assert_eq!((busy.len(), quiet.len()), (10, 1));
    let per_entry = busy.iter().map(|row| octets(row)).sum::<usize>() / 640;
    assert!(per_entry <= 2, "{per_entry} octets for each entry of a busy room");
    assert!(octets(quiet[0]) <= 48, "{} octets for one alone", octets(quiet[0]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b_1_every_entry_is_found_by_its_seq_however_it_was_appended(
        batches in prop::collection::vec(prop::collection::vec((0usize..3, 1u64..4), 1..5), 1..8),
        entries in 1usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let names = ["one", "two", "three"];
            let world = World::new().await;
            let (tenure, mut log) = world.log().await;
            let mut written = Written { log: &mut log, tenure: &tenure };
            let mut last = [0; 3];
            for batch in batches {
                let rooms: Vec<_> = batch
                    .into_iter()
                    .map(|(room, count)| {
                        let first = last[room] + 1;
                        last[room] += count;
                        (names[room], first..=last[room])
                    })
                    .collect();
                written.append(&rooms, 9).await;
            }
            let whole = world.ledger.read_log(SHARD, Offset(0), ALL).await.unwrap();
            for (name, last) in names.into_iter().zip(last).filter(|(_, last)| *last > 0) {
                let mut from = 2;
                let mut found = Vec::new();
                loop {
                    let limit = ReadLimit { entries, bytes: usize::MAX };
                    let page = match self::read(&world, name, "b", from, limit).await {
                        RoomEntries::Found(_, page) => page,
                        other => panic!("{other:?}"),
                    };
                    let Some(end) = page.last() else { break };
                    from = end.seq.0 + 1;
                    found.extend(page);
                }
                let expected = whole.iter().filter(|entry| entry.room == room(name) && entry.seq > Seq(1));
                assert!(found.iter().eq(expected));
                assert_eq!(found.len() as u64, last - 1);
            }
        });
    }
}
