//! The rows of the hub's franking keys: one for each interval of time. What is sealed in them is the caller's.

use bytes::Bytes;
use prost::Message;
use room::Millis;
use store::Transaction;

use crate::keys;
use crate::read::{ReadError, corrupt};
use crate::value::{self, BadValue};

/// Intervals read at once. Rows that were kept long enough are cleared long before there are as many.
const INTERVALS_MAX: usize = 4_096;

/// One interval's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// The first millisecond that belongs to it.
    pub begin: Millis,
    /// The first that does not.
    pub end: Millis,
    /// The key, sealed.
    pub sealed: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct IntervalRow {
    #[prost(uint64, tag = "1")]
    end: u64,
    #[prost(bytes = "bytes", tag = "2")]
    sealed: Bytes,
}

/// The rows of the intervals, in one transaction.
#[derive(Debug)]
pub struct Intervals<'a>(pub &'a mut Transaction);

impl Intervals<'_> {
    /// All of them, by time. The commit fails if somebody else writes one first.
    ///
    /// # Errors
    /// The store's, or a row is not one of ours.
    pub async fn all(&self) -> Result<Vec<Interval>, ReadError> {
        let rows = self.0.range(keys::intervals(), INTERVALS_MAX, false).await?;
        let read = |(key, octets): (Bytes, Bytes)| {
            let begin = keys::last_u64(&key).ok_or(BadValue("no time in the key"));
            let row = begin.and_then(|begin| Ok((begin, value::decode::<IntervalRow>(&octets)?)));
            let (begin, row) = row.map_err(corrupt(&key))?;
            Ok(Interval {
                begin: Millis(begin),
                end: Millis(row.end),
                sealed: row.sealed,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Writes one.
    pub fn put(&mut self, interval: &Interval) {
        let row = IntervalRow {
            end: interval.end.0,
            sealed: interval.sealed.clone(),
        };
        self.0.set(keys::interval(interval.begin), value::encode(&row));
    }

    /// Forgets one.
    pub fn clear(&mut self, begin: Millis) {
        self.0.clear(keys::interval(begin));
    }
}
