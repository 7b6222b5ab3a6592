//! Inboxes: one per room, each entry in it once, read by every client that follows the room.

use bytes::{Bytes, BytesMut};
use mimi::{ClientUri, Provider, RoomUri};
use prost::Message;
use room::{Chain, Digest, Millis, Seq};
use route::ShardId;
use store::{Bounds, Isolation, KeyRange, Transaction};

use super::{FollowerError, keys};
use crate::value::{self, VALUE_BYTES_MAX};
use crate::{LedgerId, Offset};

/// Place of an entry in its room's inbox, from 1, without gaps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboxPosition(pub u64);

impl InboxPosition {
    /// The first place of an inbox.
    pub const FIRST: Self = Self(1);

    /// The place after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where a room's inbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxHead {
    /// The place of the next entry.
    pub next: InboxPosition,
    /// The hub's seq of the last entry that came with one; 0: none did.
    pub seq: Seq,
    /// The chain after that entry.
    pub chain: Chain,
    /// Entries stored since then of which the hub's seq is not known, or does not follow: `seq` is behind by some.
    pub unnumbered: u64,
    /// Up to here the hub's entries are known to be lost, and clients were told; 0: none are.
    pub lost: Seq,
    /// Entries up to this one may have left the inbox, and whether their octets are known is not known any more.
    pub forgotten: Seq,
}

impl Default for InboxHead {
    fn default() -> Self {
        Self {
            next: InboxPosition::FIRST,
            seq: Seq(0),
            chain: Chain::default(),
            unnumbered: 0,
            lost: Seq(0),
            forgotten: Seq(0),
        }
    }
}

/// A Welcome in this inbox is for this client, by this KeyPackage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WelcomeFor {
    /// The client.
    pub client: ClientUri,
    /// KeyPackageRef (RFC 9420 §5.2).
    pub reference: Bytes,
}

/// One entry of an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// The hub's seq; 0 when the transport did not carry it.
    pub seq: Seq,
    /// FanoutMessage; empty: entries are lost here, and whoever reads this has to join the room again.
    pub message: Bytes,
    /// For a Welcome, the clients it is for: only they are shown it. None: everybody is.
    pub welcome: Option<Vec<WelcomeFor>>,
}

impl InboxEntry {
    /// Entries are lost here.
    pub fn is_loss(&self) -> bool {
        self.message.is_empty()
    }
}

/// A client follows a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The room.
    pub room: RoomUri,
    /// The first place that the client has not acknowledged.
    pub next: InboxPosition,
}

#[derive(Clone, PartialEq, Message)]
struct HeadRow {
    #[prost(uint64, tag = "1")]
    next: u64,
    #[prost(uint64, tag = "2")]
    seq: u64,
    #[prost(bytes = "bytes", tag = "3")]
    chain: Bytes,
    #[prost(uint64, tag = "4")]
    unnumbered: u64,
    #[prost(uint64, tag = "5")]
    lost: u64,
    #[prost(uint64, tag = "6")]
    forgotten: u64,
}

impl TryFrom<HeadRow> for InboxHead {
    type Error = FollowerError;

    fn try_from(row: HeadRow) -> Result<Self, FollowerError> {
        let chain = row.chain[..].try_into();
        Ok(Self {
            next: InboxPosition(row.next),
            seq: Seq(row.seq),
            chain: Chain(chain.map_err(|_| FollowerError::Damaged("not a chain"))?),
            unnumbered: row.unnumbered,
            lost: Seq(row.lost),
            forgotten: Seq(row.forgotten),
        })
    }
}

/// A head that a hub signed, as octets that nobody here looks into.
#[derive(Clone, PartialEq, Message)]
struct SignedRow {
    #[prost(bytes = "bytes", tag = "1")]
    head: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryRow {
    #[prost(uint64, tag = "1")]
    pub(super) seq: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) message: Bytes,
    #[prost(bool, tag = "3")]
    is_welcome: bool,
    #[prost(message, repeated, tag = "4")]
    welcome: Vec<WelcomeRow>,
    /// When it was stored; 0: before that was written down.
    #[prost(uint64, tag = "5")]
    pub(super) stored: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WelcomeRow {
    #[prost(string, tag = "1")]
    client: String,
    #[prost(bytes = "bytes", tag = "2")]
    reference: Bytes,
}

/// A place in an inbox, or an offset: one number.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NumberRow {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
}

/// The inbox rows, in one transaction.
#[derive(Debug)]
pub struct Inboxes<'a>(pub &'a mut Transaction);

