//! Followers, their cursors and their index survive, as they are live.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use ledger::{Batch, Cursor, CursorChange, IndexBlock, LogEntry, Offset, ReadLimit, ShardLog};
use mimi::Provider;
use proptest::prelude::*;
use room::{Recipients, Shown};
use support::{SHARD, World, change, entry, ready, room};

fn provider(name: &str) -> Provider {
    name.parse().unwrap()
}

fn cursors(log: &ShardLog) -> BTreeMap<Provider, Cursor> {
    log.cursors()
        .map(|(follower, cursor)| (follower.clone(), cursor.clone()))
        .collect()
}

fn message(log: &ShardLog, seq: u64, to: &[&str]) -> Batch {
    let mut batch = Batch::default();
    batch.push(ready(
        &log.rooms(),
        change(entry(&room("one"), seq, "message", to), Vec::new()),
    ));
    batch
}

const ALL: ReadLimit = ReadLimit {
    entries: 1_000,
    bytes: usize::MAX,
};

#[tokio::test(start_paused = true)]
async fn a_new_follower_begins_at_its_first_entry() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    log.append(&tenure, message(&log, 1, &["a.example"])).await.unwrap();
    log.append(&tenure, message(&log, 2, &["a.example", "b.example"]))
        .await
        .unwrap();
    log.append(&tenure, message(&log, 3, &["b.example"])).await.unwrap();
    let expected = BTreeMap::from([
        (provider("a.example"), Cursor::at(Offset(0))),
        (provider("b.example"), Cursor::at(Offset(1))),
    ]);
    assert_eq!(cursors(&log), expected);
    assert_eq!(world.ledger.cursors(SHARD).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_recipient_set_is_written_once_and_shown_with_every_entry() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut live: Vec<LogEntry> = Vec::new();
    for seq in 1..=20 {
        let to: &[&str] = if seq % 2 == 0 {
            &["a.example"]
        } else {
            &["a.example", "b.example"]
        };
        let entries = log.append(&tenure, message(&log, seq, to)).await.unwrap();
        live.extend(entries);
    }
    assert_eq!(world.keys(b'e').await, 2);
    // Another life of the ledger's reader knows no set yet.
    let founding = ledger::Founding {
        id: ledger::LedgerId([0; 16]),
        shards: route::Shards::new(5, [0; 16]).unwrap(),
    };
    let reader = ledger::Ledger::open(world.database.clone(), founding).await.unwrap();
    assert_eq!(
        (reader.id(), reader.shards()),
        (world.ledger.id(), world.ledger.shards())
    );
    assert_eq!(reader.read_log(SHARD, Offset(0), ALL).await.unwrap(), live);
    assert_eq!(live[1].recipient(&provider("b.example")), None);
    let recipient = live[2].recipient(&provider("b.example")).unwrap();
    assert_eq!(
        (recipient.shown, live[2].previous_seq(recipient)),
        (Shown::Message, room::Seq(2))
    );
}

#[tokio::test(start_paused = true)]
async fn a_room_with_very_many_followers_is_written_and_read() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let names: Vec<String> = (0..5_000)
        .map(|n| format!("{n:04}.{}.example", "long".repeat(10)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let batch = message(&log, 1, &names);
    let announced = batch.bytes();
    log.append(&tenure, batch).await.unwrap();
    assert!(announced > 1_000_000, "interning is accounted for");
    assert!(message(&log, 2, &names).bytes() < 1_000, "but once");
    let read = world.ledger.read_log(SHARD, Offset(0), ALL).await.unwrap();
    assert_eq!(read[0].recipients.0.len(), 5_000);
    assert!(world.keys(b'e').await > 1, "the set is in parts");
    assert_eq!(world.keys(b'c').await, 10, "512 cursors to a row");

    // One follower far down the list moves; nothing else does.
    let mut cursor = Cursor::at(Offset(1));
    for n in 0..Cursor::ABOVE_MAX as u64 {
        cursor.set_aside(Offset(2 + (n << 33))).unwrap();
    }
    let follower = provider(names[3_333]);
    let mut batch = Batch::default();
    batch.cursors.push(CursorChange {
        follower: follower.clone(),
        cursor: cursor.clone(),
    });
    log.append(&tenure, batch).await.unwrap();
    let mut expected: BTreeMap<_, _> = names
        .iter()
        .map(|name| (provider(name), Cursor::at(Offset(0))))
        .collect();
    expected.insert(follower, cursor.clone());
    assert_eq!(world.ledger.cursors(SHARD).await.unwrap(), expected);

    // All cursors of a chunk as large as they get take more than one value, and shrink again.
    for (cursor, rows) in [(cursor, 12..40), (Cursor::at(Offset(1)), 10..11)] {
        let mut batch = Batch::default();
        batch.cursors.extend(names[..600].iter().map(|name| CursorChange {
            follower: provider(name),
            cursor: cursor.clone(),
        }));
        log.append(&tenure, batch).await.unwrap();
        let found = world.ledger.cursors(SHARD).await.unwrap();
        assert_eq!(found, cursors(&log));
        assert!(names[..600].iter().all(|name| found[&provider(name)] == cursor));
        assert!(rows.contains(&world.keys(b'c').await));
    }
}

#[tokio::test(start_paused = true)]
async fn the_index_of_a_follower_is_read_from_any_offset() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let (a, b) = (provider("a.example"), provider("b.example"));
    let block = |follower: &Provider, offsets: Vec<u64>| {
        IndexBlock::new(follower.clone(), offsets.into_iter().map(Offset).collect()).unwrap()
    };
    let even: Vec<u64> = (0..1_200).map(|n| 2 * n).collect();
    let mut batch = Batch::default();
    for offsets in even.chunks(512) {
        batch.index.push(block(&a, offsets.to_vec()));
    }
    batch.index.push(block(&b, vec![1, 700]));
    batch.tail_start = Some(Offset(2_400));
    log.append(&tenure, batch).await.unwrap();
    for from in [0, 1, 2, 1_022, 1_023, 1_024, 2_397, 2_398, 2_399] {
        let expected: Vec<Offset> = even.iter().copied().filter(|n| *n >= from).map(Offset).collect();
        assert_eq!(
            world.ledger.read_index(SHARD, &a, Offset(from), 10).await.unwrap(),
            expected,
            "{from}"
        );
    }
    let first = world.ledger.read_index(SHARD, &a, Offset(10), 1).await.unwrap();
    assert_eq!(
        (first[0], *first.last().unwrap(), first.len()),
        (Offset(10), Offset(1_022), 507)
    );
    assert_eq!(
        world.ledger.read_index(SHARD, &b, Offset(2), 1).await.unwrap(),
        [Offset(700)]
    );
    assert_eq!(
        world
            .ledger
            .read_index(SHARD, &provider("c.example"), Offset(0), 1)
            .await
            .unwrap(),
        []
    );
    let position = world.ledger.position(SHARD).await.unwrap();
    assert_eq!((position.head, position.tail_start), (Offset(0), Offset(2_400)));

    // The tail's start never moves down.
    let mut lower = Batch::default();
    lower.tail_start = Some(Offset(7));
    log.append(&tenure, lower).await.unwrap();
    assert_eq!(
        (log.tail_start(), world.ledger.position(SHARD).await.unwrap().tail_start),
        (Offset(2_400), Offset(2_400))
    );
}

