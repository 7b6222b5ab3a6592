//! Watches, retries and age.

use bytes::Bytes;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Stage, rows};
use crate::error::Error;
use crate::limits::TRANSACTION_AGE_MAX;

pub(super) async fn a_watch_wakes_when_its_key_changes(stage: Stage) -> Result<(), Error> {
    for value in ["1", "2"] {
        let transaction = stage.begin();
        let watch = transaction.watch(&stage.key("a")).await?;
        transaction.commit().await?;
        stage.put(&[("a", value)]).await?;
        watch.await?;
    }
    let transaction = stage.begin();
    let watch = transaction.watch(&stage.key("a")).await?;
    transaction.commit().await?;
    let mut transaction = stage.begin();
    transaction.clear_range(stage.all());
    transaction.commit().await?;
    watch.await
}

pub(super) async fn a_watch_starts_from_the_transactions_own_write(stage: Stage) -> Result<(), Error> {
    let mut transaction = stage.begin();
    transaction.set(stage.key("a"), "own");
    let mut watch = transaction.watch(&stage.key("a")).await?;
    transaction.commit().await?;
    let early = tokio::time::timeout(Duration::from_millis(20), &mut watch).await;
    assert!(early.is_err(), "woken by its own write: {early:?}");
    stage.put(&[("a", "other")]).await?;
    watch.await
}

pub(super) async fn a_change_before_the_commit_wakes_the_watch(stage: Stage) -> Result<(), Error> {
    let transaction = stage.begin();
    let watch = transaction.watch(&stage.key("a")).await?;
    stage.put(&[("a", "1")]).await?;
    transaction.commit().await?;
    watch.await
}

pub(super) async fn a_watch_of_an_abandoned_transaction_is_cancelled(stage: Stage) -> Result<(), Error> {
    let dropped = stage.begin();
    let watch = dropped.watch(&stage.key("a")).await?;
    drop(dropped);
    assert_eq!(watch.await, Err(Error::Cancelled));

    let mut refused = stage.begin();
    refused.get(&stage.key("a")).await?;
    let watch = refused.watch(&stage.key("a")).await?;
    stage.put(&[("a", "1")]).await?;
    refused.set(stage.key("b"), "1");
    assert_eq!(refused.commit().await, Err(Error::Conflict));
    assert_eq!(watch.await, Err(Error::Cancelled));
    Ok(())
}

pub(super) async fn run_repeats_after_a_conflict_and_gives_other_errors_back(stage: Stage) -> Result<(), Error> {
    let attempts = &AtomicU32::new(0);
    let stage = &stage;
    let seen = stage
        .database
        .run(|mut transaction| async move {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed) + 1;
            let seen = transaction.get(&stage.key("a")).await?;
            if attempt < 3 {
                stage.put(&[("a", &attempt.to_string())]).await?;
            }
            transaction.set(stage.key("b"), "done");
            Ok::<_, Error>((transaction, seen))
        })
        .await?;
    assert_eq!((attempts.load(Ordering::Relaxed), seen), (3, Some(Bytes::from("2"))));
    assert_eq!(stage.rows().await?, rows(&[("a", "2"), ("b", "done")]));

    let refused: Result<(), _> = stage
        .database
        .run(|_| async move {
            attempts.fetch_add(1, Ordering::Relaxed);
            Err(Error::IllegalKey)
        })
        .await;
    assert_eq!((refused, attempts.load(Ordering::Relaxed)), (Err(Error::IllegalKey), 4));
    Ok(())
}

pub(super) async fn a_transaction_is_too_old_after_five_seconds(stage: Stage) -> Result<(), Error> {
    let reader = stage.begin();
    reader.get(&stage.key("a")).await?;
    let mut writer = stage.begin();
    writer.get(&stage.key("a")).await?;
    writer.set(stage.key("a"), "1");
    let mut blind = stage.begin();
    blind.set(stage.key("b"), "2");
    tokio::time::sleep(TRANSACTION_AGE_MAX + Duration::from_millis(500)).await;
    assert_eq!(reader.get(&stage.key("a")).await, Err(Error::TooOld));
    assert_eq!(reader.range(stage.all(), 9, false).await, Err(Error::TooOld));
    assert_eq!(writer.commit().await, Err(Error::TooOld));
    blind.commit().await?;
    assert_eq!(stage.rows().await?, rows(&[("b", "2")]));
    Ok(())
}
