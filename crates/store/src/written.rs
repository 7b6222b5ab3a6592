//! How much was written: for whoever wants to know what a commit, or a sync, carries.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::Mutation;

/// What was committed through a [`Database`](crate::Database) and its clones, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Transactions that wrote something and are known to be committed.
    pub transactions: u64,
    /// Their writes; a cleared range is one.
    pub rows: u64,
    /// Keys and values of these, without what an engine puts around them.
    pub octets: u64,
    /// Groups in which a backend of this crate made transactions durable, with one sync each if it has files. 0 where that
    /// is another's affair.
    pub groups: u64,
}

/// Counts for all clones of a database.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    transactions: AtomicU64,
    rows: AtomicU64,
    octets: AtomicU64,
}

/// The writes of one transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight {
    pub(crate) rows: u64,
    pub(crate) octets: u64,
}

impl Tally {
    pub(crate) fn committed(&self, weight: Weight) {
        if weight.rows > 0 {
            self.transactions.fetch_add(1, Ordering::Relaxed);
            self.rows.fetch_add(weight.rows, Ordering::Relaxed);
            self.octets.fetch_add(weight.octets, Ordering::Relaxed);
        }
    }

    pub(crate) fn written(&self, groups: u64) -> Written {
        Written {
            transactions: self.transactions.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            groups,
        }
    }
}

impl Weight {
    pub(crate) fn add(&mut self, mutation: &Mutation) {
        self.rows += 1;
        self.octets += mutation.octets() as u64;
    }
}
