//! The rules as a hub and its clients apply them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use mimi::metadata::{RoomMetaData, Text};
use mimi::role::RoleChangeTargets;
use mimi::{
    AppDataDictionary, AppDataOperation, AppDataUpdate, BaseRoomPolicy, ClientUri, ComponentId, Encode, Participant,
    ParticipantList, ParticipantListUpdate, Role, RoleChange, RoleData, UserUri,
};
use policy::{
    Actor, Capability, Change, Evidence, RoomView, Stage, Violation, apply_components, apply_participants, judge,
};
use proptest::prelude::*;

const BANNED: u32 = 1;
const MEMBER: u32 = 2;
const ADMIN: u32 = 3;

fn user(name: &str) -> UserUri {
    format!("mimi://a.example/u/{name}").parse().unwrap()
}

fn client(name: &str, device: &str) -> ClientUri {
    format!("mimi://a.example/d/{name}/{device}").parse().unwrap()
}

fn participant(name: &str, role: u32) -> Participant {
    Participant {
        user: (&user(name)).into(),
        role,
    }
}

fn targets(from: u32, targets: &[u32]) -> RoleChangeTargets {
    RoleChangeTargets {
        from,
        targets: targets.to_vec(),
    }
}

fn roles() -> RoleData {
    let own = [
        Capability::AddOwnClient,
        Capability::RemoveOwnClient,
        Capability::RemoveSelf,
        Capability::SendMessage,
    ];
    let admin = [
        Capability::AddParticipant,
        Capability::RemoveParticipant,
        Capability::Ban,
        Capability::UnBan,
        Capability::Kick,
        Capability::ChangeUserRole,
        Capability::ChangeRoleDefinitions,
        Capability::ChangeRoomName,
    ];
    let numbers = |list: &[&[Capability]]| list.concat().into_iter().map(Capability::number).collect::<Vec<u16>>();
    RoleData {
        roles: vec![
            Role {
                index: BANNED,
                name: Bytes::from_static(b"banned"),
                maximum_active_participants: Some(0),
                ..Role::default()
            },
            Role {
                index: MEMBER,
                capabilities: numbers(&[&own]),
                authorized_role_changes: vec![targets(MEMBER, &[0])],
                ..Role::default()
            },
            Role {
                index: ADMIN,
                capabilities: numbers(&[&own, &admin]),
                minimum_participants: 1,
                authorized_role_changes: vec![
                    targets(0, &[MEMBER, ADMIN]),
                    targets(BANNED, &[MEMBER]),
                    targets(MEMBER, &[0, BANNED, ADMIN]),
                    targets(ADMIN, &[0, MEMBER]),
                ],
                ..Role::default()
            },
        ],
    }
}

/// alice administers with two clients, bob and carol are members with one, dave has none.
fn room_with(roles: &RoleData, base: &BaseRoomPolicy) -> RoomView {
    let list = ParticipantList {
        participants: vec![
            participant("alice", ADMIN),
            participant("bob", MEMBER),
            participant("carol", MEMBER),
            participant("dave", MEMBER),
        ],
    };
    let dictionary = AppDataDictionary(BTreeMap::from([
        (ComponentId::PARTICIPANT_LIST, list.encode().into()),
        (ComponentId::ROLES_LIST, roles.encode().into()),
        (ComponentId::BASE_ROOM_POLICY, base.encode().into()),
    ]));
    let clients = [
        client("alice", "phone"),
        client("alice", "laptop"),
        client("bob", "phone"),
        client("carol", "phone"),
    ];
    RoomView::new(dictionary, clients).unwrap()
}

fn base() -> BaseRoomPolicy {
    BaseRoomPolicy {
        multi_device: true,
        policy_component_ids: vec![ComponentId::ROLES_LIST],
        ..BaseRoomPolicy::default()
    }
}

fn room() -> RoomView {
    room_with(&roles(), &base())
}

fn by(actor: &str) -> Change {
    Change {
        actor: Actor::Member(client(actor, "phone")),
        components: Vec::new(),
        removes: Vec::new(),
        adds: Vec::new(),
        authorized: false,
        evidence: Evidence::default(),
    }
}

fn list(update: &ParticipantListUpdate) -> AppDataUpdate {
    set(ComponentId::PARTICIPANT_LIST, update)
}

fn set(component: ComponentId, value: &impl Encode) -> AppDataUpdate {
    AppDataUpdate {
        component,
        operation: AppDataOperation::Update(value.encode().into()),
    }
}

fn added(name: &str, role: u32) -> AppDataUpdate {
    list(&ParticipantListUpdate {
        added: vec![participant(name, role)],
        ..ParticipantListUpdate::default()
    })
}

