//! The roles of each example policy, in the order of their indices.

use bytes::Bytes;
use mimi::Role;
use mimi::role::RoleChangeTargets;

use crate::Capability::{self, *};

/// A role without constraints; its index is its place in the list.
fn role(name: &'static str, capabilities: &[&[Capability]], steps: &[(u32, &[u32])]) -> Role {
    let capabilities = capabilities.iter().copied().flatten();
    Role {
        name: Bytes::from_static(name.as_bytes()),
        capabilities: capabilities.map(|capability| capability.number()).collect(),
        authorized_role_changes: steps
            .iter()
            .map(|(from, targets)| RoleChangeTargets {
                from: *from,
                targets: targets.to_vec(),
            })
            .collect(),
        ..Role::default()
    }
}

/// A role whose holders have no clients.
fn inactive(role: Role) -> Role {
    Role {
        maximum_active_participants: Some(0),
        ..role
    }
}

fn banned() -> Role {
    inactive(role("banned", &[], &[]))
}

/// At least one holder.
fn one_stays(role: Role) -> Role {
    Role {
        minimum_participants: 1,
        ..role
    }
}

fn policy_enforcer(steps: &[(u32, &[u32])]) -> Role {
    let capabilities = &[
        RemoveParticipant,
        ChangeUserRole,
        Ban,
        UnBan,
        ChangeRoleDefinitions,
        ChangePreauthorizedUserList,
        ChangeMlsOperationalPolicies,
        DestroyRoom,
        SendMlsReinitProposal,
    ];
    inactive(Role {
        maximum_participants: Some(2),
        ..role("policy_enforcer", &[capabilities], steps)
    })
}

const UPLOADS: &[Capability] = &[UploadImage, UploadVideo, UploadAudio, UploadAttachment];
const MEDIA: &[Capability] = &[DownloadImage, DownloadVideo, DownloadAudio];
const LINKS: &[Capability] = &[SendLink, SendLinkPreview, FollowLink, CopyLink];
const OWN_PROFILE: &[Capability] = &[ChangeOwnName, ChangeOwnPresence, ChangeOwnMood, ChangeOwnAvatar];

pub(super) fn cooperative() -> Vec<Role> {
    let user: &[Capability] = &[
        AddParticipant,
        RemoveParticipant,
        AddOwnClient,
        RemoveOwnClient,
        RemoveSelf,
        SendMessage,
        ReceiveMessage,
        CopyMessage,
        ReportAbuse,
        ReplyToMessage,
        ReactToMessage,
        DeleteOwnReaction,
        EditOwnMessage,
        DeleteOwnMessage,
        StartTopic,
        ReplyInTopic,
        EditOwnTopic,
        DownloadAttachment,
        ChangeRoomName,
        ChangeRoomAvatar,
        ChangeRoomSubject,
        ChangeRoomMood,
    ];
    let admin: &[Capability] = &[
        Ban,
        UnBan,
        Kick,
        ChangeUserRole,
        DeleteOtherMessage,
        EditOtherTopic,
        ChangeRoomDescription,
    ];
    let super_admin: &[Capability] = &[ChangeRoomMembershipStyle, ChangePreauthorizedUserList, DestroyRoom];
    let users = [user, UPLOADS, MEDIA, LINKS, OWN_PROFILE];
    let admins = [&users[..], &[admin]].concat();
    vec![
        inactive(role("no_role", &[], &[])),
        banned(),
        role("ordinary_user", &users, &[(0, &[2]), (2, &[0])]),
        one_stays(role("group_admin", &admins, ADMIN_STEPS)),
        role("super_admin", &[&admins[..], &[super_admin]].concat(), SUPER_STEPS),
        policy_enforcer(ENFORCER_STEPS),
    ]
}

const ADMIN_STEPS: &[(u32, &[u32])] = &[(0, &[1, 2, 3]), (1, &[0, 2, 3]), (2, &[0, 1, 3]), (3, &[0, 1, 2])];
const SUPER_STEPS: &[(u32, &[u32])] = &[
    (0, &[1, 2, 3, 4]),
    (1, &[0, 2, 3, 4]),
    (2, &[0, 1, 3, 4]),
    (3, &[0, 1, 2, 4]),
    (4, &[0, 1, 2, 3]),
];
const ENFORCER_STEPS: &[(u32, &[u32])] = &[(0, &[1]), (1, &[0]), (2, &[0, 1]), (3, &[0, 1]), (4, &[0, 1])];

