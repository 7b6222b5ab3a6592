//! A room as its rules see it: components, participants and active clients at one moment.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use mimi::operational::OperationalParameters;
use mimi::{
    AppDataDictionary, BaseRoomPolicy, ClientUri, ComponentId, Encode, ParticipantList, Provider, Role, RoleData,
    UserUri,
};

use crate::components::{Changed, decode, participants_of};
use crate::{Capability, Violation, values};

/// Index of the role of banned users.
pub const BANNED: u32 = 1;

/// A room at one moment. Equal views judge alike. Copies share what they have in common, however large the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    pub(crate) dictionary: AppDataDictionary,
    pub(crate) participants: ParticipantList,
    pub(crate) roles: RoleData,
    pub(crate) base: BaseRoomPolicy,
    operational: Option<Arc<OperationalParameters>>,
    /// Role of each participant.
    pub(crate) held: OrdMap<UserUri, u32>,
    /// Clients with a leaf, by user.
    pub(crate) clients: OrdMap<UserUri, OrdSet<ClientUri>>,
}

impl RoomView {
    /// The view of a room with these components and these clients in its group.
    ///
    /// # Errors
    /// A component that a room must have is missing or does not decode, a user is listed twice or has no canonical URI, or
    /// a client is in the group twice. Whether the rules hold is [`Self::check`]'s.
    pub fn new(dictionary: AppDataDictionary, clients: impl IntoIterator<Item = ClientUri>) -> Result<Self, Violation> {
        let participants = participants_of(&dictionary)?;
        let component = |id, missing| dictionary.component(id).ok_or(Violation::Invalid(missing));
        let roles: RoleData = decode(component(ComponentId::ROLES_LIST, "no roles list")?, "roles list")?;
        let base: BaseRoomPolicy = decode(
            component(ComponentId::BASE_ROOM_POLICY, "no base room policy")?,
            "base room policy",
        )?;
        let held = held(&participants)?;
        let mut view = Self {
            operational: operational_of(&dictionary),
            dictionary,
            participants,
            roles,
            base,
            held,
            clients: OrdMap::new(),
        };
        for client in clients {
            view.add_client(client)?;
        }
        Ok(view)
    }

    pub(crate) fn add_client(&mut self, client: ClientUri) -> Result<(), Violation> {
        if self.clients.entry(client.user()).or_default().insert(client).is_some() {
            return Err(Violation::Invalid("a client that is in the group already"));
        }
        Ok(())
    }

    pub(crate) fn remove_client(&mut self, client: &ClientUri) -> Result<(), Violation> {
        let user = client.user();
        let clients = self.clients.get_mut(&user);
        if clients.and_then(|clients| clients.remove(client)).is_none() {
            return Err(Violation::Invalid("a client that is not in the group"));
        }
        if self.clients.get(&user).is_some_and(OrdSet::is_empty) {
            self.clients.remove(&user);
        }
        Ok(())
    }

    /// The components.
    pub fn dictionary(&self) -> &AppDataDictionary {
        &self.dictionary
    }

    /// The participants.
    pub fn participants(&self) -> &ParticipantList {
        &self.participants
    }

    /// Index of a participant's role.
    pub fn role_index(&self, user: &UserUri) -> Option<u32> {
        self.held.get(user).copied()
    }

    /// A participant's role.
    pub fn role(&self, user: &UserUri) -> Option<&Role> {
        self.roles.role(self.role_index(user)?)
    }

    /// Whether the role of a participant has a capability.
    pub fn can(&self, user: &UserUri, capability: Capability) -> bool {
        self.role(user).is_some_and(|role| has(role, capability))
    }

    /// Whether a user is in the list with a role other than that of banned users.
    pub fn participates(&self, user: &UserUri) -> bool {
        self.role_index(user).is_some_and(|index| !self.is_ban(index))
    }

    /// Whether a role is that of banned users.
    pub fn is_ban(&self, index: u32) -> bool {
        index == BANNED && self.roles.role(index).is_some_and(|role| &*role.name == b"banned")
    }

    /// Clients of a user in the group.
    pub fn clients(&self, user: &UserUri) -> impl Iterator<Item = &ClientUri> {
        self.clients.get(user).into_iter().flatten()
    }

    /// Whether a client of the user is in the group.
    pub fn is_active(&self, user: &UserUri) -> bool {
        self.clients.contains_key(user)
    }

    /// Users with a client in the group.
    pub fn active_users(&self) -> impl Iterator<Item = &UserUri> {
        self.clients.keys()
    }

    /// Providers with a client in the group.
    pub fn providers(&self) -> BTreeSet<&Provider> {
        self.clients.keys().map(UserUri::provider).collect()
    }

    /// Whether a user of the provider is in the list.
    pub fn lists_users_of(&self, provider: &Provider) -> bool {
        self.held.keys().any(|user| user.provider() == provider)
    }

