//! A process under concurrent load is killed at a random moment, again and again: what it acknowledged is there when
//! the directory is opened again, and every transaction is there as a whole or not at all.
//!
//! The seed is printed; `STORE_KILL_SEED=… cargo test -p store --test kill` draws the same moments again (the operating
//! system still decides what the child had done by then).
#![allow(clippy::unwrap_used, reason = "tests")]

mod load;
mod verify;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use store::{Database, Options};

use load::{Acknowledged, Random};

/// Directories are taken one after the other, so that creation is killed too and the check stays quick.
const DIRECTORIES: u32 = 6;
const KILLS_PER_DIRECTORY: u32 = 10;

/// Tells a test process that it is the child, and where to work.
const DIRECTORY: &str = "STORE_KILL_DIRECTORY";

/// Small enough that rows go to files and files are merged while the child is killed.
fn options() -> Options {
    Options {
        cache_bytes: 1 << 20,
        memtable_bytes: 256 << 10,
        workers: 2,
        ..Options::default()
    }
}

/// When a child is killed: after as many acknowledgements, and a little later.
#[derive(Debug)]
struct Moment {
    acknowledgements: u64,
    then: Duration,
}

impl Moment {
    fn draw(random: &mut Random) -> Self {
        // One in four has no load yet: it opens, recovers or creates.
        let early = random.below(4) == 0;
        let acknowledgements = if early { 0 } else { 1 + random.below(1_200) };
        let then = Duration::from_micros(random.below(if early { 60_000 } else { 3_000 }));
        Self { acknowledgements, then }
    }
}

#[test]
fn what_was_acknowledged_survives_kills_as_a_whole() {
    let seed = std::env::var("STORE_KILL_SEED").map_or_else(|_| clock(), |seed| seed.parse().unwrap());
    println!("STORE_KILL_SEED={seed}");
    let mut random = Random(seed);
    let (started, mut kills, mut acknowledged) = (Instant::now(), 0_u32, 0);
    for _ in 0..DIRECTORIES {
        let directory = tempfile::tempdir().unwrap();
        let mut known = Acknowledged::default();
        for _ in 0..KILLS_PER_DIRECTORY {
            let moment = Moment::draw(&mut random);
            let before = known.count;
            load_and_kill(directory.path(), &moment, &mut known);
            verify::directory(directory.path(), &mut known)
                .unwrap_or_else(|broken| panic!("{broken}\nkilled at {moment:?}, STORE_KILL_SEED={seed}"));
            kills += 1;
            acknowledged += known.count - before;
        }
    }
    println!(
        "{kills} kills, {acknowledged} acknowledged transactions, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(acknowledged > u64::from(kills) * 100, "there was hardly any load");
}

/// Runs a child until its moment, and notes everything that it said before it died.
fn load_and_kill(directory: &Path, moment: &Moment, known: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_under_load", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let mut seen = 0;
    while seen < moment.acknowledgements {
        assert!(
            next(&mut lines, &mut line),
            "the child ended by itself: {:?}",
            child.wait()
        );
        seen += u64::from(known.note(&line));
    }
    // The moment itself, not a wait for anything.
    std::thread::sleep(moment.then);
    kill(&mut child);
    while next(&mut lines, &mut line) {
        known.note(&line);
    }
}

/// The next whole line; what was cut off by the kill is not one.
fn next(lines: &mut impl BufRead, line: &mut String) -> bool {
    line.clear();
    lines.read_line(line).unwrap() > 0 && line.ends_with('\n')
}

fn kill(child: &mut Child) {
    use nix::sys::signal::{Signal, kill};
    use std::os::unix::process::ExitStatusExt;
    kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "the child ended by itself");
}

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap()
}

/// The child. A test without work unless it was started by the other one.
#[test]
fn child_under_load() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let database = Database::open_fjall(directory, options()).unwrap();
    runtime.block_on(load::without_end(database));
}
