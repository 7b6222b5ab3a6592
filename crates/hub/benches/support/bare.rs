//! What an embedded store cannot do without: octets appended to a file, and a sync.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What the engine gives a new journal, too, so that a sync finds its length settled.
const PREALLOCATED: u64 = 64 << 20;

/// Files that are written one after the other.
pub struct Journal {
    directory: PathBuf,
    file: File,
    files: usize,
    left: u64,
}

impl Journal {
    /// In a new directory.
    pub fn create(directory: &Path) -> Self {
        std::fs::create_dir(directory).unwrap();
        Self {
            directory: directory.to_owned(),
            file: preallocated(&directory.join("0")),
            files: 1,
            left: PREALLOCATED,
        }
    }

    /// How long it takes to append so many octets as often as there are syncs, with a sync each time.
    pub fn write(&mut self, syncs: u64, octets: u64) -> Duration {
        let written = vec![0x5a; usize::try_from(octets).unwrap()];
        let began = Instant::now();
        for _ in 0..syncs {
            self.append(&written);
        }
        began.elapsed()
    }

    /// The same, where who asks hands each append to a second thread, that one to a third, which makes it durable, and the
    /// answer goes the same way back: as in the hub from who asks to the shard, and from there to the store.
    pub fn write_for_others(&mut self, syncs: u64, octets: u64) -> Duration {
        let written = vec![0x5a; usize::try_from(octets).unwrap()];
        let ((ask, asked), (commit, commits)) = (mpsc::channel(), mpsc::channel());
        let ((durable, made_durable), (answer, answers)) = (mpsc::channel(), mpsc::channel());
        thread::scope(|threads| {
            threads.spawn(move || {
                for () in asked {
                    commit.send(()).unwrap();
                    made_durable.recv().unwrap();
                    answer.send(()).unwrap();
                }
            });
            threads.spawn(move || {
                for () in commits {
                    self.append(&written);
                    durable.send(()).unwrap();
                }
            });
            let began = Instant::now();
            for _ in 0..syncs {
                ask.send(()).unwrap();
                answers.recv().unwrap();
            }
            drop(ask);
            began.elapsed()
        })
    }

    fn append(&mut self, octets: &[u8]) {
        let length = octets.len() as u64;
        if self.left < length {
            self.file = preallocated(&self.directory.join(self.files.to_string()));
            self.files += 1;
            self.left = PREALLOCATED;
        }
        self.file.write_all(octets).unwrap();
        self.file.sync_data().unwrap();
        self.left -= length;
    }
}

fn preallocated(path: &Path) -> File {
    let file = OpenOptions::new().create_new(true).write(true).open(path).unwrap();
    file.set_len(PREALLOCATED).unwrap();
    file.sync_all().unwrap();
    file
}
