//! A store's directory: who holds it, whether it is ours, and whether it is whole.

use fjall::{KeyspaceCreateOptions, PersistMode};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::engine::{Changes, View};
use super::fjall_engine::{FjallEngine, FjallView, failed};
use super::lingering::Lingering;
use super::marker::{MARKER_KEY, Marker};
use super::witness::Witness;
use crate::key::Version;

const LOCK: &str = "lock";
const WITNESS: &str = "witness";
const ENGINE: &str = "engine";
const ENGINE_NEW: &str = "engine.new";
/// File systems put this into an empty one.
const LOST_AND_FOUND: &str = "lost+found";
const ROWS: &str = "rows";

/// How the embedded engine uses the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Memory for blocks read from files, in octets.
    pub cache_bytes: u64,
    /// Rows are kept in memory (and in the journal) until there are this many octets of them, then written to a file.
    /// Fixed when the store is created.
    pub memtable_bytes: u64,
    /// Most octets of journal on disk; at least 64 MiB.
    pub journal_bytes: u64,
    /// Threads that write and merge files in the background; at least 1.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            memtable_bytes: 64 << 20,
            journal_bytes: 512 << 20,
            workers: 2,
        }
    }
}

/// Why a directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("the store in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// There is something else in the directory.
    #[error("{} is not empty and holds no store: name an empty or a new directory", .0.display())]
    Foreign(PathBuf),
    /// What is there is not what was acknowledged. Nothing was changed; restore the directory from a backup.
    #[error("the store in {} is damaged: {why}; restore it from a backup", path.display())]
    Damaged { path: PathBuf, why: String },
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Keeps other processes out for as long as it lives.
#[derive(Debug)]
pub(crate) struct DirectoryLock(#[expect(dead_code, reason = "held for its lock")] File);

/// Opens or creates the store in `path` and verifies it.
pub(crate) fn open(path: &Path, options: &Options) -> Result<FjallEngine, OpenError> {
    let at = Place(path);
    let is_new = !path.try_exists().map_err(at.io("look for"))?;
    fs::create_dir_all(path).map_err(at.io("create the directory"))?;
    let lock = at.lock()?;
    let engine = path.join(ENGINE);
    if !engine.try_exists().map_err(at.io("look into"))? {
        at.create(options, is_new)?;
    }
    let database = at.recover(&engine, options)?;
    let rows = guarded(|| database.keyspace(ROWS, || keyspace_options(options)))
        .and_then(|opened| opened.map_err(|error| failed(&error).0))
        .map_err(|why| at.damaged(why))?;
    let view = FjallView::new(&database, &rows);
    let (witness, version) = at.verify(&view)?;
    let lingering = Lingering::start(&engine, &rows).map_err(at.io("start a thread for"))?;
    Ok(FjallEngine::new(database, rows, version, witness, lingering, lock))
}

#[derive(Clone, Copy)]
struct Place<'a>(&'a Path);

