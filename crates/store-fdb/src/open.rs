//! Opening a cluster, and what to do when that fails.

use foundationdb as fdb;
use foundationdb::options::DatabaseOption;
use std::path::{Path, PathBuf};
use store::limits::WATCHES_MAX;

use crate::store::ANSWER_MAX;
use crate::{cluster_file, network};

/// Why a cluster was not opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such cluster file, or it is not to be read.
    #[error(
        "cannot read the cluster file {path}: give the fdb.cluster of the cluster, readable (best writable) for this user"
    )]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The cluster file does not say where a cluster is.
    #[error(
        "{path} is no cluster file: it has to hold description:id@address:port,… as the cluster's own fdb.cluster does"
    )]
    Malformed { path: PathBuf },
    /// The client library on this machine is too old.
    #[error(
        "libfdb_c on this machine knows API versions up to {known}, but {needed} is needed: \
         install FoundationDB's client of release 7.3 or newer"
    )]
    ClientTooOld { known: i32, needed: i32 },
    /// The client did not start. Restart the process: it can be started only once.
    #[error("FoundationDB's client did not start: {0}; restart the process")]
    Network(String),
    /// The client refused something.
    #[error("FoundationDB's client cannot {what}: {message} (error {code})")]
    Client {
        what: &'static str,
        message: &'static str,
        code: i32,
    },
    /// Nobody answered in time.
    #[error(
        "no answer from the cluster of {path} within {} s: are fdbserver processes running at {coordinators}, \
         can this machine reach them, is the database configured and available (fdbcli: status), and is their release \
         the client's (7.3)?",
        ANSWER_MAX.as_secs()
    )]
    Unreachable { path: PathBuf, coordinators: String },
}

impl OpenError {
    pub(crate) fn client(what: &'static str) -> impl FnOnce(fdb::FdbError) -> Self {
        move |error| Self::Client {
            what,
            message: error.message(),
            code: error.code(),
        }
    }
}

/// A database of the client that has answered once. Blocks for as long as the cluster file takes to read, apart from
/// waiting for that answer.
pub(crate) async fn database(path: &Path) -> Result<fdb::Database, OpenError> {
    let owned = path.to_owned();
    let (database, coordinators) = tokio::task::spawn_blocking(move || unanswered(&owned))
        .await
        .map_err(|panicked| OpenError::Network(panicked.to_string()))??;
    let transaction = database
        .create_trx()
        .map_err(OpenError::client("begin a transaction"))?;
    let answer = tokio::time::timeout(ANSWER_MAX, transaction.get_read_version()).await;
    // Where there is no place left, that of the start remains.
    let _ = network::stop_at_exit();
    match answer {
        Ok(Ok(_)) => Ok(database),
        Ok(Err(error)) => Err(OpenError::client("read from the cluster")(error)),
        Err(_) => Err(OpenError::Unreachable {
            path: path.to_owned(),
            coordinators,
        }),
    }
}

fn unanswered(path: &Path) -> Result<(fdb::Database, String), OpenError> {
    let coordinators = cluster_file::coordinators(path)?;
    let text = path
        .to_str()
        .ok_or_else(|| OpenError::Malformed { path: path.to_owned() })?;
    network::start()?;
    let database = fdb::Database::from_path(text).map_err(OpenError::client("open the cluster file"))?;
    let watches = i32::try_from(WATCHES_MAX).expect("the limit is a small constant");
    database
        .set_option(DatabaseOption::MaxWatches(watches))
        .map_err(OpenError::client("set the most watches"))?;
    Ok((database, coordinators))
}
