//! The handle to a store, and the loop that retries a transaction.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::Backend;
use crate::embedded::{self, OpenError, Options};
use crate::error::Error;
use crate::key::Version;
use crate::limits::{RUN_ATTEMPTS_MAX, RUN_DELAY_MAX};
use crate::transaction::Transaction;
use crate::written::{Tally, Written};

/// A store. Cheap to clone; all clones are the same store.
#[derive(Clone, Debug)]
pub struct Database {
    backend: Arc<dyn Backend>,
    retries: Arc<AtomicU64>,
    tally: Arc<Tally>,
}

/// An error of a transaction's body that [`Database::run`] can look into.
pub trait Retry {
    /// The store's error that it was caused by, if it was.
    fn store_error(&self) -> Option<&Error>;
}

impl Retry for Error {
    fn store_error(&self) -> Option<&Error> {
        Some(self)
    }
}

impl Database {
    /// An empty store in memory: no threads, no files, and the same calls give the same answers.
    pub fn memory() -> Self {
        Self::from_backend(embedded::memory())
    }

    /// Opens the store in the directory `path`, creating it if there is none. Only one process can hold it at a time.
    ///
    /// Blocks for as long as the journal takes to read.
    pub fn open_fjall(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        embedded::open_fjall(path.as_ref(), &options).map(Self::from_backend)
    }

    /// A store on any backend.
    pub fn from_backend(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            retries: Arc::default(),
            tally: Arc::default(),
        }
    }

    /// The backend, so that another one can be put around it.
    pub fn backend(&self) -> Arc<dyn Backend> {
        self.backend.clone()
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.backend.begin(), self.tally.clone())
    }

    /// Begins a transaction that writes without reading, for whoever knows what the store held at `version`, which a commit
    /// to this store returned. What it depends on is named with
    /// [`add_read_conflict_range`](Transaction::add_read_conflict_range); the commit fails with [`Error::Conflict`] if
    /// somebody wrote there after `version`. It may fail with [`Error::TooOld`] once `version` is older than
    /// [`TRANSACTION_AGE_MAX`](crate::limits::TRANSACTION_AGE_MAX). It costs no way to the store but the commit's.
    ///
    /// Its reads panic.
    pub fn begin_after(&self, version: Version) -> Transaction {
        Transaction::blind(self.backend.begin_after(version), self.tally.clone())
    }

    /// How much was committed through this and its clones so far. Figures of one moment, taken one after the other.
    pub fn written(&self) -> Written {
        self.tally.written(self.backend.groups())
    }

    /// Settles what is being committed and refuses everything afterwards, for every clone. The directory is free again
    /// when this returns and every transaction is dropped.
    pub async fn close(self) {
        self.backend.close().await;
    }

    /// Runs `body` in a transaction and commits it, again from the beginning while the error
    /// [is retryable](Error::is_retryable), up to [`RUN_ATTEMPTS_MAX`] times.
    ///
    /// `body` gives the transaction back to have it committed, with the value to be returned:
    /// `|mut txn| async move { txn.set("key", "value"); Ok((txn, ())) }`.
    ///
    /// After [`Error::Unknown`] the body runs again although its writes may be there already, so it has to be
    /// idempotent.
    pub async fn run<T, E, F>(&self, mut body: impl FnMut(Transaction) -> F) -> Result<T, E>
    where
        E: From<Error> + Retry,
        F: Future<Output = Result<(Transaction, T), E>>,
    {
        let mut attempt = 1;
        loop {
            let outcome = match body(self.begin()).await {
                Ok((transaction, value)) => transaction.commit().await.map(|_| value).map_err(E::from),
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if attempt < RUN_ATTEMPTS_MAX && error.store_error().is_some_and(Error::is_retryable) => {
                    self.pause(attempt).await;
                    attempt += 1;
                }
                settled => return settled,
            }
        }
    }

    /// For a loop of one's own, where [`run`](Self::run) does not fit: whether to try again after `error`, having waited.
    /// `attempt` counts from 1 and is the caller's; bounds and pauses are those of `run`.
    pub async fn again(&self, error: &Error, attempt: &mut u32) -> bool {
        let again = *attempt < RUN_ATTEMPTS_MAX && error.is_retryable();
        if again {
            self.pause(*attempt).await;
            *attempt += 1;
        }
        again
    }

    /// Full jitter up to a doubling limit. The jitter comes from a counter, so that a simulated run repeats exactly.
    async fn pause(&self, attempt: u32) {
        if attempt == 1 {
            return;
        }
        let limit = Duration::from_micros(500)
            .saturating_mul(1 << attempt.min(16))
            .min(RUN_DELAY_MAX);
        let drawn = scatter(self.retries.fetch_add(1, Ordering::Relaxed));
        tokio::time::sleep(limit.mul_f64((drawn >> 11) as f64 / (1_u64 << 53) as f64)).await;
    }
}

/// The finaliser of splitmix64: neighbouring numbers become unrelated ones.
const fn scatter(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
