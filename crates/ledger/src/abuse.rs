//! The abuse inbox: cases until somebody closes them or they are too old, the oldest first. Its octets are the caller's,
//! who seals them; what was reported once is not reported again, as the marks of a case tell.

use std::fmt;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use prost::Message;
use room::{Digest, Millis};
use store::{Bounds, Isolation, KeyRange, Transaction};

use crate::keys;
use crate::read::{ReadError, corrupt};
use crate::value::{self, BadValue, VALUE_BYTES_MAX};

/// Open cases. A report beyond them is not taken.
pub const CASES_MAX: u64 = 10_000;

/// Octets of one sealed case.
pub const CASE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Cases that are too old, cleared with each that is filed.
const TRIMMED_MAX: usize = 32;

/// A case: when it came, and what tells it from others of that time. Ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId([u8; 16]);

impl CaseId {
    /// The case that came at `at` with this report.
    pub fn new(at: Millis, report: &Digest) -> Self {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&at.0.to_be_bytes());
        id[8..].copy_from_slice(&report.0[..8]);
        Self(id)
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Not the id of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a case")]
pub struct BadCaseId;

impl FromStr for CaseId {
    type Err = BadCaseId;

    fn from_str(text: &str) -> Result<Self, BadCaseId> {
        let digits = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        Ok(Self(number.ok_or(BadCaseId)?.to_be_bytes()))
    }
}

/// What became of a case to be filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filed {
    /// It is in the inbox.
    Added,
    /// Everything in it was reported before.
    Known,
    /// The inbox is full.
    Full,
}

/// Some cases, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Ids and octets.
    pub cases: Vec<(CaseId, Bytes)>,
    /// Whether there may be more behind them.
    pub more: bool,
}

#[derive(Clone, PartialEq, Message)]
struct CaseRow {
    /// Digests that stand for what was reported.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    marks: Vec<Bytes>,
    /// Settled: only its marks are kept.
    #[prost(bool, tag = "2")]
    closed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct CountRow {
    #[prost(uint64, tag = "1")]
    open: u64,
}

/// A mark says something by being there.
#[derive(Clone, PartialEq, Message)]
struct MarkRow {}

/// The inbox, in one transaction.
#[derive(Debug)]
pub struct AbuseInbox<'a>(pub &'a mut Transaction);

