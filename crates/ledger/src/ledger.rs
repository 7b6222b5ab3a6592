//! A ledger: what is the same for all its shards, and the one check that needs no write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use room::Recipients;
use route::{ShardId, Shards};
use shard::{FenceError, Tenure};
use store::Database;

use crate::keys;
use crate::log::AppendError;
use crate::read::{CorruptRow, corrupt};
use crate::records;
use crate::{LedgerId, SetId};

/// Recipient sets by shard and name.
pub(crate) type Sets = HashMap<(ShardId, SetId), Arc<Recipients>>;

/// What a new ledger begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founding {
    /// 16 octets from a random source.
    pub id: LedgerId,
    /// How many shards it gets (16 on the embedded store, 1,024 on FoundationDB are usual), and a random key.
    pub shards: Shards,
}

/// Why a ledger was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The store's, after it was tried again where that could help.
    #[error("could not read the ledger's own rows")]
    Store(#[from] store::Error),
    /// What is there is not of this release.
    #[error(transparent)]
    Corrupt(#[from] CorruptRow),
    /// Half of a ledger's own rows are missing.
    #[error("the ledger has only one of its two rows")]
    Incomplete,
}

/// One ledger in a database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
    id: LedgerId,
    shards: Shards,
    /// Sets read lately. A set's name says its content, so they never grow stale.
    pub(crate) sets: Arc<Mutex<Sets>>,
}

impl Ledger {
    /// Opens the ledger that the database holds, whatever `founding` says, or founds it.
    pub async fn open(database: Database, founding: Founding) -> Result<Self, OpenError> {
        let mut attempt = 1;
        loop {
            match Self::try_open(&database, &founding).await {
                Err(OpenError::Store(error)) => {
                    if !database.again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error),
                Ok((id, shards)) => {
                    return Ok(Self {
                        database,
                        id,
                        shards,
                        sets: Arc::default(),
                    });
                }
            }
        }
    }

    async fn try_open(database: &Database, founding: &Founding) -> Result<(LedgerId, Shards), OpenError> {
        let mut transaction = database.begin();
        let id = transaction.get(keys::LEDGER).await?;
        let shards = transaction.get(keys::SHARDS).await?;
        match (id, shards) {
            (Some(id), Some(shards)) => Ok((
                records::decode_ledger(&id).map_err(corrupt(keys::LEDGER))?,
                records::decode_shards(&shards).map_err(corrupt(keys::SHARDS))?,
            )),
            (None, None) => {
                transaction.set(keys::LEDGER, records::encode_ledger(founding.id));
                transaction.set(keys::SHARDS, records::encode_shards(&founding.shards));
                transaction.commit().await?;
                Ok((founding.id, founding.shards))
            }
            _ => Err(OpenError::Incomplete),
        }
    }

    /// This life of the ledger: offsets count only together with it.
    pub fn id(&self) -> LedgerId {
        self.id
    }

    /// How rooms are spread.
    pub fn shards(&self) -> Shards {
        self.shards
    }

    /// The database underneath.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Confirms, by a read begun now, that what was decided until now under `tenure` may be told: whatever rides no batch
    /// waits for it.
    pub async fn confirm(&self, tenure: &Tenure) -> Result<(), AppendError> {
        let mut attempt = 1;
        loop {
            match tenure.fence(&self.database.begin()).await {
                Err(FenceError::Store(error)) => {
                    if !self.database.again(&error, &mut attempt).await {
                        return Err(error.into());
                    }
                }
                settled => return Ok(settled?),
            }
        }
    }
}
