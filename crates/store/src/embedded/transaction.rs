//! A transaction on an embedded database: pinned state, own writes over it, ranges read.

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Commit;
use super::committer::Request;
use super::core::{Core, Published, Waiting};
use super::engine::EngineError;
use super::writes::{Seen, Writes};
use crate::backend::{BackendTransaction, Bounds, ConflictKind, Isolation, Mutation, Rows};
use crate::error::Error;
use crate::key::{KeyRange, Version, after};
use crate::limits::TRANSACTION_AGE_MAX;
use crate::transaction::Committed;
use crate::watch::Watch;

#[derive(Debug)]
pub(crate) struct EmbeddedTransaction {
    core: Arc<Core>,
    commits: Arc<dyn Commit>,
    /// What it depends on was not written after this version, if it reads nothing.
    after: Option<Version>,
    reads: Mutex<Reads>,
    writes: Writes,
    write_ranges: Vec<KeyRange>,
    octets: usize,
}

#[derive(Debug, Default)]
struct Reads {
    pinned: Option<(Published, Instant)>,
    ranges: Vec<KeyRange>,
    watches: Vec<(Bytes, Waiting)>,
}

impl EmbeddedTransaction {
    /// `after`: it reads nothing.
    pub(crate) fn new(core: Arc<Core>, commits: Arc<dyn Commit>, after: Option<Version>) -> Self {
        Self {
            core,
            commits,
            after,
            reads: Mutex::default(),
            writes: Writes::default(),
            write_ranges: Vec::new(),
            octets: 0,
        }
    }

    /// The state that this transaction reads, unless it has become too old or the database stopped.
    fn pinned(&self) -> Result<Published, Error> {
        self.core.check()?;
        let mut reads = self.reads();
        if let Some((published, since)) = &reads.pinned {
            if since.elapsed() > TRANSACTION_AGE_MAX {
                return Err(Error::TooOld);
            }
            return Ok(published.clone());
        }
        let published = self.core.published()?;
        reads.pinned = Some((published.clone(), Instant::now()));
        Ok(published)
    }

    fn look(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        let published = self.pinned()?;
        match self.writes.seen(key)? {
            Seen::Written(value) => Ok(value),
            Seen::Untouched => {
                let value = published.view.get(key).map_err(|error| self.fatal(&error))?;
                if isolation == Isolation::Serializable {
                    self.reads().ranges.push(KeyRange::key(key));
                }
                Ok(value)
            }
        }
    }

    fn fatal(&self, error: &EngineError) -> Error {
        self.core.kill(&error.0);
        Error::Fatal(error.0.clone())
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().expect("nothing panics while it holds this lock")
    }
}

#[async_trait]
impl BackendTransaction for EmbeddedTransaction {
    async fn read_version(&self) -> Result<Version, Error> {
        Ok(self.pinned()?.version)
    }

    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        self.look(key, isolation)
    }

    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        let published = self.pinned()?;
        self.writes.check_readable(range)?;
        let found = self
            .writes
            .over(published.view.as_ref(), range, bounds)
            .map_err(|error| self.fatal(&error))?;
        if isolation == Isolation::Serializable {
            self.reads().ranges.push(looked_at(range, &found, bounds.reverse));
        }
        Ok(found)
    }

    fn mutate(&mut self, mutation: Mutation) {
        self.octets += octets_of(&mutation);
        self.writes.add(mutation);
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        self.octets += range.octets();
        match kind {
            ConflictKind::Read => self.reads().ranges.push(range),
            ConflictKind::Write => self.write_ranges.push(range),
        }
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        let expected = self.look(key, Isolation::Snapshot)?;
        let (changed, waits) = oneshot::channel();
        self.reads()
            .watches
            .push((Bytes::copy_from_slice(key), Waiting { expected, changed }));
        Ok(Watch::new(async move { waits.await.unwrap_or(Err(Error::Cancelled)) }))
    }

    async fn commit(self: Box<Self>) -> Result<Committed, Error> {
        // What depends on reads is refused when they are too old; a range that was only added counts from now.
        let writes_something = !self.writes.is_empty() || !self.write_ranges.is_empty();
        if writes_something && self.after.is_none() && !self.reads().ranges.is_empty() {
            self.pinned()?;
        }
        let Self {
            core,
            commits,
            after,
            reads,
            writes,
            write_ranges,
            octets,
        } = *self;
        let Reads {
            pinned,
            ranges,
            watches,
        } = reads.into_inner().expect("nothing panics while it holds this lock");
        let read = after.or_else(|| pinned.map(|(published, _)| published.version));
        let committed = if !writes_something {
            core.check()?;
            Committed {
                version: read.unwrap_or_default(),
                versionstamp: None,
            }
        } else {
            let mutations = writes.into_ordered();
            let request = Request {
                read,
                read_ranges: ranges,
                write_ranges,
                mutations,
            };
            commits.commit(&core, request, octets).await?
        };
        for (key, waiting) in watches {
            core.watch(&key, waiting);
        }
        Ok(committed)
    }
}

/// The part of `range` that the result depends on.
fn looked_at(range: &KeyRange, found: &Rows, reverse: bool) -> KeyRange {
    let last = found.rows.last().filter(|_| found.more).map(|(key, _)| key);
    match last {
        None => range.clone(),
        Some(last) if reverse => KeyRange {
            begin: last.clone(),
            end: range.end.clone(),
        },
        Some(last) => KeyRange {
            begin: range.begin.clone(),
            end: after(last),
        },
    }
}

fn octets_of(mutation: &Mutation) -> usize {
    match mutation {
        Mutation::Set { key, value } => key.len() + value.len(),
        Mutation::Clear { key } => key.len(),
        Mutation::ClearRange { range } => range.octets(),
        Mutation::SetStampedKey { prefix, suffix, value } => prefix.len() + suffix.len() + value.len(),
        Mutation::SetStampedValue { key, prefix, suffix } => key.len() + prefix.len() + suffix.len(),
    }
}
