//! What a store on FoundationDB cannot do without: its client's transactions.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use store::Written;
use store_fdb::testing::foundationdb::Database;
use tokio::task::JoinSet;

const KEY_OCTETS: usize = 40;

/// The bare client.
pub struct Client {
    database: Arc<Database>,
    transactions: Arc<AtomicU64>,
}

impl Client {
    /// To be opened after a store was, which starts the client's network thread.
    pub fn open(file: &Path) -> Self {
        Self {
            database: Arc::new(Database::from_path(file.to_str().unwrap()).unwrap()),
            transactions: Arc::default(),
        }
    }

    /// How long it takes to write as many rows and octets in as many transactions, so many of them at once.
    pub async fn write(&self, in_flight: usize, written: &Written) -> Duration {
        let rows = written.rows.div_ceil(written.transactions);
        let octets = usize::try_from(written.octets / (rows * written.transactions)).unwrap();
        let value = vec![0x5a; octets.saturating_sub(KEY_OCTETS)];
        let last = self.transactions.load(Ordering::Relaxed) + written.transactions;
        let began = Instant::now();
        let mut writers = JoinSet::new();
        for _ in 0..in_flight {
            let (database, next, value) = (self.database.clone(), self.transactions.clone(), value.clone());
            writers.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= last {
                        return;
                    }
                    let transaction = database.create_trx().unwrap();
                    for row in 0..rows {
                        let key = format!("bare/{number:020}/{row:014}");
                        transaction.set(key.as_bytes(), &value);
                    }
                    transaction.commit().await.unwrap();
                }
            });
        }
        writers.join_all().await;
        began.elapsed()
    }
}
