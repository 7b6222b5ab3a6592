//! Roles (mimi-room-policy §4, components 0x0025 to 0x0027) as they stand on the wire. What they allow is the policy's.

use bytes::Bytes;

use crate::app_data::ComponentId;
use crate::codec::wire;
use crate::identifier::IdentifierUri;
use crate::limits;

/// SingleSourceRoleChangeTargets: into which roles a holder may move users of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleChangeTargets {
    /// The role they have; 0 for users who do not participate.
    pub from: u32,
    /// The roles they may get; 0 removes them.
    pub targets: Vec<u32>,
}
wire!(RoleChangeTargets { from, targets }, at_most: limits::ROLES_MAX);

/// Role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// Its index, by which it is named.
    pub index: u32,
    /// Its name.
    pub name: Bytes,
    /// What it is for.
    pub description: Bytes,
    /// CapabilityTypes; unknown numbers are kept.
    pub capabilities: Vec<u16>,
    /// Participants who must hold it, at least.
    pub minimum_participants: u32,
    /// Participants who may hold it, at most.
    pub maximum_participants: Option<u32>,
    /// Active participants who must hold it, at least.
    pub minimum_active_participants: u32,
    /// Active participants who may hold it, at most.
    pub maximum_active_participants: Option<u32>,
    /// Changes of others' roles that its holders may make.
    pub authorized_role_changes: Vec<RoleChangeTargets>,
}
wire!(Role {
    index,
    name,
    description,
    capabilities,
    minimum_participants,
    maximum_participants,
    minimum_active_participants,
    maximum_active_participants,
    authorized_role_changes,
}, at_most: limits::ROLES_MAX);

/// RoleData (0x0025). An update replaces the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleData {
    /// The roles.
    pub roles: Vec<Role>,
}
wire!(RoleData { roles });

impl RoleData {
    /// The role with this index.
    pub fn role(&self, index: u32) -> Option<&Role> {
        self.roles.iter().find(|role| role.index == index)
    }
}

/// Claim: a value that a credential has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// CredentialType.
    pub credential_type: u16,
    /// Name of the claim.
    pub id: Bytes,
    /// Its value.
    pub value: Bytes,
}
wire!(Claim {
    credential_type,
    id,
    value
});

/// PreAuthRoleEntry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreAuthRoleEntry {
    /// The claims that a credential must all have.
    pub claims: Vec<Claim>,
    /// The role that it gives; only its index is used.
    pub target_role: Role,
}
wire!(PreAuthRoleEntry { claims, target_role });

/// PreAuthData (0x0026). The first entry that matches wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreAuthData {
    /// The entries.
    pub entries: Vec<PreAuthRoleEntry>,
}
wire!(PreAuthData { entries });

/// BaseRoomPolicy (0x0027).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BaseRoomPolicy {
    /// The set of participants never changes.
    pub fixed_membership: bool,
    /// Participants are among those of the parent room.
    pub parent_dependant: bool,
    /// The parent room: none or one.
    pub parent_room: Vec<IdentifierUri>,
    /// A user may have several clients in the room.
    pub multi_device: bool,
    /// Clients, at most.
    pub max_clients: Option<u32>,
    /// Users who are not banned, at most.
    pub max_users: Option<u32>,
    /// Credentials may hold pseudonyms.
    pub pseudonyms_allowed: bool,
    /// The room outlives its last member.
    pub persistent_room: bool,
    /// The room may be found by others.
    pub discoverable: bool,
    /// Policy components in use.
    pub policy_component_ids: Vec<ComponentId>,
}
wire!(BaseRoomPolicy {
    fixed_membership,
    parent_dependant,
    parent_room,
    multi_device,
    max_clients,
    max_users,
    pseudonyms_allowed,
    persistent_room,
    discoverable,
    policy_component_ids,
});
