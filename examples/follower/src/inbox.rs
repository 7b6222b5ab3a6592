//! The inbox: one file to which records are appended, each made durable before anybody hears of it.
//!
//! A record is one Deliver as far as it was new: its length (four octets, big-endian), the first eight octets of the
//! SHA-256 of what follows, and then the ledger (16 octets), the offset after the batch (eight octets, big-endian) and the
//! Deliver. All that is in memory, positions and heads of rooms, is what the records say: [`Inbox::open`] reads them again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use prost::Message;
use proto::link::{Acknowledge, Deliver, Item, ItemRefusal, item};
use sha2::{Digest, Sha256};

use crate::frame::HUB_BYTES_MAX;

/// Names a ledger of the hub: offsets count only together with it.
pub(crate) type Ledger = [u8; 16];

/// Shards of all ledgers, and rooms, of which positions are kept.
const LINES_MAX: usize = 4_096;
const ROOMS_MAX: usize = 65_536;

/// Length and checksum, before each record.
const HEAD: usize = 4 + 8;
/// Ledger and offset, before the Deliver in a record.
const NAMED: usize = 16 + 8;

/// What is stored, and where each shard and each room stands.
pub(crate) struct Inbox {
    hub: String,
    file: File,
    positions: BTreeMap<(Ledger, u32), u64>,
    rooms: BTreeMap<String, Head>,
    /// After a write that failed nobody knows what is in the file: only starting again tells.
    failed: bool,
}

/// The last item of a room.
#[derive(Clone, Copy)]
struct Head {
    seq: u64,
    chain: [u8; 32],
}

/// What a Deliver brought.
pub(crate) struct Stored {
    /// For the hub.
    pub(crate) acknowledge: Acknowledge,
    /// The items that are new, in their order.
    pub(crate) items: Vec<Item>,
    /// Items that contradict what the hub showed before.
    pub(crate) alarms: Vec<String>,
}

/// Nothing was stored of it, and the hub should try again later.
#[derive(Debug)]
pub(crate) struct Unavailable;

impl Inbox {
    /// The inbox in `path`, made if need be, and all that it holds: each record's items go to `found`. A record that was
    /// being written when the process died was never acknowledged, and is dropped.
    pub(crate) fn open(path: &Path, hub: &str, mut found: impl FnMut(&[Item])) -> anyhow::Result<Self> {
        let shown = path.display();
        let open = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = open.with_context(|| format!("open {shown}"))?;
        let end = file.metadata()?.len();
        let mut inbox = Self {
            hub: hub.to_owned(),
            file: file.try_clone()?,
            positions: BTreeMap::new(),
            rooms: BTreeMap::new(),
            failed: false,
        };
        let mut reader = BufReader::new(file);
        let mut whole = 0;
        while let Some(record) = read_record(&mut reader, end - whole).with_context(|| format!("{shown} at {whole}"))? {
            whole += (HEAD + record.len()) as u64;
            let (ledger, next, deliver) = open_record(record).with_context(|| format!("{shown} before {whole}"))?;
            inbox.apply(ledger, next, &deliver);
            found(&deliver.items);
        }
        if whole < end {
            eprintln!("dropped the last {} octets of {shown}: never acknowledged", end - whole);
            inbox.file.set_len(whole)?;
        }
        inbox.file.sync_all()?;
        Ok(inbox)
    }

    /// The first offset of the shard that is not durable here; `None`: nothing of it ever was.
    pub(crate) fn position(&self, ledger: Ledger, shard: u32) -> Option<u64> {
        self.positions.get(&(ledger, shard)).copied()
    }

    /// Stores what is new of a Deliver of proper shape. When this returns, it is durable.
    pub(crate) fn store(&mut self, ledger: Ledger, deliver: Deliver) -> Result<Stored, Unavailable> {
        let shard = deliver.shard;
        let position = self.position(ledger, shard);
        let past = deliver.items.last().map_or(0, |item| item.offset.saturating_add(1));
        let next_offset = past.max(position.unwrap_or(0));
        let mut stored = Stored {
            acknowledge: Acknowledge {
                shard,
                next_offset,
                refused: Vec::new(),
            },
            items: Vec::new(),
            alarms: Vec::new(),
        };
        // The rooms' heads as they will be.
        let mut heads: BTreeMap<String, Head> = BTreeMap::new();
        for item in deliver.items {
            if !belongs_to(&item.room, &self.hub) {
                stored.acknowledge.refused.push(ItemRefusal {
                    offset: item.offset,
                    status: 403,
                    reason: "only a room's hub may bring its entries".to_owned(),
                });
                continue;
            }
            let head = heads.get(&item.room).or_else(|| self.rooms.get(&item.room)).copied();
            let is_repeat = position.is_some_and(|position| item.offset < position)
                || head.is_some_and(|head| item.seq <= head.seq);
            if is_repeat {
                continue;
            }
            stored.alarms.extend(contradiction(head, &item));
            heads.insert(item.room.clone(), Head::after(&item));
            stored.items.push(item);
        }
        let new_rooms = heads.keys().filter(|room| !self.rooms.contains_key(*room)).count();
        let is_full =
            self.rooms.len() + new_rooms > ROOMS_MAX || (position.is_none() && self.positions.len() >= LINES_MAX);
        if self.failed || is_full {
            return Err(Unavailable);
        }
        if Some(next_offset) != position {
            let record = Deliver {
                shard,
                items: stored.items.clone(),
                traceparent: String::new(),
            };
            if let Err(error) = self.append(ledger, next_offset, &record) {
                eprintln!("the inbox cannot be written, start again: {error}");
                self.failed = true;
                return Err(Unavailable);
            }
            self.apply(ledger, next_offset, &record);
        }
        Ok(stored)
    }

