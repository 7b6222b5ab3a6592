//! The memory engine under the suite that every backend passes, and what is special to it.
#![allow(clippy::unwrap_used, reason = "tests")]

use store::conformance::{Stage, run_all};
use store::limits::{RUN_ATTEMPTS_MAX, WATCHES_MAX};
use store::{Database, Error, Watch, Written};

#[tokio::test(start_paused = true)]
async fn the_memory_engine_conforms() {
    run_all(async |name| Stage::new(Database::memory(), name)).await;
}

#[tokio::test(start_paused = true)]
async fn checks_can_share_one_database() {
    let database = Database::memory();
    run_all(async |name| Stage::new(database.clone(), format!("{name}/"))).await;
}

#[tokio::test(start_paused = true)]
async fn run_gives_up_in_the_end() {
    let database = Database::memory();
    let mut attempts = 0;
    let outcome: Result<(), _> = database
        .run(|_| {
            attempts += 1;
            std::future::ready(Err(Error::Busy))
        })
        .await;
    assert_eq!((outcome, attempts), (Err(Error::Busy), RUN_ATTEMPTS_MAX));
}

#[tokio::test]
async fn the_same_calls_give_the_same_answers() {
    let play = async || {
        let database = Database::memory();
        let mut answers = Vec::new();
        for round in 0..50_u8 {
            let (mut left, mut right) = (database.begin(), database.begin());
            left.get(&[round % 7 + 1]).await.unwrap();
            right.set_versionstamped_key("log/", vec![round], "entry");
            right.set([round % 5 + 1].to_vec(), [round].to_vec());
            left.set([round % 3 + 1].to_vec(), [round].to_vec());
            answers.push((right.commit().await, left.commit().await));
        }
        (
            format!("{answers:?}"),
            database.begin().range(vec![0]..vec![0xff], 1_000, true).await.unwrap(),
        )
    };
    let first = play().await;
    assert_eq!(first, play().await);
    assert!(first.0.contains("Conflict"));
}

#[tokio::test]
async fn a_closed_database_refuses_everything() {
    let database = Database::memory();
    let (early, watching) = (database.begin(), database.begin());
    early.get(b"a").await.unwrap();
    let watch = watching.watch(b"a").await.unwrap();
    watching.commit().await.unwrap();
    database.clone().close().await;
    assert_eq!(watch.await, Err(Error::Closed));
    assert_eq!(early.get(b"a").await, Err(Error::Closed));
    assert_eq!(early.commit().await, Err(Error::Closed));
    let mut late = database.begin();
    assert_eq!(late.read_version().await, Err(Error::Closed));
    late.set("a", "1");
    assert_eq!(late.commit().await, Err(Error::Closed));
}

#[tokio::test]
async fn watches_have_a_bound_and_abandoned_ones_do_not_count() {
    let database = Database::memory();
    let mut watches = Vec::new();
    for key in 0..WATCHES_MAX {
        watches.push(watch(&database, key).await);
    }
    assert_eq!(watch(&database, WATCHES_MAX).await.await, Err(Error::TooManyWatches));
    watches.truncate(WATCHES_MAX / 2);
    let woken = watch(&database, WATCHES_MAX).await;
    let mut writer = database.begin();
    writer.set(WATCHES_MAX.to_be_bytes().to_vec(), "1");
    writer.commit().await.unwrap();
    assert_eq!(woken.await, Ok(()));
}

/// Begins to watch a key.
async fn watch(database: &Database, key: usize) -> Watch {
    let transaction = database.begin();
    let watch = transaction.watch(&key.to_be_bytes()).await.unwrap();
    transaction.commit().await.unwrap();
    watch
}

#[tokio::test]
async fn run_can_be_spawned() {
    let database = Database::memory();
    let key = b"a".to_vec();
    let spawned = tokio::spawn(async move {
        let (suffix, key) = (String::from("!"), key.as_slice());
        let suffix = &suffix;
        database
            .run(|mut transaction| async move {
                transaction.set(key.to_vec(), suffix.clone());
                let value = transaction.get(key).await?;
                Ok::<_, Error>((transaction, value))
            })
            .await
    });
    assert_eq!(spawned.await.unwrap().unwrap().unwrap(), "!");
}

#[tokio::test]
async fn what_is_committed_is_counted_for_all_clones_and_nothing_else_is() {
    let database = Database::memory();
    let mut transaction = database.begin();
    transaction.set("key", "value");
    transaction.clear("other");
    transaction.commit().await.unwrap();
    // Neither of these writes anything.
    database.begin().commit().await.unwrap();
    let mut dropped = database.begin();
    dropped.set("key", "lost");
    drop(dropped);
    let expected = Written {
        transactions: 1,
        rows: 2,
        octets: 13,
        groups: 1,
    };
    assert_eq!(database.clone().written(), expected);
}
