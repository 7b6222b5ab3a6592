//! Preauthorization (mimi-room-policy §4): which role somebody has who is not in the participant list, by what the
//! credential says.

use bytes::Bytes;
use mimi::mls::Credential;
use mimi::role::{Claim, PreAuthData};
use mimi::{ClientUri, ComponentId, RoleData};

use crate::components::decode;
use crate::view::has;
use crate::{Capability, RoomView, Violation};

/// Name of the claim of a basic credential that is its whole identity.
pub const IDENTITY: &[u8] = b"identity";

/// Name of the claim of a basic credential that is the domain of its provider.
pub const DOMAIN: &[u8] = b"domain";

/// What a credential claims. The draft names no claims of basic credentials; here they are [`IDENTITY`] and, where the
/// identity is a client's, [`DOMAIN`]. Credentials of other types claim nothing that this crate can read.
pub fn claims(credential: &Credential) -> Vec<Claim> {
    let Some(identity) = credential.basic_identity() else {
        return Vec::new();
    };
    let claim = |id: &'static [u8], value| Claim {
        credential_type: Credential::BASIC,
        id: Bytes::from_static(id),
        value: Bytes::copy_from_slice(value),
    };
    let mut claims = vec![claim(IDENTITY, identity)];
    if let Ok(client) = ClientUri::from_octets(identity) {
        claims.push(claim(DOMAIN, client.provider().as_str().as_bytes()));
    }
    claims
}

/// Indices of the roles of all entries that match, in their order. An entry matches when each of its claims is there with
/// exactly its value.
fn matching<'a>(list: &'a PreAuthData, claims: &'a [Claim]) -> impl Iterator<Item = u32> + 'a {
    list.entries
        .iter()
        .filter(|entry| entry.claims.iter().all(|claim| claims.contains(claim)))
        .map(|entry| entry.target_role.index)
}

/// Each target role is the one of the roles list, of which only the index is used.
pub(crate) fn check_targets(list: &PreAuthData, roles: &RoleData) -> Result<(), Violation> {
    let known = |entry: &mimi::role::PreAuthRoleEntry| match roles.role(entry.target_role.index) {
        Some(role) => *role == entry.target_role,
        None => entry.target_role.index == 0,
    };
    if list.entries.iter().all(known) {
        Ok(())
    } else {
        Err(Violation::Invalid(
            "a preauthorized role that is not as in the roles list",
        ))
    }
}

impl RoomView {
    fn preauthorizations(&self) -> Option<PreAuthData> {
        decode(self.dictionary.component(ComponentId::PREAUTH_LIST)?, "preauth list").ok()
    }

    /// Index of the role of the first entry that matches these claims: of who is not in the participant list.
    pub fn preauthorized(&self, claims: &[Claim]) -> Option<u32> {
        matching(&self.preauthorizations()?, claims).next()
    }

    /// Whether somebody who is not in the participant list, and has these claims, has a capability.
    pub fn outsider_can(&self, claims: &[Claim], capability: Capability) -> bool {
        let index = self.preauthorized(claims).unwrap_or_default();
        self.roles.role(index).is_some_and(|role| has(role, capability))
    }

    /// Whether somebody who is not in the participant list may join with these claims.
    pub fn lets_in(&self, claims: &[Claim]) -> bool {
        let role = self.preauthorized(claims).and_then(|index| self.roles.role(index));
        role.is_some_and(|role| role.index != 0 && has(role, Capability::JoinIfPreauthorized))
    }

    /// Whether `client`, whose user is not in the list, may join by itself, because the room is open or by these claims, in
    /// a role that has room for it.
    pub fn lets_join(&self, client: &ClientUri, claims: &[Claim]) -> bool {
        let nobody = self.roles.role(0).filter(|_| self.is_open());
        let steps = nobody.into_iter().flat_map(|role| &role.authorized_role_changes);
        let open = steps
            .filter(|step| step.from == 0)
            .flat_map(|step| step.targets.iter().copied());
        let given = self.preauthorized(claims).filter(|_| self.lets_in(claims));
        open.chain(given)
            .any(|role| role != 0 && !self.is_ban(role) && self.has_room_for(client, role))
    }

    /// Index of the first role other than 0 that these claims match: what a participant may make of its own role.
    pub fn preauthorized_participant(&self, claims: &[Claim]) -> Option<u32> {
        matching(&self.preauthorizations()?, claims).find(|index| *index != 0)
    }
}
