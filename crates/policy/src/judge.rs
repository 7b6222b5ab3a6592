//! May they? Every operation is judged on its own, by the role that its actor has when it is proposed; what comes of all
//! of them is judged once, at the end.

mod clients;
mod components;
mod list;

use std::collections::{BTreeMap, BTreeSet};

use mimi::role::Claim;
use mimi::{AppDataOperation, AppDataUpdate, ClientUri, ComponentId, Provider, Role, UserUri};

use crate::components::{apply_to, decode};
use crate::view::has;
use crate::{Capability, Leaf, RoomView, Violation, apply_components};

/// Who wants a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A client in the group.
    Member(ClientUri),
    /// A client that joins by external commit.
    Joiner(ClientUri),
    /// A client outside the group that proposes that it be added.
    Applicant(ClientUri),
    /// A provider that the group names among its external senders.
    Sender(Provider),
}

impl Actor {
    /// The client, if it is one.
    pub fn client(&self) -> Option<&ClientUri> {
        match self {
            Self::Member(client) | Self::Joiner(client) | Self::Applicant(client) => Some(client),
            Self::Sender(_) => None,
        }
    }

    /// The client's user.
    pub fn user(&self) -> Option<UserUri> {
        self.client().map(ClientUri::user)
    }
}

/// What is known of who wants a change and of whom it adds, beside their names. Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the actor's credential claims, see [`crate::preauth::claims`].
    pub claims: Vec<Claim>,
    /// Index of the role to which the actor's join code leads; whether the code is valid was seen before.
    pub join_code: Option<u32>,
    /// The leaves of clients that get one.
    pub leaves: Vec<Leaf>,
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
    /// What else is known.
    pub evidence: Evidence,
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
    let mut promised = BTreeMap::new();
    for change in changes {
        Judge::new(view, &mut state, &mut promised, change).judge()?;
    }
    // The indices of every update are those of the start, so the list is made from there, once.
    let updates: Vec<&AppDataUpdate> = changes.iter().flat_map(|change| &change.components).collect();
    check_together(view, &updates)?;
    state.put(apply_to(
        &view.dictionary,
        || Ok(view.participants.clone()),
        updates.iter().copied(),
    )?)?;
    state.check_roles()?;
    if !updates.is_empty() {
        state.check_pseudonyms()?;
        state.check_same_metadata(view)?;
    }
    state.check_numbers(Some(view))?;
    if stage == Stage::Committed {
        state.check_clients()?;
        if !updates.is_empty() {
            state.check_components()?;
        }
        if promised.keys().any(|user| state.participates(user)) {
            return Err(Violation::Invalid("a participant stays whose removal was proposed"));
        }
    }
    check_fixed(view, &state, &promised)?;
    Ok(state)
}

/// Components that may not change together (mimi-room-policy §3 and §4).
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

/// A fixed membership stays as it is. Who left the room's parent goes nevertheless: nobody else is promised there.
fn check_fixed(before: &RoomView, after: &RoomView, promised: &Promised) -> Result<(), Violation> {
    let was = |user: &UserUri| before.held.contains_key(user);
    let stays = |user: &UserUri| after.held.contains_key(user) || promised.contains_key(user);
    if before.is_fixed() && !(after.held.keys().all(was) && before.held.keys().all(stays)) {
        return Err(Violation::NotAllowed("the membership is fixed"));
    }
    Ok(())
}

/// Whether a role lists the step of a user from one role to another.
fn lists(role: &Role, from: u32, to: u32) -> bool {
    let mut steps = role.authorized_role_changes.iter().filter(|step| step.from == from);
    steps.any(|step| step.targets.contains(&to))
}

/// Departures that a provider began: it can remove clients, but not change the list (no external sender can). The role
/// that each user gets instead, 0 or that of banned users, may be given by whoever commits.
type Promised = BTreeMap<UserUri, BTreeSet<u32>>;

struct Judge<'a> {
    start: &'a RoomView,
    /// The state that the changes before left; roles and clients follow each operation.
    state: &'a mut RoomView,
    promised: &'a mut Promised,
    change: &'a Change,
    user: Option<UserUri>,
    /// Whether the actor's user was in the list before this change.
    listed: bool,
    /// The role that the actor had before this change: that of its user in the list; outside the list the preauthorized
    /// one, else role 0. A member whose user is not in the list has none.
    role: Option<Role>,
}

impl<'a> Judge<'a> {
    fn new(start: &'a RoomView, state: &'a mut RoomView, promised: &'a mut Promised, change: &'a Change) -> Self {
        let user = change.actor.user();
        let held = user.as_ref().and_then(|user| state.role_index(user));
        let index = match (held, &change.actor) {
            (Some(index), _) => Some(index),
            (None, Actor::Member(_)) => None,
            (None, _) => Some(start.preauthorized(&change.evidence.claims).unwrap_or_default()),
        };
        Self {
            listed: held.is_some(),
            role: index.and_then(|index| state.roles.role(index)).cloned(),
            start,
            state,
            promised,
            change,
            user,
        }
    }

    fn judge(&mut self) -> Result<(), Violation> {
        self.enter()?;
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

    /// Whether the room lets anybody act from outside the group.
    fn enter(&self) -> Result<(), Violation> {
        let Some(operational) = self.start.operational() else {
            return Ok(());
        };
        let allowed = match self.change.actor {
            Actor::Member(_) => true,
            Actor::Joiner(_) => operational.external_commit_allowed,
            Actor::Applicant(_) | Actor::Sender(_) => operational.external_proposal_allowed,
        };
        if allowed || self.change.authorized {
            Ok(())
        } else {
            Err(Violation::NotAllowed("acting from outside the group"))
        }
    }

    /// Whether the actor's role has a capability.
    fn can(&self, capability: Capability) -> bool {
        self.change.authorized || self.role.as_ref().is_some_and(|role| has(role, capability))
    }

    /// Whether the actor's role lists the step.
    fn may_move(&self, from: u32, to: u32) -> bool {
        self.change.authorized || self.role.as_ref().is_some_and(|role| lists(role, from, to))
    }

    fn is_own(&self, user: &UserUri) -> bool {
        self.user.as_ref() == Some(user)
    }
}

fn allow(allowed: bool, why: &'static str) -> Result<(), Violation> {
    if allowed {
        Ok(())
    } else {
        Err(Violation::NotAllowed(why))
    }
}
