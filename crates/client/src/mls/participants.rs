//! What members do with each other's places in the room: each is one commit, that takes along everything pending.

use std::collections::BTreeSet;

use bytes::Bytes;
use mimi::{ParticipantListUpdate, RoleChange, RoomUri, UserUri};
use openmls::prelude::{LeafNodeIndex, Proposal};

use super::handshake::{Intention, leaves_of};
use super::identity::client_of;
use super::leave::{is_removal_from_outside, removal};
use super::{BANNED, Member, MemberError, Room, list_update, wire};

impl Member {
    /// UpdateRequest with a commit that adds `user` in `role`, unless it is a participant, and the clients of these
    /// KeyPackages.
    pub fn add_user(
        &mut self,
        room: &RoomUri,
        user: &UserUri,
        role: u32,
        key_packages: &[Bytes],
    ) -> Result<Bytes, MemberError> {
        let suite = self.room(room)?.suite();
        let adds = key_packages
            .iter()
            .map(|octets| self.checked_key_package(octets, suite, user))
            .collect::<Result<Vec<_>, _>>()?;
        self.check_links(room, &adds)?;
        let participants = self.room(room)?.participants()?;
        let list = participants
            .position(user.as_str().as_bytes())
            .is_none()
            .then(|| addition(user, role));
        self.commit(
            room,
            Intention {
                adds,
                list,
                ..Intention::default()
            },
        )
    }

    /// UpdateRequest with a commit that takes `user` off the list and all its clients out of the group.
    pub fn remove_user(&mut self, room: &RoomUri, user: &UserUri) -> Result<Bytes, MemberError> {
        let state = self.room(room)?;
        let index = state.index_of(user)?;
        let intention = Intention {
            removes: state.stayers(user)?,
            list: (!state.operated_on().contains(&index)).then(|| removal(index)),
            ..Intention::default()
        };
        self.commit(room, intention)
    }

    /// UpdateRequest with a commit that takes all clients of `user` out of the group; it stays a participant.
    pub fn kick(&mut self, room: &RoomUri, user: &UserUri) -> Result<Bytes, MemberError> {
        let state = self.room(room)?;
        state.index_of(user)?;
        let removes = state.stayers(user)?;
        self.commit(
            room,
            Intention {
                removes,
                ..Intention::default()
            },
        )
    }

    /// UpdateRequest with a commit that gives a participant another role.
    pub fn set_role(&mut self, room: &RoomUri, user: &UserUri, role: u32) -> Result<Bytes, MemberError> {
        let list = Some(change(self.room(room)?.index_of(user)?, role));
        self.commit(
            room,
            Intention {
                list,
                ..Intention::default()
            },
        )
    }

    /// UpdateRequest with a commit that keeps `user` out: it gets the role of banned users, be it a participant or not,
    /// and all its clients leave the group.
    pub fn ban(&mut self, room: &RoomUri, user: &UserUri) -> Result<Bytes, MemberError> {
        let state = self.room(room)?;
        let list = match state.index_of(user) {
            Ok(index) => change(index, BANNED),
            Err(_) => addition(user, BANNED),
        };
        let removes = state.stayers(user)?;
        self.commit(
            room,
            Intention {
                removes,
                list: Some(list),
                ..Intention::default()
            },
        )
    }

    /// UpdateRequest with a commit that takes a ban back: the user is a participant in `role` again, without clients.
    pub fn unban(&mut self, room: &RoomUri, user: &UserUri, role: u32) -> Result<Bytes, MemberError> {
        let state = self.room(room)?;
        let index = state.index_of(user)?;
        if state.participants()?.participants[index].role != BANNED {
            return Err(MemberError::Refused("the user is not banned"));
        }
        self.set_role(room, user, role)
    }
}

impl Room {
    fn index_of(&self, user: &UserUri) -> Result<usize, MemberError> {
        self.participants()?
            .position(user.as_str().as_bytes())
            .ok_or_else(|| MemberError::NotAParticipant(user.clone()))
    }

    /// Leaves of a user that nothing pending removes.
    fn stayers(&self, user: &UserUri) -> Result<Vec<LeafNodeIndex>, MemberError> {
        let departing: Vec<LeafNodeIndex> = self.departing().collect();
        let mut leaves = leaves_of(&self.group, user)?;
        leaves.retain(|leaf| !departing.contains(leaf));
        Ok(leaves)
    }

    /// Indices of participants on whom something pending operates: nobody may be operated on twice in an epoch.
    pub(super) fn operated_on(&self) -> BTreeSet<usize> {
        self.group
            .pending_proposals()
            .filter_map(|queued| list_update(queued.proposal()))
            .flat_map(|update| operands(&update))
            .collect()
    }

    /// What has to come off the list with this intention: no server can propose that, so when the hub removes all clients
    /// of a participant, whoever commits takes the participant off the list as well.
    pub(super) fn followed(&self, intention: &Intention) -> Result<Option<ParticipantListUpdate>, MemberError> {
        if !self.group.pending_proposals().any(is_removal_from_outside) {
            return Ok(None);
        }
        let gone: BTreeSet<u32> = self
            .departing()
            .chain(intention.removes.iter().copied())
            .map(|leaf| leaf.u32())
            .collect();
        let removed = self
            .group
            .pending_proposals()
            .filter(|queued| is_removal_from_outside(queued) && !self.kicks(queued.sender()))
            .filter_map(|queued| match queued.proposal() {
                Proposal::Remove(remove) => self.group.public_group().leaf(remove.removed()),
                _ => None,
            })
            .map(|leaf| client_of(leaf.credential()).map(|client| client.user()))
            .collect::<Result<BTreeSet<UserUri>, _>>()?;
        let mut operated_on = self.operated_on();
        operated_on.extend(intention.list.iter().flat_map(operands));
        let list = self.participants()?;
        let mut update = ParticipantListUpdate::default();
        for user in removed {
            let stays = leaves_of(&self.group, &user)?
                .iter()
                .any(|leaf| !gone.contains(&leaf.u32()));
            let position = list.position(user.as_str().as_bytes());
            let position = position.filter(|position| !stays && !operated_on.contains(position));
            update.removed.extend(
                position
                    .filter(|position| list.participants[*position].role != BANNED)
                    .map(super::index),
            );
        }
        Ok((!update.removed.is_empty()).then_some(update))
    }
}

/// Indices on which an update operates.
fn operands(update: &ParticipantListUpdate) -> Vec<usize> {
    let changed = update.changed.iter().map(|change| change.user_index);
    let all = changed.chain(update.removed.iter().copied());
    all.filter_map(|index| usize::try_from(index).ok()).collect()
}

fn addition(user: &UserUri, role: u32) -> ParticipantListUpdate {
    ParticipantListUpdate {
        added: vec![wire::participant(user, role)],
        ..ParticipantListUpdate::default()
    }
}

fn change(index: usize, role: u32) -> ParticipantListUpdate {
    ParticipantListUpdate {
        changed: vec![RoleChange {
            user_index: super::index(index),
            role,
        }],
        ..ParticipantListUpdate::default()
    }
}
