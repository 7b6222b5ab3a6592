//! Opening a room from its rows. Nothing is verified again: what the rows say was verified when it was accepted, and the
//! clocks of leaves have moved on since.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mimi::mls::{GroupInfo, Message};
use mimi::{Decode as _, Provider, RoomUri};

use crate::answers::{Answers, Kept};
use crate::decide::proposals::bundle;
use crate::group::Group;
use crate::group::codec::decode_queued;
use crate::joining::Grant;
use crate::room::{Route, view};
use crate::{Corrupt, Digest, Epoch, Head, Millis, Room, Row, RowId};

struct PendingRow {
    from: Provider,
    accepted: Millis,
    proposals: Vec<Bytes>,
    queued: Bytes,
}

/// Rows by what they are.
#[derive(Default)]
struct Rows {
    head: Option<(Head, Epoch)>,
    snapshots: BTreeMap<Epoch, Bytes>,
    deltas: BTreeMap<Epoch, Bytes>,
    dictionaries: BTreeMap<Digest, Bytes>,
    pending: BTreeMap<u32, PendingRow>,
    blocked: BTreeSet<mimi::UserUri>,
    leaving: BTreeSet<mimi::UserUri>,
    orphans: BTreeSet<mimi::UserUri>,
    over: bool,
    frozen: Option<Bytes>,
    group_info: Option<Bytes>,
    routes: BTreeMap<Bytes, Route>,
    answers: Answers,
    followers: BTreeMap<Provider, crate::Seq>,
    grants: BTreeMap<mimi::UserUri, Grant>,
}

impl Rows {
    fn sort(rows: impl IntoIterator<Item = (RowId, Row)>) -> Result<Self, &'static str> {
        let mut sorted = Self::default();
        for (id, row) in rows {
            match (id, row) {
                (
                    RowId::Head,
                    Row::Head {
                        seq,
                        epoch,
                        accepted,
                        chain,
                        snapshot,
                    },
                ) => {
                    let head = Head {
                        seq,
                        epoch,
                        accepted,
                        chain,
                    };
                    sorted.head = Some((head, snapshot));
                }
                (RowId::Snapshot(epoch), Row::Snapshot { state }) => drop(sorted.snapshots.insert(epoch, state)),
                (RowId::Delta(epoch), Row::Delta { staged, .. }) => drop(sorted.deltas.insert(epoch, staged)),
                (RowId::Dictionary(digest), Row::Dictionary { octets }) => {
                    sorted.dictionaries.insert(digest, octets);
                }
                (
                    RowId::Pending(number),
                    Row::Pending {
                        from,
                        accepted,
                        proposals,
                        queued,
                    },
                ) => {
                    let row = PendingRow {
                        from,
                        accepted,
                        proposals,
                        queued,
                    };
                    sorted.pending.insert(number, row);
                }
                (RowId::Blocked(user), Row::Blocked) => drop(sorted.blocked.insert(user)),
                (RowId::Leaving(user), Row::Leaving) => drop(sorted.leaving.insert(user)),
                (RowId::Orphan(user), Row::Orphan) => drop(sorted.orphans.insert(user)),
                (RowId::Over, Row::Over) => sorted.over = true,
                (RowId::Frozen, Row::Frozen { successor }) => sorted.frozen = Some(successor),
                (RowId::GroupInfo, Row::GroupInfo { group_info }) => sorted.group_info = Some(group_info),
                (RowId::Route(reference), Row::Route { provider, expires }) => {
                    sorted.routes.insert(reference, Route { provider, expires });
                }
                (RowId::Answer(request), Row::Answer { kind, accepted, answer }) => {
                    let kept = Kept {
                        kind,
                        accepted,
                        body: answer,
                    };
                    sorted.answers.restore(request, kept);
                }
                (RowId::Follower(provider), Row::Follower { since }) => {
                    sorted.followers.insert(provider, since);
                }
                (RowId::Grant(user), Row::Grant { code, key }) => {
                    sorted.grants.insert(user, Grant { code, key });
                }
                _ => return Err("a row whose value is of another kind"),
            }
        }
        Ok(sorted)
    }

    /// The group at the head, from its snapshot and the deltas above it.
    fn group(&self, head: &Head, snapshot: Epoch) -> Result<Group, &'static str> {
        let dictionary = |digest: &Digest| self.dictionaries.get(digest).cloned();
        let state = self.snapshots.get(&snapshot).ok_or("no snapshot")?;
        if self.snapshots.len() > 1 {
            return Err("more than one snapshot");
        }
        let (mut group, digest) = Group::load(state, &dictionary).map_err(|_| "an unreadable snapshot")?;
        let mut needed = BTreeSet::from([digest]);
        if group.epoch() != snapshot {
            return Err("a snapshot of another epoch");
        }
        for (epoch, delta) in &self.deltas {
            if epoch.0 != group.epoch().0 + 1 {
                return Err("a delta is missing");
            }
            let digest = group.replay(delta, &dictionary).map_err(|_| "an unreadable delta")?;
            if group.epoch() != *epoch {
                return Err("a delta of another epoch");
            }
            needed.insert(digest);
        }
        if group.epoch() != head.epoch {
            return Err("a delta is missing");
        }
        if !needed.iter().eq(self.dictionaries.keys()) {
            return Err("a dictionary that nothing needs");
        }
        Ok(group)
    }
}

