//! The directory engine: the suite, reopening, and directories that are not as they should be.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use store::conformance::{Stage, run_all};
use store::{Database, Error, OpenError, Options, Version};
use tempfile::TempDir;

fn small() -> Options {
    Options {
        cache_bytes: 1 << 20,
        memtable_bytes: 1 << 20,
        workers: 1,
        ..Options::default()
    }
}

fn open(path: &Path) -> Result<Database, OpenError> {
    Database::open_fjall(path, small())
}

async fn put(database: &Database, key: &str, value: &str) -> Version {
    let mut transaction = database.begin();
    transaction.set(key.to_owned(), value.to_owned());
    transaction.commit().await.unwrap().version
}

async fn value(database: &Database, key: &str) -> Option<String> {
    let value = database.begin().get(key.as_bytes()).await.unwrap();
    value.map(|octets| String::from_utf8(octets.to_vec()).unwrap())
}

/// A closed store that holds ten commits.
async fn filled() -> TempDir {
    let directory = TempDir::new().unwrap();
    let database = open(directory.path()).unwrap();
    for commit in 0..10 {
        put(&database, &format!("key {commit}"), &format!("value {commit}")).await;
    }
    database.close().await;
    directory
}

fn journal(directory: &TempDir) -> std::path::PathBuf {
    let files = fs::read_dir(directory.path().join("engine"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ext| ext == "jnl"))
        .collect();
    assert_eq!(journals.len(), 1);
    journals.pop().unwrap()
}

fn damage(directory: &TempDir) -> String {
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("is damaged") && text.contains(directory.path().to_str().unwrap()),
        "{text}"
    );
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_engine_conforms() {
    let directory = TempDir::new().unwrap();
    let database = open(directory.path()).unwrap();
    run_all(async |name| Stage::new(database.clone(), format!("{name}/"))).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening_and_versions_go_on() {
    let directory = TempDir::new().unwrap();
    let mut last = Version(0);
    for round in 0..5 {
        let database = open(directory.path()).unwrap();
        for earlier in 0..round {
            assert_eq!(
                value(&database, &format!("key {earlier}")).await,
                Some(format!("value {earlier}"))
            );
        }
        assert_eq!(database.begin().read_version().await.unwrap(), last);
        let version = put(&database, &format!("key {round}"), &format!("value {round}")).await;
        assert!(version > last);
        last = version;
        if round % 2 == 0 {
            database.close().await;
        } else {
            drop(database);
        }
    }
}

#[tokio::test]
async fn rows_survive_when_they_have_gone_from_the_journal_to_files() {
    let directory = TempDir::new().unwrap();
    let database = open(directory.path()).unwrap();
    let text = |row: usize, round: usize| format!("{row}-{round}-").repeat(1_000);
    for round in 0..3 {
        for row in 0..300 {
            put(&database, &format!("row {row:03}"), &text(row, round)).await;
        }
    }
    let mut transaction = database.begin();
    transaction.clear_range("row 100".."row 200");
    transaction.commit().await.unwrap();
    database.close().await;
    let database = open(directory.path()).unwrap();
    let rows = database.begin().range("row ".."row~", 1_000, false).await.unwrap();
    assert_eq!(rows.len(), 200);
    for row in (0..100).chain(200..300) {
        assert_eq!(value(&database, &format!("row {row:03}")).await, Some(text(row, 2)));
    }
}

#[tokio::test]
async fn a_directory_is_open_once_at_a_time() {
    let directory = TempDir::new().unwrap();
    let database = open(directory.path()).unwrap();
    let refused = open(directory.path()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused}");
    put(&database, "key", "value").await;
    drop(database);
    assert_eq!(
        value(&open(directory.path()).unwrap(), "key").await,
        Some("value".to_owned())
    );
}

#[tokio::test]
async fn commits_in_flight_are_settled_before_the_database_is_gone() {
    let directory = TempDir::new().unwrap();
    let database = open(directory.path()).unwrap();
    let early = database.begin();
    let mut transaction = database.begin();
    transaction.set("key", "value");
    let commit = tokio::spawn(transaction.commit());
    tokio::task::yield_now().await;
    database.close().await;
    commit.await.unwrap().unwrap();
    assert_eq!(early.get(b"key").await, Err(Error::Closed));
    drop(early);
    assert_eq!(
        value(&open(directory.path()).unwrap(), "key").await,
        Some("value".to_owned())
    );
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    let refused = open(directory.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Foreign(_)), "{refused}");
    assert!(!directory.path().join("engine").exists());
    assert_eq!(
        fs::read_to_string(directory.path().join("thesis.txt")).unwrap(),
        "years of work"
    );
}