fn removed(index: u32) -> AppDataUpdate {
    list(&ParticipantListUpdate {
        removed: vec![index],
        ..ParticipantListUpdate::default()
    })
}

fn changed(user_index: u32, role: u32) -> AppDataUpdate {
    list(&ParticipantListUpdate {
        changed: vec![RoleChange { user_index, role }],
        ..ParticipantListUpdate::default()
    })
}

fn commit(changes: &[Change]) -> Result<RoomView, Violation> {
    judge(&room(), changes, Stage::Committed)
}

#[test]
fn h_11_p_5_l_2_a_participant_and_its_clients_are_added_together() {
    let after = commit(&[Change {
        components: vec![added("erin", MEMBER)],
        adds: vec![client("erin", "phone"), client("erin", "laptop")],
        ..by("alice")
    }])
    .unwrap();
    assert_eq!(after.role_index(&user("erin")), Some(MEMBER));
    assert_eq!(after.clients(&user("erin")).count(), 2);
    assert_eq!(
        after.participants().participants.last().unwrap(),
        &participant("erin", MEMBER)
    );
}

#[test]
fn h_11_l_6_a_client_of_an_unlisted_user_is_not_added() {
    let change = Change {
        adds: vec![client("erin", "phone")],
        ..by("alice")
    };
    assert!(matches!(commit(&[change]), Err(Violation::Invalid(_))));
}

#[test]
fn p_6_l_5_a_member_may_add_its_own_clients_and_nobody_else() {
    let own = Change {
        adds: vec![client("bob", "laptop")],
        ..by("bob")
    };
    assert!(commit(&[own]).is_ok());
    let other = Change {
        adds: vec![client("dave", "phone")],
        ..by("bob")
    };
    assert!(matches!(commit(&[other]), Err(Violation::NotAllowed(_))));
    let participant = Change {
        components: vec![added("erin", MEMBER)],
        ..by("bob")
    };
    assert!(matches!(commit(&[participant]), Err(Violation::NotAllowed(_))));
}

#[test]
fn p_6_a_client_that_is_in_the_group_is_not_added_again() {
    let change = Change {
        adds: vec![client("bob", "phone")],
        ..by("bob")
    };
    assert!(matches!(commit(&[change]), Err(Violation::Invalid(_))));
}

#[test]
fn h_11_p_10_a_removed_participant_leaves_no_client_behind() {
    let half = Change {
        components: vec![removed(1)],
        ..by("alice")
    };
    assert!(matches!(
        commit(std::slice::from_ref(&half)),
        Err(Violation::Invalid(_))
    ));
    assert!(
        judge(&room(), std::slice::from_ref(&half), Stage::Proposed).is_ok(),
        "the rest may follow"
    );
    let whole = Change {
        removes: vec![client("bob", "phone")],
        ..half
    };
    let after = commit(&[whole]).unwrap();
    assert!(!after.participates(&user("bob")) && !after.is_active(&user("bob")));
}

#[test]
fn p_12_a_member_leaves_by_itself_but_removes_nobody() {
    let leaves = Change {
        components: vec![removed(1)],
        removes: vec![client("bob", "phone")],
        ..by("bob")
    };
    assert!(commit(&[leaves]).is_ok());
    let removes = Change {
        components: vec![removed(2)],
        removes: vec![client("carol", "phone")],
        ..by("bob")
    };
    assert!(matches!(commit(&[removes]), Err(Violation::NotAllowed(_))));
}

#[test]
fn p_13_kicking_takes_clients_and_leaves_the_list_alone() {
    let kick = |actor| Change {
        removes: vec![client("bob", "phone")],
        ..by(actor)
    };
    let after = commit(&[kick("alice")]).unwrap();
    assert!(after.participates(&user("bob")) && !after.is_active(&user("bob")));
    assert!(matches!(commit(&[kick("carol")]), Err(Violation::NotAllowed(_))));
}

#[test]
fn h_13_what_was_accepted_before_takes_effect_on_what_is_asked_next() {
    let promote = Change {
        components: vec![changed(1, ADMIN)],
        ..by("alice")
    };
    let demote_alice = Change {
        components: vec![changed(0, MEMBER)],
        ..by("bob")
    };
    let privileged = Change {
        components: vec![added("erin", MEMBER)],
        ..by("alice")
    };
    let all = [promote, demote_alice, privileged];
    assert!(judge(&room(), &all[..2], Stage::Proposed).is_ok());
    assert!(matches!(
        judge(&room(), &all, Stage::Proposed),
        Err(Violation::NotAllowed(_))
    ));
}

