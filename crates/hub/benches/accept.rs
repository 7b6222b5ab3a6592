//! What a hub accepts in a second, and how long an acceptance takes, beside a bare loop that makes the same octets durable.
//!
//! `cargo bench -p hub --bench accept` measures the embedded store; with `--features fdb`, and fdbserver on the machine, a
//! throw-away FoundationDB cluster too. `-- embedded` or `-- cluster` takes one of them. Hub and bare loop go in turns, so
//! that their ratio holds on a machine whose speed drifts. `ACCEPT_TURNS=1` gives a first impression.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

mod support;

use std::path::Path;

use store::{Database, Options};
use support::bare::Journal;
use support::crowd::Crowd;
use support::figures::{self, Turn};

/// As in `nave-hub`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns of hub and bare loop, after one that does not count, unless `ACCEPT_TURNS` says how many.
const TURNS: usize = 5;

/// Shards of an embedded store, and of a shared one, as `nave-hub` makes them.
const EMBEDDED_SHARDS: u32 = 16;
#[cfg(feature = "fdb")]
const CLUSTER_SHARDS: u32 = 1_024;

/// How much is asked at once, of how many rooms, and for how many entries each turn.
#[derive(Clone, Copy)]
struct Case {
    in_flight: usize,
    rooms: usize,
    entries: usize,
}

const CASES: [Case; 4] = [
    Case::new(1, 1, 250),
    Case::new(64, 1, 4_000),
    Case::new(64, 64, 4_000),
    // One room's mailbox does not hold a thousand.
    Case::new(1_000, 64, 16_000),
];

impl Case {
    const fn new(in_flight: usize, rooms: usize, entries: usize) -> Self {
        Self {
            in_flight,
            rooms,
            entries,
        }
    }
}

#[tokio::main]
async fn main() {
    // As in `nave-hub`, too.
    daemon::memory::without_huge_pages().unwrap();
    let turns = std::env::var("ACCEPT_TURNS").map_or(TURNS, |turns| turns.parse().unwrap());
    // Cargo adds `--bench`.
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|each| each == name);
    if wanted("embedded") {
        // Where the build is, because a temporary directory may be in memory, where a sync costs nothing.
        embedded(Path::new(env!("CARGO_TARGET_TMPDIR")), turns).await;
    }
    if wanted("cluster") {
        cluster(turns).await;
    }
}

async fn embedded(disk: &Path, turns: usize) {
    let directory = tempfile::tempdir_in(disk).unwrap();
    let database = Database::open_fjall(directory.path().join("store"), Options::default()).unwrap();
    let mut crowd = Crowd::gather(database, EMBEDDED_SHARDS).await;
    let mut journal = Journal::create(&directory.path().join("bare"));
    figures::head("embedded store", "bare syncs");
    let mut handed_over = Vec::new();
    for case in CASES {
        let mut taken = Vec::new();
        for _ in 0..=turns {
            let round = crowd.round(case.rooms, case.entries, case.in_flight).await;
            // What took more syncs than it has entries is still compared with one sync each.
            let syncs = round.written.groups.min(round.entries);
            let octets = round.written.octets / syncs;
            let bare = journal.write(syncs, octets);
            if case.in_flight == 1 {
                let bare = journal.write_for_others(syncs, octets);
                let round = round.clone();
                handed_over.push(Turn { round, bare });
            }
            taken.push(Turn { round, bare });
        }
        figures::row(case.in_flight, case.rooms, &taken[1..]);
    }
    figures::beside(
        "1 in flight, bare syncs asked for over three threads",
        &handed_over[1..],
    );
    crowd.leave().await;
}

#[cfg(not(feature = "fdb"))]
async fn cluster(_turns: usize) {
    println!("\nFoundationDB: skipped, this is built without the feature `fdb`");
}

#[cfg(feature = "fdb")]
async fn cluster(turns: usize) {
    use support::cluster::Client;

    let Some(cluster) = store_fdb::testing::Cluster::start().unwrap() else {
        println!("\nFoundationDB: skipped, there is no fdbserver on this machine");
        return;
    };
    let file = cluster.cluster_file();
    let database = store_fdb::FdbStore::open(&file).await.unwrap();
    let client = Client::open(&file);
    let mut crowd = Crowd::gather(database, CLUSTER_SHARDS).await;
    figures::head("FoundationDB", "bare client");
    for case in CASES {
        // A shard has one transaction in flight.
        let in_flight = case.in_flight.min(crowd.shards_of(case.rooms));
        let mut taken = Vec::new();
        for _ in 0..=turns {
            let round = crowd.round(case.rooms, case.entries, case.in_flight).await;
            let bare = client.write(in_flight, &round.written).await;
            taken.push(Turn { round, bare });
        }
        figures::row(case.in_flight, case.rooms, &taken[1..]);
    }
    crowd.leave().await;
}