impl AbuseInbox<'_> {
    /// Files a case of at most [`CASE_BYTES_MAX`] octets, unless all its marks are there already, and forgets some cases
    /// that came before `oldest`. Marks stay as long as an open case would, so that closing a case does not invite it again.
    ///
    /// # Errors
    /// The store's, or a row is not one of ours.
    pub async fn file(
        &mut self,
        id: CaseId,
        marks: &[Digest],
        sealed: &Bytes,
        oldest: Millis,
    ) -> Result<Filed, ReadError> {
        let mut open = self.open().await?;
        open = open.saturating_sub(self.trim(oldest).await?);
        let mut known = true;
        for mark in marks {
            known &= self.0.get(&keys::abuse_mark(mark)).await?.is_some();
        }
        let filed = match (known, open < CASES_MAX && sealed.len() <= CASE_BYTES_MAX) {
            (true, _) => Filed::Known,
            (false, false) => Filed::Full,
            (false, true) => Filed::Added,
        };
        if filed == Filed::Added {
            let row = CaseRow {
                marks: marks.iter().map(|mark| Bytes::copy_from_slice(&mark.0)).collect(),
                closed: false,
            };
            self.0.set(keys::abuse_case(id), value::encode(&row));
            for mark in marks {
                self.0.set(keys::abuse_mark(mark), value::encode(&MarkRow {}));
            }
            let parts = keys::abuse_parts(id);
            for (part, start) in (0..).zip((0..sealed.len()).step_by(VALUE_BYTES_MAX)) {
                let end = sealed.len().min(start + VALUE_BYTES_MAX);
                self.0.set(keys::part(&parts, part), sealed.slice(start..end));
            }
            open += 1;
        }
        self.set_open(open);
        Ok(filed)
    }

    /// Open cases after `after`, at most `max` and about `bytes` octets of them. Adds no conflict.
    ///
    /// # Errors
    /// The store's, or a row is not one of ours.
    pub async fn page(&self, after: Option<CaseId>, max: usize, bytes: usize) -> Result<Page, ReadError> {
        let mut range = keys::abuse_cases();
        let mut page = Page::default();
        if let Some(after) = after {
            range.begin = behind(&keys::abuse_case(after));
        }
        let mut taken = 0;
        loop {
            let rows = self.0.snapshot_range(range.clone(), max.max(1), false).await?;
            let Some((last, _)) = rows.last() else {
                return Ok(page);
            };
            range.begin = behind(last);
            for (key, octets) in rows {
                let (id, row) = read_case(&key, &octets)?;
                if row.closed {
                    continue;
                }
                if page.cases.len() >= max || taken >= bytes {
                    page.more = true;
                    return Ok(page);
                }
                let sealed = self.sealed(id).await?;
                taken += sealed.len();
                page.cases.push((id, sealed));
            }
        }
    }

    /// Settles a case; whether it was open.
    ///
    /// # Errors
    /// The store's, or a row is not one of ours.
    pub async fn close(&mut self, id: CaseId) -> Result<bool, ReadError> {
        let key = keys::abuse_case(id);
        let Some(octets) = self.0.get(&key).await? else {
            return Ok(false);
        };
        let (_, row) = read_case(&key, &octets)?;
        if row.closed {
            return Ok(false);
        }
        let open = self.open().await?;
        self.set_open(open.saturating_sub(1));
        self.0.clear_range(keys::abuse_parts(id));
        self.0.set(key, value::encode(&CaseRow { closed: true, ..row }));
        Ok(true)
    }

    async fn sealed(&self, id: CaseId) -> Result<Bytes, ReadError> {
        let bounds = Bounds {
            rows: CASE_BYTES_MAX.div_ceil(VALUE_BYTES_MAX),
            octets: usize::MAX,
            reverse: false,
        };
        let parts = self.0.read(keys::abuse_parts(id), bounds, Isolation::Snapshot).await?;
        let mut sealed = BytesMut::new();
        for (_, part) in parts.rows {
            sealed.extend_from_slice(&part);
        }
        Ok(sealed.freeze())
    }

    /// Forgets cases that came before `oldest`; how many of them were open.
    async fn trim(&mut self, oldest: Millis) -> Result<u64, ReadError> {
        let range = KeyRange {
            end: keys::abuse_case(CaseId::new(oldest, &Digest([0; 32]))).into(),
            ..keys::abuse_cases()
        };
        let mut open = 0;
        for (key, octets) in self.0.range(range, TRIMMED_MAX, false).await? {
            let (id, row) = read_case(&key, &octets)?;
            open += u64::from(!row.closed);
            for mark in &row.marks {
                let mark = mark[..].try_into().map_err(|_| BadValue("not a mark"));
                self.0.clear(keys::abuse_mark(&Digest(mark.map_err(corrupt(&key))?)));
            }
            self.0.clear_range(keys::abuse_parts(id));
            self.0.clear(key);
        }
        Ok(open)
    }

    async fn open(&self) -> Result<u64, ReadError> {
        let Some(octets) = self.0.get(keys::ABUSE_COUNT).await? else {
            return Ok(0);
        };
        let row: CountRow = value::decode(&octets).map_err(corrupt(keys::ABUSE_COUNT))?;
        Ok(row.open)
    }

    fn set_open(&mut self, open: u64) {
        self.0.set(keys::ABUSE_COUNT, value::encode(&CountRow { open }));
    }
}

fn read_case(key: &[u8], octets: &Bytes) -> Result<(CaseId, CaseRow), ReadError> {
    let id = key
        .last_chunk()
        .copied()
        .map(CaseId)
        .ok_or(BadValue("no id in the key"));
    let case = id.and_then(|id| Ok((id, value::decode(octets)?)));
    Ok(case.map_err(corrupt(key))?)
}

/// The first key behind `key`.
fn behind(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}
