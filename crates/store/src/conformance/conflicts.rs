//! Whose commit fails.

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Stage, rows};
use crate::error::Error;
use crate::key::KeyRange;
use crate::transaction::{Committed, Transaction};

/// Lets `transaction` write something of its own and commit.
async fn write_and_commit(stage: &Stage, mut transaction: Transaction) -> Result<Committed, Error> {
    transaction.set(stage.key("its own"), "written");
    transaction.commit().await
}

pub(super) async fn a_key_written_after_it_was_read_is_a_conflict(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1")]).await?;
    let (reader, other) = (stage.begin(), stage.begin());
    reader.get(&stage.key("a")).await?;
    other.get(&stage.key("b")).await?;
    stage.put(&[("a", "1")]).await?;
    assert_eq!(write_and_commit(&stage, reader).await, Err(Error::Conflict));
    assert_eq!(stage.rows().await?, rows(&[("a", "1")]));
    write_and_commit(&stage, other).await.map(drop)
}

pub(super) async fn a_key_that_was_absent_is_a_conflict_when_it_appears(stage: Stage) -> Result<(), Error> {
    let reader = stage.begin();
    assert_eq!(reader.get(&stage.key("a")).await?, None);
    stage.put(&[("a", "1")]).await?;
    assert_eq!(write_and_commit(&stage, reader).await, Err(Error::Conflict));
    Ok(())
}

pub(super) async fn a_range_written_after_it_was_read_is_a_conflict(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("c", "3")]).await?;
    for (begin, end, conflicts) in [("a", "c", true), ("b", "c", true), ("c", "d", false), ("a", "b", false)] {
        let reader = stage.begin();
        reader.range(stage.between(begin, end), 9, false).await?;
        stage.put(&[("b", "2")]).await?;
        let outcome = write_and_commit(&stage, reader).await;
        assert_eq!(
            outcome == Err(Error::Conflict),
            conflicts,
            "{begin}..{end}: {outcome:?}"
        );
    }
    Ok(())
}

pub(super) async fn rows_behind_the_limit_are_no_conflict(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]).await?;
    for (reverse, written, conflicts) in [
        (false, "c", false),
        (false, "b", true),
        (false, "aa", true),
        (true, "b", false),
        (true, "cc", true),
    ] {
        let reader = stage.begin();
        assert_eq!(reader.range(stage.all(), 2, reverse).await?.len(), 2);
        stage.put(&[(written, "new")]).await?;
        let outcome = write_and_commit(&stage, reader).await;
        assert_eq!(
            outcome == Err(Error::Conflict),
            conflicts,
            "{written} (reverse {reverse}): {outcome:?}"
        );
        let mut transaction = stage.begin();
        transaction.clear_range(stage.all());
        for key in ["a", "b", "c", "d"] {
            transaction.set(stage.key(key), "");
        }
        transaction.commit().await?;
    }
    Ok(())
}

pub(super) async fn a_cleared_range_is_a_conflict_for_its_readers(stage: Stage) -> Result<(), Error> {
    for (read, conflicts) in [("b", true), ("c", false)] {
        let reader = stage.begin();
        reader.get(&stage.key(read)).await?;
        let mut transaction = stage.begin();
        transaction.clear_range(stage.between("a", "c"));
        transaction.commit().await?;
        let outcome = write_and_commit(&stage, reader).await;
        assert_eq!(outcome == Err(Error::Conflict), conflicts, "{read}: {outcome:?}");
    }
    Ok(())
}

pub(super) async fn snapshot_reads_are_no_conflict(stage: Stage) -> Result<(), Error> {
    let reader = stage.begin();
    reader.snapshot_get(&stage.key("a")).await?;
    reader.snapshot_range(stage.all(), 9, false).await?;
    stage.put(&[("a", "1")]).await?;
    write_and_commit(&stage, reader).await.map(drop)
}

pub(super) async fn own_writes_read_back_are_no_conflict(stage: Stage) -> Result<(), Error> {
    let mut writer = stage.begin();
    writer.read_version().await?;
    writer.set(stage.key("a"), "1");
    writer.get(&stage.key("a")).await?;
    stage.put(&[("a", "2")]).await?;
    writer.commit().await?;
    assert_eq!(stage.rows().await?, rows(&[("a", "1")]));
    Ok(())
}

