//! The store on a real cluster: the suite, a server that is killed, a server that says nothing, openings that fail. Where
//! FoundationDB is not installed, the tests that need a server say so and pass.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};
use store::conformance::{Stage, run_all};
use store::{Database, Error, KeyRange};
use store_fdb::testing::Cluster;
use store_fdb::{ANSWER_MAX, FdbStore, OpenError};
use tempfile::TempDir;

/// Longest time in which a cluster of one process has to serve again; it takes seconds. The store promises to serve again by
/// itself when the cluster does, not when that is.
const RECOVERY_MAX: Duration = Duration::from_secs(180);

/// What the machine may add to a wait that is bounded.
const SLACK: Duration = Duration::from_secs(3);

async fn open(cluster: &Cluster) -> Database {
    FdbStore::open(cluster.cluster_file()).await.unwrap()
}

async fn put(database: &Database, key: String) -> Result<(), Error> {
    let mut transaction = database.begin();
    transaction.set(key, "value");
    transaction.commit().await.map(drop)
}

/// Puts `key` as soon as the store serves again. Every error until then has to be one that is worth another try.
async fn put_when_back(cluster: &mut Cluster, database: &Database, key: &str) {
    let began = Instant::now();
    while let Err(error) = put(database, key.to_owned()).await {
        assert!(error.is_retryable() || error == Error::TimedOut, "{error}");
        let late = began.elapsed() >= RECOVERY_MAX;
        assert!(!late, "the store does not come back: {error}; {}", cluster.state());
    }
}

/// Reads every key, as soon as that can be done.
async fn keys(database: &Database) -> Vec<String> {
    let read = database.run(|transaction| async move {
        let rows = transaction.range(KeyRange::prefix(b""), usize::MAX, false).await?;
        Ok::<_, Error>((transaction, rows))
    });
    let rows = read.await.unwrap();
    rows.into_iter()
        .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_keeps_the_contract() {
    let Some(cluster) = Cluster::start().unwrap() else {
        return;
    };
    let database = open(&cluster).await;
    run_all(async |name| Stage::new(database.clone(), format!("{name}/"))).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_longer_than_one_reply_is_whole_in_both_directions() {
    let Some(cluster) = Cluster::start().unwrap() else {
        return;
    };
    let database = open(&cluster).await;
    let mut expected: Vec<_> = (0..40).map(|row| format!("{row:03}")).collect();
    for key in &expected {
        let mut transaction = database.begin();
        transaction.set(key.clone(), vec![7; 50_000]);
        transaction.commit().await.unwrap();
    }
    assert_eq!(keys(&database).await, expected);
    let rows = database.begin().range(KeyRange::prefix(b""), 39, true).await.unwrap();
    expected.reverse();
    let found: Vec<_> = rows
        .iter()
        .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
        .collect();
    assert_eq!(found, expected[..39]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_server_that_is_killed() {
    let Some(mut cluster) = Cluster::start().unwrap() else {
        return;
    };
    let database = open(&cluster).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let writer = tokio::spawn({
            let database = database.clone();
            async move {
                let mut written = Vec::new();
                for number in 0.. {
                    let key = format!("{round}/{number:06}");
                    if put(&database, key.clone()).await.is_err() {
                        break;
                    }
                    written.push(key);
                }
                written
            }
        });
        // In the middle of the writer's life: once its hundredth row is there.
        while database
            .begin()
            .get(format!("{round}/000099").as_bytes())
            .await
            .unwrap()
            .is_none()
        {}
        cluster.kill().unwrap();
        acknowledged.extend(writer.await.unwrap());
        cluster.restart().unwrap();
        put_when_back(&mut cluster, &database, &format!("{round}/back")).await;
    }
    let found = keys(&database).await;
    for key in acknowledged {
        assert!(found.contains(&key), "{key} was acknowledged and is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_makes_the_store_busy_until_it_speaks() {
    let Some(mut cluster) = Cluster::start().unwrap() else {
        return;
    };
    let database = open(&cluster).await;
    put(&database, "before".to_owned()).await.unwrap();
    let mut sent = database.begin();
    sent.read_version().await.unwrap();
    sent.set("sent", "value");

    cluster.pause().unwrap();
    let began = Instant::now();
    let (read, blind, sent) = tokio::join!(
        async { database.begin().get(b"before").await },
        put(&database, "blind".to_owned()),
        sent.commit(),
    );
    assert!(began.elapsed() < ANSWER_MAX + SLACK, "{:?}", began.elapsed());
    assert_eq!(read, Err(Error::Busy));
    assert_eq!(blind, Err(Error::Busy));
    assert_eq!(sent.unwrap_err(), Error::TimedOut);

    cluster.resume().unwrap();
    put_when_back(&mut cluster, &database, "after").await;
    let found = keys(&database).await;
    assert!(found.contains(&"before".to_owned()) && found.contains(&"after".to_owned()));
    assert!(
        !found.contains(&"blind".to_owned()),
        "busy means that nothing was committed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_refuses_everything_and_its_watches_end() {
    let Some(cluster) = Cluster::start().unwrap() else {
        return;
    };
    let (database, other) = (open(&cluster).await, open(&cluster).await);
    let watching = database.begin();
    let watch = watching.watch(b"key").await.unwrap();
    watching.commit().await.unwrap();
    database.clone().close().await;
    assert_eq!(watch.await, Err(Error::Closed));
    assert_eq!(database.begin().get(b"key").await, Err(Error::Closed));
    assert_eq!(put(&database, "key".to_owned()).await, Err(Error::Closed));
    // Another store of the same process, on the same network thread, goes on.
    put(&other, "key".to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_missing_or_wrong_cluster_file_is_told() {
    let directory = TempDir::new().unwrap();
    let missing = FdbStore::open(directory.path().join("fdb.cluster")).await.unwrap_err();
    assert!(matches!(missing, OpenError::Unreadable { .. }), "{missing}");
    let file = directory.path().join("wrong.cluster");
    std::fs::write(&file, "127.0.0.1:4500\n").unwrap();
    let wrong = FdbStore::open(&file).await.unwrap_err();
    assert!(matches!(wrong, OpenError::Malformed { .. }), "{wrong}");
}

#[tokio::test]
async fn a_cluster_that_nobody_serves_is_told_in_bounded_time() {
    // Bound and never listened on by FoundationDB: connections are taken and nothing is said.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("fdb.cluster");
    std::fs::write(&file, format!("nave:test@{address}\n")).unwrap();
    let began = Instant::now();
    let unreachable = FdbStore::open(&file).await.unwrap_err();
    assert!(began.elapsed() < ANSWER_MAX + SLACK, "{:?}", began.elapsed());
    assert!(matches!(unreachable, OpenError::Unreachable { .. }), "{unreachable}");
    assert!(unreachable.to_string().contains(&address.to_string()));
}