/// What whoever looks after a room has beyond its users, in A.2 and A.3.
const MODERATION: &[Capability] = &[
    AddParticipant,
    RemoveParticipant,
    Ban,
    UnBan,
    Kick,
    ChangeUserRole,
    CreateJoinCode,
    DeleteJoinCode,
    DeleteOtherReaction,
    DeleteOtherMessage,
    EditOwnTopic,
    EditOtherTopic,
    ChangeRoomName,
    ChangeRoomAvatar,
    ChangeRoomSubject,
    ChangeRoomMood,
];

/// What a super_admin has beyond the administrators, in A.2 to A.4.
const DISRUPTION: &[Capability] = &[
    ChangeRoomMembershipStyle,
    ChangeRoleDefinitions,
    ChangePreauthorizedUserList,
    DestroyRoom,
    SendMlsReinitProposal,
];

pub(super) fn strict() -> Vec<Role> {
    let user: &[Capability] = &[
        AddOwnClient,
        JoinIfPreauthorized,
        RemoveOwnClient,
        RemoveSelf,
        ChangeOwnRole,
        SendMessage,
        ReceiveMessage,
        CopyMessage,
        ReportAbuse,
        ReactToMessage,
        DeleteOwnReaction,
        EditOwnMessage,
        DeleteOwnMessage,
        StartTopic,
        ReplyInTopic,
        DownloadAttachment,
    ];
    let users = [user, UPLOADS, MEDIA, LINKS, OWN_PROFILE];
    let admins = [&users[..], &[MODERATION, &[ChangeRoomDescription]]].concat();
    vec![
        inactive(role("no_role", &[&[UseJoinCode]], &[(0, &[2])])),
        banned(),
        role("ordinary_user", &users, &[(0, &[2]), (2, &[0])]),
        one_stays(role("group_admin", &admins, ADMIN_STEPS)),
        role("super_admin", &[&admins[..], &[DISRUPTION]].concat(), SUPER_STEPS),
        policy_enforcer(ENFORCER_STEPS),
    ]
}

pub(super) fn moderated() -> Vec<Role> {
    let guest: &[Capability] = &[
        RemoveSelf,
        ReceiveMessage,
        CopyMessage,
        ReactToMessage,
        DeleteOwnReaction,
        FollowLink,
        CopyLink,
    ];
    let attendee: &[Capability] = &[
        AddOwnClient,
        JoinIfPreauthorized,
        RemoveOwnClient,
        ChangeOwnRole,
        ReportAbuse,
        ReplyInTopic,
        DownloadAttachment,
        ChangeOwnName,
        ChangeOwnPresence,
        ChangeOwnAvatar,
    ];
    let speaker: &[Capability] = &[
        SendMessage,
        EditOwnMessage,
        DeleteOwnMessage,
        StartTopic,
        SendLink,
        SendLinkPreview,
    ];
    let guests = [guest, MEDIA];
    let attendees = [&guests[..], &[attendee]].concat();
    let speakers = [&attendees[..], &[speaker, UPLOADS]].concat();
    let moderators = [&speakers[..], &[MODERATION]].concat();
    let super_admins = [&moderators[..], &[DISRUPTION, &[ChangeRoomDescription]]].concat();
    vec![
        role("no_role", &[&[UseJoinCode]], &[(0, &[2, 3])]),
        banned(),
        role("guest", &guests, &[(0, &[2]), (2, &[0])]),
        role("attendee", &attendees, &[(0, &[3]), (3, &[0])]),
        role("speaker", &speakers, &[(0, &[4]), (4, &[0])]),
        one_stays(role(
            "moderator",
            &moderators,
            &[
                (0, &[1, 2, 3, 4, 5]),
                (1, &[0, 2, 3, 4, 5]),
                (2, &[0, 1, 3, 4, 5]),
                (3, &[0, 1, 2, 4, 5]),
                (4, &[0, 1, 2, 3, 5]),
                (5, &[0, 1, 2, 3, 4]),
            ],
        )),
        role(
            "super_admin",
            &super_admins,
            &[
                (0, &[1, 2, 3, 4, 5, 6]),
                (1, &[0, 2, 3, 4, 5, 6]),
                (2, &[0, 1, 3, 4, 5, 6]),
                (3, &[0, 1, 2, 4, 5, 6]),
                (4, &[0, 1, 2, 3, 5, 6]),
                (5, &[0, 1, 2, 3, 4, 6]),
                (6, &[0, 1, 2, 3, 4, 5]),
            ],
        ),
        policy_enforcer(&[
            (0, &[1]),
            (1, &[0]),
            (2, &[0, 1]),
            (3, &[0, 1]),
            (4, &[0, 1]),
            (5, &[0, 1]),
            (6, &[0, 1]),
        ]),
    ]
}

