//! A transaction: limits and order of writes are the same on every backend, because they are checked here.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::backend::{BackendTransaction, Bounds, ConflictKind, Isolation, Mutation, Rows};
use crate::error::Error;
use crate::key::{KeyRange, Version, Versionstamp, check_key};
use crate::limits::{KEY_OCTETS_MAX, TRANSACTION_OCTETS_MAX, VALUE_OCTETS_MAX};
use crate::watch::Watch;
use crate::written::{Tally, Weight};

/// What a successful commit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The version that first contains the writes; the read version if there were none.
    pub version: Version,
    /// What stands in the place of versionstamps; `None` if there were no writes.
    pub versionstamp: Option<Versionstamp>,
}

/// Reads one durable version of the database and gathers writes until [`commit`](Self::commit).
///
/// Reads see the transaction's own writes. Dropping it without commit leaves nothing behind. A write that breaks a limit
/// is not lost: the commit answers with its error. So it does after a read that was refused as [`Error::Unreadable`], which
/// FoundationDB's client holds against the whole transaction.
#[derive(Debug)]
pub struct Transaction {
    inner: Box<dyn BackendTransaction>,
    /// Whether it reads nothing.
    blind: bool,
    refused: Option<Error>,
    octets: AtomicUsize,
    read_hidden: AtomicBool,
    weight: Weight,
    tally: Arc<Tally>,
}

impl Transaction {
    pub(crate) const fn new(inner: Box<dyn BackendTransaction>, tally: Arc<Tally>) -> Self {
        Self {
            inner,
            blind: false,
            refused: None,
            octets: AtomicUsize::new(0),
            read_hidden: AtomicBool::new(false),
            weight: Weight { rows: 0, octets: 0 },
            tally,
        }
    }

    pub(crate) const fn blind(inner: Box<dyn BackendTransaction>, tally: Arc<Tally>) -> Self {
        let mut blind = Self::new(inner, tally);
        blind.blind = true;
        blind
    }

    /// The version that all reads see; fixed by the first read or by this call.
    pub async fn read_version(&self) -> Result<Version, Error> {
        self.reads().read_version().await
    }

