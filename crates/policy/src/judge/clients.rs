//! Clients added to the group and removed from it (mimi-room-policy §8.1).

use std::collections::BTreeSet;

use mimi::{ClientUri, UserUri};

use super::{Actor, Judge, allow};
use crate::view::BANNED;
use crate::{Capability, Violation};

impl Judge<'_> {
    pub(super) fn remove(&mut self, client: &ClientUri) -> Result<(), Violation> {
        let user = client.user();
        let own = self.is_own(&user);
        let allowed = match &self.change.actor {
            Actor::Joiner(joiner) => joiner == client,
            Actor::Applicant(_) => false,
            // Whose user is removed or banned goes, too, and may go by itself.
            Actor::Member(_) if !self.state.participates(&user) => own || self.listed,
            Actor::Member(_) if own => self.can(Capability::RemoveOwnClient),
            Actor::Member(_) => self.can(Capability::Kick),
            Actor::Sender(provider) if self.start.follows_parent_by(provider) => {
                self.promised.entry(user).or_default().insert(0);
                true
            }
            Actor::Sender(_) => self.can(Capability::Kick) || self.promise(user),
        };
        allow(allowed, "the removal of a client")?;
        self.state.remove_client(client)
    }

    /// Whether a provider may take the user off the list, or ban it: then its clients go, and the list follows.
    fn promise(&mut self, user: UserUri) -> bool {
        if self.start.is_fixed() {
            return false;
        }
        let Some(from) = self.state.role_index(&user) else {
            return self.can(Capability::RemoveParticipant);
        };
        if self.state.is_ban(from) {
            return self.can(Capability::Ban);
        }
        let removal = self.can(Capability::RemoveParticipant) && self.may_move(from, 0);
        let ban = self.can(Capability::Ban) && self.may_move(from, BANNED) && self.state.is_ban(BANNED);
        let targets: BTreeSet<u32> = [(removal, 0), (ban, BANNED)]
            .into_iter()
            .filter_map(|(may, target)| may.then_some(target))
            .collect();
        let may = !targets.is_empty();
        if may {
            self.promised.entry(user).or_default().extend(targets);
        }
        may
    }

    pub(super) fn add(&mut self, client: &ClientUri) -> Result<(), Violation> {
        let user = client.user();
        if !self.state.participates(&user) {
            return Err(Violation::Invalid("a client whose user is not in the list"));
        }
        let own = self.is_own(&user);
        let joins_with_user = own && !self.listed;
        let allowed = match &self.change.actor {
            Actor::Joiner(joiner) => joiner == client && (joins_with_user || self.can(Capability::AddOwnClient)),
            Actor::Applicant(applicant) => applicant == client && self.listed && self.can(Capability::AddOwnClient),
            Actor::Member(_) if own => self.can(Capability::AddOwnClient),
            Actor::Member(_) | Actor::Sender(_) => self.can(Capability::AddParticipant),
        };
        allow(allowed, "the addition of a client")?;
        let mut leaves = self.change.evidence.leaves.iter();
        self.start.check_leaf(leaves.find(|leaf| leaf.client == *client))?;
        self.state.add_client(client.clone())
    }
}
