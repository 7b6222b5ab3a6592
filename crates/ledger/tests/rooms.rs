//! Room rows and large values: what was written is what is read, and nothing else stays.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use bytes::Bytes;
use ledger::{AppendError, Batch, Offset, Prepared, ReadError, ReadLimit, ShardLog};
use room::{Digest, Epoch, Row, RowChange, RowId};
use shard::Tenure;
use support::{SHARD, World, change, entry, room, rows, written};

fn octets(len: usize, fill: u8) -> Bytes {
    let mut octets = vec![fill; len];
    // No two chunks are alike.
    octets
        .iter_mut()
        .step_by(1_000)
        .enumerate()
        .for_each(|(n, octet)| *octet = n as u8);
    octets.into()
}

fn group_info(len: usize, fill: u8) -> (RowId, Row) {
    let group_info = octets(len, fill);
    (RowId::GroupInfo, Row::GroupInfo { group_info })
}

fn set((id, row): (RowId, Row)) -> RowChange {
    RowChange { id, row: Some(row) }
}

async fn append(log: &mut ShardLog, tenure: &Tenure, name: &str, changes: Vec<RowChange>) {
    let mut batch = Batch::default();
    batch.push(written(&log.rooms(), tenure, rows(&room(name), changes)).await);
    log.append(tenure, batch).await.unwrap();
}

