//! What the engine does not need any more goes slowly: to free the rows of a memtable takes tens of milliseconds, and to
//! have a file system take back a file's blocks hundreds, where it tells the disk of each (`discard`). The engine lets go of
//! both while it holds a lock that every commit needs. So a thread beside it holds them, too, and lets go of them last.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use fjall::{AbstractTree as _, Keyspace};

/// How often it is looked what is there. What comes and goes in between is let go of by the engine.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Files of one directory that are held open.
const FILES_MAX: usize = 512;

/// A directory that has not changed for so long has not changed since it was looked at either.
const SETTLED: Duration = Duration::from_secs(1);

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Lingering {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lingering {
    /// Beside the engine in `directory`, of whose keyspaces one has rows that change.
    pub(crate) fn start(directory: &Path, rows: &Keyspace) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let of = rows.clone();
        let mut memtables = Memtables::new(move || of.tree.active_memtable());
        let mut folders = [directory.to_owned(), rows.path().join("tables")].map(Folder::new);
        let look = move || {
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                memtables.look();
                folders.iter_mut().for_each(Folder::look);
            }
        };
        let thread = std::thread::Builder::new()
            .name("store-lingering".to_owned())
            .spawn(look)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.stop.take();
        // If it panicked, the engine lets go of everything itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The memtables that there are, the oldest first, and the one that is written to last.
struct Memtables<M> {
    active: Box<dyn Fn() -> Arc<M> + Send>,
    held: VecDeque<Arc<M>>,
}

impl<M> Memtables<M> {
    fn new(active: impl Fn() -> Arc<M> + Send + 'static) -> Self {
        Self {
            active: Box::new(active),
            held: VecDeque::new(),
        }
    }

    fn look(&mut self) {
        let active = (self.active)();
        if self.held.back().is_none_or(|last| !Arc::ptr_eq(last, &active)) {
            self.held.push_back(active);
        }
        self.held.retain(|memtable| Arc::strong_count(memtable) > 1);
    }
}

/// The files of a directory.
struct Folder {
    path: PathBuf,
    /// When it had changed last.
    modified: Option<SystemTime>,
    held: BTreeMap<OsString, File>,
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            modified: None,
            held: BTreeMap::new(),
        }
    }

    /// What cannot be read is let go of: nothing depends on it.
    fn look(&mut self) {
        if self.try_look().is_err() {
            self.modified = None;
            self.held.clear();
        }
    }

    fn try_look(&mut self) -> io::Result<()> {
        let modified = fs::metadata(&self.path)?.modified()?;
        let is_settled = modified.elapsed().is_ok_and(|since| since > SETTLED);
        if self.modified == Some(modified) {
            return Ok(());
        }
        let mut there = BTreeMap::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(file) = self.held.remove(&name) {
                there.insert(name, file);
            } else if there.len() + self.held.len() < FILES_MAX && entry.file_type()?.is_file() {
                // It may be gone by now.
                there.extend(File::open(entry.path()).ok().map(|file| (name, file)));
            }
        }
        // Here goes what was held and is not there any more.
        self.held = there;
        self.modified = is_settled.then_some(modified);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::MetadataExt as _;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_memtable_is_held_until_nobody_else_holds_it() {
        let active = Arc::new(Mutex::new(Arc::new(0)));
        let shown = active.clone();
        let mut memtables = Memtables::new(move || shown.lock().unwrap().clone());
        memtables.look();
        let first = std::mem::replace(&mut *active.lock().unwrap(), Arc::new(1));
        memtables.look();
        memtables.look();
        assert_eq!(memtables.held, [first.clone(), active.lock().unwrap().clone()]);
        let gone = Arc::downgrade(&first);
        drop(first);
        assert!(gone.upgrade().is_some(), "not let go of by whoever had it");
        memtables.look();
        assert!(gone.upgrade().is_none());
        assert_eq!(memtables.held.len(), 1);
    }

    #[test]
    fn a_file_keeps_its_blocks_until_it_is_looked_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("one"), b"rows").unwrap();
        fs::create_dir(path("inner")).unwrap();
        let mut folder = Folder::new(directory.path().to_owned());
        folder.look();
        fs::write(path("other"), b"rows").unwrap();
        fs::remove_file(path("one")).unwrap();
        let held = |folder: &Folder| {
            let links = |file: &File| file.metadata().unwrap().nlink();
            let held = folder.held.iter();
            held.map(|(name, file)| (name.clone().into_string().unwrap(), links(file)))
                .collect::<Vec<_>>()
        };
        assert_eq!(held(&folder), [("one".to_owned(), 0)]);
        folder.look();
        assert_eq!(held(&folder), [("other".to_owned(), 1)]);
        fs::remove_dir_all(directory.path()).unwrap();
        folder.look();
        assert_eq!(held(&folder), []);
    }

    #[test]
    fn of_many_files_some_are_held() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..FILES_MAX + 9 {
            fs::write(directory.path().join(number.to_string()), b"").unwrap();
        }
        let mut folder = Folder::new(directory.path().to_owned());
        for _ in 0..2 {
            folder.look();
            assert_eq!(folder.held.len(), FILES_MAX);
        }
    }
}
