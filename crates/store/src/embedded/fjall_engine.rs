//! The engine on disk: fjall, one atomic batch and one sync per group.

use bytes::Bytes;
use fjall::{PersistMode, Readable};
use std::fmt;
use std::sync::Arc;

use super::directory::DirectoryLock;
use super::engine::{Changes, Engine, EngineError, View, bounded};
use super::lingering::Lingering;
use super::marker::{MARKER_KEY, Marker};
use super::witness::Witness;
use crate::backend::{Bounds, Rows};
use crate::key::{KeyRange, Version};

pub(crate) struct FjallEngine {
    /// First, since it has the engine's files open.
    _lingering: Lingering,
    rows: fjall::Keyspace,
    database: fjall::Database,
    version: Version,
    witness: Witness,
    /// Last, so that the directory is free only when the engine has closed its files.
    _lock: DirectoryLock,
}

pub(crate) struct FjallView {
    rows: fjall::Keyspace,
    snapshot: fjall::Snapshot,
}

impl FjallEngine {
    pub(crate) const fn new(
        database: fjall::Database,
        rows: fjall::Keyspace,
        version: Version,
        witness: Witness,
        lingering: Lingering,
        lock: DirectoryLock,
    ) -> Self {
        Self {
            _lingering: lingering,
            rows,
            database,
            version,
            witness,
            _lock: lock,
        }
    }
}

impl Engine for FjallEngine {
    fn version(&self) -> Version {
        self.version
    }

    fn view(&self) -> Arc<dyn View> {
        Arc::new(FjallView::new(&self.database, &self.rows))
    }

    fn apply(&mut self, version: Version, changes: &Changes) -> Result<(), EngineError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.rows, key.clone(), value.clone()),
                None => batch.remove(&self.rows, key.clone()),
            }
        }
        batch.insert(&self.rows, MARKER_KEY, Marker::of(version, changes).encode());
        batch.commit().map_err(|error| failed(&error))?;
        self.version = version;
        self.witness
            .note(version)
            .map_err(|error| EngineError(format!("cannot write the witness file: {error}")))
    }
}

impl FjallView {
    pub(crate) fn new(database: &fjall::Database, rows: &fjall::Keyspace) -> Self {
        Self {
            rows: rows.clone(),
            snapshot: database.snapshot(),
        }
    }
}

/// What is read is copied: it may be kept for long, and would keep a block of its neighbours with it.
impl View for FjallView {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.snapshot.get(&self.rows, key).map_err(|error| failed(&error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, range: &KeyRange, bounds: Bounds) -> Result<Rows, EngineError> {
        let rows = self
            .snapshot
            .range::<&[u8], _>(&self.rows, range.begin.as_ref()..range.end.as_ref());
        let owned = |guard: fjall::Guard| {
            let (key, value) = guard.into_inner().map_err(|error| failed(&error))?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        };
        if bounds.reverse {
            bounded(rows.rev().map(owned), bounds)
        } else {
            bounded(rows.map(owned), bounds)
        }
    }
}

pub(crate) fn failed(error: &fjall::Error) -> EngineError {
    EngineError(format!("the storage engine failed ({error})"))
}

impl fmt::Debug for FjallEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallEngine")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FjallView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallView")
            .field("seqno", &self.snapshot.seqno())
            .finish_non_exhaustive()
    }
}
