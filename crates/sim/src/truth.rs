//! What a run is judged by: what happened, what the store holds, what followers and clients have in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use ledger::{Cursor, Ledger, LogEntry, Offset, ReadLimit};
use mimi::{Provider, RoomUri};
use room::{Head, Room};
use route::ShardId;

use crate::follower::Inbox;
use crate::hubs::founding;
use crate::puppet::Standing;
use crate::store::Service;
use crate::trace::Event;

/// Everything that the promises are checked on.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub(crate) events: Vec<(Duration, Event)>,
    pub(crate) shards: Shards,
    pub(crate) rooms: Heads,
    /// Each room as it is opened from its rows.
    pub(crate) canonical: BTreeMap<RoomUri, Vec<u8>>,
    pub(crate) inboxes: BTreeMap<Provider, Inbox>,
    pub(crate) standings: BTreeMap<String, Standing>,
}

/// One shard as the store holds it.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) head: Offset,
    pub(crate) log: Vec<LogEntry>,
    pub(crate) cursors: BTreeMap<Provider, Cursor>,
}

impl Evidence {
    /// Every entry of a room, in the order of the log.
    pub(crate) fn log<'a>(&'a self, room: &'a RoomUri) -> impl Iterator<Item = &'a LogEntry> + 'a {
        self.entries().filter(move |entry| entry.room == *room)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.shards.values().flat_map(|shard| &shard.log)
    }
}

pub(crate) type Shards = BTreeMap<ShardId, Shard>;
pub(crate) type Heads = BTreeMap<RoomUri, Head>;

/// What the store holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) shards: Shards,
    pub(crate) rooms: Vec<Room>,
}

/// Reads the whole ledger, and opens every room from its rows.
pub(crate) fn read(service: &Service, seed: u64, rooms: &[RoomUri]) -> Result<Held, String> {
    let database = service.contents();
    service.at_once(async {
        let ledger = Ledger::open(database, founding(seed))
            .await
            .map_err(|error| error.to_string())?;
        let mut shards = BTreeMap::new();
        for shard in ledger.shards().all() {
            shards.insert(
                shard,
                read_shard(&ledger, shard).await.map_err(|error| error.to_string())?,
            );
        }
        let mut opened = Vec::new();
        for id in rooms {
            if let Some(rows) = ledger.room(id).await.map_err(|error| error.to_string())? {
                opened.push(Room::open(id.clone(), rows).map_err(|error| error.to_string())?);
            }
        }
        Ok(Held { shards, rooms: opened })
    })
}

async fn read_shard(ledger: &Ledger, shard: ShardId) -> Result<Shard, ledger::ReadError> {
    let head = ledger.position(shard).await?.head;
    let mut log: Vec<LogEntry> = Vec::new();
    loop {
        let from = log.last().map_or(Offset(0), |last| last.offset.plus(1));
        let page = ledger
            .read_log(
                shard,
                from,
                ReadLimit {
                    entries: 512,
                    bytes: 1 << 20,
                },
            )
            .await?;
        if page.is_empty() {
            let cursors = ledger.cursors(shard).await?;
            return Ok(Shard { head, log, cursors });
        }
        log.extend(page);
    }
}
