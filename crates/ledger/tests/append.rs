//! One append has one effect, whatever the store says, and a deposed owner's has none.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bytes::Bytes;
use ledger::{AppendError, Batch, Prepared, ShardLog};
use proptest::prelude::*;
use room::{Row, RowChange, RowId};
use store::limits::TRANSACTION_AGE_MAX;
use support::Fault::{self, *};
use support::{World, change, entry, ready, room, rows, written};

fn batch(log: &ShardLog, seq: u64, message: &str) -> Batch {
    let mut batch = Batch::default();
    let entry = entry(&room("one"), seq, message.to_owned(), &["a.example", "b.example"]);
    batch.push(ready(&log.rooms(), change(entry, Vec::new())));
    batch
}

#[tokio::test(start_paused = true)]
async fn each_fault_alone_leaves_one_effect() {
    for fault in [
        Conflict,
        TooOld,
        Busy,
        UnknownWithEffect,
        UnknownWithoutEffect,
        TimedOutWithEffect,
    ] {
        let world = World::new().await;
        let (tenure, mut log) = world.log().await;
        log.append(&tenure, batch(&log, 1, "before")).await.unwrap();
        world.faults.next([fault]);
        let entries = log.append(&tenure, batch(&log, 2, "during")).await.unwrap();
        assert!(world.faults.none_left());
        assert_eq!((entries.len(), entries[0].offset.0), (1, 1), "{fault:?}");
        log.append(&tenure, batch(&log, 3, "after")).await.unwrap();
        assert_eq!(world.messages().await, ["before", "during", "after"], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_reads_nothing_while_it_follows_another() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    log.append(&tenure, batch(&log, 1, "first")).await.unwrap();
    let before = world.faults.reads();
    for seq in 2..5 {
        log.append(&tenure, batch(&log, seq, "behind")).await.unwrap();
    }
    assert_eq!(world.faults.reads(), before);
    tokio::time::advance(TRANSACTION_AGE_MAX).await;
    log.append(&tenure, batch(&log, 5, "later")).await.unwrap();
    assert_eq!(
        world.faults.reads(),
        before + 2,
        "fence and tail, which the store may have forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_the_store_commits_late_is_refused_once_its_retry_has_succeeded() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    world.faults.next([Held, Held]);
    log.append(&tenure, batch(&log, 1, "first")).await.unwrap();
    assert_eq!(world.faults.held(), 2);
    log.append(&tenure, batch(&log, 2, "second")).await.unwrap();
    let late = world.faults.release().await;
    assert_eq!(late, [Err(store::Error::Conflict), Err(store::Error::Conflict)]);
    assert_eq!(world.messages().await, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn a_deposed_tenure_writes_nothing_in_any_way() {
    let world = World::new().await;
    let (old, mut log) = world.log().await;
    let rooms = log.rooms();
    log.append(&old, batch(&log, 1, "kept")).await.unwrap();
    let large = || {
        let group_info = Bytes::from(vec![1; 100_000]);
        rows(
            &room("one"),
            vec![RowChange {
                id: RowId::GroupInfo,
                row: Some(Row::GroupInfo { group_info }),
            }],
        )
    };
    let Prepared::Blobs(unstaged) = rooms.prepare(large()) else {
        panic!("100,000 octets are large");
    };
    let (new, mut next) = world.log().await;
    let before = world
        .database
        .begin()
        .range(store::KeyRange::prefix(b"S"), 1_000, false)
        .await
        .unwrap();

    assert_eq!(log.append(&old, batch(&log, 2, "late")).await, Err(AppendError::Fenced));
    assert_eq!(
        log.append(&old, batch(&log, 2, "again")).await,
        Err(AppendError::Fenced)
    );
    assert!(matches!(rooms.stage(&old, unstaged).await, Err(AppendError::Fenced)));
    assert_eq!(world.ledger.confirm(&old).await, Err(AppendError::Fenced));
    assert!(matches!(
        ShardLog::open(&world.ledger, &old).await,
        Err(AppendError::Fenced)
    ));
    assert!(old.is_lost());

    let after = world
        .database
        .begin()
        .range(store::KeyRange::prefix(b"S"), 1_000, false)
        .await
        .unwrap();
    assert_eq!(before, after);
    assert_eq!(world.ledger.confirm(&new).await, Ok(()));
    next.append(&new, batch(&next, 2, "in time")).await.unwrap();
    assert_eq!(world.messages().await, ["kept", "in time"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_a_former_tenure_that_arrives_late_is_refused() {
    let world = World::new().await;
    let (old, mut log) = world.log().await;
    let held = batch(&log, 1, "late");
    let large = RowChange {
        id: RowId::GroupInfo,
        row: Some(Row::GroupInfo {
            group_info: Bytes::from(vec![1; 100_000]),
        }),
    };
    let Prepared::Blobs(unstaged) = log.rooms().prepare(rows(&room("one"), vec![large])) else {
        panic!("100,000 octets are large");
    };
    world.faults.next([Held, Held]);
    assert!(log.rooms().stage(&old, unstaged).await.is_err());
    // The retry meets the new tenure's fence.
    let append = tokio::spawn(async move { log.append(&old, held).await });
    while world.faults.held() < 2 {
        tokio::task::yield_now().await;
    }
    let new = world.tenure().await;
    assert_eq!(append.await.unwrap(), Err(AppendError::Fenced));
    let late = world.faults.release().await;
    assert_eq!(late, [Err(store::Error::Conflict), Err(store::Error::Conflict)]);
    assert!(world.messages().await.is_empty());
    assert_eq!(world.keys(b'b').await, 0);
    assert!(ShardLog::open(&world.ledger, &new).await.unwrap().head() == ledger::Offset(0));
}

#[tokio::test(start_paused = true)]
async fn a_commit_with_effect_counts_although_the_next_owner_came_before_its_answer() {
    let world = World::new().await;
    let (old, mut log) = world.log().await;
    world.faults.next([UnknownWithEffect]);
    let held = batch(&log, 1, "first");
    // Appended, but the owner is deposed before it can find out: it may claim neither.
    let append = tokio::spawn(async move { log.append(&old, held).await });
    while !world.faults.none_left() {
        tokio::task::yield_now().await;
    }
    let (new, mut next) = world.log().await;
    assert_eq!(append.await.unwrap(), Err(AppendError::Fenced));
    next.append(&new, batch(&next, 2, "second")).await.unwrap();
    assert_eq!(world.messages().await, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn opening_a_log_again_ends_the_earlier_opening_and_what_it_had_in_flight() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    log.append(&tenure, batch(&log, 1, "first")).await.unwrap();
    // An append is abandoned while its commit is under way.
    world.faults.next([Held]);
    let abandoned = batch(&log, 2, "abandoned");
    tokio::select! {
        biased;
        _ = log.append(&tenure, abandoned) => panic!("it waits to try again"),
        () = async { while world.faults.held() == 0 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(
        log.append(&tenure, batch(&log, 2, "same number")).await,
        Err(AppendError::Fenced)
    );
    let mut again = ShardLog::open(&world.ledger, &tenure).await.unwrap();
    again.append(&tenure, batch(&again, 2, "second")).await.unwrap();
    assert_eq!(world.faults.release().await, [Err(store::Error::Conflict)]);
    assert_eq!(world.messages().await, ["first", "second"]);

    // The same with two openings that both live: the earlier one does not take the later one's batch for its own.
    let mut third = ShardLog::open(&world.ledger, &tenure).await.unwrap();
    third.append(&tenure, batch(&third, 3, "third")).await.unwrap();
    assert_eq!(
        again.append(&tenure, batch(&again, 3, "never")).await,
        Err(AppendError::Fenced)
    );
    assert_eq!(world.messages().await, ["first", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_no_transaction_holds_is_refused_and_the_log_goes_on() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut large = Batch::default();
    for seq in 1..=200 {
        let entry = entry(&room("one"), seq, vec![0; 60_000], &["a.example"]);
        large.push(ready(&log.rooms(), change(entry, Vec::new())));
    }
    assert!(large.bytes() > 12_000_000);
    let refused = log.append(&tenure, large).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { bytes }) if bytes > 12_000_000));
    log.append(&tenure, batch(&log, 1, "small")).await.unwrap();
    assert_eq!(world.messages().await, ["small"]);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_store_is_reported_and_not_tried_for_ever() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    world.database.clone().close().await;
    let stopped = log.append(&tenure, batch(&log, 1, "never")).await;
    assert_eq!(stopped, Err(AppendError::Store(store::Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn tail_and_room_rows_are_written_in_the_order_of_the_batch() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let head = |seq| RowChange {
        id: RowId::Pending(0),
        row: Some(Row::Pending {
            from: "a.example".parse().unwrap(),
            accepted: room::Millis(seq),
            proposals: Vec::new(),
            queued: Bytes::new(),
        }),
    };
    let mut batch = Batch::default();
    for seq in 1..=3 {
        let entry = entry(&room("one"), seq, "message", &["a.example"]);
        batch.push(written(&log.rooms(), &tenure, change(entry, vec![head(seq)])).await);
    }
    log.append(&tenure, batch).await.unwrap();
    let found = world.ledger.room(&room("one")).await.unwrap().unwrap();
    assert_eq!(found, [(head(3).id, head(3).row.unwrap())]);
}

/// A committer spawns these.
#[test]
fn the_futures_can_move_between_threads() {
    fn assert_send<F: Send>(_: impl FnOnce(&'static World, &'static mut ShardLog, &'static shard::Tenure) -> F) {}
    assert_send(|_, log, tenure| log.append(tenure, Batch::default()));
    assert_send(|world, _, tenure| ShardLog::open(&world.ledger, tenure));
    assert_send(|world, _, tenure| world.ledger.confirm(tenure));
    assert_send(|world, _, _| world.ledger.cursors(support::SHARD));
    assert_send(|_, log, tenure| {
        let rooms = log.rooms();
        async move { rooms.load(tenure, &room("one")).await }
    });
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Nothing),
        1 => Just(Conflict),
        1 => Just(TooOld),
        1 => Just(Busy),
        1 => Just(UnknownWithEffect),
        1 => Just(UnknownWithoutEffect),
        1 => Just(TimedOutWithEffect),
        1 => Just(Held),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn appends_have_one_effect_each_and_in_order_under_any_faults(
        faults in proptest::collection::vec(fault(), 0..40),
        batches in 1..12_u64,
        release_after in 0..12_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let (tenure, mut log) = world.log().await;
            world.faults.next(faults);
            let mut expected = Vec::new();
            for n in 1..=batches {
                let message = format!("message {n}");
                let entries = log.append(&tenure, batch(&log, n, &message)).await.unwrap();
                assert_eq!(entries[0].offset.0, n - 1);
                expected.push(message);
                if n == release_after {
                    world.faults.release().await;
                }
                assert_eq!(world.messages().await, expected);
            }
            world.faults.release().await;
            assert_eq!(world.messages().await, expected);
        });
    }
}