#[test]
fn a_path_that_cannot_be_created_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = open(&file.join("store")).unwrap_err();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused}");
    assert!(refused.to_string().contains("file/store"), "{refused}");
}

#[tokio::test]
async fn a_store_half_made_when_the_process_died_is_made_again() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("engine.new")).unwrap();
    fs::write(directory.path().join("engine.new/0.jnl"), "half").unwrap();
    fs::write(directory.path().join("witness"), "half").unwrap();
    let database = open(directory.path()).unwrap();
    assert_eq!(put(&database, "key", "value").await, Version(1));
}

#[tokio::test]
async fn a_journal_that_lost_its_end_is_noticed() {
    let directory = filled().await;
    let path = journal(&directory);
    let octets = fs::read(&path).unwrap();
    let end = octets.windows(7).rposition(|window| window == b"value 9").unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(end as u64)
        .unwrap();
    let text = damage(&directory);
    assert!(text.contains("version 10 were acknowledged, 9 is the last"), "{text}");
}

#[tokio::test]
async fn a_flipped_bit_in_the_journal_is_noticed_wherever_it_is() {
    let original = filled().await;
    let path = journal(&original);
    let written = fs::read(&path).unwrap().iter().rposition(|octet| *octet != 0).unwrap() + 1;
    for at in (0..written).step_by(written / 60) {
        let mut octets = fs::read(&path).unwrap();
        octets[at] ^= 0x10;
        let copy = copy_of(&original);
        fs::write(journal(&copy), octets).unwrap();
        // What does not change the store's content may pass; anything else has to be refused.
        if let Ok(database) = open(copy.path()) {
            for commit in 0..10 {
                let expected = Some(format!("value {commit}"));
                assert_eq!(
                    value(&database, &format!("key {commit}")).await,
                    expected,
                    "bit in octet {at}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_missing_witness_or_engine_is_noticed() {
    let directory = filled().await;
    fs::remove_file(directory.path().join("witness")).unwrap();
    assert!(damage(&directory).contains("witness"));

    let directory = filled().await;
    fs::remove_dir_all(directory.path().join("engine")).unwrap();
    assert!(damage(&directory).contains("no engine directory"));

    let directory = filled().await;
    fs::remove_file(journal(&directory)).unwrap();
    damage(&directory);
}

#[tokio::test]
async fn rows_that_differ_from_the_last_commit_are_noticed() {
    let directory = filled().await;
    tamper(&directory, b"key 9", Some(b"value 8"));
    assert!(damage(&directory).contains("rows of the last commit"));

    let directory = filled().await;
    tamper(&directory, b"\xffmarker", None);
    assert!(damage(&directory).contains("marker is missing"));

    let directory = filled().await;
    tamper(&directory, b"\xffmarker", Some(b"nonsense"));
    assert!(damage(&directory).contains("marker is unreadable"));
}

/// Changes a row behind the store's back.
fn tamper(directory: &TempDir, key: &[u8], value: Option<&[u8]>) {
    let database = fjall::Database::builder(directory.path().join("engine"))
        .open()
        .unwrap();
    let rows = database
        .keyspace("rows", fjall::KeyspaceCreateOptions::default)
        .unwrap();
    match value {
        Some(value) => rows.insert(key, value).unwrap(),
        None => rows.remove(key).unwrap(),
    }
    database.persist(fjall::PersistMode::SyncAll).unwrap();
}

fn copy_of(directory: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_into(directory.path(), copy.path());
    copy
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy_into(&entry.path(), &target);
        } else if entry.path().extension().is_some_and(|ext| ext == "jnl") {
            // Overwritten by the test; the original is mostly a hole of 64 MiB.
            fs::write(&target, "").unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
