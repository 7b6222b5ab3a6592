//! Capabilities of roles that a hub enforces (mimi-room-policy §10.2). Numbers that are not here are kept and ignored.

/// A capability; its number is the CapabilityType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Capability {
    /// canAddParticipant.
    AddParticipant = 0x0000,
    /// canRemoveParticipant.
    RemoveParticipant = 0x0001,
    /// canAddOwnClient.
    AddOwnClient = 0x0002,
    /// canRemoveOwnClient.
    RemoveOwnClient = 0x0003,
    /// canOpenJoin; of role 0 only.
    OpenJoin = 0x0004,
    /// canRemoveSelf.
    RemoveSelf = 0x0006,
    /// canBan.
    Ban = 0x000a,
    /// canUnBan.
    UnBan = 0x000b,
    /// canKick.
    Kick = 0x000c,
    /// canChangeUserRole.
    ChangeUserRole = 0x000f,
    /// canSendMessage.
    SendMessage = 0x0100,
    /// canReceiveMessage.
    ReceiveMessage = 0x0101,
    /// canChangeRoomName.
    ChangeRoomName = 0x0300,
    /// canChangeRoomDescription.
    ChangeRoomDescription = 0x0301,
    /// canChangeRoomAvatar.
    ChangeRoomAvatar = 0x0302,
    /// canChangeRoomSubject.
    ChangeRoomSubject = 0x0303,
    /// canChangeRoomMood.
    ChangeRoomMood = 0x0304,
    /// canChangeRoomMembershipStyle.
    ChangeRoomMembershipStyle = 0x0502,
    /// canChangeRoleDefinitions.
    ChangeRoleDefinitions = 0x0503,
    /// canChangePreauthorizedUserList.
    ChangePreauthorizedUserList = 0x0504,
    /// canChangeOtherPolicyAttribute.
    ChangeOtherPolicyAttribute = 0x0505,
    /// canChangeMlsOperationalPolicies.
    ChangeMlsOperationalPolicies = 0x0600,
    /// canSendMLSReinitProposal.
    SendMlsReinitProposal = 0x0601,
}

impl Capability {
    /// CapabilityType.
    pub const fn number(self) -> u16 {
        self as u16
    }
}