#[test]
fn l_3_l_4_one_user_is_operated_on_once_an_epoch() {
    let twice = [
        Change {
            components: vec![changed(1, ADMIN)],
            ..by("alice")
        },
        Change {
            components: vec![removed(1)],
            removes: vec![client("bob", "phone")],
            ..by("alice")
        },
    ];
    assert_eq!(
        judge(&room(), &twice, Stage::Proposed),
        Err(Violation::Invalid("two operations on one user"))
    );
    let again = Change {
        components: vec![removed(3), added("dave", MEMBER)],
        ..by("alice")
    };
    assert!(matches!(commit(&[again]), Err(Violation::Invalid(_))));
    let added_twice = Change {
        components: vec![added("erin", MEMBER), added("erin", ADMIN)],
        ..by("alice")
    };
    assert!(matches!(commit(&[added_twice]), Err(Violation::Invalid(_))));
}

#[test]
fn p_16_a_banned_user_stays_listed_without_clients_and_can_do_nothing() {
    let ban = Change {
        components: vec![changed(1, BANNED)],
        removes: vec![client("bob", "phone")],
        ..by("alice")
    };
    let after = commit(&[ban]).unwrap();
    assert_eq!(after.role_index(&user("bob")), Some(BANNED));
    let back = Change {
        actor: Actor::Joiner(client("bob", "phone")),
        adds: vec![client("bob", "phone")],
        ..by("bob")
    };
    assert!(judge(&after, &[back], Stage::Committed).is_err());
}

#[test]
fn l_6_a_role_keeps_its_least_number_of_holders() {
    let leave = Change {
        components: vec![changed(0, MEMBER)],
        ..by("bob")
    };
    let promoted = commit(&[Change {
        components: vec![changed(1, ADMIN)],
        ..by("alice")
    }])
    .unwrap();
    assert!(judge(&promoted, std::slice::from_ref(&leave), Stage::Committed).is_ok());
    let alone = Change {
        components: vec![list(&ParticipantListUpdate {
            changed: vec![RoleChange {
                user_index: 1,
                role: MEMBER,
            }],
            ..ParticipantListUpdate::default()
        })],
        ..by("alice")
    };
    let after = judge(&promoted, &[leave], Stage::Committed).unwrap();
    assert!(
        judge(&after, &[alone], Stage::Committed).is_err(),
        "alice is a member now"
    );
    let mut strict = roles();
    strict.roles[1].maximum_participants = Some(3);
    let full = Change {
        components: vec![added("erin", MEMBER)],
        ..by("alice")
    };
    assert!(matches!(
        judge(&room_with(&strict, &base()), &[full], Stage::Committed),
        Err(Violation::Limit(_))
    ));
}

#[test]
fn p_7_an_external_joiner_adds_itself_where_it_is_listed_or_the_room_is_open() {
    let join = |name: &str, components| Change {
        actor: Actor::Joiner(client(name, "tablet")),
        components,
        adds: vec![client(name, "tablet")],
        ..by(name)
    };
    assert!(commit(&[join("bob", Vec::new())]).is_ok());
    assert!(matches!(
        commit(&[join("erin", vec![added("erin", MEMBER)])]),
        Err(Violation::NotAllowed(_))
    ));
    let mut open = roles();
    open.roles.push(Role {
        capabilities: vec![Capability::OpenJoin.number()],
        authorized_role_changes: vec![targets(0, &[MEMBER])],
        ..Role::default()
    });
    let room = room_with(&open, &base());
    assert!(judge(&room, &[join("erin", vec![added("erin", MEMBER)])], Stage::Committed).is_ok());
    let as_admin = join("erin", vec![added("erin", ADMIN)]);
    assert!(matches!(
        judge(&room, &[as_admin], Stage::Committed),
        Err(Violation::NotAllowed(_))
    ));
    let brings_another = Change {
        adds: vec![client("erin", "tablet"), client("dave", "phone")],
        ..join("erin", vec![added("erin", MEMBER)])
    };
    assert!(judge(&room, &[brings_another], Stage::Committed).is_err());
}

#[test]
fn p_6_a_joiner_that_lost_its_state_replaces_its_own_leaf_only() {
    let resync = |removes: ClientUri| Change {
        actor: Actor::Joiner(client("bob", "phone")),
        removes: vec![removes],
        adds: vec![client("bob", "phone")],
        ..by("bob")
    };
    assert!(commit(&[resync(client("bob", "phone"))]).is_ok());
    assert!(commit(&[resync(client("carol", "phone"))]).is_err());
}

