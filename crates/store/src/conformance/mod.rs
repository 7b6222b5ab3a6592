//! The suite that every backend passes: one named check for each thing that users of the store rely on.
//!
//! A check panics where the backend breaks the contract. It needs nothing of the backend but a [`Stage`]: an empty part
//! of the key space, so that the suite runs on a shared FoundationDB as well as on a fresh directory.

mod conflicts;
mod life;
mod limits;
mod reads;
mod writes;

use bytes::Bytes;
use std::pin::Pin;

use crate::database::Database;
use crate::error::Error;
use crate::key::KeyRange;
use crate::transaction::Transaction;

/// Where a check plays: a database, and a prefix under which it holds no key.
#[derive(Clone, Debug)]
pub struct Stage {
    database: Database,
    prefix: Vec<u8>,
}

type Check = fn(Stage) -> Played;
type Played = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

macro_rules! checks {
    ($($module:ident :: $check:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($check)), |stage| Box::pin($module::$check(stage)))),*]
    };
}

/// Every check by its name.
const CHECKS: &[(&str, Check)] = checks![
    reads::what_is_committed_is_read,
    reads::a_transaction_reads_its_own_writes,
    reads::own_writes_are_laid_over_ranges,
    reads::ranges_end_at_their_bounds,
    reads::a_transaction_reads_one_version,
    reads::a_new_read_version_contains_every_acknowledged_commit,
    reads::a_dropped_transaction_leaves_nothing,
    conflicts::a_key_written_after_it_was_read_is_a_conflict,
    conflicts::a_key_that_was_absent_is_a_conflict_when_it_appears,
    conflicts::a_range_written_after_it_was_read_is_a_conflict,
    conflicts::rows_behind_the_limit_are_no_conflict,
    conflicts::a_cleared_range_is_a_conflict_for_its_readers,
    conflicts::snapshot_reads_are_no_conflict,
    conflicts::own_writes_read_back_are_no_conflict,
    conflicts::blind_writes_never_conflict_and_the_last_one_wins,
    conflicts::conflict_ranges_can_be_added,
    conflicts::a_transaction_without_writes_never_conflicts,
    conflicts::write_skew_is_a_conflict,
    conflicts::concurrent_increments_all_count,
    conflicts::what_begins_after_a_version_depends_on_what_is_written_since,
    writes::clear_range_takes_exactly_the_range,
    writes::writes_take_effect_in_their_order,
    writes::versionstamps_grow_with_commits,
    writes::stamped_keys_and_values_carry_the_stamp_of_their_commit,
    writes::what_a_versionstamp_hides_is_unreadable,
    writes::a_set_shows_what_a_versionstamp_hid,
    limits::keys_and_values_have_their_longest_length,
    limits::a_transaction_has_its_largest_size,
    limits::the_stores_own_keys_are_refused,
    life::a_watch_wakes_when_its_key_changes,
    life::a_watch_starts_from_the_transactions_own_write,
    life::a_change_before_the_commit_wakes_the_watch,
    life::a_watch_of_an_abandoned_transaction_is_cancelled,
    life::run_repeats_after_a_conflict_and_gives_other_errors_back,
    life::a_transaction_is_too_old_after_five_seconds,
];

/// Plays every check on a stage of its own. `stage` is told the name of the check, which is unique.
///
/// Takes a little more than [`TRANSACTION_AGE_MAX`](crate::limits::TRANSACTION_AGE_MAX), unless the clock is paused.
pub async fn run_all(mut stage: impl AsyncFnMut(&'static str) -> Stage) {
    for (name, play) in CHECKS {
        if let Err(error) = play(stage(name).await).await {
            panic!("{name}: {error}");
        }
    }
}

impl Stage {
    /// A stage below `prefix`, which must not be empty and must not begin with 0xff.
    pub fn new(database: Database, prefix: impl Into<Vec<u8>>) -> Self {
        Self {
            database,
            prefix: prefix.into(),
        }
    }

    fn begin(&self) -> Transaction {
        self.database.begin()
    }

    fn key(&self, name: &str) -> Vec<u8> {
        [&self.prefix, name.as_bytes()].concat()
    }

    fn between(&self, begin: &str, end: &str) -> KeyRange {
        KeyRange::from(self.key(begin)..self.key(end))
    }

    fn all(&self) -> KeyRange {
        KeyRange::prefix(&self.prefix)
    }

    /// Commits the keys with the values.
    async fn put(&self, rows: &[(&str, &str)]) -> Result<(), Error> {
        let mut transaction = self.begin();
        for (key, value) in rows {
            transaction.set(self.key(key), value.as_bytes().to_vec());
        }
        transaction.commit().await.map(drop)
    }

    /// Everything on the stage, in a transaction of its own.
    async fn rows(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(self.named(self.begin().range(self.all(), usize::MAX, false).await?))
    }

    /// Rows without the prefix, as text.
    fn named(&self, rows: Vec<(Bytes, Bytes)>) -> Vec<(String, String)> {
        rows.into_iter()
            .map(|(key, value)| (text(&key[self.prefix.len()..]), text(&value)))
            .collect()
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn rows(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
