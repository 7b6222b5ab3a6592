//! Numbers that a room keeps (mimi-room-policy §3 and §4): holders of each role, clients and users. Judged on the state
//! after a whole list of changes.

use std::collections::BTreeMap;

use mimi::ClientUri;

use crate::{RoomView, Violation};

/// Holders of a role, all of them and the active ones.
#[derive(Debug, Clone, Copy, Default)]
struct Holders {
    all: u32,
    active: u32,
}

impl RoomView {
    fn holders(&self) -> BTreeMap<u32, Holders> {
        let mut holders: BTreeMap<u32, Holders> = BTreeMap::new();
        for (_, role, clients) in self.users() {
            let Some(role) = role else { continue };
            let counted = holders.entry(role).or_default();
            counted.all += 1;
            counted.active += u32::from(clients > 0);
        }
        holders
    }

    /// Whether the limits let `client` come in, as a client of a participant in `role`. One that is in the group already
    /// comes back in its own place.
    pub fn has_room_for(&self, client: &ClientUri, role: u32) -> bool {
        let mut after = self.clone();
        after.held.insert(client.user(), role);
        if !self.clients(&client.user()).any(|each| each == client) && after.add_client(client.clone()).is_err() {
            return false;
        }
        after.check_numbers(Some(self)).is_ok()
    }

    /// The rules on numbers. The draft ties a role's least number of holders to the removals and changes that take from
    /// them: so a room may have fewer from the beginning (nobody could found one with two organizations' administrators
    /// otherwise), but nobody is taken, since `before`, from a role that then has too few.
    pub(crate) fn check_numbers(&self, before: Option<&Self>) -> Result<(), Violation> {
        let now = self.holders();
        let then = before.map(Self::holders).unwrap_or_default();
        for role in self.roles.roles.iter().filter(|role| role.index != 0) {
            let holders = now.get(&role.index).copied().unwrap_or_default();
            let earlier = then.get(&role.index).copied().unwrap_or_default();
            let enough = |number: u32, least: u32, earlier: u32| number >= least || number >= earlier;
            if !enough(holders.all, role.minimum_participants, earlier.all)
                || !enough(holders.active, role.minimum_active_participants, earlier.active)
            {
                return Err(Violation::Limit("too few participants with a role"));
            }
            if role.maximum_participants.is_some_and(|max| holders.all > max)
                || role.maximum_active_participants.is_some_and(|max| holders.active > max)
            {
                return Err(Violation::Limit("too many participants with a role"));
            }
        }
        let users = self.held.values().filter(|role| !self.is_ban(**role)).count();
        let above = |max: Option<u32>, number: usize| max.is_some_and(|max| number > max as usize);
        if above(self.base.max_clients, self.client_count()) || above(self.base.max_users, users) {
            return Err(Violation::Limit("too many clients or users"));
        }
        if !self.base.multi_device && self.clients.values().any(|clients| clients.len() > 1) {
            return Err(Violation::Limit("one client a user"));
        }
        Ok(())
    }
}
