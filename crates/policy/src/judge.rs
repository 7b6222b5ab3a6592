//! May they? Every operation is judged on its own, by the role that its actor has when it is proposed; what comes of all
//! of them is judged once, at the end.

use std::collections::BTreeSet;

use mimi::metadata::RoomMetaData;
use mimi::{
    AppDataOperation, AppDataUpdate, ClientUri, ComponentId, IdentifierUri, ParticipantListUpdate, Role, UserUri,
};

use crate::components::decode;
use crate::view::has;
use crate::{Capability, RoomView, Violation, apply_components};

/// Who wants a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A client in the group.
    Member(ClientUri),
    /// A client that joins by external commit.
    Joiner(ClientUri),
}

impl Actor {
    /// The client.
    pub fn client(&self) -> &ClientUri {
        match self {
            Self::Member(client) | Self::Joiner(client) => client,
        }
    }
}

/// What one actor wants at once: a bundle of proposals, or what a commit holds by value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who wants it.
    pub actor: Actor,
    /// Updates of components, in their order.
    pub components: Vec<AppDataUpdate>,
    /// Clients removed from the group.
    pub removes: Vec<ClientUri>,
    /// Clients added to the group; a joiner adds itself.
    pub adds: Vec<ClientUri>,
    /// The hub accepted it before, by another state: only what comes of it is judged.
    pub authorized: bool,
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Proposed: what belongs with it may still follow in the same epoch.
    Proposed,
    /// Committed: nothing follows.
    Committed,
}

/// The view after `changes`, all of one epoch that began with `view`, in the order in which they were accepted. Each is
/// judged by the state that those before it left.
///
/// # Errors
/// The first rule that is broken.
pub fn judge(view: &RoomView, changes: &[Change], stage: Stage) -> Result<RoomView, Violation> {
    let mut state = view.clone();
    for change in changes {
        let user = change.actor.client().user();
        Judge {
            start: view,
            listed: state.role_index(&user).is_some(),
            role: state.roles.role(state.role_index(&user).unwrap_or_default()).cloned(),
            state: &mut state,
            change,
            user,
        }
        .judge()?;
    }
    // The indices of every update are those of the start, so the list is made from there, once.
    let updates: Vec<&AppDataUpdate> = changes.iter().flat_map(|change| &change.components).collect();
    check_together(view, &updates)?;
    state.put(apply_components(&view.dictionary, updates.iter().copied())?)?;
    state.check_numbers()?;
    if stage == Stage::Committed {
        state.check()?;
    }
    check_fixed(view, &state)?;
    Ok(state)
}

/// Components that may not change together (mimi-room-policy §7).
fn check_together(view: &RoomView, updates: &[&AppDataUpdate]) -> Result<(), Violation> {
    let touches = |component| updates.iter().any(|update| update.component == component);
    if !touches(ComponentId::PARTICIPANT_LIST) {
        return Ok(());
    }
    if touches(ComponentId::ROLES_LIST) {
        return Err(Violation::Invalid("roles and participants change in one epoch"));
    }
    if touches(ComponentId::PREAUTH_LIST) {
        let after = apply_components(&view.dictionary, updates.iter().copied())?;
        let after = after
            .get(&ComponentId::PARTICIPANT_LIST)
            .cloned()
            .flatten()
            .unwrap_or_default();
        let after: mimi::ParticipantList = decode(&after, "participant list")?;
        let stays = |each| view.participants.participants.contains(each);
        if !after.participants.iter().all(stays) {
            return Err(Violation::Invalid(
                "preauthorization and participants change in one epoch",
            ));
        }
    }
    Ok(())
}

/// A fixed membership stays as it is.
fn check_fixed(before: &RoomView, after: &RoomView) -> Result<(), Violation> {
    let users = |view: &RoomView| view.held.keys().cloned().collect::<BTreeSet<UserUri>>();
    if before.base.fixed_membership && users(before) != users(after) {
        return Err(Violation::NotAllowed("the membership is fixed"));
    }
    Ok(())
}

