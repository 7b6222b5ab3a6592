//! How a room's group begins: with the room, or in the place of a group that a ReInit ended (mimi-protocol §7.2).
//!
//! RFC 9420 §11.2 ties a successor to the group before by a resumption PSK in the Welcome. No hub can see whether it is
//! there; members verify it. The hub sees to it that the successor is the one that the ReInit named, with the same
//! participants, and that nobody is in it who was not before.

use std::collections::{BTreeMap, BTreeSet};

use mimi::metadata::RoomMetaData;
use mimi::mls::{GroupInfo, extension_type};
use mimi::update::RatchetTreeOption;
use mimi::{ClientUri, ComponentId, Decode as _, Provider, RoomUri};
use policy::RoomView;

use crate::franking::check_agent;
use crate::group::{Group, Snapshot};
use crate::room::{changes, view};
use crate::{Answer, Applied, Founding, Keys, Refusal, Room, RowId};

/// A group that may be a room's.
pub(crate) struct Beginning {
    pub(crate) group: Group,
    pub(crate) snapshot: Snapshot,
    pub(crate) group_info: GroupInfo,
    pub(crate) committed: RoomView,
}

impl Beginning {
    pub(crate) fn of(id: &RoomUri, founding: &Founding, keys: &dyn Keys) -> Result<Self, Refusal> {
        if founding.from != *id.provider() {
            return Err(Refusal::Forbidden("a room is founded at its own provider"));
        }
        let group_info =
            GroupInfo::decode_shared(&founding.group_info).map_err(|error| Refusal::Malformed(error.reason()))?;
        let tree = RatchetTreeOption::decode_shared(&founding.ratchet_tree)
            .map_err(|error| Refusal::Malformed(error.reason()))?;
        let RatchetTreeOption::Full(tree) = tree else {
            return Err(Refusal::Malformed("a room is founded with its full ratchet tree"));
        };
        let extensions = group_info.view().extensions;
        if extensions.iter().any(|(kind, _)| kind == extension_type::RATCHET_TREE) {
            return Err(Refusal::NotAllowed("a GroupInfo with a ratchet tree"));
        }
        let (group, snapshot) = Group::found(&group_info, &tree)?;
        let committed = view(&group).map_err(|violation| Refusal::NotAllowed(violation.why()))?;
        committed
            .check()
            .map_err(|violation| Refusal::NotAllowed(violation.why()))?;
        for leaf in group.leaves() {
            committed
                .check_credential(leaf?.credential_type)
                .map_err(|violation| Refusal::NotAllowed(violation.why()))?;
        }
        if committed.active_users().any(|user| user.provider() != id.provider()) {
            return Err(Refusal::Forbidden("clients of another provider are in the new room"));
        }
        check_metadata(id, &committed)?;
        check_agent(committed.dictionary(), group.suite(), keys)?;
        Ok(Self {
            group,
            snapshot,
            group_info,
            committed,
        })
    }
}

impl Room {
    /// Whether a ReInit ended the room's group, and no successor is there yet.
    pub fn is_ended(&self) -> bool {
        self.frozen.is_some()
    }

    /// Puts the group that a committed ReInit named in the place of the one that it ended. The room goes on: its entries,
    /// answers and marks stay. Providers whose clients are not in the successor yet are told when they are welcomed.
    ///
    /// # Errors
    /// No ReInit was committed, or it is another group than that, with other participants, or with a client that was not
    /// in the room; and for whatever a room could not be founded.
    pub fn succeed(&mut self, founding: &Founding, keys: &dyn Keys) -> Result<Applied, Refusal> {
        self.check_lasts()?;
        let Some(successor) = &self.frozen else {
            return Err(Refusal::NotAllowed("a group in the place of one that did not end"));
        };
        let Beginning {
            group,
            snapshot,
            group_info,
            committed,
        } = Beginning::of(&self.id, founding, keys)?;
        if *group.id() != **successor {
            return Err(Refusal::NotAllowed("another group than the ReInit named"));
        }
        if committed.participants() != self.committed.participants() {
            return Err(Refusal::NotAllowed("other participants than before the ReInit"));
        }
        let style = |view: &RoomView| (view.is_fixed(), view.parent());
        if style(&committed) != style(&self.committed) {
            return Err(Refusal::NotAllowed(
                "another style of membership than before the ReInit",
            ));
        }
        if committed.is_minimal_metadata() != self.committed.is_minimal_metadata() {
            return Err(Refusal::NotAllowed(
                "a successor with other names than before the ReInit",
            ));
        }
        let clients = |view: &RoomView| -> BTreeSet<ClientUri> {
            let users = view.active_users();
            users.flat_map(|user| view.clients(user)).cloned().collect()
        };
        if !clients(&committed).is_subset(&clients(&self.committed)) {
            return Err(Refusal::NotAllowed(
                "a client that was not in the room before the ReInit",
            ));
        }
        let mut rows = BTreeMap::from([(RowId::Frozen, None), (RowId::Snapshot(self.snapshot), None)]);
        for epoch in self.snapshot.0 + 1..=self.head.epoch.0 {
            rows.insert(RowId::Delta(crate::Epoch(epoch)), None);
        }
        for user in std::mem::take(&mut self.grants).into_keys() {
            rows.insert(RowId::Grant(user), None);
        }
        let active: BTreeSet<Provider> = committed.providers().into_iter().cloned().collect();
        self.followers.retain(|provider, _| {
            let stays = active.contains(provider);
            if !stays {
                rows.insert(RowId::Follower(provider.clone()), None);
            }
            stays
        });
        self.frozen = None;
        self.head.epoch = group.epoch();
        self.group = group;
        self.group_info = group_info;
        self.effective = committed.clone();
        self.committed = committed;
        self.put_snapshot(snapshot, &mut rows);
        rows.insert(RowId::GroupInfo, Some(self.group_info_row()));
        rows.insert(RowId::Head, Some(self.head_row()));
        Ok(Applied {
            entries: Vec::new(),
            rows: changes(rows),
            answer: Answer::Founded,
        })
    }
}

fn check_metadata(id: &RoomUri, view: &RoomView) -> Result<(), Refusal> {
    let Some(octets) = view.dictionary().component(ComponentId::ROOM_METADATA) else {
        return Ok(());
    };
    let metadata = RoomMetaData::decode_exact(octets).map_err(|error| Refusal::Malformed(error.reason()))?;
    if metadata.room_uri.octets() != id.as_str().as_bytes() {
        return Err(Refusal::NotAllowed("the metadata names another room"));
    }
    Ok(())
}
