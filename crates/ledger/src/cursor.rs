//! Cursors and index blocks: how far each follower is, and where its entries lie once they left the memory tail.

use std::collections::BTreeSet;

use mimi::Provider;

use crate::Offset;

/// A provider's number in one shard's log, from 0 in the order of first appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FollowerId(pub u32);

impl FollowerId {
    /// Followers whose cursors share a row.
    pub const PER_CHUNK: u32 = 512;

    pub(crate) fn chunk(self) -> u32 {
        self.0 / Self::PER_CHUNK
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 % Self::PER_CHUNK
    }
}

/// How far a follower is in one shard's log: everything due to it below `next` is acknowledged or set aside, and so are
/// the offsets in `above`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The low watermark.
    pub next: Offset,
    /// Offsets from `next` on that are done; at most [`Cursor::ABOVE_MAX`].
    above: BTreeSet<Offset>,
    /// Entries below the watermark went before the follower had them, and it was not told yet.
    pub expired: bool,
}

/// A cursor holds as many offsets above its watermark as it may: deliver what is below first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} offsets are done above the watermark already", Cursor::ABOVE_MAX)]
pub struct Full;

impl Cursor {
    /// The most offsets done above the watermark.
    pub const ABOVE_MAX: usize = 64;

    /// A cursor to which everything from `next` on is still due.
    pub fn at(next: Offset) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    /// Whether `offset` needs no delivery.
    pub fn is_done(&self, offset: Offset) -> bool {
        offset < self.next || self.above.contains(&offset)
    }

    /// Moves the watermark up to `next`; never down.
    pub fn advance(&mut self, next: Offset) {
        self.next = self.next.max(next);
        self.above = self.above.split_off(&self.next);
    }

    /// Counts one offset as done, out of order.
    pub fn set_aside(&mut self, offset: Offset) -> Result<(), Full> {
        if self.is_done(offset) {
            return Ok(());
        }
        if self.above.len() >= Self::ABOVE_MAX {
            return Err(Full);
        }
        self.above.insert(offset);
        Ok(())
    }

    /// The offsets done above the watermark, ascending.
    pub fn above(&self) -> impl Iterator<Item = Offset> + '_ {
        self.above.iter().copied()
    }
}

/// A follower's cursor from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorChange {
    /// Whose.
    pub follower: Provider,
    /// The whole cursor.
    pub cursor: Cursor,
}

/// Offsets due to one follower, about to leave the memory tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexBlock {
    follower: Provider,
    offsets: Vec<Offset>,
}

/// Offsets that make no index block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an index block holds 1 to {} offsets, strictly increasing", IndexBlock::OFFSETS_MAX)]
pub struct BadBlock;

impl IndexBlock {
    /// The most offsets in one block.
    pub const OFFSETS_MAX: usize = 512;

    /// A block of 1 to [`Self::OFFSETS_MAX`] strictly increasing offsets.
    pub fn new(follower: Provider, offsets: Vec<Offset>) -> Result<Self, BadBlock> {
        let increasing = offsets.is_sorted_by(|a, b| a < b);
        if offsets.is_empty() || offsets.len() > Self::OFFSETS_MAX || !increasing {
            return Err(BadBlock);
        }
        Ok(Self { follower, offsets })
    }

    /// To whom they are due.
    pub fn follower(&self) -> &Provider {
        &self.follower
    }

    /// The offsets, ascending.
    pub fn offsets(&self) -> &[Offset] {
        &self.offsets
    }

    pub(crate) fn last(&self) -> Offset {
        *self.offsets.last().expect("a block is never empty")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_watermark_swallows_what_was_done_below_it() {
        let mut cursor = Cursor::at(Offset(3));
        cursor.set_aside(Offset(5)).unwrap();
        cursor.set_aside(Offset(9)).unwrap();
        assert!(cursor.is_done(Offset(2)) && cursor.is_done(Offset(5)) && !cursor.is_done(Offset(4)));
        cursor.advance(Offset(6));
        assert_eq!(cursor.above().collect::<Vec<_>>(), [Offset(9)]);
        cursor.advance(Offset(1));
        assert_eq!(cursor.next, Offset(6));
    }

    #[test]
    fn a_full_cursor_takes_no_more_offsets_but_what_it_has() {
        let mut cursor = Cursor::at(Offset(0));
        for n in 0..Cursor::ABOVE_MAX as u64 {
            cursor.set_aside(Offset(10 + n)).unwrap();
        }
        assert_eq!(cursor.set_aside(Offset(1_000)), Err(Full));
        assert_eq!(cursor.set_aside(Offset(10)), Ok(()));
    }

    #[test]
    fn a_block_is_bounded_and_sorted() {
        let block = |offsets: &[u64]| {
            IndexBlock::new(
                "a.example".parse().unwrap(),
                offsets.iter().copied().map(Offset).collect(),
            )
        };
        assert!(block(&[1, 2, 9]).is_ok());
        assert!(block(&[]).is_err());
        assert!(block(&[2, 2]).is_err());
        assert!(block(&[3, 2]).is_err());
        assert!(block(&(0..513).collect::<Vec<_>>()).is_err());
    }
}
