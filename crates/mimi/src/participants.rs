//! Participant list of a room (mimi-protocol §7.5, component 0x0022): the list and its updates as they stand on the
//! wire. Who may change it is the policy's.

use crate::codec::wire;
use crate::identifier::IdentifierUri;
use crate::limits;

/// UserRolePair: a participant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Participant {
    /// The user, octets as received.
    pub user: IdentifierUri,
    /// Index of the user's role in the roles list.
    pub role: u32,
}
wire!(Participant { user, role }, at_most: limits::PARTICIPANTS_MAX);

/// ParticipantListData: the participants in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParticipantList {
    /// The participants.
    pub participants: Vec<Participant>,
}
wire!(ParticipantList { participants });

impl ParticipantList {
    /// A user's participant entry.
    pub fn participant(&self, user: &[u8]) -> Option<&Participant> {
        self.participants.iter().find(|entry| entry.user.octets() == user)
    }

    /// Where a user stands in the list.
    pub fn position(&self, user: &[u8]) -> Option<usize> {
        self.participants.iter().position(|entry| entry.user.octets() == user)
    }
}

/// UserindexRolePair: another role for a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleChange {
    /// Index of the participant in the list at the start of the epoch.
    pub user_index: u32,
    /// Index of the new role.
    pub role: u32,
}
wire!(RoleChange { user_index, role }, at_most: limits::PARTICIPANTS_MAX);

/// ParticipantListUpdate: what an AppDataUpdate of component 0x0022 carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParticipantListUpdate {
    /// Changes of role.
    pub changed: Vec<RoleChange>,
    /// Participants removed, by index in the list at the start of the epoch.
    pub removed: Vec<u32>,
    /// Participants appended.
    pub added: Vec<Participant>,
}
wire!(ParticipantListUpdate {
    changed,
    removed,
    added
});
