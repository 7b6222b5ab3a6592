//! Looks whether a directory holds what was acknowledged, and nothing by halves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use store::{Database, KeyRange};

use super::load::{Acknowledged, COUNTING, KEPT, TASKS, count_of, counter, entry, rows, rows_of};

/// Opens the directory as the next process would and compares it with `known`; afterwards `known` is what was found.
pub(crate) fn directory(path: &Path, known: &mut Acknowledged) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let database = Database::open_fjall(path, super::options()).map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let found = counters(&database, known).await?;
        for (task, last) in &found {
            compare_rows(&database, *task, *last).await?;
        }
        compare_log(&database, &found).await?;
        compare_shared(&database, &found).await?;
        known.last = found;
        database.close().await;
        Ok(())
    })
}

/// The number that each task has come to. A task has one commit in flight, so it can be one ahead of what it said.
async fn counters(database: &Database, known: &Acknowledged) -> Result<BTreeMap<u64, u64>, String> {
    let transaction = database.begin();
    let mut found = BTreeMap::new();
    for task in 0..TASKS {
        let last = count_of(transaction.get(&counter(task)).await.unwrap());
        let said = known.last.get(&task).copied().unwrap_or_default();
        if last < said {
            return Err(format!(
                "task {task}: {said} was acknowledged, {last} is the last one there"
            ));
        }
        if last > said + 1 {
            return Err(format!(
                "task {task}: {last} is there and was never begun, {said} was the last one said"
            ));
        }
        found.insert(task, last);
    }
    Ok(found)
}

/// Every row of the kept transactions, and no other.
async fn compare_rows(database: &Database, task: u64, last: u64) -> Result<(), String> {
    let prefix = rows_of(task, 0);
    let all = KeyRange::prefix(&prefix[..prefix.len() - 9]);
    let found = database.begin().range(all, 10_000, false).await.unwrap();
    let expected: Vec<_> = (last.saturating_sub(KEPT) + 1..=last)
        .flat_map(|number| rows(task, number))
        .collect();
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(&expected)
            .all(|(found, expected)| found.0 == expected.0 && found.1 == expected.1);
    if same {
        Ok(())
    } else {
        Err(format!(
            "task {task}: rows of {last} and before are not those committed"
        ))
    }
}

/// One entry for each transaction, a task's own in their order.
async fn compare_log(database: &Database, found: &BTreeMap<u64, u64>) -> Result<(), String> {
    let log = database
        .begin()
        .range(KeyRange::prefix(b"log/"), 10_000_000, false)
        .await
        .unwrap();
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for (key, value) in log {
        let text = String::from_utf8_lossy(&value).into_owned();
        let task = text.split(' ').next().unwrap().parse().unwrap();
        let number = next.entry(task).or_default();
        *number += 1;
        if text != entry(task, *number) || !keys.insert(key) {
            return Err(format!("log: entry {text:?} where {:?} belongs", entry(task, *number)));
        }
    }
    let committed: BTreeMap<u64, u64> = found
        .iter()
        .filter(|(_, last)| **last > 0)
        .map(|(t, n)| (*t, *n))
        .collect();
    if next == committed {
        Ok(())
    } else {
        Err(format!("log ends at {next:?}, counters at {committed:?}"))
    }
}

/// The row that all tasks count on: a lost update or half a transaction would show.
async fn compare_shared(database: &Database, found: &BTreeMap<u64, u64>) -> Result<(), String> {
    let shared = count_of(database.begin().get(b"shared").await.unwrap());
    let expected: u64 = found.values().map(|last| last / COUNTING).sum();
    if shared == expected {
        Ok(())
    } else {
        Err(format!("shared count is {shared} instead of {expected}"))
    }
}