    /// Every user who is in the list or in the group: its role in the list, and how many clients it has in the group.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&UserUri, Option<u32>, usize)> {
        let (mut held, mut clients) = (self.held.iter().peekable(), self.clients.iter().peekable());
        std::iter::from_fn(move || {
            let order = match (held.peek(), clients.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((listed, _)), Some((active, _))) => listed.cmp(active),
            };
            let listed = held.next_if(|_| order.is_le());
            let active = clients.next_if(|_| order.is_ge());
            let user = listed.map(|(user, _)| user).or_else(|| active.map(|(user, _)| user))?;
            let number = active.map_or(0, |(_, clients)| clients.len());
            Some((user, listed.map(|(_, role)| *role), number))
        })
    }

    /// Whether a user of the provider is in the list with a role other than that of banned users.
    pub fn has_participants_of(&self, provider: &Provider) -> bool {
        let mut held = self.held.iter();
        held.any(|(user, role)| user.provider() == provider && !self.is_ban(*role))
    }

    /// How many clients are in the group.
    pub fn client_count(&self) -> usize {
        self.clients.values().map(OrdSet::len).sum()
    }

    /// mls_operational_policy (0x0024), where the room has one.
    pub fn operational(&self) -> Option<&OperationalParameters> {
        self.operational.as_deref()
    }

    /// Whether anybody may join: role 0 has canOpenJoin.
    pub fn is_open(&self) -> bool {
        self.roles.role(0).is_some_and(|role| has(role, Capability::OpenJoin))
    }

    /// The same room with its components as `dictionary` spells them: a commit may name its proposals in another order than
    /// they were judged in, which decides only the order in which users were appended.
    ///
    /// # Errors
    /// The dictionary says something else.
    pub fn with_dictionary(self, dictionary: AppDataDictionary) -> Result<Self, Violation> {
        if dictionary == self.dictionary {
            return Ok(self);
        }
        let other = Violation::Invalid("the components are not what the proposals make");
        let participants = participants_of(&dictionary)?;
        let apart = |each: &AppDataDictionary| {
            let mut others = each.clone();
            others.0.remove(&ComponentId::PARTICIPANT_LIST);
            others
        };
        if held(&participants)? != self.held || apart(&dictionary) != apart(&self.dictionary) {
            return Err(other);
        }
        Ok(Self {
            dictionary,
            participants,
            ..self
        })
    }

    /// Puts changed components in and reads those again that the view is made of. Who holds which role is there already:
    /// it followed each operation on the list.
    pub(crate) fn put(&mut self, changed: Changed) -> Result<(), Violation> {
        if let Some(participants) = changed.participants {
            self.participants = participants;
            debug_assert_eq!(held(&self.participants).as_ref(), Ok(&self.held));
        }
        for (component, value) in changed.components {
            match value {
                Some(value) => self.dictionary.0.insert(component, value),
                None => self.dictionary.0.remove(&component),
            };
            match component {
                ComponentId::ROLES_LIST => self.roles = decode(&self.dictionary.0[&component], "roles list")?,
                ComponentId::BASE_ROOM_POLICY => {
                    self.base = decode(&self.dictionary.0[&component], "base room policy")?;
                }
                ComponentId::OPERATIONAL_POLICY => self.operational = operational_of(&self.dictionary),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a room may begin so, or be so after a commit: every rule on its state holds.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        self.check_clients()?;
        self.check_components()?;
        self.check_pseudonyms()?;
        self.check_roles()?;
        self.check_numbers(None)
    }

    /// Each client's user is in the list with a role that may have clients.
    pub(crate) fn check_clients(&self) -> Result<(), Violation> {
        for (_, role, clients) in self.users() {
            if clients == 0 {
                continue;
            }
            let role = role
                .and_then(|index| self.roles.role(index))
                .ok_or(Violation::Invalid("a client whose user is not in the list"))?;
            if self.is_ban(role.index) || role.maximum_active_participants == Some(0) {
                return Err(Violation::Invalid("a client of a user whose role has no clients"));
            }
        }
        Ok(())
    }

    /// The rules on roles that hold between commits, too.
    pub(crate) fn check_roles(&self) -> Result<(), Violation> {
        values::check_roles(&self.roles)?;
        let known = |role: &u32| *role != 0 && self.roles.role(*role).is_some();
        if self.held.values().all(known) {
            Ok(())
        } else {
            Err(Violation::Invalid("a role that is not in the roles list"))
        }
    }

    /// Everything in it, in one order.
    pub fn canonical(&self) -> Vec<u8> {
        let mut octets = self.dictionary.encode();
        for client in self.clients.values().flatten() {
            octets.extend_from_slice(client.as_str().as_bytes());
            octets.push(0);
        }
        octets
    }
}

/// Whether a role has a capability.
pub(crate) fn has(role: &Role, capability: Capability) -> bool {
    role.capabilities.contains(&capability.number())
}

fn operational_of(dictionary: &AppDataDictionary) -> Option<Arc<OperationalParameters>> {
    let octets = dictionary.component(ComponentId::OPERATIONAL_POLICY)?;
    decode(octets, "operational policy").ok().map(Arc::new)
}

fn held(participants: &ParticipantList) -> Result<OrdMap<UserUri, u32>, Violation> {
    let mut held = OrdMap::new();
    for participant in &participants.participants {
        let user = participant
            .user
            .user()
            .map_err(|_| Violation::Invalid("a participant without a canonical URI"))?;
        if held.insert(user, participant.role).is_some() {
            return Err(Violation::Invalid("a user is in the list twice"));
        }
    }
    Ok(held)
}
