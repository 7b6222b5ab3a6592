//! Operations on the participant list (mimi-room-policy §8.1).

use mimi::{ParticipantListUpdate, UserUri};

use super::{Actor, Judge, allow, lists};
use crate::view::has;
use crate::{Capability, Violation};

impl Judge<'_> {
    pub(super) fn participants(&mut self, update: &ParticipantListUpdate) -> Result<(), Violation> {
        for change in &update.changed {
            let user = self.at(change.user_index)?;
            let from = self.touch(&user)?;
            self.check_role(change.role)?;
            if self.is_own(&user) {
                self.own_role(change.role)?;
            } else {
                self.role_of_other(&user, from, change.role)?;
            }
            self.state.held.insert(user, change.role);
        }
        for index in &update.removed {
            let user = self.at(*index)?;
            let from = self.touch(&user)?;
            if self.is_own(&user) {
                allow(self.can(Capability::RemoveSelf) && self.may_move(from, 0), "leaving")?;
            } else {
                let may = self.can(Capability::RemoveParticipant) && self.may_move(from, 0);
                allow(may || self.is_promised(&user, 0), "the removal of another participant")?;
            }
            self.state.held.remove(&user);
        }
        for added in &update.added {
            let user = added
                .user
                .user()
                .map_err(|_| Violation::Invalid("a participant without a canonical URI"))?;
            if self.start.held.contains_key(&user) || self.state.held.contains_key(&user) {
                return Err(Violation::Invalid(
                    "the added user is in the list, or is operated on twice",
                ));
            }
            self.check_role(added.role)?;
            if self.is_own(&user) {
                self.join(added.role)?;
            } else {
                self.add_other(added.role)?;
            }
            self.state.held.insert(user, added.role);
        }
        Ok(())
    }

    /// One's own role follows from the credential, and only from it.
    fn own_role(&self, to: u32) -> Result<(), Violation> {
        let given = self.start.preauthorized_participant(&self.change.evidence.claims);
        let may = self.listed && self.can(Capability::ChangeOwnRole) && given == Some(to);
        allow(may || self.change.authorized, "a change of one's own role")
    }

    /// A ban is a change of role together with the removal of clients: who may do both may ban.
    fn role_of_other(&self, user: &UserUri, from: u32, to: u32) -> Result<(), Violation> {
        let change = self.can(Capability::ChangeUserRole);
        let may = if self.start.is_ban(to) {
            let clients_go = self.can(Capability::Kick) || !self.start.is_active(user);
            self.can(Capability::Ban) || change && clients_go
        } else if self.start.is_ban(from) {
            self.can(Capability::UnBan) || change
        } else {
            change
        };
        allow(
            may && self.may_move(from, to) || self.is_promised(user, to),
            "a change of another's role",
        )
    }

    /// Who is not in the list has role 0, and is banned from there, too.
    fn add_other(&self, to: u32) -> Result<(), Violation> {
        let may = self.can(Capability::AddParticipant) || self.start.is_ban(to) && self.can(Capability::Ban);
        allow(may && self.may_move(0, to), "the addition of a participant")
    }

    /// Joining by oneself: where the room is open, by preauthorization, or by a join code. A code's target is valid where
    /// the holder's role lists it.
    fn join(&self, to: u32) -> Result<(), Violation> {
        let nobody = self.start.roles.role(0);
        let open = nobody.is_some_and(|role| has(role, Capability::OpenJoin) && lists(role, 0, to));
        let evidence = &self.change.evidence;
        let target = self.start.roles.role(to);
        let preauthorized = self.start.preauthorized(&evidence.claims) == Some(to)
            && target.is_some_and(|role| has(role, Capability::JoinIfPreauthorized));
        let by_code = evidence.join_code == Some(to)
            && !self.start.is_ban(to)
            && self.can(Capability::UseJoinCode)
            && self.may_move(0, to);
        let joins = matches!(self.change.actor, Actor::Joiner(_)) && !self.listed;
        allow(
            joins && (open || preauthorized || by_code || self.change.authorized),
            "joining without being added",
        )
    }

    fn is_promised(&self, user: &UserUri, to: u32) -> bool {
        self.promised.get(user).is_some_and(|targets| targets.contains(&to))
    }

    fn check_role(&self, index: u32) -> Result<(), Violation> {
        if index == 0 || self.start.roles.role(index).is_none() {
            return Err(Violation::Invalid("a role that is not in the roles list"));
        }
        Ok(())
    }

    /// The user at an index of the list at the start.
    fn at(&self, index: u32) -> Result<UserUri, Violation> {
        let participant = usize::try_from(index)
            .ok()
            .and_then(|index| self.start.participants.participants.get(index))
            .ok_or(Violation::Invalid("no participant at this index"))?;
        participant
            .user
            .user()
            .map_err(|_| Violation::Invalid("a participant without a canonical URI"))
    }

    /// The role of a user on whom no operation of this epoch was made yet.
    fn touch(&self, user: &UserUri) -> Result<u32, Violation> {
        match (self.start.role_index(user), self.state.role_index(user)) {
            (Some(before), Some(now)) if before == now => Ok(now),
            _ => Err(Violation::Invalid("two operations on one user")),
        }
    }
}
