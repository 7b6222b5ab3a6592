//! Rooms that depend on another (mimi-room-policy §5): whoever left the parent leaves its dependents. The hub compares the
//! two rooms; here stands what a dependent room makes of it.

use std::collections::BTreeMap;

use mimi::UserUri;
use policy::RoomView;

use crate::apply::Rows;
use crate::room::changes;
use crate::{Answer, Applied, Keys, Millis, Room, Row, RowId};

impl Room {
    /// Takes note of who participates in the room's parent; `None` when that is over. Participants who do not are blocked
    /// at once, and stay so; the hub proposes that their clients be removed, now and in each later epoch, as long as there
    /// are any. Whoever commits takes them off the list: no external sender can. Returns nothing when nothing changes.
    pub fn follow_parent(&mut self, parent: Option<&RoomView>, now: Millis, keys: &dyn Keys) -> Option<Applied> {
        if self.over {
            return None;
        }
        let participates = |user: &UserUri| parent.is_some_and(|parent| parent.participates(user));
        let users = self.effective.participant_users();
        let orphans: Vec<UserUri> = users
            .filter(|user| !participates(user) && !self.orphans.contains(*user))
            .cloned()
            .collect();
        if orphans.is_empty() && parent.is_some() {
            return None;
        }
        let mut rows: Rows = BTreeMap::new();
        for user in &orphans {
            rows.insert(RowId::Blocked(user.clone()), Some(Row::Blocked));
            rows.insert(RowId::Orphan(user.clone()), Some(Row::Orphan));
        }
        self.blocked.extend(orphans.iter().cloned());
        self.orphans.extend(orphans.iter().cloned());
        let mut entries = Vec::new();
        if let Some(proposed) = self.orphans_removed(&orphans, keys) {
            self.announce(proposed, now, &mut entries, &mut rows);
            rows.insert(RowId::Head, Some(self.head_row()));
        }
        if parent.is_none() {
            self.end(&mut rows);
        }
        Some(Applied {
            entries,
            rows: changes(rows),
            answer: Answer::Followed,
        })
    }
}
