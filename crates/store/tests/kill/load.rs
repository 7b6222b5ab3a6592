//! The load: what each transaction writes follows from who commits it and its number, so that a reader can tell.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::Write;
use store::{Database, Error, KeyRange, Transaction};

pub(crate) const TASKS: u64 = 24;
/// Rows of a transaction are taken away by the one this many later.
pub(crate) const KEPT: u64 = 8;
/// Each so-many-th transaction of a task counts on a row that all tasks share.
pub(crate) const COUNTING: u64 = 10;

/// splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What the children said, and what is known since the last look.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Task to the highest number acknowledged.
    pub(crate) last: BTreeMap<u64, u64>,
    /// Acknowledgements in all.
    pub(crate) count: u64,
}

impl Acknowledged {
    /// Notes an acknowledgement; other lines are the test harness's.
    pub(crate) fn note(&mut self, line: &str) -> bool {
        let mut words = line.split_whitespace();
        if words.next() != Some("committed") {
            return false;
        }
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (task, number) = (number(), number());
        let last = self.last.entry(task).or_default();
        assert!(number > *last, "task {task} acknowledged {number} after {last}");
        *last = number;
        self.count += 1;
        true
    }
}

pub(crate) fn counter(task: u64) -> Vec<u8> {
    format!("counter/{task:02}").into_bytes()
}

pub(crate) fn rows_of(task: u64, number: u64) -> Vec<u8> {
    format!("row/{task:02}/{number:08}/").into_bytes()
}

/// The rows that transaction `number` of `task` writes: one to six, of 10 to 3,000 octets.
pub(crate) fn rows(task: u64, number: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut random = Random(task << 32 | number);
    let count = 1 + random.below(6);
    (0..count)
        .map(|row| {
            let key = [rows_of(task, number), vec![u8::try_from(row).unwrap()]].concat();
            let octets = 10 + random.below(3_000);
            (
                key,
                (0..octets).map(|_| u8::try_from(random.below(256)).unwrap()).collect(),
            )
        })
        .collect()
}

/// What a log entry says about its transaction.
pub(crate) fn entry(task: u64, number: u64) -> String {
    format!("{task} {number}")
}

pub(crate) fn count_of(value: Option<Bytes>) -> u64 {
    value.map_or(0, |octets| u64::from_be_bytes(octets.as_ref().try_into().unwrap()))
}

/// Commits from many tasks until the process dies, and says each commit once it is acknowledged.
pub(crate) async fn without_end(database: Database) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(commit_without_end(database.clone(), task)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn commit_without_end(database: Database, task: u64) {
    loop {
        let number = loop {
            match commit_next(&database, task).await {
                Ok(number) => break number,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        };
        // One write for one line: a line is in the pipe as a whole or not at all.
        std::io::stdout()
            .write_all(format!("committed {task} {number}\n").as_bytes())
            .unwrap();
    }
}

async fn commit_next(database: &Database, task: u64) -> Result<u64, Error> {
    let mut transaction = database.begin();
    let number = count_of(transaction.get(&counter(task)).await?) + 1;
    transaction.set(counter(task), number.to_be_bytes().to_vec());
    for (key, value) in rows(task, number) {
        transaction.set(key, value);
    }
    if number > KEPT {
        transaction.clear_range(KeyRange::prefix(&rows_of(task, number - KEPT)));
    }
    transaction.set_versionstamped_key("log/", "", entry(task, number));
    if number.is_multiple_of(COUNTING) {
        count(&mut transaction).await?;
    }
    transaction.commit().await.map(|_| number)
}

async fn count(transaction: &mut Transaction) -> Result<(), Error> {
    let shared = count_of(transaction.get(b"shared").await?) + 1;
    transaction.set("shared", shared.to_be_bytes().to_vec());
    Ok(())
}
