//! What rooms have to do with each other, wherever their shards are: which room has a set of participants to itself, which
//! rooms depend on which, and who has to look at its parent.
//!
//! A room's own changes of these rows ride in its shard's fenced batch. [`Rooms::claim`](crate::Rooms::claim) is fenced by
//! itself. [`Ledger::pass_on`] and [`Ledger::done`] need no fence: they repeat a mark that says "look", or take it away
//! unless it changed meanwhile.

use bytes::Bytes;
use mimi::{RoomUri, UserUri};
use prost::Message;
use room::{Digest, Seq};
use sha2::{Digest as _, Sha256};
use shard::Tenure;

use crate::batch::Op;
use crate::log::AppendError;
use crate::read::{ReadError, corrupt};
use crate::records;
use crate::value::{self, BadValue};
use crate::{Ledger, keys};

/// Rows read, or written, in one transaction.
const PAGE: usize = 500;

/// A set of participants, by the hash of their URIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Membership(pub(crate) Digest);

impl Membership {
    /// The set of these users, who come sorted and each once.
    pub fn of<'a>(users: impl IntoIterator<Item = &'a UserUri>) -> Self {
        let mut hash = Sha256::new();
        for user in users {
            hash.update(user.as_str().as_bytes());
            hash.update([0]);
        }
        Self(Digest(hash.finalize().into()))
    }
}

/// A change between a room and others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tie {
    /// The room has a fixed membership to itself, which it claimed before ([`Rooms::claim`](crate::Rooms::claim)).
    Holds(Membership),
    /// It does so no more.
    Frees(Membership),
    /// It depends on this room.
    Depends(RoomUri),
    /// It does so no more.
    Parts(RoomUri),
    /// The room itself, or those that depend on it, have to look at their parents.
    Due {
        /// The room's last entry: a later change is another one.
        seq: Seq,
        /// On which it depends.
        parent: Option<RoomUri>,
    },
}

impl Tie {
    pub(crate) fn op(self, room: &RoomUri) -> Op {
        match self {
            Self::Holds(membership) => {
                let claim = Claim {
                    room: room.clone(),
                    opened: None,
                };
                Op::set(keys::membership(&membership), claim.encode())
            }
            Self::Frees(membership) => Op::Clear(keys::membership(&membership).into()),
            Self::Depends(parent) => Op::set(keys::child(&parent, room), value::encode(&ChildRow {})),
            Self::Parts(parent) => Op::Clear(keys::child(&parent, room).into()),
            Self::Due { seq, parent } => {
                let due = Due {
                    parent,
                    because: room.clone(),
                    seq,
                };
                Op::set(keys::due(room), due.encode())
            }
        }
    }
}

/// A mark at a room: it, and whoever depends on it, have to look at their parents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// On which the room depends, as far as whoever wrote this knows.
    pub parent: Option<RoomUri>,
    /// The room whose change this is because of.
    pub because: RoomUri,
    /// The last entry of that change.
    pub seq: Seq,
}

#[derive(Clone, PartialEq, Message)]
struct DueRow {
    /// Empty for none.
    #[prost(string, tag = "1")]
    parent: String,
    #[prost(string, tag = "2")]
    because: String,
    #[prost(uint64, tag = "3")]
    seq: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ChildRow {}

#[derive(Clone, PartialEq, Message)]
struct ClaimRow {
    #[prost(string, tag = "1")]
    room: String,
    /// 0 once the room has it.
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    opening: u64,
}

fn room_of(text: &str) -> Result<RoomUri, BadValue> {
    text.parse().map_err(|_| BadValue("not a room"))
}

impl Due {
    pub(crate) fn encode(&self) -> Bytes {
        value::encode(&DueRow {
            parent: self
                .parent
                .as_ref()
                .map(|parent| parent.as_str().to_owned())
                .unwrap_or_default(),
            because: self.because.as_str().to_owned(),
            seq: self.seq.0,
        })
    }

    pub(crate) fn decode(octets: &Bytes) -> Result<Self, BadValue> {
        let DueRow { parent, because, seq } = value::decode(octets)?;
        Ok(Self {
            parent: (!parent.is_empty()).then(|| room_of(&parent)).transpose()?,
            because: room_of(&because)?,
            seq: Seq(seq),
        })
    }
}

/// Who has a membership, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) room: RoomUri,
    /// Term and opening of the log in which the room is about to have it; `None` once it has.
    pub(crate) opened: Option<(u64, u64)>,
}

