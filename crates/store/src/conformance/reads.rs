//! What reads see.

use bytes::Bytes;

use super::{Stage, rows};
use crate::backend::{Bounds, Isolation};
use crate::error::Error;

pub(super) async fn what_is_committed_is_read(stage: Stage) -> Result<(), Error> {
    assert_eq!(stage.begin().get(&stage.key("a")).await?, None);
    stage.put(&[("a", "1"), ("b", "2")]).await?;
    assert_eq!(stage.begin().get(&stage.key("a")).await?, Some(Bytes::from("1")));
    assert_eq!(
        stage.begin().snapshot_get(&stage.key("b")).await?,
        Some(Bytes::from("2"))
    );
    let mut transaction = stage.begin();
    transaction.set(stage.key("b"), "3");
    transaction.clear(stage.key("a"));
    let committed = transaction.commit().await?;
    assert!(committed.versionstamp.is_some());
    assert_eq!(stage.rows().await?, rows(&[("b", "3")]));
    Ok(())
}

pub(super) async fn a_transaction_reads_its_own_writes(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("b", "2")]).await?;
    let mut transaction = stage.begin();
    transaction.set(stage.key("a"), "own");
    transaction.clear(stage.key("b"));
    transaction.set(stage.key("c"), "");
    assert_eq!(transaction.get(&stage.key("a")).await?, Some(Bytes::from("own")));
    assert_eq!(transaction.get(&stage.key("b")).await?, None);
    assert_eq!(transaction.snapshot_get(&stage.key("c")).await?, Some(Bytes::new()));
    transaction.clear_range(stage.all());
    assert_eq!(transaction.get(&stage.key("a")).await?, None);
    transaction.set(stage.key("b"), "again");
    assert_eq!(transaction.get(&stage.key("b")).await?, Some(Bytes::from("again")));
    assert_eq!(stage.rows().await?, rows(&[("a", "1"), ("b", "2")]));
    Ok(())
}

pub(super) async fn own_writes_are_laid_over_ranges(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("c", "3"), ("e", "5"), ("g", "7")]).await?;
    let mut transaction = stage.begin();
    transaction.set(stage.key("b"), "own");
    transaction.set(stage.key("c"), "own");
    transaction.clear(stage.key("e"));
    transaction.clear_range(stage.between("f", "h"));
    transaction.set(stage.key("h"), "own");
    let expected = rows(&[("a", "1"), ("b", "own"), ("c", "own"), ("h", "own")]);
    assert_eq!(stage.named(transaction.range(stage.all(), 9, false).await?), expected);
    assert_eq!(stage.named(transaction.range(stage.all(), 4, false).await?), expected);
    assert_eq!(
        stage.named(transaction.range(stage.all(), 2, false).await?),
        expected[..2]
    );
    let backwards: Vec<_> = expected.into_iter().rev().collect();
    assert_eq!(
        stage.named(transaction.snapshot_range(stage.all(), 9, true).await?),
        backwards
    );
    assert_eq!(
        stage.named(transaction.range(stage.all(), 2, true).await?),
        backwards[..2]
    );
    Ok(())
}

pub(super) async fn ranges_end_at_their_bounds(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("b", "2"), ("c", "3")]).await?;
    let transaction = stage.begin();
    let found = transaction.range(stage.between("a", "c"), 9, false).await?;
    assert_eq!(stage.named(found), rows(&[("a", "1"), ("b", "2")]));
    assert!(transaction.range(stage.between("b", "b"), 9, false).await?.is_empty());
    assert!(transaction.range(stage.between("c", "a"), 9, false).await?.is_empty());
    assert!(transaction.range(stage.all(), 0, false).await?.is_empty());
    let one_row = Bounds {
        rows: 9,
        octets: 1,
        reverse: false,
    };
    let found = transaction.read(stage.all(), one_row, Isolation::Snapshot).await?;
    assert!(found.more);
    assert_eq!(stage.named(found.rows), rows(&[("a", "1")]));
    let everything = Bounds {
        rows: 9,
        octets: 1_000_000,
        reverse: true,
    };
    let found = transaction.read(stage.all(), everything, Isolation::Snapshot).await?;
    assert!(!found.more);
    assert_eq!(stage.named(found.rows), rows(&[("c", "3"), ("b", "2"), ("a", "1")]));
    Ok(())
}

pub(super) async fn a_transaction_reads_one_version(stage: Stage) -> Result<(), Error> {
    stage.put(&[("a", "1"), ("b", "1")]).await?;
    let transaction = stage.begin();
    assert_eq!(transaction.get(&stage.key("a")).await?, Some(Bytes::from("1")));
    let version = transaction.read_version().await?;
    stage.put(&[("a", "2"), ("b", "2"), ("c", "2")]).await?;
    assert_eq!(transaction.get(&stage.key("b")).await?, Some(Bytes::from("1")));
    let found = transaction.snapshot_range(stage.all(), 9, false).await?;
    assert_eq!(stage.named(found), rows(&[("a", "1"), ("b", "1")]));
    assert_eq!(transaction.read_version().await?, version);
    Ok(())
}

pub(super) async fn a_new_read_version_contains_every_acknowledged_commit(stage: Stage) -> Result<(), Error> {
    let mut before = stage.begin().read_version().await?;
    for round in 0..20 {
        let mut transaction = stage.begin();
        transaction.set(stage.key("a"), format!("{round}"));
        let committed = transaction.commit().await?;
        let reader = stage.begin();
        let version = reader.read_version().await?;
        assert!(committed.version > before && version >= committed.version);
        assert_eq!(
            reader.get(&stage.key("a")).await?,
            Some(Bytes::from(format!("{round}")))
        );
        before = version;
    }
    Ok(())
}

pub(super) async fn a_dropped_transaction_leaves_nothing(stage: Stage) -> Result<(), Error> {
    let mut transaction = stage.begin();
    transaction.get(&stage.key("a")).await?;
    transaction.set(stage.key("a"), "1");
    drop(transaction);
    assert!(stage.rows().await?.is_empty());
    Ok(())
}