#[test]
fn l_8_h_13_roles_and_participants_do_not_change_together() {
    let both = Change {
        components: vec![set(ComponentId::ROLES_LIST, &roles()), added("erin", MEMBER)],
        ..by("alice")
    };
    assert!(matches!(commit(&[both]), Err(Violation::Invalid(_))));
    let roles_only = Change {
        components: vec![set(ComponentId::ROLES_LIST, &roles())],
        ..by("alice")
    };
    assert!(commit(&[roles_only]).is_ok());
}

#[test]
fn l_9_each_changed_field_of_the_metadata_needs_its_capability() {
    let metadata = |name: &str, mood: &str| RoomMetaData {
        room_name: Text(name.into()),
        room_mood: Text(mood.into()),
        ..RoomMetaData::default()
    };
    let rename = |metadata: &RoomMetaData, actor| Change {
        components: vec![set(ComponentId::ROOM_METADATA, metadata)],
        ..by(actor)
    };
    assert!(commit(&[rename(&metadata("Clubhouse", ""), "alice")]).is_ok());
    assert!(matches!(
        commit(&[rename(&metadata("Clubhouse", "merry"), "alice")]),
        Err(Violation::NotAllowed(_))
    ));
    assert!(matches!(
        commit(&[rename(&metadata("x", ""), "bob")]),
        Err(Violation::NotAllowed(_))
    ));
}

#[test]
fn p_18_p_20_a_fixed_membership_and_a_single_device_hold() {
    let fixed = BaseRoomPolicy {
        fixed_membership: true,
        ..base()
    };
    let change = Change {
        components: vec![added("erin", MEMBER)],
        ..by("alice")
    };
    assert!(judge(&room_with(&roles(), &fixed), &[change], Stage::Committed).is_err());
    let single = BaseRoomPolicy {
        multi_device: false,
        ..base()
    };
    let single = room_with(&roles(), &single);
    assert_eq!(single.check(), Err(Violation::Limit("one client a user")));
}

#[test]
fn h_22_l_10_a_component_has_one_remove_or_its_updates() {
    let dictionary = room().dictionary().clone();
    let remove = |component| AppDataUpdate {
        component,
        operation: AppDataOperation::Remove,
    };
    let subject = set(ComponentId::ROOM_METADATA, &RoomMetaData::default());
    for invalid in [
        vec![remove(ComponentId::PARTICIPANT_LIST)],
        vec![remove(ComponentId::ROOM_METADATA)],
        vec![subject.clone(), subject.clone()],
        vec![subject.clone(), remove(ComponentId::ROOM_METADATA)],
        vec![set(ComponentId(0x7777), &RoomMetaData::default())],
    ] {
        assert!(apply_components(&dictionary, &invalid).is_err(), "{invalid:?}");
    }
    assert!(apply_components(&dictionary, &[subject]).is_ok());
}

fn any_update() -> impl Strategy<Value = ParticipantListUpdate> {
    let change = (0u32..7, 0u32..5).prop_map(|(user_index, role)| RoleChange { user_index, role });
    let added = (0u32..8, 0u32..5).prop_map(|(name, role)| participant(&format!("user{name}"), role));
    (
        proptest::collection::vec(change, 0..3),
        proptest::collection::vec(0u32..7, 0..3),
        proptest::collection::vec(added, 0..3),
    )
        .prop_map(|(changed, removed, added)| ParticipantListUpdate {
            changed,
            removed,
            added,
        })
}

proptest! {
    #[test]
    fn l_1_l_2_l_4_a_list_that_updates_make_has_each_user_once_and_only_what_they_say(
        updates in proptest::collection::vec(any_update(), 1..3)
    ) {
        let before = ParticipantList {
            participants: (0..5).map(|name| participant(&format!("user{name}"), MEMBER)).collect(),
        };
        if let Ok(after) = apply_participants(&before, &updates) {
            let mut model: Vec<Participant> = before.participants.clone();
            for (index, each) in model.iter_mut().enumerate() {
                for change in updates.iter().flat_map(|update| &update.changed) {
                    if change.user_index as usize == index {
                        each.role = change.role;
                    }
                }
            }
            let gone: Vec<usize> = updates.iter().flat_map(|u| &u.removed).map(|index| *index as usize).collect();
            let mut index = 0;
            model.retain(|_| { index += 1; !gone.contains(&(index - 1)) });
            model.extend(updates.iter().flat_map(|update| update.added.clone()));
            prop_assert_eq!(&after.participants, &model);
            let mut users: Vec<_> = model.iter().map(|each| each.user.octets()).collect();
            users.sort_unstable();
            let number = users.len();
            users.dedup();
            prop_assert_eq!(users.len(), number);
            prop_assert!(model.iter().all(|each| each.role != 0));
        }
    }
}