pub(super) async fn blind_writes_never_conflict_and_the_last_one_wins(stage: Stage) -> Result<(), Error> {
    let (mut first, mut second) = (stage.begin(), stage.begin());
    first.read_version().await?;
    second.read_version().await?;
    first.set(stage.key("a"), "first");
    second.set(stage.key("a"), "second");
    let second = second.commit().await?;
    let first = first.commit().await?;
    assert!(first.version > second.version || first.versionstamp > second.versionstamp);
    assert_eq!(stage.rows().await?, rows(&[("a", "first")]));
    Ok(())
}

pub(super) async fn conflict_ranges_can_be_added(stage: Stage) -> Result<(), Error> {
    let (mut reader, bystander, mut writer) = (stage.begin(), stage.begin(), stage.begin());
    reader.read_version().await?;
    bystander.get(&stage.key("z")).await?;
    reader.add_read_conflict_range(stage.between("a", "c"));
    writer.add_write_conflict_range(KeyRange::key(&stage.key("b")));
    writer.commit().await?;
    assert_eq!(write_and_commit(&stage, reader).await, Err(Error::Conflict));
    write_and_commit(&stage, bystander).await.map(drop)
}

pub(super) async fn a_transaction_without_writes_never_conflicts(stage: Stage) -> Result<(), Error> {
    let reader = stage.begin();
    reader.get(&stage.key("a")).await?;
    stage.put(&[("a", "1")]).await?;
    assert_eq!(reader.commit().await?.versionstamp, None);
    Ok(())
}

pub(super) async fn write_skew_is_a_conflict(stage: Stage) -> Result<(), Error> {
    let (mut left, mut right) = (stage.begin(), stage.begin());
    assert_eq!(left.get(&stage.key("right")).await?, None);
    assert_eq!(right.get(&stage.key("left")).await?, None);
    left.set(stage.key("left"), "1");
    right.set(stage.key("right"), "1");
    left.commit().await?;
    assert_eq!(right.commit().await, Err(Error::Conflict));
    Ok(())
}

pub(super) async fn concurrent_increments_all_count(stage: Stage) -> Result<(), Error> {
    const TASKS: u64 = 8;
    const EACH: u64 = 10;
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let stage = stage.clone();
        tasks.spawn(async move {
            for _ in 0..EACH {
                increment(&stage).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no task panics or is aborted")?;
    }
    assert_eq!(
        stage.begin().get(&stage.key("count")).await?,
        Some(number(TASKS * EACH))
    );
    Ok(())
}

async fn increment(stage: &Stage) -> Result<(), Error> {
    stage
        .database
        .run(|mut transaction| async move {
            let count = transaction.get(&stage.key("count")).await?.map_or(0, |octets| {
                u64::from_be_bytes(octets.as_ref().try_into().expect("only this check writes the key"))
            });
            transaction.set(stage.key("count"), number(count + 1));
            Ok((transaction, ()))
        })
        .await
}

fn number(count: u64) -> Bytes {
    Bytes::copy_from_slice(&count.to_be_bytes())
}

pub(super) async fn what_begins_after_a_version_depends_on_what_is_written_since(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("b", "1")]).await?;
    let mut known = stage.begin();
    known.set(stage.key("a"), "2");
    let known = known.commit().await?.version;
    stage.put(&[("b", "2")]).await?;
    let written = |depends: KeyRange| {
        let mut transaction = stage.database.begin_after(known);
        transaction.add_read_conflict_range(depends);
        transaction.set(stage.key("c"), "3");
        transaction.commit()
    };
    // What was written by the commit of that version itself is known.
    written(KeyRange::key(&stage.key("a"))).await?;
    assert_eq!(written(KeyRange::key(&stage.key("b"))).await, Err(Error::Conflict));
    assert_eq!(written(stage.between("a", "c")).await, Err(Error::Conflict));
    written(stage.between("a", "b")).await?;
    assert_eq!(stage.rows().await?, rows(&[("a", "2"), ("b", "2"), ("c", "3")]));
    Ok(())
}
