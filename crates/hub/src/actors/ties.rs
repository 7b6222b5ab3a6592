//! What a change of one room means for others: which other rooms have to be looked at before it is carried out, and which
//! rows between rooms change with it.

use std::collections::BTreeSet;
use std::sync::Weak;

use ledger::{AppendError, Ledger, Membership, Rooms, Tie};
use mimi::RoomUri;
use policy::RoomView;
use room::{Corrupt, Refusal, Room, Row, RowId};
use shard::Tenure;

use crate::Offload;

/// Why a room was not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("read the room's rows")]
    Read(#[source] AppendError),
    #[error("open the room")]
    Corrupt(#[source] Corrupt),
    #[error("the threads that open rooms have ended")]
    Stopped,
}

/// A room as others have to do with it: as it is, and as it is when everything pending is committed.
#[derive(Debug, Default)]
pub(super) struct Sides {
    memberships: BTreeSet<Membership>,
    parents: BTreeSet<RoomUri>,
    outlook: Option<RoomView>,
}

impl Sides {
    /// Of no room.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// A room that is over has nothing to do with others.
    pub(super) fn of(room: &Room) -> Self {
        if room.is_over() {
            return Self::none();
        }
        let views = [room.view(), room.outlook()];
        Self {
            memberships: views.into_iter().filter_map(membership).collect(),
            parents: views.into_iter().filter_map(RoomView::parent).collect(),
            outlook: Some(room.outlook().clone()),
        }
    }

    /// What has to be seen to before the room may be as `after` says.
    pub(super) fn demands(&self, after: &RoomView) -> Demands {
        let joins = |parent: &RoomUri| {
            let before = self.outlook.as_ref().filter(|_| self.parents.contains(parent));
            before.is_none_or(|before| after.strangers_to(before).next().is_some())
        };
        Demands {
            membership: membership(after).filter(|membership| !self.memberships.contains(membership)),
            parent: after.parent().filter(joins),
        }
    }

    /// What changes between this room and others when it was so before.
    pub(super) fn ties(before: &Self, room: &Room) -> Vec<Tie> {
        let after = Self::of(room);
        let new_memberships = after.memberships.difference(&before.memberships);
        let old_memberships = before.memberships.difference(&after.memberships);
        let old_parents = before.parents.difference(&after.parents);
        let new_parents: Vec<_> = after.parents.difference(&before.parents).cloned().collect();
        let loses = before.outlook.as_ref().is_some_and(|before| match &after.outlook {
            Some(after) => before.strangers_to(after).next().is_some(),
            None => true,
        });
        let due = (loses || !new_parents.is_empty()).then(|| Tie::Due {
            seq: room.seq(),
            parent: after.outlook.as_ref().and_then(RoomView::parent),
        });
        new_memberships
            .map(|membership| Tie::Holds(*membership))
            .chain(old_memberships.map(|membership| Tie::Frees(*membership)))
            .chain(new_parents.into_iter().map(Tie::Depends))
            .chain(old_parents.cloned().map(Tie::Parts))
            .chain(due)
            .collect()
    }
}

fn membership(view: &RoomView) -> Option<Membership> {
    Some(Membership::of(&view.fixed_participants()?))
}

/// What has to be seen to before a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Demands {
    membership: Option<Membership>,
    parent: Option<RoomUri>,
}

impl Demands {
    pub(super) fn are_none(&self) -> bool {
        self.membership.is_none() && self.parent.is_none()
    }

    /// Sees to them, for the room `id` as it is to be: its participants are some of its parent's, and no other room has
    /// the same fixed membership.
    pub(super) async fn meet(
        self,
        id: RoomUri,
        view: RoomView,
        ledger: Ledger,
        offload: Offload,
        rooms: Rooms,
        tenure: Weak<Tenure>,
    ) -> Result<Result<(), Refusal>, LoadError> {
        if let Some(parent) = self.parent {
            let parent = load(&ledger, &offload, parent)
                .await?
                .filter(|parent| !parent.is_over());
            let Some(parent) = parent else {
                return Ok(Err(Refusal::NotAllowed("a parent room that is not there")));
            };
            if let Err(violation) = view.check_parent(parent.outlook()) {
                return Ok(Err(Refusal::NotAllowed(violation.why())));
            }
        }
        if let Some(membership) = self.membership {
            let tenure = tenure.upgrade().ok_or(LoadError::Read(AppendError::Fenced))?;
            let claimed = rooms.claim(&tenure, &id, &membership).await;
            if !claimed.map_err(LoadError::Read)? {
                return Ok(Err(Refusal::NotAllowed("another room has this fixed membership")));
            }
        }
        Ok(Ok(()))
    }
}

/// A room as it is durable, wherever its shard is.
pub(super) async fn load(ledger: &Ledger, offload: &Offload, room: RoomUri) -> Result<Option<Room>, LoadError> {
    let rows = ledger.room(&room).await;
    match rows.map_err(|error| LoadError::Read(error.into()))? {
        Some(rows) => open(offload, room, rows).await.map(Some),
        None => Ok(None),
    }
}

/// Opens a room from its rows, where no other room is kept waiting.
pub(super) async fn open(offload: &Offload, room: RoomUri, rows: Vec<(RowId, Row)>) -> Result<Room, LoadError> {
    let opened = offload.done(move || Room::open(room, rows)).await;
    opened.ok_or(LoadError::Stopped)?.map_err(LoadError::Corrupt)
}
