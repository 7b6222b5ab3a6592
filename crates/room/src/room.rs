//! One room: where it stands, and what it is made of.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mimi::codec::{Encode as _, Writer};
use mimi::mls::{GroupInfo, Message, ProposalKind};
use mimi::{Provider, RoomUri, UserUri};
use policy::{Change, RoomView, Stage, Violation, judge};

use crate::answers::Answers;
use crate::founding::Beginning;
use crate::group::{Group, Snapshot};
use crate::joining::Grant;
use crate::{Answer, Applied, Chain, Digest, Epoch, Founding, Keys, Millis, Refusal, Row, RowChange, RowId, Seq};

/// Epochs after which a snapshot takes the place of the deltas since the last one.
pub const SNAPSHOT_EPOCHS: u64 = 32;

/// Proposals that may wait in one epoch: a commit has to hold all of them.
pub const PENDING_MAX: usize = 512;

/// KeyPackages that may be handed out for one room and not be used yet.
pub const ROUTES_MAX: usize = 16_384;

/// Clients in a room: twice what a large one has, and few enough that any tree of theirs can be sent.
pub const CLIENTS_MAX: usize = 20_000;

/// How many epochs back a message may be where the room does not say.
pub const EPOCH_TOLERANCE: u64 = 1;

/// Where a room stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of the last entry; 0 in a room without entries.
    pub seq: Seq,
    /// Of the group.
    pub epoch: Epoch,
    /// When the last entry was accepted, or the room was founded.
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

/// Proposals that were accepted together in this epoch and are not committed yet.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) from: Provider,
    pub(crate) accepted: Millis,
    pub(crate) messages: Vec<Message>,
    /// The same as the group keeps them.
    pub(crate) kept: Bytes,
    /// ProposalRefs, of the SelfRemoves apart.
    pub(crate) references: BTreeSet<Bytes>,
    pub(crate) self_removes: BTreeSet<Bytes>,
    pub(crate) change: Change,
}

impl Bundle {
    /// Whether a GroupContextExtensions proposal is in it.
    pub(crate) fn changes_extensions(&self) -> bool {
        let mut proposals = self.messages.iter().filter_map(Message::proposal);
        proposals.any(|proposal| proposal.kind() == ProposalKind::GroupContextExtensions)
    }
}

/// Who holds a KeyPackage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) provider: Provider,
    pub(crate) expires: Millis,
}

/// One room as its hub sees it. Plain data: nothing in it is shared, and it does nothing on its own.
#[derive(Debug)]
pub struct Room {
    pub(crate) id: RoomUri,
    pub(crate) head: Head,
    /// Epoch of the snapshot above which the deltas stand.
    pub(crate) snapshot: Epoch,
    pub(crate) group: Group,
    /// Of this epoch, whole.
    pub(crate) group_info: GroupInfo,
    /// As the group says.
    pub(crate) committed: RoomView,
    /// As it will be when everything pending is committed: what was accepted takes effect at once.
    pub(crate) effective: RoomView,
    pub(crate) pending: Vec<Bundle>,
    pub(crate) blocked: BTreeSet<UserUri>,
    pub(crate) leaving: BTreeSet<UserUri>,
    /// Blocked, because they left the room's parent.
    pub(crate) orphans: BTreeSet<UserUri>,
    pub(crate) over: bool,
    /// Group id of the successor.
    pub(crate) frozen: Option<Bytes>,
    pub(crate) routes: BTreeMap<Bytes, Route>,
    pub(crate) answers: Answers,
    pub(crate) followers: BTreeMap<Provider, Seq>,
    pub(crate) grants: BTreeMap<UserUri, Grant>,
    /// Dictionaries that the snapshot and the deltas need.
    pub(crate) dictionaries: BTreeSet<Digest>,
}

impl Room {
    /// Founds a room from its creator's group. Its KeyPackages' lifetimes are checked against the wall clock (by OpenMLS);
    /// so are those that commits add later. Opening a room never looks at them.
    ///
    /// # Errors
    /// The group is not one that this hub can keep in order: it does not verify, somebody else's clients are in it, or it
    /// lacks the components of a room or breaks their rules, or another than this hub is to frank its messages.
    pub fn found(id: RoomUri, founding: Founding, now: Millis, keys: &dyn Keys) -> Result<(Self, Applied), Refusal> {
        let Beginning {
            group,
            snapshot,
            group_info,
            committed,
        } = Beginning::of(&id, &founding, keys)?;
        let epoch = group.epoch();
        let mut room = Self {
            head: Head {
                seq: Seq(0),
                epoch,
                accepted: now,
                chain: Chain::default(),
            },
            snapshot: epoch,
            group,
            group_info,
            effective: committed.clone(),
            committed,
            pending: Vec::new(),
            blocked: BTreeSet::new(),
            leaving: BTreeSet::new(),
            orphans: BTreeSet::new(),
            over: false,
            frozen: None,
            routes: BTreeMap::new(),
            answers: Answers::default(),
            followers: BTreeMap::new(),
            grants: BTreeMap::new(),
            dictionaries: BTreeSet::new(),
            id,
        };
        let mut rows = BTreeMap::new();
        room.put_snapshot(snapshot, &mut rows);
        let provider = room.id.provider().clone();
        rows.insert(RowId::Follower(provider.clone()), Some(Row::Follower { since: Seq(1) }));
        room.followers.insert(provider, Seq(1));
        rows.insert(RowId::GroupInfo, Some(room.group_info_row()));
        rows.insert(RowId::Head, Some(room.head_row()));
        let applied = Applied {
            entries: Vec::new(),
            rows: changes(rows),
            answer: Answer::Founded,
        };
        Ok((room, applied))
    }