impl Claim {
    pub(crate) fn encode(&self) -> Bytes {
        let (term, opening) = self.opened.unwrap_or_default();
        value::encode(&ClaimRow {
            room: self.room.as_str().to_owned(),
            term,
            opening,
        })
    }

    pub(crate) fn decode(octets: &Bytes) -> Result<Self, BadValue> {
        let ClaimRow { room, term, opening } = value::decode(octets)?;
        Ok(Self {
            room: room_of(&room)?,
            opened: (term > 0).then_some((term, opening)),
        })
    }
}

impl Ledger {
    /// Claims a membership for a room, unless another has it or is about to. A claim of an opening of the log that is over
    /// is void: had its change become durable, it would say so.
    pub(crate) async fn try_claim(
        &self,
        tenure: &Tenure,
        claim: &Claim,
        membership: &Membership,
    ) -> Result<bool, AppendError> {
        let mut transaction = self.database().begin();
        tenure.fence(&transaction).await?;
        let key = keys::membership(membership);
        if let Some(row) = transaction.get(&key).await? {
            let former = Claim::decode(&row).map_err(corrupt(&key))?;
            if former.room != claim.room {
                let Some(opened) = former.opened else { return Ok(false) };
                let tail_key = keys::tail(self.shards().of(former.room.as_str()));
                let tail = transaction.get(&tail_key).await?;
                let tail = tail.map(|row| records::decode_tail(&row)).transpose();
                let tail = tail.map_err(corrupt(&tail_key))?.unwrap_or_default();
                if (tail.term, tail.opening) == opened {
                    return Ok(false);
                }
            } else if former.opened.is_none() {
                return Ok(true);
            }
        }
        transaction.set(key, claim.encode());
        transaction.commit().await?;
        Ok(true)
    }

    /// Rooms that are marked, in the order of their URIs, `after` one; at most a few hundred.
    ///
    /// # Errors
    /// The store's, or a row is not one of ours.
    pub async fn due(&self, after: Option<&RoomUri>) -> Result<Vec<(RoomUri, Due)>, ReadError> {
        let mut range = keys::all_due();
        if let Some(after) = after {
            range.begin = behind(&keys::due(after));
        }
        let read = |(key, row): (Bytes, Bytes)| -> Result<_, ReadError> {
            let room = keys::last_room(&key, 1).ok_or(BadValue("no room in the key"));
            let due = room.and_then(|room| Ok((room, Due::decode(&row)?)));
            Ok(due.map_err(corrupt(&key))?)
        };
        let found = self.database().run(|transaction| {
            let range = range.clone();
            async move {
                let rows = transaction.snapshot_range(range, PAGE, false).await?;
                let found = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
                Ok::<_, ReadError>((transaction, found))
            }
        });
        found.await
    }

    /// Marks every room that depends on `room`, because it is marked. Returns whether there are any.
    ///
    /// # Errors
    /// The store's, or a row is not one of ours.
    pub async fn pass_on(&self, room: &RoomUri, due: &Due) -> Result<bool, ReadError> {
        let mut range = keys::children(room);
        let prefix = range.begin.len();
        let due = Due {
            parent: Some(room.clone()),
            ..due.clone()
        };
        let mark = due.encode();
        let mut any = false;
        loop {
            let page = self.database().run(|mut transaction| {
                let (range, mark) = (range.clone(), mark.clone());
                async move {
                    let rows = transaction.range(range, PAGE, false).await?;
                    let (found, last) = (!rows.is_empty(), rows.get(PAGE - 1).map(|(key, _)| key.clone()));
                    for (key, _) in rows {
                        let child = keys::last_room(&key, prefix).ok_or(BadValue("no room in the key"));
                        transaction.set(keys::due(&child.map_err(corrupt(&key))?), mark.clone());
                    }
                    Ok::<_, ReadError>((transaction, (found, last)))
                }
            });
            let (found, last) = page.await?;
            any |= found;
            let Some(last) = last else { return Ok(any) };
            range.begin = behind(&last);
        }
    }

    /// Takes a mark away, unless there is another by now.
    ///
    /// # Errors
    /// The store's.
    pub async fn done(&self, room: &RoomUri, due: &Due) -> Result<(), store::Error> {
        let (key, mark) = (keys::due(room), due.encode());
        let cleared = self.database().run(|mut transaction| {
            let (key, mark) = (key.clone(), mark.clone());
            async move {
                if transaction.get(&key).await? == Some(mark) {
                    transaction.clear(key);
                }
                Ok::<_, store::Error>((transaction, ()))
            }
        });
        cleared.await
    }
}

/// The first key behind another.
fn behind(key: &[u8]) -> Bytes {
    [key, b"\0"].concat().into()
}
