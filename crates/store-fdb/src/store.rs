//! The backend: one database of the client, shared by its transactions.

use async_trait::async_trait;
use foundationdb as fdb;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Backend, BackendTransaction, Database, Error, Version};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use crate::error;
use crate::open::{self, OpenError};
use crate::transaction::FdbTransaction;

/// Longest wait for an answer of the cluster, to one read or one commit. A cluster that recovers needs less.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A FoundationDB cluster as a backend.
pub struct FdbStore(Arc<Shared>);

/// What the transactions of one store share.
pub(crate) struct Shared {
    pub(crate) database: fdb::Database,
    /// Held for reading by each commit under way, for writing by whoever closes.
    pub(crate) commits: RwLock<()>,
    pub(crate) closed: CancellationToken,
}

impl FdbStore {
    /// Opens the cluster that `cluster_file` names, once it has answered, or says within [`ANSWER_MAX`] why not.
    ///
    /// The first call in a process starts the client's network thread, which ends with the process. The client writes to
    /// the cluster file when the coordinators change, so it should be able to.
    pub async fn open(cluster_file: impl AsRef<Path>) -> Result<Database, OpenError> {
        let database = open::database(cluster_file.as_ref()).await?;
        Ok(Database::from_backend(Arc::new(Self(Arc::new(Shared {
            database,
            commits: RwLock::new(()),
            closed: CancellationToken::new(),
        })))))
    }
}

impl Shared {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.closed.is_cancelled() {
            return Err(Error::Closed);
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for FdbStore {
    fn begin(&self) -> Box<dyn BackendTransaction> {
        let begun = self.0.database.create_trx().map_err(error::of_read);
        Box::new(FdbTransaction::new(self.0.clone(), begun))
    }

    fn begin_after(&self, version: Version) -> Box<dyn BackendTransaction> {
        let begun = self.0.database.create_trx().map_err(error::of_read);
        Box::new(FdbTransaction::after(version, self.0.clone(), begun))
    }

    async fn close(&self) {
        let _settled = self.0.commits.write().await;
        self.0.closed.cancel();
    }
}

impl fmt::Debug for FdbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FdbStore")
            .field("closed", &self.closed.is_cancelled())
            .finish_non_exhaustive()
    }
}
