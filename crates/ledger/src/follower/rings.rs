//! Which inboxes grew, in the order in which they did. By this every instance of a follower that shares its store with others
//! learns what these stored, with one read for all its event streams. Hints for whoever is there: they are kept for minutes.

use bytes::Bytes;
use mimi::{ClientUri, RoomUri};
use prost::Message;
use room::Millis;
use store::{Bounds, Isolation, KeyRange, Transaction, Watch};

use super::{FollowerError, keys};
use crate::value;

/// Octets of a row after which the next one begins.
const ROW_OCTETS: usize = 32 << 10;
/// Clients of one room that go together.
const CLIENTS: usize = 16;

/// Rows, and octets, read at once.
const PAGE_ROWS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// A room's inbox grew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// Whose.
    pub room: RoomUri,
    /// Clients that follow the room since then, or do not any more.
    pub clients: Vec<ClientUri>,
}

/// Where a reader of rings stands: behind the last one that it read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingPlace(Bytes);

/// What a reader finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Where it goes on.
    pub place: RingPlace,
    /// The instance that wrote it.
    pub by: u64,
    /// What grew, in one transaction or a part of it.
    pub rings: Vec<Ring>,
}

#[derive(Clone, PartialEq, Message)]
struct RingsRow {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(fixed64, tag = "2")]
    by: u64,
    #[prost(message, repeated, tag = "3")]
    rings: Vec<RingMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct RingMessage {
    #[prost(string, tag = "1")]
    room: String,
    #[prost(string, repeated, tag = "2")]
    clients: Vec<String>,
}

/// The rings in a transaction.
#[derive(Debug)]
pub struct Rings<'a>(pub &'a mut Transaction);

impl Rings<'_> {
    /// Tells readers, once the transaction is committed, what it makes grow. It conflicts with nobody.
    pub fn put<'r>(&mut self, at: Millis, by: u64, grown: impl IntoIterator<Item = (&'r RoomUri, &'r [ClientUri])>) {
        let mut part = 0_u32;
        let mut row = RingsRow {
            at: at.0,
            by,
            rings: Vec::new(),
        };
        for (room, clients) in grown {
            let mut groups = clients.chunks(CLIENTS);
            let first = groups.next().unwrap_or_default();
            for group in std::iter::once(first).chain(groups) {
                if row.encoded_len() > ROW_OCTETS {
                    self.put_row(part, &row);
                    part += 1;
                    row.rings.clear();
                }
                row.rings.push(RingMessage {
                    room: room.as_str().to_owned(),
                    clients: group.iter().map(|client| client.as_str().to_owned()).collect(),
                });
            }
        }
        if !row.rings.is_empty() {
            self.put_row(part, &row);
            self.0
                .set_versionstamped_value(keys::rung(), Bytes::new(), Bytes::new());
        }
    }

    fn put_row(&mut self, part: u32, row: &RingsRow) {
        let part = part.to_be_bytes().to_vec();
        self.0
            .set_versionstamped_key(keys::rings().into_octets(), part, value::encode(row));
    }

    /// Behind the last ring that there is.
    ///
    /// # Errors
    /// The store does not serve.
    pub async fn last(&self) -> Result<RingPlace, FollowerError> {
        let bounds = Bounds {
            rows: 1,
            octets: 1,
            reverse: true,
        };
        let all = keys::rings().prefix();
        let begin = all.begin.clone();
        let found = self.0.read(all, bounds, Isolation::Snapshot).await?;
        let last = found.rows.into_iter().next();
        Ok(RingPlace(last.map_or(begin, |(key, _)| key)))
    }

    /// What rang behind `place`, as much as is read at once.
    ///
    /// # Errors
    /// The store does not serve, or a row is damaged.
    pub async fn after(&self, place: &RingPlace) -> Result<Vec<Rung>, FollowerError> {
        let mut range = keys::rings().prefix();
        range.begin = [&place.0[..], b"\0"].concat().into();
        let rows = self.page(range).await?;
        let rung = rows.into_iter().map(|(place, row)| {
            Ok(Rung {
                place,
                by: row.by,
                rings: row.rings.into_iter().map(ring).collect::<Result<_, _>>()?,
            })
        });
        rung.collect()
    }

    /// Is ready when something rings that this transaction does not see; begins with its commit.
    ///
    /// # Errors
    /// The store does not serve.
    pub async fn watch(&self) -> Result<Watch, FollowerError> {
        Ok(self.0.watch(&keys::rung()).await?)
    }

    /// Takes away the oldest rings from before that time, as many as are read at once. Says whether there may be more.
    ///
    /// # Errors
    /// The store does not serve, or a row is damaged.
    pub async fn clear_before(&mut self, time: Millis) -> Result<bool, FollowerError> {
        let all = keys::rings().prefix();
        let rows = self.page(all.clone()).await?;
        let old = rows.iter().take_while(|(_, row)| row.at < time.0).count();
        if let Some((RingPlace(last), _)) = old.checked_sub(1).and_then(|last| rows.get(last)) {
            let end = [&last[..], b"\0"].concat();
            self.0.clear_range(KeyRange {
                begin: all.begin,
                end: end.into(),
            });
        }
        Ok(old > 0 && old == rows.len())
    }

    async fn page(&self, range: KeyRange) -> Result<Vec<(RingPlace, RingsRow)>, FollowerError> {
        let bounds = Bounds {
            rows: PAGE_ROWS,
            octets: PAGE_BYTES,
            reverse: false,
        };
        let found = self.0.read(range, bounds, Isolation::Snapshot).await?;
        let rows = found
            .rows
            .into_iter()
            .map(|(key, row)| Ok((RingPlace(key), value::decode(&row)?)));
        rows.collect()
    }
}