pub(super) fn multi_organization() -> Vec<Role> {
    let user: &[Capability] = &[
        RemoveSelf,
        AddOwnClient,
        RemoveOwnClient,
        SendMessage,
        ReceiveMessage,
        CopyMessage,
        ReportAbuse,
        ReplyInTopic,
        ReactToMessage,
        DeleteOwnReaction,
        EditOwnMessage,
        DownloadAttachment,
        ChangeOwnName,
        ChangeOwnPresence,
        ChangeOwnAvatar,
    ];
    let admin: &[Capability] = &[
        DeleteOwnMessage,
        StartTopic,
        AddParticipant,
        RemoveParticipant,
        Ban,
        Kick,
        ChangeUserRole,
    ];
    let at_home: &[Capability] = &[ChangeOwnRole, JoinIfPreauthorized];
    let super_admin: &[Capability] = &[
        UnBan,
        DeleteOtherReaction,
        DeleteOtherMessage,
        EditOwnTopic,
        EditOtherTopic,
        ChangeRoomDescription,
        ChangeRoomName,
        ChangeRoomAvatar,
        ChangeRoomSubject,
        ChangeRoomMood,
    ];
    let users = [user, LINKS, MEDIA];
    let users_at_home = [&users[..], &[at_home]].concat();
    let admins = [&users[..], &[admin, UPLOADS]].concat();
    let admins_at_home = [&admins[..], &[at_home]].concat();
    let super_admins = [&admins_at_home[..], &[super_admin, DISRUPTION]].concat();
    let three_at_most = |role: Role| Role {
        minimum_participants: 1,
        maximum_participants: Some(3),
        minimum_active_participants: 1,
        ..role
    };
    vec![
        inactive(role("no_role", &[], &[])),
        banned(),
        role("org_a_user", &users_at_home, &[(0, &[2]), (2, &[0])]),
        role("org_b_user", &users, &[(0, &[3]), (3, &[0])]),
        role("org_c_user", &users, &[(0, &[4]), (4, &[0])]),
        role(
            "org_a_admin",
            &admins_at_home,
            &[(0, &[2, 5]), (2, &[0, 1, 5]), (5, &[0, 1, 2])],
        ),
        three_at_most(role(
            "org_b_admin",
            &admins,
            &[(0, &[3, 6]), (3, &[0, 1, 6]), (6, &[0, 1, 3])],
        )),
        three_at_most(role(
            "org_c_admin",
            &admins,
            &[(0, &[4, 7]), (4, &[0, 1, 7]), (7, &[0, 1, 4])],
        )),
        Role {
            minimum_participants: 1,
            minimum_active_participants: 1,
            ..role(
                "super_admin",
                &super_admins,
                &[
                    (0, &[1, 2, 3, 4, 5, 6, 7, 8]),
                    (1, &[0, 2, 3, 4, 5, 6, 7, 8]),
                    (2, &[0, 1, 5, 8]),
                    (3, &[0, 1, 6]),
                    (4, &[0, 1, 7]),
                    (5, &[0, 1, 2, 8]),
                    (6, &[0, 1, 3]),
                    (7, &[0, 1, 4]),
                    (8, &[0, 1, 2, 5]),
                ],
            )
        },
        policy_enforcer(&[
            (0, &[1]),
            (1, &[0]),
            (3, &[0, 1]),
            (4, &[0, 1]),
            (5, &[0, 1]),
            (6, &[0, 1]),
            (7, &[0, 1]),
            (8, &[0, 1]),
        ]),
    ]
}
