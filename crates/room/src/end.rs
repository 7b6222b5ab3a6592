//! How a room ends for good. No draft has an operation for that: canDestroyRoom says who may, and a group ends when nobody
//! is in it. MLS lets no commit take its own sender out, so a room ends with what its last client proposes:
//!
//! * A room that does not persist ends with its group (mimi-room-policy §5).
//! * One that persists ends when its last participant leaves and had canDestroyRoom. Who wants to destroy a room removes
//!   everybody else, and leaves. Without that capability the room stays for whoever may join it by external commit.
//! * A dependent room ends with its parent.
//!
//! Nothing is accepted after that but the repetition of what was, and the room's URI names no other room ever.

use mimi::UserUri;
use policy::{Capability, RoomView};

use crate::apply::Rows;
use crate::{Room, Row, RowId};

impl Room {
    /// Whether the room has ended for good.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Ends the room if what `actor` proposed took out whoever was left of `before`.
    pub(crate) fn end_with(&mut self, actor: Option<&UserUri>, before: &RoomView, rows: &mut Rows) {
        let destroys = || {
            let may = actor.is_some_and(|user| before.can(user, Capability::DestroyRoom));
            may && !self.effective.has_participants() && self.effective.active_users().next().is_none()
        };
        if !self.effective.is_accessible() || destroys() {
            self.end(rows);
        }
    }

    pub(crate) fn end(&mut self, rows: &mut Rows) {
        self.over = true;
        rows.insert(RowId::Over, Some(Row::Over));
    }
}