    fn append(&mut self, ledger: Ledger, next: u64, deliver: &Deliver) -> io::Result<()> {
        let mut named = Vec::with_capacity(NAMED + deliver.encoded_len());
        named.extend_from_slice(&ledger);
        named.extend_from_slice(&next.to_be_bytes());
        named.extend_from_slice(&deliver.encode_to_vec());
        let length = u32::try_from(named.len()).map_err(io::Error::other)?;
        let mut record = Vec::with_capacity(HEAD + named.len());
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(&checksum(&named));
        record.extend_from_slice(&named);
        self.file.write_all(&record)?;
        self.file.sync_data()
    }

    fn apply(&mut self, ledger: Ledger, next: u64, deliver: &Deliver) {
        self.positions.insert((ledger, deliver.shard), next);
        for item in &deliver.items {
            self.rooms.insert(item.room.clone(), Head::after(item));
        }
    }
}

impl Head {
    fn after(item: &Item) -> Self {
        let mut chain = [0; 32];
        // Its length was checked when it came.
        chain[..item.chain.len().min(32)].copy_from_slice(&item.chain[..item.chain.len().min(32)]);
        Self { seq: item.seq, chain }
    }
}

/// `mimi://HUB/…`
fn belongs_to(room: &str, hub: &str) -> bool {
    let rest = room.strip_prefix("mimi://").and_then(|rest| rest.strip_prefix(hub));
    rest.is_some_and(|rest| rest.starts_with("/r/") && rest.len() > 3)
}

/// What is wrong with `item` after `head` ("Order and chain").
fn contradiction(head: Option<Head>, item: &Item) -> Option<String> {
    // A follower that comes into a room, or comes back, takes its first item as it is.
    let head = head.filter(|_| item.previous_seq > 0)?;
    if item.previous_seq != head.seq {
        return Some(format!(
            "{}: seq {} follows on {}, which is not here",
            item.room, item.seq, item.previous_seq
        ));
    }
    let digest: [u8; 32] = match &item.body {
        Some(item::Body::Message(message)) => Sha256::digest(message).into(),
        Some(item::Body::Digest(digest)) => digest[..].try_into().unwrap_or_default(),
        None => return None,
    };
    let is_next = item.seq == head.seq + 1 && item.chain[..] == chain(&head.chain, item.seq, &digest);
    (!is_next).then(|| format!("{}: seq {} does not fit the chain", item.room, item.seq))
}

/// The chain after one more entry.
fn chain(before: &[u8; 32], seq: u64, digest: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(before).chain_update(seq.to_be_bytes());
    hash.chain_update(digest).finalize().into()
}

fn checksum(named: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(named).into();
    std::array::from_fn(|at| digest[at])
}

/// The next record of a file of which `left` octets are left; `None` where it ends, or where the last record was torn.
fn read_record(reader: &mut impl Read, left: u64) -> anyhow::Result<Option<Bytes>> {
    if left < HEAD as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    reader.read_exact(&mut head)?;
    let (length, expected) = head.split_first_chunk::<4>().context("a head has a length")?;
    let length = u64::from(u32::from_be_bytes(*length));
    if length > left - HEAD as u64 {
        return Ok(None);
    }
    ensure!(
        length <= (NAMED + HUB_BYTES_MAX) as u64,
        "no record is that long: the file is damaged"
    );
    let mut record = vec![0; usize::try_from(length)?];
    reader.read_exact(&mut record)?;
    if checksum(&record)[..] == *expected {
        return Ok(Some(record.into()));
    }
    if length == left - HEAD as u64 {
        return Ok(None);
    }
    bail!("a record does not match its checksum, and others follow: the file is damaged");
}

fn open_record(mut record: Bytes) -> anyhow::Result<(Ledger, u64, Deliver)> {
    ensure!(record.len() >= NAMED, "a record is too short");
    let (ledger, next) = (record.split_to(16), record.split_to(8));
    let next = u64::from_be_bytes(next[..].try_into()?);
    Ok((ledger[..].try_into()?, next, Deliver::decode(record)?))
}

#[cfg(test)]
mod tests;
