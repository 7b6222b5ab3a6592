//! What updates make of a participant list (mimi-protocol §7.5).

use std::collections::BTreeSet;

use mimi::{Participant, ParticipantList, ParticipantListUpdate};

use crate::Violation;

const TWICE: Violation = Violation::Invalid("the added user is in the list, or is operated on twice");

/// The list after all `updates` of one commit: first every change of role, then every removal, then every addition, in
/// their order. Indices are those of `list`, the list at the start of the epoch, in every update.
///
/// # Errors
/// [`Violation::Invalid`]: an index past the list, a role 0, a change to the role held already, an addition of somebody
/// present, or two operations on one user in the whole of `updates`.
pub fn apply_participants(
    list: &ParticipantList,
    updates: &[ParticipantListUpdate],
) -> Result<ParticipantList, Violation> {
    let mut after: Vec<_> = list.participants.iter().cloned().map(Some).collect();
    let mut touched = BTreeSet::new();
    let mut touch = |index: u32| {
        let index = usize::try_from(index).map_err(|_| Violation::Invalid("no participant at this index"))?;
        if index >= list.participants.len() {
            return Err(Violation::Invalid("no participant at this index"));
        }
        if !touched.insert(index) {
            return Err(Violation::Invalid("two operations on one user"));
        }
        Ok(index)
    };
    for change in updates.iter().flat_map(|update| &update.changed) {
        let index = touch(change.user_index)?;
        let participant = after[index].as_mut().expect("nothing is removed yet");
        if change.role == 0 || change.role == participant.role {
            return Err(Violation::Invalid("not a change to another role"));
        }
        participant.role = change.role;
    }
    for removed in updates.iter().flat_map(|update| &update.removed) {
        after[touch(*removed)?] = None;
    }
    let mut added_users: BTreeSet<&[u8]> = BTreeSet::new();
    let mut after: Vec<_> = after.into_iter().flatten().collect();
    for added in updates.iter().flat_map(|update| &update.added) {
        if added.role == 0 {
            return Err(Violation::Invalid("role 0 is not held by participants"));
        }
        if !added_users.insert(added.user.octets()) {
            return Err(TWICE);
        }
        after.push(added.clone());
    }
    // Few are added and many are there: it is those there that are looked up among the added.
    let present = |each: &Participant| added_users.contains(each.user.octets());
    if !added_users.is_empty() && list.participants.iter().any(present) {
        return Err(TWICE);
    }
    Ok(ParticipantList { participants: after })
}
