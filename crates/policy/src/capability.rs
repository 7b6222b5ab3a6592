//! Capabilities of roles: the registry of mimi-room-policy §10.2, complete. Numbers that are not here are kept and ignored.

/// Who can hold people to a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforcer {
    /// The hub, and every member beside it.
    Hub,
    /// Only the clients that see what was encrypted.
    Clients,
    /// Reserved, and honoured here: without it the room's rules would stand still for ever.
    Reserved,
    /// Reserved without meaning: nobody.
    Nobody,
}

macro_rules! registry {
    ($($number:literal $capability:ident $name:literal $enforcer:ident;)+) => {
        /// A capability; its number is the CapabilityType.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Capability {
            $(
                #[doc = concat!("`", $name, "`.")]
                $capability = $number,
            )+
        }

        impl Capability {
            /// Every capability, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$capability),+];

            /// The capability with a CapabilityType, if the registry has it.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$capability),)+
                    _ => None,
                }
            }

            /// Its name in the registry.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$capability => $name,)+
                }
            }

            /// Who holds people to it.
            pub const fn enforcer(self) -> Enforcer {
                match self {
                    $(Self::$capability => Enforcer::$enforcer,)+
                }
            }
        }
    };
}

registry! {
    0x0000 AddParticipant "canAddParticipant" Hub;
    0x0001 RemoveParticipant "canRemoveParticipant" Hub;
    0x0002 AddOwnClient "canAddOwnClient" Hub;
    0x0003 RemoveOwnClient "canRemoveOwnClient" Hub;
    0x0004 OpenJoin "canOpenJoin" Hub;
    0x0005 JoinIfPreauthorized "canJoinIfPreauthorized" Hub;
    0x0006 RemoveSelf "canRemoveSelf" Hub;
    0x0007 CreateJoinCode "canCreateJoinCode" Reserved;
    0x0008 DeleteJoinCode "canDeleteJoinCode" Reserved;
    0x0009 UseJoinCode "canUseJoinCode" Hub;
    0x000a Ban "canBan" Hub;
    0x000b UnBan "canUnBan" Hub;
    0x000c Kick "canKick" Hub;
    0x000d Knock "canKnock" Nobody;
    0x000e AcceptKnock "canAcceptKnock" Nobody;
    0x000f ChangeUserRole "canChangeUserRole" Hub;
    0x0010 ChangeOwnRole "canChangeOwnRole" Hub;
    0x0011 CreateSubgroup "canCreateSubgroup" Nobody;
    0x0100 SendMessage "canSendMessage" Hub;
    0x0101 ReceiveMessage "canReceiveMessage" Hub;
    0x0102 CopyMessage "canCopyMessage" Clients;
    0x0103 ReportAbuse "canReportAbuse" Hub;
    0x0104 ReplyToMessage "canReplyToMessage" Clients;
    0x0105 ReactToMessage "canReactToMessage" Clients;
    0x0106 EditReaction "canEditReaction" Clients;
    0x0107 DeleteOwnReaction "canDeleteOwnReaction" Clients;
    0x0108 DeleteOtherReaction "canDeleteOtherReaction" Clients;
    0x0109 EditOwnMessage "canEditOwnMessage" Clients;
    0x010a DeleteOwnMessage "canDeleteOwnMessage" Clients;
    0x010b DeleteOtherMessage "canDeleteOtherMessage" Clients;
    0x010c StartTopic "canStartTopic" Clients;
    0x010d ReplyInTopic "canReplyInTopic" Clients;
    0x010e EditOwnTopic "canEditOwnTopic" Clients;
    0x010f EditOtherTopic "canEditOtherTopic" Clients;
    0x0110 SendDirectMessage "canSendDirectMessage" Nobody;
    0x0111 TargetMessage "canTargetMessage" Nobody;
    0x0200 UploadImage "canUploadImage" Clients;
    0x0201 UploadAudio "canUploadAudio" Clients;
    0x0202 UploadVideo "canUploadVideo" Clients;
    0x0203 UploadAttachment "canUploadAttachment" Clients;
    0x0204 DownloadImage "canDownloadImage" Clients;
    0x0205 DownloadAudio "canDownloadAudio" Clients;
    0x0206 DownloadVideo "canDownloadVideo" Clients;
    0x0207 DownloadAttachment "canDownloadAttachment" Clients;
    0x0208 SendLink "canSendLink" Clients;
    0x0209 SendLinkPreview "canSendLinkPreview" Clients;
    0x020a FollowLink "canFollowLink" Clients;
    0x020b CopyLink "canCopyLink" Clients;
    0x0300 ChangeRoomName "canChangeRoomName" Hub;
    0x0301 ChangeRoomDescription "canChangeRoomDescription" Hub;
    0x0302 ChangeRoomAvatar "canChangeRoomAvatar" Hub;
    0x0303 ChangeRoomSubject "canChangeRoomSubject" Hub;
    0x0304 ChangeRoomMood "canChangeRoomMood" Hub;
    0x0380 ChangeOwnName "canChangeOwnName" Nobody;
    0x0381 ChangeOwnPresence "canChangeOwnPresence" Nobody;
    0x0382 ChangeOwnMood "canChangeOwnMood" Nobody;
    0x0383 ChangeOwnAvatar "canChangeOwnAvatar" Nobody;
    0x0400 StartCall "canStartCall" Clients;
    0x0401 JoinCall "canJoinCall" Clients;
    0x0402 SendAudio "canSendAudio" Clients;
    0x0403 ReceiveAudio "canReceiveAudio" Clients;
    0x0404 SendVideo "canSendVideo" Clients;
    0x0405 ReceiveVideo "canReceiveVideo" Clients;
    0x0406 ShareScreen "canShareScreen" Clients;
    0x0407 ViewSharedScreen "canViewSharedScreen" Clients;
    0x0500 CreateRoom "canCreateRoom" Nobody;
    0x0501 DestroyRoom "canDestroyRoom" Hub;
    0x0502 ChangeRoomMembershipStyle "canChangeRoomMembershipStyle" Hub;
    0x0503 ChangeRoleDefinitions "canChangeRoleDefinitions" Hub;
    0x0504 ChangePreauthorizedUserList "canChangePreauthorizedUserList" Hub;
    0x0505 ChangeOtherPolicyAttribute "canChangeOtherPolicyAttribute" Reserved;
    0x0600 ChangeMlsOperationalPolicies "canChangeMlsOperationalPolicies" Reserved;
    0x0601 SendMlsReinitProposal "canSendMLSReinitProposal" Hub;
    0x0602 SendMlsUpdateProposal "canSendMLSUpdateProposal" Nobody;
    0x0603 SendMlsPskProposal "canSendMLSPSKProposal" Nobody;
    0x0604 SendMlsExternalProposal "canSendMLSExternalProposal" Nobody;
    0x0605 SendMlsExternalCommit "canSendMLSExternalCommit" Nobody;
}

impl Capability {
    /// CapabilityType.
    pub const fn number(self) -> u16 {
        self as u16
    }
}