    /// Whether the room's group is as `founding` left it: whoever asks again, having heard no answer, is to get the first
    /// one.
    pub fn is_as_founded(&self, founding: &Founding) -> bool {
        *self.group_info.octets() == founding.group_info
    }

    /// Makes `snapshot` the one to open from.
    pub(crate) fn put_snapshot(&mut self, snapshot: Snapshot, rows: &mut BTreeMap<RowId, Option<Row>>) {
        let Snapshot { state, dictionary } = snapshot;
        for digest in std::mem::take(&mut self.dictionaries) {
            rows.insert(RowId::Dictionary(digest), None);
        }
        let octets = dictionary.octets;
        rows.insert(RowId::Dictionary(dictionary.digest), Some(Row::Dictionary { octets }));
        self.dictionaries.insert(dictionary.digest);
        self.snapshot = self.group.epoch();
        rows.insert(RowId::Snapshot(self.snapshot), Some(Row::Snapshot { state }));
    }

    pub(crate) fn head_row(&self) -> Row {
        let Head {
            seq,
            epoch,
            accepted,
            chain,
        } = self.head;
        Row::Head {
            seq,
            epoch,
            accepted,
            chain,
            snapshot: self.snapshot,
        }
    }

    pub(crate) fn group_info_row(&self) -> Row {
        let context = self.group.context().len();
        Row::GroupInfo {
            group_info: Bytes::copy_from_slice(&self.group_info.octets()[context..]),
        }
    }

    /// What the room is when everything pending is committed.
    pub(crate) fn effective_view(&self) -> Result<RoomView, Violation> {
        self.effective_with(None)
    }

    /// What the room is when everything pending is committed, and this change behind it.
    pub(crate) fn effective_with(&self, change: Option<&Change>) -> Result<RoomView, Violation> {
        let pending = self.pending.iter().map(|bundle| &bundle.change);
        let changes: Vec<Change> = pending.chain(change).cloned().collect();
        judge(&self.committed, &changes, Stage::Proposed)
    }

    /// Everything durable in one canonical encoding, and what is derived from it: equal rooms, equal octets.
    pub fn canonical(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        let text = |writer: &mut Writer, text: &str| writer.opaque(text.as_bytes());
        text(&mut writer, self.id.as_str());
        for number in [
            self.head.seq.0,
            self.head.epoch.0,
            self.head.accepted.0,
            self.snapshot.0,
        ] {
            number.write(&mut writer);
        }
        writer.raw(&self.head.chain.0);
        writer.opaque(&self.group.canonical());
        writer.opaque(self.group_info.octets());
        writer.opaque(&self.committed.canonical());
        writer.opaque(&self.effective.canonical());
        writer.vector(|list| {
            for bundle in &self.pending {
                text(list, bundle.from.as_str());
                bundle.accepted.0.write(list);
                bundle.messages.write(list);
                bundle.kept.write(list);
                for reference in bundle.references.iter().chain(&bundle.self_removes) {
                    reference.write(list);
                }
            }
        });
        self.over.write(&mut writer);
        for users in [&self.blocked, &self.leaving, &self.orphans] {
            writer.vector(|list| users.iter().for_each(|user| text(list, user.as_str())));
        }
        self.frozen.write(&mut writer);
        writer.vector(|list| {
            for (reference, route) in &self.routes {
                reference.write(list);
                text(list, route.provider.as_str());
                route.expires.0.write(list);
            }
        });
        writer.vector(|list| {
            for (request, kept) in self.answers.iter() {
                list.raw(&request.0);
                (kept.kind as u8).write(list);
                kept.accepted.0.write(list);
                kept.body.write(list);
            }
        });
        writer.vector(|list| {
            for (provider, since) in &self.followers {
                text(list, provider.as_str());
                since.0.write(list);
            }
        });
        writer.vector(|list| {
            for (user, grant) in &self.grants {
                text(list, user.as_str());
                list.raw(&grant.code.0);
                grant.key.write(list);
            }
        });
        writer.vector(|list| self.dictionaries.iter().for_each(|digest| list.raw(&digest.0)));
        writer.into_octets()
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

    /// The last accepted GroupInfo, whole, without ratchet_tree.
    pub fn group_info(&self) -> &GroupInfo {
        &self.group_info
    }

    /// The room's participants and clients as committed.
    pub fn view(&self) -> &RoomView {
        &self.committed
    }

    /// The same as they are when everything pending is committed: what was accepted takes effect at once.
    pub fn outlook(&self) -> &RoomView {
        &self.effective
    }

    /// The providers to which the next entry is due.
    pub fn recipients(&self) -> impl Iterator<Item = &Provider> {
        self.followers.keys()
    }
}

/// What a group's components and leaves say.
pub(crate) fn view(group: &Group) -> Result<RoomView, Violation> {
    let clients = group
        .clients()
        .collect::<Option<Vec<_>>>()
        .ok_or(Violation::Invalid("a leaf whose credential names no client"))?;
    RoomView::new(group.dictionary(), clients)
}

pub(crate) fn changes(rows: BTreeMap<RowId, Option<Row>>) -> Vec<RowChange> {
    rows.into_iter().map(|(id, row)| RowChange { id, row }).collect()
}
