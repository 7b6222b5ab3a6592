//! Rows per second of the store against a bare loop on the `foundationdb` crate: the same bytes, as many transactions in
//! flight, in turns, on one throw-away cluster. Prints both and their ratio.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

use foundationdb as fdb;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Database;
use store_fdb::FdbStore;
use store_fdb::testing::Cluster;
use tokio::task::JoinSet;

const IN_FLIGHT: usize = 100;
const ROWS_PER_TRANSACTION: usize = 10;
const TRANSACTIONS_EACH: usize = 40;
const VALUE_OCTETS: usize = 512;
const TURNS: usize = 5;

#[tokio::main]
async fn main() {
    let Some(cluster) = Cluster::start().unwrap() else {
        return;
    };
    // First, because opening starts the client's network thread.
    let store = FdbStore::open(cluster.cluster_file()).await.unwrap();
    let path = cluster.cluster_file();
    let bare = Arc::new(fdb::Database::from_path(path.to_str().unwrap()).unwrap());

    let (mut through_store, mut through_client) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        through_store.push(timed(|task| with_store(store.clone(), turn, task)).await);
        through_client.push(timed(|task| with_client(bare.clone(), turn, task)).await);
    }
    let (ours, theirs) = (
        rows_per_second(&mut through_store),
        rows_per_second(&mut through_client),
    );
    println!(
        "{IN_FLIGHT} in flight, {ROWS_PER_TRANSACTION} rows of {VALUE_OCTETS} octets each, median of {TURNS} turns:\n\
         store {ours:.0} rows/s, bare client {theirs:.0} rows/s, ratio {:.2}",
        ours / theirs
    );
    store.close().await;
}

/// How long all tasks take together.
async fn timed<F: Future<Output = ()> + Send + 'static>(task: impl Fn(usize) -> F) -> Duration {
    let began = Instant::now();
    let tasks: JoinSet<()> = (0..IN_FLIGHT).map(task).collect();
    tasks.join_all().await;
    began.elapsed()
}

async fn with_store(database: Database, turn: usize, task: usize) {
    for transaction in 0..TRANSACTIONS_EACH {
        let mut writing = database.begin();
        for row in 0..ROWS_PER_TRANSACTION {
            writing.set(key("store", turn, task, transaction, row), vec![7; VALUE_OCTETS]);
        }
        writing.commit().await.unwrap();
    }
}

async fn with_client(database: Arc<fdb::Database>, turn: usize, task: usize) {
    for transaction in 0..TRANSACTIONS_EACH {
        let writing = database.create_trx().unwrap();
        for row in 0..ROWS_PER_TRANSACTION {
            writing.set(&key("plain", turn, task, transaction, row), &[7; VALUE_OCTETS]);
        }
        writing.commit().await.unwrap();
    }
}

fn key(whose: &str, turn: usize, task: usize, transaction: usize, row: usize) -> Vec<u8> {
    format!("{whose}/{turn}/{task:04}/{transaction:06}/{row:02}").into_bytes()
}

/// Of the median turn.
fn rows_per_second(turns: &mut [Duration]) -> f64 {
    turns.sort_unstable();
    (IN_FLIGHT * TRANSACTIONS_EACH * ROWS_PER_TRANSACTION) as f64 / turns[turns.len() / 2].as_secs_f64()
}
