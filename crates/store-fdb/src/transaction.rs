//! One transaction of the client. Reads, conflict ranges, the overlay of own writes and versionstamps are the client's; here
//! is what the contract adds: one age, bounded waiting, exact bounds of ranges.

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use foundationdb as fdb;
use foundationdb::options::{ConflictRangeType, MutationType, StreamingMode, TransactionOption};
use foundationdb::{FdbResult, KeySelector, RangeOption};
use std::sync::Arc;
use std::time::Instant;
use store::limits::{KEY_OCTETS_MAX, TRANSACTION_AGE_MAX, VALUE_OCTETS_MAX};
use store::{
    BackendTransaction, Bounds, Committed, ConflictKind, Error, Isolation, KeyRange, Mutation, Rows, Version,
    Versionstamp, Watch,
};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::error;
use crate::hidden::Hidden;
use crate::store::{ANSWER_MAX, Shared};

/// What the client wants behind a key or value in which it is to place a versionstamp: the offset of the stamp.
const OFFSET_OCTETS: usize = 4;

#[derive(Debug)]
pub(crate) struct FdbTransaction {
    shared: Arc<Shared>,
    begun: Result<fdb::Transaction, Error>,
    pinned: OnceCell<Pinned>,
    hidden: Hidden,
    /// The first write that was refused; the commit answers with it.
    refused: Option<Error>,
    /// Whether a commit would have to be sent.
    writes: bool,
    /// Keys and values written, in octets.
    octets: usize,
}

/// The version that is read, and since when.
#[derive(Clone, Copy, Debug)]
struct Pinned {
    version: Version,
    since: Instant,
}

impl FdbTransaction {
    pub(crate) fn new(shared: Arc<Shared>, begun: Result<fdb::Transaction, Error>) -> Self {
        Self {
            shared,
            begun,
            pinned: OnceCell::new(),
            hidden: Hidden::default(),
            refused: None,
            writes: false,
            octets: 0,
        }
    }

    /// One that counts from `version` on. It reads nothing, so the client need not remember its writes for reads.
    pub(crate) fn after(version: Version, shared: Arc<Shared>, begun: Result<fdb::Transaction, Error>) -> Self {
        let begun = begun.and_then(|transaction| {
            let blind = transaction.set_option(TransactionOption::ReadYourWritesDisable);
            blind.map_err(error::of_read)?;
            if let Ok(version) = i64::try_from(version.0) {
                transaction.set_read_version(version);
            }
            Ok(transaction)
        });
        let since = Instant::now();
        Self {
            pinned: OnceCell::new_with(Some(Pinned { version, since })),
            ..Self::new(shared, begun)
        }
    }

    fn begun(&self) -> Result<&fdb::Transaction, Error> {
        self.shared.check()?;
        self.begun.as_ref().map_err(Clone::clone)
    }

    /// The read version, asked for once.
    async fn pinned(&self) -> Result<Pinned, Error> {
        let begun = self.begun()?;
        let pinned = self.pinned.get_or_try_init(async || {
            let version = answered(begun.get_read_version()).await?;
            Ok(Pinned {
                version: version_of(version),
                since: Instant::now(),
            })
        });
        pinned.await.copied()
    }

    /// The client's transaction at its read version, unless that is too old. The client itself would go on answering what
    /// it has read before.
    async fn readable(&self) -> Result<&fdb::Transaction, Error> {
        if self.pinned().await?.since.elapsed() > TRANSACTION_AGE_MAX {
            return Err(Error::TooOld);
        }
        self.begun()
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }
}

#[async_trait]
impl BackendTransaction for FdbTransaction {
    async fn read_version(&self) -> Result<Version, Error> {
        self.readable().await?;
        Ok(self.pinned().await?.version)
    }

    async fn get(&self, key: &[u8], isolation: Isolation) -> Result<Option<Bytes>, Error> {
        let transaction = self.readable().await?;
        let value = answered(transaction.get(key, isolation == Isolation::Snapshot)).await?;
        Ok(value.map(|octets| Bytes::copy_from_slice(&octets)))
    }

    async fn range(&self, range: &KeyRange, bounds: Bounds, isolation: Isolation) -> Result<Rows, Error> {
        let transaction = self.readable().await?;
        let mut rest = RangeOption::from((range.begin.as_ref(), range.end.as_ref()));
        rest.mode = StreamingMode::WantAll;
        rest.reverse = bounds.reverse;
        let mut found = Rows::default();
        let mut octets = 0;
        for chunk in 1.. {
            // No more is asked for than the bounds leave, so that the client takes no more than is returned for read.
            rest.limit = Some(bounds.rows - found.rows.len());
            rest.target_bytes = bounds.octets.saturating_sub(octets).max(1);
            let rows = answered(transaction.get_range(&rest, chunk, isolation == Isolation::Snapshot)).await?;
            for row in &rows {
                if is_full(&found, octets, bounds) {
                    break;
                }
                octets += row.key().len() + row.value().len();
                found
                    .rows
                    .push((Bytes::copy_from_slice(row.key()), Bytes::copy_from_slice(row.value())));
            }
            let last = rows.last().map(|row| row.key().to_vec());
            let Some(last) = last.filter(|_| rows.more() || is_full(&found, octets, bounds)) else {
                break;
            };
            if is_full(&found, octets, bounds) {
                found.more = true;
                break;
            }
            if bounds.reverse {
                rest.end = KeySelector::first_greater_or_equal(last);
            } else {
                rest.begin = KeySelector::first_greater_than(last);
            }
        }
        Ok(found)
    }