struct Judge<'a> {
    start: &'a RoomView,
    /// The state that the changes before left; roles and clients follow each operation.
    state: &'a mut RoomView,
    change: &'a Change,
    user: UserUri,
    /// Whether the actor's user was in the list before this change.
    listed: bool,
    /// The role that the actor had before this change: role 0 outside the list.
    role: Option<Role>,
}

impl Judge<'_> {
    fn judge(&mut self) -> Result<(), Violation> {
        for update in &self.change.components {
            match (update.component, &update.operation) {
                (ComponentId::PARTICIPANT_LIST, AppDataOperation::Update(octets)) => {
                    self.participants(&decode(octets, "participant list update")?)?;
                }
                (component, operation) => self.component(component, operation)?,
            }
        }
        for client in &self.change.removes {
            self.remove(client)?;
        }
        for client in &self.change.adds {
            self.add(client)?;
        }
        Ok(())
    }

    /// Whether the actor is in the list with a capability.
    fn can(&self, capability: Capability) -> bool {
        self.change.authorized || self.listed && self.role.as_ref().is_some_and(|role| has(role, capability))
    }

    /// Whether the actor's role lists the step.
    fn may_move(&self, from: u32, to: u32) -> bool {
        let listed = |role: &Role| {
            let mut changes = role.authorized_role_changes.iter().filter(|change| change.from == from);
            changes.any(|change| change.targets.contains(&to))
        };
        self.change.authorized || self.role.as_ref().is_some_and(listed)
    }

    fn demand(&self, capability: Capability, from: u32, to: u32, why: &'static str) -> Result<(), Violation> {
        if self.can(capability) && self.may_move(from, to) {
            Ok(())
        } else {
            Err(Violation::NotAllowed(why))
        }
    }

    fn participants(&mut self, update: &ParticipantListUpdate) -> Result<(), Violation> {
        for change in &update.changed {
            let user = self.listed(change.user_index)?;
            let from = self.touch(&user)?;
            self.check_role(change.role)?;
            if user == self.user {
                return Err(Violation::NotAllowed("a change of one's own role"));
            }
            let capability = if self.start.is_ban(change.role) {
                Capability::Ban
            } else if self.start.is_ban(from) {
                Capability::UnBan
            } else {
                Capability::ChangeUserRole
            };
            self.demand(capability, from, change.role, "a change of another's role")?;
            self.state.held.insert(user, change.role);
        }
        for index in &update.removed {
            let user = self.listed(*index)?;
            let from = self.touch(&user)?;
            let (capability, why) = if user == self.user {
                (Capability::RemoveSelf, "leaving")
            } else {
                (Capability::RemoveParticipant, "the removal of another participant")
            };
            self.demand(capability, from, 0, why)?;
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
            if user == self.user {
                self.open_join(added.role)?;
            } else {
                self.demand(
                    Capability::AddParticipant,
                    0,
                    added.role,
                    "the addition of a participant",
                )?;
            }
            self.state.held.insert(user, added.role);
        }
        Ok(())
    }

    fn open_join(&self, target: u32) -> Result<(), Violation> {
        let open = self.role.as_ref().is_some_and(|role| has(role, Capability::OpenJoin));
        match self.change.actor {
            Actor::Joiner(_) if !self.listed && open && self.may_move(0, target) => Ok(()),
            _ => Err(Violation::NotAllowed("joining without being added")),
        }
    }

    fn check_role(&self, index: u32) -> Result<(), Violation> {
        if index == 0 || self.start.roles.role(index).is_none() {
            return Err(Violation::Invalid("a role that is not in the roles list"));
        }
        Ok(())
    }

    /// The user at an index of the list at the start.
    fn listed(&self, index: u32) -> Result<UserUri, Violation> {
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

    fn remove(&mut self, client: &ClientUri) -> Result<(), Violation> {
        let user = client.user();
        let own = user == self.user;
        let allowed = match &self.change.actor {
            Actor::Joiner(joiner) => joiner == client,
            // Whose user is removed or banned goes, too, and may go by itself.
            Actor::Member(_) if !self.state.participates(&user) => own || self.listed,
            Actor::Member(_) if own => self.can(Capability::RemoveOwnClient),
            Actor::Member(_) => self.can(Capability::Kick),
        };
        if !allowed {
            return Err(Violation::NotAllowed("the removal of a client"));
        }
        self.state.remove_client(client)
    }

    fn add(&mut self, client: &ClientUri) -> Result<(), Violation> {
        let user = client.user();
        if !self.state.participates(&user) {
            return Err(Violation::Invalid("a client whose user is not in the list"));
        }
        let own = user == self.user;
        let joins_with_user = own && !self.listed;
        let allowed = match &self.change.actor {
            Actor::Joiner(joiner) => joiner == client && (joins_with_user || self.can(Capability::AddOwnClient)),
            Actor::Member(_) if own => self.can(Capability::AddOwnClient),
            Actor::Member(_) => self.can(Capability::AddParticipant),
        };
        if !allowed {
            return Err(Violation::NotAllowed("the addition of a client"));
        }
        self.state.add_client(client.clone())
    }

    fn component(&mut self, component: ComponentId, operation: &AppDataOperation) -> Result<(), Violation> {
        let capability = match component {
            ComponentId::ROOM_METADATA => return self.metadata(operation),
            ComponentId::FRANKING_AGENT if self.start.dictionary.component(component).is_some() => {
                return Err(Violation::NotAllowed("another franking agent"));
            }
            ComponentId::OPERATIONAL_POLICY => Capability::ChangeMlsOperationalPolicies,
            ComponentId::ROLES_LIST => {
                if let AppDataOperation::Update(octets) = operation {
                    self.state.roles = decode(octets, "roles list")?;
                }
                Capability::ChangeRoleDefinitions
            }
            ComponentId::PREAUTH_LIST => Capability::ChangePreauthorizedUserList,
            ComponentId::BASE_ROOM_POLICY => Capability::ChangeRoomMembershipStyle,
            _ => Capability::ChangeOtherPolicyAttribute,
        };
        if self.can(capability) {
            Ok(())
        } else {
            Err(Violation::NotAllowed("a change of the room's policy"))
        }
    }

    fn metadata(&self, operation: &AppDataOperation) -> Result<(), Violation> {
        let before = match self.start.dictionary.component(ComponentId::ROOM_METADATA) {
            Some(octets) => Some(decode::<RoomMetaData>(octets, "room metadata")?),
            None => None,
        };
        let AppDataOperation::Update(octets) = operation else {
            return Err(Violation::NotAllowed("the removal of the room's metadata"));
        };
        let after: RoomMetaData = decode(octets, "room metadata")?;
        if before.as_ref().is_some_and(|before| before.room_uri != after.room_uri) {
            return Err(Violation::Invalid("another room in the metadata"));
        }
        let avatar = &after.room_avatar;
        if *avatar != IdentifierUri::default() && !avatar.octets().starts_with(b"https://") {
            return Err(Violation::Invalid("an avatar that is not https"));
        }
        let before = before.unwrap_or_default();
        let changed = [
            (before.room_name != after.room_name, Capability::ChangeRoomName),
            (
                before.room_descriptions != after.room_descriptions,
                Capability::ChangeRoomDescription,
            ),
            (before.room_avatar != after.room_avatar, Capability::ChangeRoomAvatar),
            (before.room_subject != after.room_subject, Capability::ChangeRoomSubject),
            (before.room_mood != after.room_mood, Capability::ChangeRoomMood),
        ];
        if changed
            .iter()
            .any(|(changed, capability)| *changed && !self.can(*capability))
        {
            return Err(Violation::NotAllowed("a change of the room's metadata"));
        }
        Ok(())
    }
}