/// One batch of a random history.
#[derive(Debug, Clone)]
struct Step {
    entries: Vec<(u8, Vec<u8>)>,
    cursors: Vec<(u8, u64, Vec<u64>, bool)>,
    index: Vec<(u8, Vec<u64>)>,
    tail_start: Option<u64>,
    reopen: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let entries = proptest::collection::vec((0..4_u8, proptest::collection::vec(0..9_u8, 0..5)), 0..5);
    let above = proptest::collection::vec(0..200_u64, 0..10);
    let cursors = proptest::collection::vec((0..9_u8, 0..100_u64, above, any::<bool>()), 0..3);
    let index = proptest::collection::vec((0..9_u8, proptest::collection::btree_set(any::<u64>(), 1..20)), 0..2);
    (entries, cursors, index, proptest::option::of(0..50_u64), any::<bool>()).prop_map(
        |(entries, cursors, index, tail_start, reopen)| Step {
            entries,
            cursors,
            index: index
                .into_iter()
                .map(|(who, offsets)| (who, offsets.into_iter().collect()))
                .collect(),
            tail_start,
            reopen,
        },
    )
}

fn batch_of(step: &Step, log: &ShardLog, seqs: &mut [u64; 4]) -> Batch {
    let name = |n: u8| format!("{n}.example");
    let mut batch = Batch::default();
    for (which, to) in &step.entries {
        let seq = &mut seqs[usize::from(*which)];
        *seq += 1;
        let mut to = to.clone();
        to.sort();
        to.dedup();
        let mut entry = entry(&room(&which.to_string()), *seq, format!("message {seq}"), &[]);
        entry.recipients = Recipients(
            to.into_iter()
                .map(|n| room::Recipient {
                    provider: provider(&name(n)),
                    shown: if n % 2 == 0 { Shown::Message } else { Shown::Digest },
                    first: n % 3 == 0,
                })
                .collect(),
        );
        batch.push(ready(&log.rooms(), change(entry, Vec::new())));
    }
    for (who, next, above, expired) in &step.cursors {
        let mut cursor = Cursor::at(Offset(*next));
        cursor.expired = *expired;
        above
            .iter()
            .for_each(|offset| cursor.set_aside(Offset(*offset)).unwrap());
        batch.cursors.push(CursorChange {
            follower: provider(&name(*who)),
            cursor,
        });
    }
    for (who, offsets) in &step.index {
        let offsets = offsets.iter().copied().map(Offset).collect();
        batch
            .index
            .push(IndexBlock::new(provider(&name(*who)), offsets).unwrap());
    }
    batch.tail_start = step.tail_start.map(Offset);
    batch
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_log_opened_again_is_as_the_live_one_was(steps in proptest::collection::vec(step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let (mut tenure, mut log) = world.log().await;
            let mut seqs = [0; 4];
            let mut live: Vec<LogEntry> = Vec::new();
            for step in &steps {
                let head = log.head();
                let batch = batch_of(step, &log, &mut seqs);
                let entries = log.append(&tenure, batch).await.unwrap();
                assert_eq!(entries.first().map_or(head, |entry| entry.offset), head);
                live.extend(entries);
                assert_eq!(world.ledger.read_log(SHARD, Offset(0), ALL).await.unwrap(), live);
                assert_eq!(world.ledger.cursors(SHARD).await.unwrap(), cursors(&log));
                if step.reopen {
                    let (next_tenure, next) = world.log().await;
                    assert_eq!(next.head(), log.head());
                    assert_eq!(next.tail_start(), log.tail_start());
                    assert_eq!(cursors(&next), cursors(&log));
                    (tenure, log) = (next_tenure, next);
                }
            }
        });
    }
}