    fn mutate(&mut self, mutation: Mutation) {
        self.writes = true;
        let Ok(transaction) = &self.begun else {
            return;
        };
        match mutation {
            Mutation::Set { key, value } => {
                if self.hidden.covers(&key) {
                    transaction.clear(&key);
                }
                transaction.set(&key, &value);
                self.octets += key.len() + value.len();
            }
            Mutation::Clear { key } => {
                transaction.clear(&key);
                self.octets += key.len();
            }
            Mutation::ClearRange { range } => {
                transaction.clear_range(&range.begin, &range.end);
                self.octets += range.begin.len() + range.end.len();
            }
            Mutation::SetStampedKey { prefix, suffix, value } => {
                let key = stampable(&prefix, &suffix);
                if key.len() > KEY_OCTETS_MAX {
                    let (octets, max) = (key.len() - OFFSET_OCTETS, KEY_OCTETS_MAX - OFFSET_OCTETS);
                    return self.refuse(Error::KeyTooLarge { octets, max });
                }
                transaction.atomic_op(&key, &value, MutationType::SetVersionstampedKey);
                self.octets += key.len() + value.len();
                self.hidden.add(prefix);
            }
            Mutation::SetStampedValue { key, prefix, suffix } => {
                let value = stampable(&prefix, &suffix);
                if value.len() > VALUE_OCTETS_MAX {
                    let (octets, max) = (value.len() - OFFSET_OCTETS, VALUE_OCTETS_MAX - OFFSET_OCTETS);
                    return self.refuse(Error::ValueTooLarge { octets, max });
                }
                transaction.atomic_op(&key, &value, MutationType::SetVersionstampedValue);
                self.octets += key.len() + value.len();
                self.hidden.add(key);
            }
        }
    }

    fn add_conflict_range(&mut self, kind: ConflictKind, range: KeyRange) {
        let Ok(transaction) = &self.begun else {
            return;
        };
        let kind = match kind {
            ConflictKind::Read => ConflictRangeType::Read,
            ConflictKind::Write => {
                self.writes = true;
                ConflictRangeType::Write
            }
        };
        if let Err(error) = transaction.add_conflict_range(&range.begin, &range.end, kind) {
            self.refuse(error::of_read(error));
        }
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch, Error> {
        // The client would read the value in its own time; read before, it is that of the read version and can be refused.
        self.get(key, Isolation::Snapshot).await?;
        let changed = self.begun()?.watch(key);
        let shared = self.shared.clone();
        Ok(Watch::new(async move {
            tokio::select! {
                biased;
                changed = changed => changed.map_err(error::of_watch),
                () = shared.closed.cancelled() => Err(Error::Closed),
            }
        }))
    }

    async fn commit(self: Box<Self>) -> Result<Committed, Error> {
        let _under_way = self.shared.commits.read().await;
        self.begun()?;
        // So that a cluster that is away is found out before anything was sent.
        let read = match self.writes {
            true => Some(self.pinned().await?),
            false => self.pinned.get().copied(),
        };
        let transaction = self.begun?;
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let stamp = self.writes.then(|| transaction.get_versionstamp());
        // Sent without writes too: it begins the watches, and asks nobody.
        let committed = match timeout(ANSWER_MAX, transaction.commit()).await {
            Err(_) => return Err(Error::TimedOut),
            Ok(Err(error)) => return Err(error::of_commit(*error, self.octets)),
            Ok(Ok(committed)) => committed,
        };
        let Some(stamp) = stamp else {
            return Ok(Committed {
                version: read.map(|pinned| pinned.version).unwrap_or_default(),
                versionstamp: None,
            });
        };
        // It is committed: whatever is wrong from here on must not say that it is not.
        let told = async { Ok::<_, fdb::FdbError>((committed.committed_version()?, stamp.await?)) };
        let (version, stamp) = told.await.map_err(|_| Error::Unknown)?;
        Ok(Committed {
            version: version_of(version),
            versionstamp: Some(Versionstamp(stamp.as_ref().try_into().map_err(|_| Error::Unknown)?)),
        })
    }
}

/// The cluster's answer to a read, or [`Error::Busy`] when there is none in time.
async fn answered<T>(asked: impl Future<Output = FdbResult<T>>) -> Result<T, Error> {
    match timeout(ANSWER_MAX, asked).await {
        Ok(answer) => answer.map_err(error::of_read),
        Err(_) => Err(Error::Busy),
    }
}

fn is_full(found: &Rows, octets: usize, bounds: Bounds) -> bool {
    found.rows.len() >= bounds.rows || (octets >= bounds.octets && !found.rows.is_empty())
}

/// A key or value with room for the stamp and its offset behind, little-endian.
fn stampable(prefix: &[u8], suffix: &[u8]) -> Bytes {
    let offset = u32::try_from(prefix.len()).expect("keys and values were checked to be short");
    let mut octets = BytesMut::with_capacity(prefix.len() + Versionstamp::OCTETS + suffix.len() + OFFSET_OCTETS);
    octets.put_slice(prefix);
    octets.put_bytes(0, Versionstamp::OCTETS);
    octets.put_slice(suffix);
    octets.put_u32_le(offset);
    octets.freeze()
}

/// FoundationDB's versions are never negative once they are known.
fn version_of(version: i64) -> Version {
    Version(u64::try_from(version).unwrap_or_default())
}