    /// The value of `key`. The commit fails if somebody else writes the key first.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        check_key(key)?;
        self.weigh(2 * key.len() + 1);
        self.noted(self.reads().get(key, Isolation::Serializable).await)
    }

    /// The value of `key`, as [`get`](Self::get), but the commit does not care who writes the key.
    pub async fn snapshot_get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        check_key(key)?;
        self.noted(self.reads().get(key, Isolation::Snapshot).await)
    }

    /// The first `limit` rows of `range`, the last ones if `reverse`. Fewer only if there are no more. The commit fails
    /// if somebody else first writes anything between the ends of what was returned.
    pub async fn range(
        &self,
        range: impl Into<KeyRange>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let bounds = Bounds {
            rows: limit,
            octets: usize::MAX,
            reverse,
        };
        Ok(self.read(range.into(), bounds, Isolation::Serializable).await?.rows)
    }

    /// Rows as [`range`](Self::range), but the commit does not care who writes them.
    pub async fn snapshot_range(
        &self,
        range: impl Into<KeyRange>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let bounds = Bounds {
            rows: limit,
            octets: usize::MAX,
            reverse,
        };
        Ok(self.read(range.into(), bounds, Isolation::Snapshot).await?.rows)
    }

    /// Rows of `range` bounded by octets too, and whether there may be more.
    pub async fn read(&self, range: KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        range.check()?;
        if range.is_empty() || bounds.rows == 0 {
            // Nothing to look at, and yet a read.
            self.reads().read_version().await?;
            return Ok(Rows {
                rows: Vec::new(),
                more: !range.is_empty(),
            });
        }
        if isolation == Isolation::Serializable {
            self.weigh(range.octets());
        }
        self.noted(self.reads().range(&range, bounds, isolation).await)
    }

    /// Gives `key` the value.
    pub fn set(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        let checked = check_key(&key).and_then(|()| check_value(value.len()));
        self.write(checked, 3 * key.len() + value.len(), || Mutation::Set { key, value });
    }

    /// Takes `key` away.
    pub fn clear(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.write(check_key(&key), 3 * key.len(), || Mutation::Clear { key });
    }

    /// Takes every key of `range` away. The store lists them at the commit, so it costs what they are many.
    pub fn clear_range(&mut self, range: impl Into<KeyRange>) {
        let range = range.into();
        if range.is_empty() {
            return;
        }
        self.write(range.check(), 2 * range.octets(), || Mutation::ClearRange { range });
    }

    /// Gives the key `prefix ‖ versionstamp ‖ suffix` the value. The key cannot be read before the commit.
    pub fn set_versionstamped_key(
        &mut self,
        prefix: impl Into<Bytes>,
        suffix: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) {
        let (prefix, suffix, value) = (prefix.into(), suffix.into(), value.into());
        let octets = prefix.len() + Versionstamp::OCTETS + suffix.len();
        let checked = match octets {
            octets if octets > KEY_OCTETS_MAX => Err(Error::KeyTooLarge {
                octets,
                max: KEY_OCTETS_MAX,
            }),
            _ => check_key(&prefix).and_then(|()| check_value(value.len())),
        };
        self.write(checked, 3 * octets + value.len(), || Mutation::SetStampedKey {
            prefix,
            suffix,
            value,
        });
    }

    /// Gives `key` the value `prefix ‖ versionstamp ‖ suffix`. The key cannot be read before the commit.
    pub fn set_versionstamped_value(
        &mut self,
        key: impl Into<Bytes>,
        prefix: impl Into<Bytes>,
        suffix: impl Into<Bytes>,
    ) {
        let (key, prefix, suffix) = (key.into(), prefix.into(), suffix.into());
        let octets = prefix.len() + Versionstamp::OCTETS + suffix.len();
        let checked = check_key(&key).and_then(|()| check_value(octets));
        self.write(checked, 3 * key.len() + octets, || Mutation::SetStampedValue {
            key,
            prefix,
            suffix,
        });
    }

    /// Lets the commit fail if somebody else writes into `range` after the read version.
    pub fn add_read_conflict_range(&mut self, range: impl Into<KeyRange>) {
        self.add_conflict_range(ConflictKind::Read, range.into());
    }

    /// Lets others' commits fail that have read in `range`, as if it were written here.
    pub fn add_write_conflict_range(&mut self, range: impl Into<KeyRange>) {
        self.add_conflict_range(ConflictKind::Write, range.into());
    }

    /// Watches `key` from the value that it has in this transaction. The watch begins with the commit (of a transaction
    /// without writes too) and ends with [`Error::Cancelled`] if that does not come. It adds no read conflict.
    pub async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        check_key(key)?;
        self.noted(self.reads().watch(key).await)
    }

    /// Octets that count against [`TRANSACTION_OCTETS_MAX`] so far: writes, their conflict ranges, and reads that can
    /// conflict.
    pub fn octets(&self) -> usize {
        self.octets.load(Ordering::Relaxed)
    }

    /// Commits: all writes or none, durable when this returns `Ok`. Dropping the future leaves open whether it happens.
    pub async fn commit(self) -> Result<Committed, Error> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        if self.read_hidden.into_inner() {
            return Err(Error::Unreadable);
        }
        let octets = self.octets.into_inner();
        if octets > TRANSACTION_OCTETS_MAX {
            return Err(Error::TooLarge {
                octets,
                max: TRANSACTION_OCTETS_MAX,
            });
        }
        let committed = self.inner.commit().await?;
        self.tally.committed(self.weight);
        Ok(committed)
    }

    /// What answers reads.
    fn reads(&self) -> &dyn BackendTransaction {
        assert!(!self.blind, "what begins after a version reads nothing");
        &*self.inner
    }

    /// What a read answered, remembered if the commit has to answer for it.
    fn noted<T>(&self, read: Result<T, Error>) -> Result<T, Error> {
        if matches!(read, Err(Error::Unreadable)) {
            self.read_hidden.store(true, Ordering::Relaxed);
        }
        read
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        match range.check() {
            Err(error) => self.refuse(error),
            Ok(()) if range.is_empty() => {}
            Ok(()) => {
                self.weigh(range.octets());
                self.inner.add_conflict_range(kind, range);
            }
        }
    }

    fn write(&mut self, checked: Result<(), Error>, octets: usize, mutation: impl FnOnce() -> Mutation) {
        self.weigh(octets);
        match checked {
            Err(error) => self.refuse(error),
            // Past the limit nothing is kept: the commit is going to be refused, and memory stays bounded.
            Ok(()) if self.octets() > TRANSACTION_OCTETS_MAX => {}
            Ok(()) => {
                let mutation = mutation();
                self.weight.add(&mutation);
                self.inner.mutate(mutation);
            }
        }
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    fn weigh(&self, octets: usize) {
        self.octets.fetch_add(octets, Ordering::Relaxed);
    }
}

const fn check_value(octets: usize) -> Result<(), Error> {
    if octets > VALUE_OCTETS_MAX {
        return Err(Error::ValueTooLarge {
            octets,
            max: VALUE_OCTETS_MAX,
        });
    }
    Ok(())
}