impl Room {
    /// Opens a room from all its rows, in any order. The room equals the one that wrote them.
    ///
    /// # Errors
    /// The rows do not make a room.
    pub fn open(id: RoomUri, rows: impl IntoIterator<Item = (RowId, Row)>) -> Result<Self, Corrupt> {
        Rows::sort(rows)
            .and_then(|rows| Self::assemble(id.clone(), rows))
            .map_err(|why| Corrupt { room: id, why })
    }

    fn assemble(id: RoomUri, mut rows: Rows) -> Result<Self, &'static str> {
        let (head, snapshot) = rows.head.ok_or("no head")?;
        let group = rows.group(&head, snapshot)?;
        let group_info = rows.group_info.as_ref().ok_or("no GroupInfo")?;
        let group_info = [&group.context(), &**group_info].concat();
        let group_info = GroupInfo::decode_shared(&group_info.into()).map_err(|_| "an unreadable GroupInfo")?;
        if !group.is_described_by(&group_info) {
            return Err("a GroupInfo of another epoch");
        }
        let committed = view(&group).map_err(|_| "a group that is not a room's")?;
        if !committed.providers().into_iter().eq(rows.followers.keys()) {
            return Err("followers that are not those of the group");
        }
        let mut room = Self {
            id,
            head,
            snapshot,
            group,
            group_info,
            effective: committed.clone(),
            committed,
            pending: Vec::new(),
            blocked: rows.blocked,
            leaving: rows.leaving,
            orphans: rows.orphans,
            over: rows.over,
            frozen: rows.frozen,
            routes: rows.routes,
            answers: rows.answers,
            followers: rows.followers,
            grants: rows.grants,
            dictionaries: rows.dictionaries.keys().copied().collect(),
        };
        for (expected, (number, row)) in (0..).zip(std::mem::take(&mut rows.pending)) {
            if number != expected {
                return Err("a bundle of proposals is missing");
            }
            room.restore_pending(row)?;
        }
        room.effective = room
            .effective_view()
            .map_err(|_| "pending proposals against the rules")?;
        Ok(room)
    }

    fn restore_pending(&mut self, row: PendingRow) -> Result<(), &'static str> {
        let queued = decode_queued(&row.queued).map_err(|_| "unreadable proposals")?;
        let messages = row
            .proposals
            .iter()
            .map(Message::decode_shared)
            .collect::<Result<Vec<_>, _>>();
        let messages = messages.map_err(|_| "unreadable proposals")?;
        let change = self
            .proposer(&messages)
            .and_then(|proposer| self.change_of(&proposer, &queued))
            .map_err(|_| "proposals of nobody")?;
        self.pending
            .push(bundle(row.from, row.accepted, messages, &queued, row.queued, change));
        self.group.keep(queued);
        Ok(())
    }
}