async fn found(world: &World, name: &str) -> Option<Vec<(RowId, Row)>> {
    world.ledger.room(&room(name)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn rooms_whose_names_begin_alike_keep_their_rows_apart() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    append(&mut log, &tenure, "x", vec![set(group_info(10, 1))]).await;
    append(&mut log, &tenure, "xy", vec![set(group_info(90_000, 2))]).await;
    assert_eq!(found(&world, "x").await, Some(vec![group_info(10, 1)]));
    assert_eq!(found(&world, "xy").await, Some(vec![group_info(90_000, 2)]));
    assert_eq!(found(&world, "xyz").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_large_row_is_read_back_and_its_chunks_go_when_it_is_overwritten_or_deleted() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    // Just below, at and above the border, and many chunks.
    for (len, chunks) in [
        (65_520, 0),
        (65_531, 0),
        (65_532, 2),
        (65_536, 2),
        (131_000, 2),
        (1_000_000, 16),
        (70_000, 2),
    ] {
        append(&mut log, &tenure, "one", vec![set(group_info(len, 3))]).await;
        assert_eq!(found(&world, "one").await, Some(vec![group_info(len, 3)]), "{len}");
        assert_eq!(world.keys(b'b').await, chunks, "{len}");
    }
    append(&mut log, &tenure, "one", vec![set(group_info(5, 4))]).await;
    assert_eq!(world.keys(b'b').await, 0);
    append(&mut log, &tenure, "one", vec![set(group_info(100_000, 5))]).await;
    let delete = RowChange {
        id: RowId::GroupInfo,
        row: None,
    };
    append(&mut log, &tenure, "one", vec![delete]).await;
    assert_eq!(world.keys(b'b').await, 0);
    assert_eq!(found(&world, "one").await, None);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_row_that_can_be_large_leaves_no_chunk_behind() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let large = octets(70_000, 1);
    let all = [
        (RowId::Snapshot(Epoch(3)), Row::Snapshot { state: large.clone() }),
        (
            RowId::Delta(Epoch(4)),
            Row::Delta {
                commit: large.clone(),
                staged: large.clone(),
            },
        ),
        (
            RowId::Dictionary(Digest([3; 32])),
            Row::Dictionary { octets: large.clone() },
        ),
        (
            RowId::Pending(2),
            Row::Pending {
                from: "a.example".parse().unwrap(),
                accepted: room::Millis(4),
                proposals: vec![large.clone()],
                queued: large.clone(),
            },
        ),
        (
            RowId::GroupInfo,
            Row::GroupInfo {
                group_info: large.clone(),
            },
        ),
    ];
    append(&mut log, &tenure, "one", all.iter().cloned().map(set).collect()).await;
    assert_eq!(found(&world, "one").await.unwrap(), all);
    assert_eq!(world.keys(b'b').await, 2 + 3 + 2 + 3 + 2);
    let delete = all.iter().map(|(id, _)| RowChange {
        id: id.clone(),
        row: None,
    });
    append(&mut log, &tenure, "one", delete.collect()).await;
    assert_eq!(world.keys(b'b').await, 0);
    assert_eq!(world.keys(b'r').await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_is_kept_too_and_a_later_tenure_clears_its_chunks() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let id = RowId::Answer(Digest([0; 32]));
    let answer = Row::Answer {
        kind: room::AnswerKind::Update,
        accepted: room::Millis(9),
        answer: octets(70_000, 1),
    };
    let head = (
        RowId::Frozen,
        Row::Frozen {
            successor: Bytes::new(),
        },
    );
    append(
        &mut log,
        &tenure,
        "one",
        vec![set(head.clone()), set((id.clone(), answer.clone()))],
    )
    .await;
    assert_eq!(
        found(&world, "one").await.unwrap(),
        [head.clone(), (id.clone(), answer)]
    );
    append(&mut log, &tenure, "one", vec![RowChange { id, row: None }]).await;
    let (tenure, log) = world.log().await;
    assert_eq!(log.rooms().load(&tenure, &room("one")).await.unwrap(), Some(vec![head]));
    assert_eq!(world.keys(b'b').await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_staged_ahead_survives_the_batches_before_it() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let rooms = log.rooms();
    let mut writes = Vec::new();
    for change in [
        group_info(80_000, 1),
        group_info(10, 2),
        group_info(90_000, 3),
        group_info(85_000, 4),
    ] {
        writes.push(written(&rooms, &tenure, rows(&room("one"), vec![set(change)])).await);
    }
    assert_eq!(world.keys(b'b').await, 6);
    let mut seen = Vec::new();
    for write in writes {
        let mut batch = Batch::default();
        batch.push(write);
        log.append(&tenure, batch).await.unwrap();
        seen.push((found(&world, "one").await.unwrap(), world.keys(b'b').await));
    }
    let expected = [
        (vec![group_info(80_000, 1)], 6),
        (vec![group_info(10, 2)], 4),
        (vec![group_info(90_000, 3)], 4),
        (vec![group_info(85_000, 4)], 2),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_former_tenure_staged_in_vain_is_cleared_and_what_this_one_staged_is_not() {
    let world = World::new().await;
    let (old, mut log) = world.log().await;
    append(&mut log, &old, "one", vec![set(group_info(80_000, 1))]).await;
    let stage_in_vain = async |log: &ShardLog, tenure: &Tenure| {
        let mut change = change(entry(&room("one"), 1, octets(70_000, 9), &["a.example"]), Vec::new());
        change.rows = vec![set(group_info(90_000, 2))];
        written(&log.rooms(), tenure, change).await
    };
    stage_in_vain(&log, &old).await;
    assert_eq!((world.keys(b'b').await, world.keys(b'm').await), (4, 2));

    let (new, log) = world.log().await;
    assert_eq!(
        found(&world, "one").await,
        Some(vec![group_info(80_000, 1)]),
        "reading alone clears nothing"
    );
    assert_eq!((world.keys(b'b').await, world.keys(b'm').await), (4, 2));
    stage_in_vain(&log, &new).await;
    assert_eq!((world.keys(b'b').await, world.keys(b'm').await), (6, 4));
    let loaded = log.rooms().load(&new, &room("one")).await.unwrap();
    assert_eq!(loaded, Some(vec![group_info(80_000, 1)]));
    assert_eq!((world.keys(b'b').await, world.keys(b'm').await), (4, 2));
    assert_eq!(
        log.rooms().load(&old, &room("one")).await.unwrap(),
        loaded,
        "a read needs no right"
    );
    assert_eq!(log.rooms().load(&new, &room("two")).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_large_entry_is_one_row_and_chunks_and_is_read_back_whole() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut batch = Batch::default();
    let messages = [octets(65_536, 1), octets(65_537, 2), octets(3, 3), octets(2_000_000, 4)];
    for (n, message) in messages.iter().enumerate() {
        let entry = entry(&room("one"), 1 + n as u64, message.clone(), &["a.example"]);
        batch.push(written(&log.rooms(), &tenure, change(entry, Vec::new())).await);
    }
    assert!(batch.bytes() < 100_000, "chunks are not part of the batch");
    let live = log.append(&tenure, batch).await.unwrap();
    assert_eq!(world.messages().await, messages);
    assert_eq!(world.keys(b'm').await, 2 + 31);
    assert_eq!(world.keys(b'l').await, 4);
    let limit = ReadLimit {
        entries: 10,
        bytes: 70_000,
    };
    let read = world.ledger.read_log(SHARD, Offset(0), limit).await.unwrap();
    assert_eq!(
        read,
        [live[0].clone(), live[1].clone()],
        "live and read entries are equal, up to the limit"
    );
    let read = world.ledger.read_log(SHARD, Offset(3), limit).await.unwrap();
    assert_eq!(read, [live[3].clone()], "one entry is always read");
    assert_eq!(world.ledger.read_log(SHARD, Offset(4), limit).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn more_than_any_blob_is_refused() {
    let world = World::new().await;
    let (tenure, log) = world.log().await;
    let Prepared::Blobs(unstaged) = log
        .rooms()
        .prepare(rows(&room("one"), vec![set(group_info(ledger::BLOB_BYTES_MAX + 1, 1))]))
    else {
        panic!("it is large");
    };
    let refused = log.rooms().stage(&tenure, unstaged).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    assert_eq!(world.keys(b'b').await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_altered_chunk_is_noticed() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    append(&mut log, &tenure, "one", vec![set(group_info(200_000, 1))]).await;
    let prefix = store::KeyRange::prefix(b"S\0\0\0\0b");
    let chunks = world.database.begin().range(prefix, 100, false).await.unwrap();
    assert_eq!(chunks.len(), 4);
    for altered in [None, Some(Bytes::from_static(b"something else"))] {
        let mut transaction = world.database.begin();
        match altered {
            None => transaction.clear(chunks[1].0.clone()),
            Some(value) => transaction.set(chunks[1].0.clone(), value),
        }
        transaction.commit().await.unwrap();
        let read = world.ledger.room(&room("one")).await;
        assert!(matches!(read, Err(ReadError::Corrupt(_))), "{read:?}");
    }
}