fn ring(message: RingMessage) -> Result<Ring, FollowerError> {
    let clients = message.clients.iter().map(|client| client.parse());
    Ok(Ring {
        room: message
            .room
            .parse()
            .map_err(|_| FollowerError::Damaged("a ring's room"))?,
        clients: clients
            .collect::<Result<_, _>>()
            .map_err(|_| FollowerError::Damaged("a ring's client"))?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures::FutureExt as _;
    use store::Database;

    use super::*;

    fn room(number: usize) -> RoomUri {
        format!("mimi://a.example/r/{number}").parse().unwrap()
    }

    async fn put(database: &Database, at: u64, grown: &[(RoomUri, Vec<ClientUri>)]) {
        let mut transaction = database.begin();
        let grown = grown.iter().map(|(room, clients)| (room, &clients[..]));
        Rings(&mut transaction).put(Millis(at), 7, grown);
        transaction.commit().await.unwrap();
    }

    async fn after(database: &Database, place: &RingPlace) -> Vec<Rung> {
        Rings(&mut database.begin()).after(place).await.unwrap()
    }

    #[tokio::test]
    async fn what_rings_is_read_once_in_order_and_wakes_who_waits() {
        let database = Database::memory();
        let mut transaction = database.begin();
        let mut place = Rings(&mut transaction).last().await.unwrap();
        let mut watch = Box::pin(Rings(&mut transaction).watch().await.unwrap());
        transaction.commit().await.unwrap();
        assert!((&mut watch).now_or_never().is_none());
        let bob: ClientUri = "mimi://b.example/d/bob/phone".parse().unwrap();
        put(&database, 1, &[(room(1), vec![bob.clone()])]).await;
        put(&database, 2, &[(room(2), Vec::new()), (room(1), Vec::new())]).await;
        watch.await.unwrap();
        let mut heard = Vec::new();
        for rung in after(&database, &place).await {
            assert_eq!(rung.by, 7);
            heard.extend(rung.rings.into_iter().map(|ring| (ring.room, ring.clients)));
            place = rung.place;
        }
        assert_eq!(
            heard,
            [(room(1), vec![bob]), (room(2), Vec::new()), (room(1), Vec::new())]
        );
        assert_eq!(after(&database, &place).await, []);
        assert_eq!(Rings(&mut database.begin()).last().await.unwrap(), place);
    }

    #[tokio::test]
    async fn however_much_grows_at_once_it_is_told_in_rows_that_the_store_takes() {
        let database = Database::memory();
        let place = Rings(&mut database.begin()).last().await.unwrap();
        let client = |number| {
            format!("mimi://b.example/d/{}/{number}", "u".repeat(800))
                .parse()
                .unwrap()
        };
        let clients: Vec<ClientUri> = (0..100).map(client).collect();
        let grown: Vec<_> = (0..50).map(|number| (room(number), clients.clone())).collect();
        put(&database, 1, &grown).await;
        let (mut place, mut heard) = (place, 0);
        loop {
            let page = after(&database, &place).await;
            let Some(last) = page.last() else { break };
            place = last.place.clone();
            let rings = page.iter().flat_map(|rung| &rung.rings);
            heard += rings.map(|ring| ring.clients.len()).sum::<usize>();
        }
        assert_eq!(heard, 50 * 100);
    }

    #[tokio::test]
    async fn what_is_old_goes_and_no_more() {
        let database = Database::memory();
        let place = Rings(&mut database.begin()).last().await.unwrap();
        for at in [1, 2, 8, 3] {
            put(&database, at, &[(room(1), Vec::new())]).await;
        }
        let mut transaction = database.begin();
        assert!(!Rings(&mut transaction).clear_before(Millis(5)).await.unwrap());
        transaction.commit().await.unwrap();
        assert_eq!(
            after(&database, &place).await.len(),
            2,
            "none behind one that has to stay"
        );
    }
}
