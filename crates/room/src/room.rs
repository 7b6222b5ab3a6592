//! One room: what it is asked, in what order it stands, and what of it is durable.

use mimi::{Provider, RoomUri};

use crate::{Append, Applied, Chain, Command, Decision, Epoch, Founding, Millis, Refusal, Row, RowId, Seq};

/// Where a room stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of the last entry; 0 in a room without entries.
    pub seq: Seq,
    /// Of the group.
    pub epoch: Epoch,
    /// When the last entry was accepted.
    pub accepted: Millis,
    /// After the last entry.
    pub chain: Chain,
}

/// The rows of a room do not make a room: one is missing, unreadable or contradicts another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rows of {room} are corrupt: {why}")]
pub struct Corrupt {
    /// The room.
    pub room: RoomUri,
    /// What is wrong.
    pub why: &'static str,
}

/// One room as its hub sees it. Plain data: nothing in it is shared, and it does nothing on its own.
#[derive(Debug)]
pub struct Room {
    id: RoomUri,
    head: Head,
}

impl Room {
    /// Founds a room from its creator's group.
    ///
    /// # Errors
    /// The group is not one that this hub can keep in order.
    pub fn found(_id: RoomUri, _founding: Founding, _now: Millis) -> Result<(Self, Applied), Refusal> {
        unimplemented!()
    }

    /// Opens a room from all its rows.
    ///
    /// # Errors
    /// The rows do not make a room.
    pub fn open(_id: RoomUri, _rows: impl IntoIterator<Item = (RowId, Row)>) -> Result<Self, Corrupt> {
        unimplemented!()
    }

    /// What becomes of `command` at `now`. Changes nothing.
    ///
    /// # Errors
    /// The refusal to answer.
    pub fn decide(&self, _command: &Command, _now: Millis) -> Result<Decision, Refusal> {
        unimplemented!()
    }

    /// Carries out what [`Self::decide`] last decided.
    pub fn apply(&mut self, _append: Append) -> Applied {
        unimplemented!()
    }

    /// Everything durable in one canonical encoding: equal rooms, equal octets.
    pub fn canonical(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// The room.
    pub fn id(&self) -> &RoomUri {
        &self.id
    }

    /// Where it stands.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The MLS epoch.
    pub fn epoch(&self) -> Epoch {
        self.head.epoch
    }

    /// Position of the last entry.
    pub fn seq(&self) -> Seq {
        self.head.seq
    }

    /// The providers to which the next entry is due.
    pub fn recipients(&self) -> impl Iterator<Item = &Provider> {
        std::iter::empty()
    }
}
