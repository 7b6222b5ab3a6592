//! The example policies of mimi-room-policy, appendix A, by name: what a room starts from.
//!
//! Three departures from the appendix. The policy enforcer is an external sender and stands in no participant list, so at
//! least 0 participants hold its role instead of 1; where it is known, a preauthorization gives it the role.
//! `canRevokeVoice` and `canGrantVoice` are left out, for no capability has these names. "All capabilities of a speaker"
//! in the speaker's own role are read as an attendee's, and "of an ordinary user" in the moderator's as a speaker's.

mod roles;

use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;
use mimi::mls::Credential;
use mimi::operational::OperationalParameters;
use mimi::role::{PreAuthData, PreAuthRoleEntry};
use mimi::{BaseRoomPolicy, ComponentId, Encode, RoleData};

use crate::preauth;

/// An example policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preset {
    /// A.1: everybody adds and removes participants.
    Cooperative,
    /// A.2: administrators do; others come with a join code or by preauthorization.
    Strict,
    /// A.3: guests and attendees listen, speakers speak, moderators decide who is what.
    Moderated,
    /// A.4: three organizations, each with users and administrators of its own.
    MultiOrganization,
}

/// No preset has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such preset: cooperative, strict, moderated or multi-organization")]
pub struct UnknownPreset;

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        Self::ALL
            .into_iter()
            .find(|preset| preset.name() == name)
            .ok_or(UnknownPreset)
    }
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [
        Self::Cooperative,
        Self::Strict,
        Self::Moderated,
        Self::MultiOrganization,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cooperative => "cooperative",
            Self::Strict => "strict",
            Self::Moderated => "moderated",
            Self::MultiOrganization => "multi-organization",
        }
    }

    /// Index of the role of who founds the room: its super_admin.
    pub const fn founder(self) -> u32 {
        match self {
            Self::Cooperative | Self::Strict => 4,
            Self::Moderated => 6,
            Self::MultiOrganization => 8,
        }
    }

    /// Index of the policy enforcer's role.
    pub const fn enforcer(self) -> u32 {
        self.founder() + 1
    }

    /// Its roles (0x0025).
    pub fn roles(self) -> RoleData {
        let mut roles = match self {
            Self::Cooperative => roles::cooperative(),
            Self::Strict => roles::strict(),
            Self::Moderated => roles::moderated(),
            Self::MultiOrganization => roles::multi_organization(),
        };
        for (index, role) in (0..).zip(&mut roles) {
            role.index = index;
        }
        RoleData { roles }
    }

    /// Who has a role without being a participant (0x0026): the enforcer, known by its credential.
    pub fn preauthorization(self, enforcer: &Credential) -> PreAuthData {
        let mut claims = preauth::claims(enforcer);
        claims.retain(|claim| claim.id == preauth::IDENTITY);
        // Without a claim the entry would match everybody.
        if claims.is_empty() {
            return PreAuthData::default();
        }
        let target_role = self.roles().role(self.enforcer()).cloned().unwrap_or_default();
        PreAuthData {
            entries: vec![PreAuthRoleEntry { claims, target_role }],
        }
    }

    /// The policy components of a room with this policy: roles, preauthorization, operational and base policy.
    pub fn components(
        self,
        enforcer: &Credential,
        operational: &OperationalParameters,
    ) -> BTreeMap<ComponentId, Bytes> {
        let base = BaseRoomPolicy {
            multi_device: true,
            persistent_room: true,
            policy_component_ids: vec![
                ComponentId::OPERATIONAL_POLICY,
                ComponentId::ROLES_LIST,
                ComponentId::PREAUTH_LIST,
            ],
            ..BaseRoomPolicy::default()
        };
        BTreeMap::from([
            (ComponentId::OPERATIONAL_POLICY, operational.encode().into()),
            (ComponentId::ROLES_LIST, self.roles().encode().into()),
            (
                ComponentId::PREAUTH_LIST,
                self.preauthorization(enforcer).encode().into(),
            ),
            (ComponentId::BASE_ROOM_POLICY, base.encode().into()),
        ])
    }
}