impl Place<'_> {
    fn lock(self) -> Result<DirectoryLock, OpenError> {
        let path = self.0.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(self.io("open the lock file in"))?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(self.0.to_owned())),
            Err(TryLockError::Error(error)) => Err(self.io("lock")(error)),
        }
    }

    /// Creates an empty store aside and moves it into place, so that a crash leaves none or a whole one.
    fn create(self, options: &Options, is_new: bool) -> Result<(), OpenError> {
        self.check_empty()?;
        let aside = self.0.join(ENGINE_NEW);
        if aside.try_exists().map_err(self.io("look into"))? {
            // Left by a crash during creation: nothing in it was ever acknowledged.
            fs::remove_dir_all(&aside).map_err(self.io("remove a half-made store from"))?;
        }
        self.fill(&aside, options).map_err(|error| match error {
            fjall::Error::Io(error) => self.io("create a store in")(error),
            error => self.io("create a store in")(io::Error::other(error)),
        })?;
        Witness::create(&self.0.join(WITNESS)).map_err(self.io("write the witness in"))?;
        fs::rename(&aside, self.0.join(ENGINE)).map_err(self.io("move the new store into place in"))?;
        let parent = self.0.parent().filter(|_| is_new);
        for directory in [Some(self.0), parent].into_iter().flatten() {
            let directory = if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory
            };
            File::open(directory)
                .and_then(|file| file.sync_all())
                .map_err(self.io("sync"))?;
        }
        Ok(())
    }

    fn check_empty(self) -> Result<(), OpenError> {
        for entry in fs::read_dir(self.0).map_err(self.io("look into"))? {
            let name = entry.map_err(self.io("look into"))?.file_name();
            if name == WITNESS {
                let seen = Witness::open(&self.0.join(WITNESS)).map_err(self.io("read the witness in"))?;
                if seen.is_some_and(|(_, version)| version > Version(0)) {
                    return Err(self.damaged(format!("there is a {WITNESS} file but no {ENGINE} directory")));
                }
            } else if ![LOCK, ENGINE_NEW, LOST_AND_FOUND].iter().any(|ours| name == **ours) {
                return Err(OpenError::Foreign(self.0.to_owned()));
            }
        }
        Ok(())
    }

    fn fill(self, aside: &Path, options: &Options) -> fjall::Result<()> {
        let database = builder(aside, options).open()?;
        let rows = database.keyspace(ROWS, || keyspace_options(options))?;
        let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&rows, MARKER_KEY, Marker::of(Version(0), &Changes::new()).encode());
        batch.commit()
    }

    fn recover(self, engine: &Path, options: &Options) -> Result<fjall::Database, OpenError> {
        match guarded(|| builder(engine, options).open()) {
            Ok(Ok(database)) => Ok(database),
            Ok(Err(fjall::Error::Locked)) => Err(OpenError::InUse(self.0.to_owned())),
            Ok(Err(fjall::Error::Io(error))) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.io("read the store in")(error))
            }
            Ok(Err(error)) => Err(self.damaged(format!("the engine cannot read its files ({error})"))),
            Err(why) => Err(self.damaged(why)),
        }
    }

    /// Compares what is there with the marker of the last group and with the witness.
    fn verify(self, view: &FjallView) -> Result<(Witness, Version), OpenError> {
        let unreadable = |error: super::engine::EngineError| self.damaged(error.0);
        let marker = view
            .get(MARKER_KEY)
            .map_err(unreadable)?
            .ok_or_else(|| self.damaged("the commit marker is missing".to_owned()))?;
        let marker =
            Marker::decode(&marker).ok_or_else(|| self.damaged("the commit marker is unreadable".to_owned()))?;
        if !marker.matches(|key| view.get(key)).map_err(unreadable)? {
            return Err(self.damaged(format!(
                "rows of the last commit (version {}) differ from it",
                marker.version
            )));
        }
        let opened = Witness::open(&self.0.join(WITNESS));
        let missing = || self.damaged(format!("its {WITNESS} file is missing or unreadable"));
        let (witness, seen) = match opened {
            Ok(opened) => opened.ok_or_else(missing)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(self.io("read the witness in")(error)),
        };
        if seen > marker.version {
            let found = marker.version;
            return Err(self.damaged(format!(
                "commits up to version {seen} were acknowledged, {found} is the last"
            )));
        }
        Ok((witness, marker.version))
    }

    fn damaged(self, why: String) -> OpenError {
        OpenError::Damaged {
            path: self.0.to_owned(),
            why,
        }
    }

    fn io(self, what: &'static str) -> impl Fn(io::Error) -> OpenError {
        let path = self.0.to_owned();
        move |source| OpenError::Io {
            what,
            path: path.clone(),
            source,
        }
    }
}

/// The engine's recovery asserts what damaged files can break; an operator wants to read an error instead.
fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "the engine found its files inconsistent".to_owned())
}

fn builder(path: &Path, options: &Options) -> fjall::DatabaseBuilder<fjall::Database> {
    // What is stored is mostly encrypted already, so that compressing it would cost time and save nothing.
    fjall::Database::builder(path)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes.max(64 << 20))
        .worker_threads(options.workers.max(1))
        .journal_compression(fjall::CompressionType::None)
        .manual_journal_persist(true)
}

fn keyspace_options(options: &Options) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(options.memtable_bytes)
        .manual_journal_persist(true)
}
