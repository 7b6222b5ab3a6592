//! Trimming takes what it may, oldest first, and nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bytes::Bytes;
use ledger::{AppendError, Batch, Cut, IndexBlock, Millis, Offset, ReadLimit, ShardLog, Trimmed, Trimmer};
use shard::Tenure;
use support::{Fault, SHARD, World, change, entry, room, written};

const ALL: ReadLimit = ReadLimit {
    entries: 1_000,
    bytes: usize::MAX,
};

/// Entries 0, 1, … with seqs from 1; each was accepted at 1,000 + its seq.
async fn filled(world: &World, entries: u64, tail_start: u64) -> (Tenure, ShardLog) {
    let (tenure, mut log) = world.log().await;
    for seq in 1..=entries {
        append(&tenure, &mut log, seq, Bytes::from_static(b"message")).await;
    }
    let mut batch = Batch::default();
    batch.tail_start = Some(Offset(tail_start));
    log.append(&tenure, batch).await.unwrap();
    (tenure, log)
}

async fn append(tenure: &Tenure, log: &mut ShardLog, seq: u64, message: Bytes) {
    let change = change(entry(&room("one"), seq, message, &["a.example"]), Vec::new());
    let mut batch = Batch::default();
    batch.push(written(&log.rooms(), tenure, change).await);
    log.append(tenure, batch).await.unwrap();
}

async fn left(world: &World) -> Vec<u64> {
    let entries = world.ledger.read_log(SHARD, Offset(0), ALL).await.unwrap();
    entries.iter().map(|entry| entry.offset.0).collect()
}

fn cut(floor: u64, before: u64) -> Cut {
    Cut {
        floor: Offset(floor),
        before: Millis(before),
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_that_is_due_or_young_or_in_the_tail() {
    let world = World::new().await;
    let (tenure, mut log) = filled(&world, 10, 6).await;
    let mut trimmer = Trimmer::new(world.ledger.clone(), SHARD);
    for (cut, first) in [
        (cut(0, 9_999), 0),
        (cut(9, 1_001), 0),
        (cut(2, 9_999), 2),
        (cut(9, 1_004), 3),
        (cut(u64::MAX, u64::MAX), 6),
        (cut(1, 9_999), 6),
    ] {
        let trimmed = trimmer.pass(&tenure, cut).await.unwrap();
        assert_eq!((trimmed.below, trimmed.more), (Offset(first), false), "{cut:?}");
        assert_eq!(left(&world).await, (first..10).collect::<Vec<_>>(), "{cut:?}");
        assert_eq!(
            world.keys(b'a').await as u64,
            10 - first,
            "one index block of the room for each entry"
        );
        assert_eq!(world.ledger.position(SHARD).await.unwrap().trimmed, Offset(first));
    }
    // The log goes on, and is opened again, as if nothing had happened.
    append(&tenure, &mut log, 11, Bytes::from_static(b"message")).await;
    let (_, again) = world.log().await;
    assert_eq!((again.head(), again.tail_start()), (Offset(11), Offset(6)));
    assert_eq!(left(&world).await, (6..11).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn the_first_entry_that_stays_keeps_all_behind_it() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    for seq in [1, 500, 2, 3] {
        append(&tenure, &mut log, seq, Bytes::from_static(b"message")).await;
    }
    let mut batch = Batch::default();
    batch.tail_start = Some(Offset(4));
    log.append(&tenure, batch).await.unwrap();
    let mut trimmer = Trimmer::new(world.ledger.clone(), SHARD);
    let trimmed = trimmer.pass(&tenure, cut(4, 1_100)).await.unwrap();
    let expected = Trimmed {
        below: Offset(1),
        entries: 1,
        bytes: 7,
        more: false,
    };
    assert_eq!(trimmed, expected);
}

#[tokio::test(start_paused = true)]
async fn a_pass_is_bounded_and_says_that_there_is_more() {
    let world = World::new().await;
    let (tenure, _log) = filled(&world, 600, 600).await;
    let mut trimmer = Trimmer::new(world.ledger.clone(), SHARD);
    let first = trimmer.pass(&tenure, cut(600, u64::MAX)).await.unwrap();
    assert_eq!((first.below, first.entries, first.more), (Offset(512), 512, true));
    let second = trimmer.pass(&tenure, cut(600, u64::MAX)).await.unwrap();
    assert_eq!((second.below, second.entries, second.more), (Offset(600), 88, false));
    assert_eq!(world.keys(b'l').await, 0);
}

#[tokio::test(start_paused = true)]
async fn large_messages_and_index_blocks_go_with_their_entries() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    for seq in 1..=3 {
        append(&tenure, &mut log, seq, vec![7; 300_000].into()).await;
    }
    let chunks = world.keys(b'm').await;
    let block = |offsets: &[u64]| {
        let offsets = offsets.iter().copied().map(Offset).collect();
        IndexBlock::new("a.example".parse().unwrap(), offsets).unwrap()
    };
    let mut batch = Batch::default();
    batch.index = vec![block(&[0, 1]), block(&[2])];
    batch.tail_start = Some(Offset(3));
    log.append(&tenure, batch).await.unwrap();
    let mut trimmer = Trimmer::new(world.ledger.clone(), SHARD);
    let trimmed = trimmer.pass(&tenure, cut(2, u64::MAX)).await.unwrap();
    assert_eq!((trimmed.entries, trimmed.bytes), (2, 600_000));
    assert_eq!(world.keys(b'm').await, chunks / 3);
    assert_eq!(world.keys(b'i').await, 1);
    let entries = world.ledger.read_log(SHARD, Offset(0), ALL).await.unwrap();
    assert_eq!((entries.len(), entries[0].message.len()), (1, 300_000));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_result_is_settled_and_a_deposed_owner_trims_nothing() {
    let world = World::new().await;
    let (tenure, _log) = filled(&world, 4, 4).await;
    let mut trimmer = Trimmer::new(world.ledger.clone(), SHARD);
    world.faults.next([Fault::Conflict, Fault::UnknownWithEffect]);
    let trimmed = trimmer.pass(&tenure, cut(2, u64::MAX)).await.unwrap();
    assert_eq!(trimmed.below, Offset(2));
    assert_eq!(left(&world).await, [2, 3]);
    let _next = world.log().await;
    assert_eq!(trimmer.pass(&tenure, cut(4, u64::MAX)).await, Err(AppendError::Fenced));
    assert_eq!(left(&world).await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn b_2_what_is_overdue_ends_before_the_first_entry_that_is_not() {
    let world = World::new().await;
    let (_tenure, _log) = filled(&world, 600, 600).await;
    let trimmer = Trimmer::new(world.ledger.clone(), SHARD);
    for (from, before, until) in [
        (0, 1_001, 0),
        (0, 1_005, 4),
        (2, 1_005, 4),
        (7, 1_005, 7),
        (0, u64::MAX, 512),
        (512, u64::MAX, 600),
        (600, u64::MAX, 600),
    ] {
        let overdue = trimmer.overdue(Offset(from), Millis(before)).await.unwrap();
        assert_eq!(overdue, Offset(until), "{from} {before}");
    }
}
