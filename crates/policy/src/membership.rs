//! Rooms whose members follow from elsewhere (mimi-room-policy §3): fixed ones, and those that depend on a parent.

use mimi::{Provider, RoomUri, UserUri};

use crate::{RoomView, Violation};

impl RoomView {
    /// Whether the room takes no participants and lets none go.
    pub fn is_fixed(&self) -> bool {
        self.base.fixed_membership
    }

    /// Who is in a fixed room, sorted: a hub has one such room for each set of participants. `None` of other rooms.
    pub fn fixed_participants(&self) -> Option<Vec<UserUri>> {
        self.is_fixed().then(|| self.held.keys().cloned().collect())
    }

    /// The room on which this one depends.
    pub fn parent(&self) -> Option<RoomUri> {
        let parent = self.base.parent_room.first().filter(|_| self.base.parent_dependant)?;
        parent.room().ok()
    }

    /// Whether this provider takes those out of the room who left its parent: the hub does, of a dependent room, whatever
    /// its role there.
    pub fn follows_parent_by(&self, provider: &Provider) -> bool {
        self.parent().is_some_and(|parent| parent.provider() == provider)
    }

    /// Whoever is in the list and not banned.
    pub fn participant_users(&self) -> impl Iterator<Item = &UserUri> {
        self.held.keys().filter(|user| self.participates(user))
    }

    /// Participants of this room who do not participate in its parent, and so must go.
    pub fn strangers_to<'a>(&'a self, parent: &'a Self) -> impl Iterator<Item = &'a UserUri> {
        self.participant_users().filter(|user| !parent.participates(user))
    }

    /// Whether the participants are a strict subset of those of the parent; banned users are none.
    ///
    /// # Errors
    /// [`Violation::Invalid`].
    pub fn check_parent(&self, parent: &Self) -> Result<(), Violation> {
        let number = |view: &Self| view.participant_users().count();
        if self.strangers_to(parent).next().is_some() {
            return Err(Violation::Invalid("a participant who is not in the parent room"));
        }
        if number(self) >= number(parent) {
            return Err(Violation::Invalid("the participants of the parent room, all of them"));
        }
        Ok(())
    }

    /// Whether anything can still happen in the room: it outlives its last client, or has one.
    pub fn is_accessible(&self) -> bool {
        self.base.persistent_room || !self.clients.is_empty()
    }

    /// Whether anybody is in the list who is not banned.
    pub fn has_participants(&self) -> bool {
        self.participant_users().next().is_some()
    }
}