impl Inboxes<'_> {
    /// Where a room's inbox stands.
    pub async fn head(&self, room: &RoomUri) -> Result<InboxHead, FollowerError> {
        let Some(octets) = self.0.get(&keys::head(room)).await? else {
            return Ok(InboxHead::default());
        };
        value::decode::<HeadRow>(&octets)?.try_into()
    }

    /// The rooms that have inboxes, of `hub` or of all, up to `limit`, those after `after`, and where each inbox stands.
    pub async fn rooms(
        &self,
        hub: Option<&Provider>,
        after: Option<&RoomUri>,
        limit: usize,
    ) -> Result<Vec<(RoomUri, InboxHead)>, FollowerError> {
        let prefix = keys::heads();
        let mut range = hub.map_or_else(keys::heads, keys::heads_of).prefix();
        if let Some(after) = after {
            range.begin = range.begin.max([&keys::head(after)[..], &[0]].concat().into());
        }
        let rows = self.0.snapshot_range(range, limit, false).await?;
        let room = |(key, octets): (Bytes, Bytes)| {
            let room = keys::last_text(&key, prefix.len()).and_then(|text| text.parse().ok());
            let room = room.ok_or(FollowerError::Damaged("not a room"))?;
            Ok((room, value::decode::<HeadRow>(&octets)?.try_into()?))
        };
        rows.into_iter().map(room).collect()
    }

    /// The last head of the room that its hub signed and that was kept.
    pub async fn signed_head(&self, room: &RoomUri) -> Result<Option<Bytes>, FollowerError> {
        let Some(octets) = self.0.get(&keys::signed_head(room)).await? else {
            return Ok(None);
        };
        Ok(Some(value::decode::<SignedRow>(&octets)?.head))
    }

    /// Keeps a signed head in the place of the one before.
    pub fn put_signed_head(&mut self, room: &RoomUri, head: Bytes) {
        let row = SignedRow { head };
        self.0.set(keys::signed_head(room), value::encode(&row));
    }

    /// Moves it.
    pub fn put_head(&mut self, room: &RoomUri, head: &InboxHead) {
        let chain = Bytes::copy_from_slice(&head.chain.0);
        let row = HeadRow {
            next: head.next.0,
            seq: head.seq.0,
            chain,
            unnumbered: head.unnumbered,
            lost: head.lost.0,
            forgotten: head.forgotten.0,
        };
        self.0.set(keys::head(room), value::encode(&row));
    }

    /// Writes an entry, when it was stored, and that its octets are known.
    pub fn put(&mut self, room: &RoomUri, position: InboxPosition, digest: &Digest, at: Millis, entry: &InboxEntry) {
        let welcome = entry.welcome.iter().flatten().map(|to| WelcomeRow {
            client: to.client.as_str().to_owned(),
            reference: to.reference.clone(),
        });
        let row = EntryRow {
            seq: entry.seq.0,
            message: entry.message.clone(),
            is_welcome: entry.welcome.is_some(),
            welcome: welcome.collect(),
            stored: at.0,
        };
        self.put_row(room, position, &row);
        let number = NumberRow { number: position.0 };
        self.0.set(keys::known(room, digest), value::encode(&number));
    }

    /// Writes that entries are lost here.
    pub fn put_loss(&mut self, room: &RoomUri, position: InboxPosition, at: Millis) {
        let row = EntryRow {
            stored: at.0,
            ..EntryRow::default()
        };
        self.put_row(room, position, &row);
    }

    fn put_row(&mut self, room: &RoomUri, position: InboxPosition, row: &EntryRow) {
        let octets = value::encode(row);
        for (part, start) in (0..).zip((0..octets.len()).step_by(VALUE_BYTES_MAX)) {
            let end = octets.len().min(start + VALUE_BYTES_MAX);
            self.0
                .set(keys::entry_part(room, position, part), octets.slice(start..end));
        }
    }

    /// Where an entry with these octets stands, if it was ever written.
    pub async fn known(&self, room: &RoomUri, digest: &Digest) -> Result<Option<InboxPosition>, FollowerError> {
        Ok(self.number(&keys::known(room, digest)).await?.map(InboxPosition))
    }

    /// Entries from `from` on in order, about `octets` of them at most but one at least if there is one. Adds no conflict.
    pub async fn entries(
        &self,
        room: &RoomUri,
        from: InboxPosition,
        octets: usize,
    ) -> Result<Vec<(InboxPosition, InboxEntry)>, FollowerError> {
        let rows = self.entry_rows(room, from, octets).await?.into_iter();
        rows.map(|(position, row)| Ok((position, row.try_into()?))).collect()
    }

    pub(super) async fn entry_rows(
        &self,
        room: &RoomUri,
        from: InboxPosition,
        octets: usize,
    ) -> Result<Vec<(InboxPosition, EntryRow)>, FollowerError> {
        let prefix = keys::inbox(room).len();
        let mut begin = keys::entry(room, from).into_octets();
        let end = keys::inbox(room).prefix().end;
        let mut whole: Vec<(InboxPosition, BytesMut)> = Vec::new();
        let mut read = 0;
        loop {
            let bounds = Bounds {
                rows: 1_024,
                octets: octets.max(VALUE_BYTES_MAX),
                reverse: false,
            };
            let range = KeyRange {
                begin: begin.into(),
                end: end.clone(),
            };
            let page = self.0.read(range, bounds, Isolation::Snapshot).await?;
            let last = page.rows.last().map(|(key, _)| key.clone());
            for (key, part) in page.rows {
                let position = key.get(prefix..prefix + 8).and_then(|octets| octets.try_into().ok());
                let position = position.map(u64::from_be_bytes).map(InboxPosition);
                let position = position.ok_or(FollowerError::Damaged("not a place in an inbox"))?;
                read += part.len();
                match whole.last_mut() {
                    Some((at, octets)) if *at == position => octets.extend_from_slice(&part),
                    _ => whole.push((position, BytesMut::from(&part[..]))),
                }
            }
            match last {
                // The last entry may go on behind the page; the one before is whole, so with two there is progress.
                Some(last) if page.more && (read < octets || whole.len() < 2) => begin = [&last[..], &[0]].concat(),
                Some(_) if page.more => {
                    whole.pop();
                    break;
                }
                _ => break,
            }
        }
        let decoded = whole
            .into_iter()
            .map(|(position, octets)| Ok((position, value::decode(&octets.freeze())?)));
        decoded.collect()
    }

    /// Whether, and from where, a client follows a room.
    pub async fn subscription(
        &self,
        client: &ClientUri,
        room: &RoomUri,
    ) -> Result<Option<InboxPosition>, FollowerError> {
        Ok(self.number(&keys::subscription(client, room)).await?.map(InboxPosition))
    }

    /// What a client follows, up to `limit` rooms, those after `after`.
    pub async fn subscriptions(
        &self,
        client: &ClientUri,
        after: Option<&RoomUri>,
        limit: usize,
    ) -> Result<Vec<Subscription>, FollowerError> {
        let prefix = keys::subscriptions(client);
        let mut range = prefix.prefix();
        if let Some(after) = after {
            range.begin = [&keys::subscription(client, after)[..], &[0]].concat().into();
        }
        let rows = self.0.snapshot_range(range, limit, false).await?;
        let subscription = |(key, octets): (Bytes, Bytes)| {
            let row: NumberRow = value::decode(&octets)?;
            let room = keys::last_text(&key, prefix.len()).and_then(|text| text.parse().ok());
            let room = room.ok_or(FollowerError::Damaged("not a room"))?;
            Ok(Subscription {
                room,
                next: InboxPosition(row.number),
            })
        };
        rows.into_iter().map(subscription).collect()
    }

    /// The client follows the room and has acknowledged everything before `next`.
    pub fn put_subscription(&mut self, client: &ClientUri, room: &RoomUri, next: InboxPosition) {
        let row = value::encode(&NumberRow { number: next.0 });
        self.0.set(keys::subscription(client, room), row.clone());
        self.0.set(keys::follower(room, client.as_str()), row);
    }

    /// The client does not follow the room any more.
    pub fn clear_subscription(&mut self, client: &ClientUri, room: &RoomUri) {
        self.0.clear(keys::subscription(client, room));
        self.0.clear(keys::follower(room, client.as_str()));
    }

    /// Up to where a hub's shard is stored: every offset below is.
    pub async fn position(
        &self,
        hub: &Provider,
        ledger: &LedgerId,
        shard: ShardId,
    ) -> Result<Option<Offset>, FollowerError> {
        Ok(self.number(&keys::position(hub, ledger, shard)).await?.map(Offset))
    }

    /// Moves it.
    pub fn put_position(&mut self, hub: &Provider, ledger: &LedgerId, shard: ShardId, next: Offset) {
        let row = NumberRow { number: next.0 };
        self.0.set(keys::position(hub, ledger, shard), value::encode(&row));
    }

    async fn number(&self, key: &[u8]) -> Result<Option<u64>, FollowerError> {
        let Some(octets) = self.0.get(key).await? else {
            return Ok(None);
        };
        Ok(Some(value::decode::<NumberRow>(&octets)?.number))
    }
}

impl TryFrom<EntryRow> for InboxEntry {
    type Error = FollowerError;

    fn try_from(row: EntryRow) -> Result<Self, FollowerError> {
        let welcome = |to: WelcomeRow| {
            let client = to.client.parse().map_err(|_| FollowerError::Damaged("not a client"))?;
            Ok(WelcomeFor {
                client,
                reference: to.reference,
            })
        };
        let for_clients: Result<Vec<_>, FollowerError> = row.welcome.into_iter().map(welcome).collect();
        let for_clients = for_clients?;
        Ok(Self {
            seq: Seq(row.seq),
            message: row.message,
            welcome: row.is_welcome.then_some(for_clients),
        })
    }
}
