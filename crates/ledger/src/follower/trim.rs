//! Trimming an inbox: what every client of the room has acknowledged goes after a while, and what nobody is waited for any
//! more. Whoever had not acknowledged it sees that the inbox begins behind its place.

use bytes::Bytes;
use mimi::RoomUri;
use room::{Digest, Millis, Seq};
use store::{Bounds, Isolation};

use super::inbox::{EntryRow, NumberRow};
use super::{FollowerError, InboxPosition, Inboxes, keys};
use crate::value;

/// Octets of entries read at once, about.
const PAGE_BYTES: usize = 256 << 10;

/// Rows of clients read at once.
const PAGE_ROWS: usize = 1_000;

/// What may go of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxCut {
    /// What was stored before that time goes, if every client that follows the room has acknowledged it.
    pub acknowledged: Millis,
    /// What was stored before that time goes.
    pub regardless: Millis,
}

/// What went of an inbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboxTrimmed {
    /// Entries.
    pub entries: u64,
    /// Of these, how many some client had not acknowledged.
    pub unread: u64,
    /// Whether there may be more at once.
    pub more: bool,
}

impl Inboxes<'_> {
    /// Takes away the oldest entries that `cut` allows, as many as are read at once, and that their octets are known. The
    /// first that has to stay keeps all behind it. Clients that follow the room from now on need none of what goes, so
    /// that several may trim, and others store and acknowledge, at the same time.
    ///
    /// An entry of which it is not known when it was stored is as old as the next one of which it is.
    pub async fn trim(&mut self, room: &RoomUri, cut: InboxCut) -> Result<InboxTrimmed, FollowerError> {
        let rows = self.entry_rows(room, InboxPosition::FIRST, PAGE_BYTES).await?;
        let older = |than: Millis| {
            let young = rows.iter().position(|(_, row)| row.stored >= than.0 && row.stored > 0);
            let old = &rows[..young.unwrap_or(rows.len())];
            old.iter()
                .rposition(|(_, row)| row.stored > 0)
                .map_or(0, |last| last + 1)
        };
        let (acknowledged, regardless) = (older(cut.acknowledged), older(cut.regardless));
        if acknowledged.max(regardless) == 0 {
            return Ok(InboxTrimmed::default());
        }
        let mut head = self.head(room).await?;
        let needed = self.needed(room).await?.unwrap_or(head.next);
        let read = rows[..acknowledged]
            .iter()
            .take_while(|(place, _)| *place < needed)
            .count();
        let going = &rows[..read.max(regardless)];
        let Some((last, _)) = going.last() else {
            return Ok(InboxTrimmed::default());
        };
        let mut range = keys::inbox(room).prefix();
        range.end = keys::entry(room, last.next()).into_octets().into();
        self.0.clear_range(range);
        for (_, row) in going {
            self.forget(room, row);
            head.forgotten = head.forgotten.max(Seq(row.seq));
        }
        self.put_head(room, &head);
        Ok(InboxTrimmed {
            entries: going.len() as u64,
            unread: going.iter().filter(|(place, _)| *place >= needed).count() as u64,
            more: going.len() == rows.len(),
        })
    }

    fn forget(&mut self, room: &RoomUri, row: &EntryRow) {
        if !row.message.is_empty() {
            self.0.clear(keys::known(room, &Digest::of(&row.message)));
        }
    }

    /// The first place that some client has not acknowledged; `None`: nobody follows the room.
    async fn needed(&self, room: &RoomUri) -> Result<Option<InboxPosition>, FollowerError> {
        let mut range = keys::followers(room).prefix();
        let mut first: Option<u64> = None;
        loop {
            // Whoever follows the room from now on begins behind what is there.
            let rows = self.0.snapshot_range(range.clone(), PAGE_ROWS, false).await?;
            for (_, octets) in &rows {
                let NumberRow { number } = value::decode(octets)?;
                first = Some(first.map_or(number, |first| first.min(number)));
            }
            match rows.last() {
                Some((last, _)) if rows.len() == PAGE_ROWS => range.begin = [&last[..], &[0]].concat().into(),
                _ => return Ok(first.map(InboxPosition)),
            }
        }
    }

    /// Whether every subscription has its row by room: nothing may be trimmed before.
    pub async fn is_indexed(&self) -> Result<bool, FollowerError> {
        Ok(self.0.snapshot_get(&keys::is_indexed()).await?.is_some())
    }

    /// Writes the rows by room of some subscriptions of an earlier release, those behind `after`. Returns behind which to go
    /// on; `None`: every subscription has one from now on.
    pub async fn index(&mut self, after: Option<&Bytes>) -> Result<Option<Bytes>, FollowerError> {
        let mut range = keys::all_subscriptions().prefix();
        if let Some(after) = after {
            range.begin = [&after[..], &[0]].concat().into();
        }
        let bounds = Bounds {
            rows: PAGE_ROWS,
            octets: PAGE_BYTES,
            reverse: false,
        };
        // What is acknowledged meanwhile makes this be done again.
        let page = self.0.read(range, bounds, Isolation::Serializable).await?;
        for (key, row) in &page.rows {
            let (client, room) = keys::subscribed(key).ok_or(FollowerError::Damaged("not a subscription"))?;
            let room: RoomUri = room.parse().map_err(|_| FollowerError::Damaged("not a room"))?;
            self.0.set(keys::follower(&room, client), row.clone());
        }
        match page.rows.last() {
            Some((last, _)) if page.more => Ok(Some(last.clone())),
            _ => {
                self.0.set(keys::is_indexed(), Bytes::from_static(&[1]));
                Ok(None)
            }
        }
    }
}
