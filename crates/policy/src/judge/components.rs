//! Changes of the room's metadata and policy (mimi-room-policy §8.3 and §8.6).

use mimi::metadata::RoomMetaData;
use mimi::policy::JoinLinksUpdate;
use mimi::{AppDataOperation, ComponentId, IdentifierUri};

use super::{Judge, allow};
use crate::components::decode;
use crate::{Capability, Violation};

impl Judge<'_> {
    pub(super) fn component(&mut self, component: ComponentId, operation: &AppDataOperation) -> Result<(), Violation> {
        let capability = match component {
            ComponentId::ROOM_METADATA => return self.metadata(operation),
            ComponentId::JOIN_LINKS => return self.join_links(operation),
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
        allow(self.can(capability), "a change of the room's policy")
    }

    fn join_links(&self, operation: &AppDataOperation) -> Result<(), Violation> {
        let (adds, removes) = match operation {
            AppDataOperation::Update(octets) => {
                let update: JoinLinksUpdate = decode(octets, "join links update")?;
                (!update.added.is_empty(), !update.removed.is_empty())
            }
            AppDataOperation::Remove => (false, true),
        };
        if !adds && !removes {
            return Err(Violation::Invalid("an update of join links that changes none"));
        }
        let may = (!adds || self.can(Capability::CreateJoinCode)) && (!removes || self.can(Capability::DeleteJoinCode));
        allow(may, "a change of the join links")
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
