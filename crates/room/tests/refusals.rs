//! What a room refuses though MLS would let it pass: forms of handshakes, clients that cannot what the room wants, SelfRemoves
//! that are none, joining where there is no room, and another franking agent.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use bytes::Bytes;
use client::mls::{ADMIN, Member, ORDINARY, RoomProfile};
use mimi::codec::{Decode, Encode};
use mimi::franking::FrankingAgentData;
use mimi::mls::{Credential, Message, wire_format};
use mimi::operational::OperationalParameters;
use mimi::role::{Claim, PreAuthData, PreAuthRoleEntry};
use mimi::submit::SubmitMessageRequest;
use mimi::update::{GroupInfoOption, HandshakeBundle, RatchetTreeOption, UpdateRequest};
use mimi::{BaseRoomPolicy, ComponentId, Participant, ParticipantListUpdate, Role, RoleData};
use openmls::prelude::{AppDataUpdateProposal, Proposal, Propose};
use policy::Capability;
use room::{Refusal, RowId};
use world::keys::{bundle, key};
use world::raw::{Raw, Wish, key_package, proposals};
use world::{World, id, member, not_allowed};

/// A component of a room as `profile` founds it, changed, and put into the profile.
fn with<T: Decode + Encode>(profile: &mut RoomProfile, component: ComponentId, edit: impl FnOnce(&mut T)) {
    let (world, _) = World::found(profile);
    let octets = world.room.view().dictionary().component(component).unwrap();
    let mut value = T::decode_exact(octets).unwrap();
    edit(&mut value);
    profile.policies.insert(component, value.encode().into());
}

fn role(roles: &mut RoleData, index: u32) -> &mut Role {
    roles.roles.iter_mut().find(|role| role.index == index).unwrap()
}

fn operational(edit: impl FnOnce(&mut OperationalParameters)) -> RoomProfile {
    let mut profile = RoomProfile::default();
    with(&mut profile, ComponentId::OPERATIONAL_POLICY, edit);
    profile
}

/// A room in which administrators may change whatever else there is of the policy.
fn permissive(mut profile: RoomProfile) -> RoomProfile {
    with(&mut profile, ComponentId::ROLES_LIST, |roles: &mut RoleData| {
        let all = [
            Capability::ChangeOtherPolicyAttribute,
            Capability::ChangeMlsOperationalPolicies,
        ];
        role(roles, ADMIN).capabilities.extend(all.map(Capability::number));
    });
    profile
}

fn set(component: ComponentId, value: &impl Encode) -> Wish {
    let update = AppDataUpdateProposal::update(component.0, value.encode());
    Wish {
        others: vec![Proposal::AppDataUpdate(Box::new(update))],
        ..Wish::default()
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) {
    assert!(
        matches!(result, Err(Refusal::NotAllowed(_) | Refusal::InvalidProposal { .. })),
        "{result:?}"
    );
}

// Forms of handshakes (mimi-protocol §5.3, mimi-room-policy §7).

/// A PrivateMessage of Alice's that says of itself that it is a handshake: nobody but members could tell.
fn private(alice: &mut Member, content_type: u8) -> Message {
    let body = alice.send(&id(), b"a proposal").unwrap();
    let message = SubmitMessageRequest::decode_exact(&body).unwrap().app_message;
    let mut octets = message.octets().to_vec();
    // ProtocolVersion, WireFormat, the group's id with its length, the epoch.
    let at = 4 + 1 + message.group_id().unwrap().len() + 8;
    assert_eq!(octets[at], 1, "application");
    octets[at] = content_type;
    Message::decode_exact(&octets).unwrap()
}

#[test]
fn h_21_a_handshake_in_a_private_message_is_refused() {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let mut raw = world.invite_raw(&mut alice, ORDINARY, "a.example/d/mallory/phone");
    let proposal = bundle(&[private(&mut alice, 2)]);
    not_allowed(world.update("a.example", &proposal), "not a PublicMessage");
    let parts = raw.commit(Wish::default());
    let commit = HandshakeBundle::Commit {
        commit: private(&mut alice, 3),
        welcome: None,
        group_info: GroupInfoOption::Full(parts.group_info.clone()),
        ratchet_tree: RatchetTreeOption::Full(parts.tree.clone()),
    };
    let commit: Bytes = UpdateRequest { bundle: commit }.encode().into();
    let refused = world.update("a.example", &commit);
    assert!(
        matches!(refused, Err(Refusal::NotAllowed(_) | Refusal::Malformed(_))),
        "{refused:?}"
    );
    world.update("a.example", &parts.body()).unwrap();
}

#[test]
fn p_28_h_21_handshakes_come_in_a_format_that_the_room_lists() {
    let profile = operational(|operational: &mut OperationalParameters| {
        operational.handshake_formats = vec![wire_format::SEMI_PRIVATE_MESSAGE];
    });
    let (mut world, mut alice) = World::found(&profile);
    let commit = alice.self_update(&id()).unwrap();
    not_allowed(world.update("a.example", &commit), "does not list");
}

#[test]
fn p_28_h_50_nobody_joins_by_external_commit_where_the_room_takes_none() {
    let mut profile = operational(|operational: &mut OperationalParameters| {
        operational.external_commit_allowed = false;
    });
    profile.open = true;
    let (mut world, mut alice) = World::found(&profile);
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    for joiner in ["b.example/d/bob/tablet", "c.example/d/carol/phone"] {
        let (request, _) = member(joiner).group_info_request(&id()).unwrap();
        let from = joiner.split('/').next().unwrap();
        not_allowed(world.group_info(from, &request), "joining by oneself");
    }
}

#[test]
fn p_28_a_client_that_lacks_what_is_mandatory_or_can_what_is_forbidden_is_not_added() {
    // Alice's own client, which founds the room, is not measured.
    for mandatory in [true, false] {
        let (mut world, mut alice) = World::found(&permissive(RoomProfile::default()));
        let mut raw = world.invite_raw(&mut alice, ADMIN, "a.example/d/mallory/phone");
        let octets = world
            .room
            .view()
            .dictionary()
            .component(ComponentId::OPERATIONAL_POLICY);
        let mut operational = OperationalParameters::decode_exact(octets.unwrap()).unwrap();
        if mandatory {
            operational.mandatory_capabilities.extensions = vec![0xf7f7];
        } else {
            operational.forbidden_capabilities.proposals = vec![9];
        }
        let commit = raw.commit(set(ComponentId::OPERATIONAL_POLICY, &operational));
        world.update("a.example", &commit.body()).unwrap();
        raw.merge();
        let erin = Raw::new("c.example/d/erin/phone");
        let list = ParticipantListUpdate {
            added: vec![Participant {
                user: (&erin.uri.user()).into(),
                role: ORDINARY,
            }],
            ..ParticipantListUpdate::default()
        };
        let parts = raw.commit(Wish {
            adds: vec![key_package(&erin.key_package())],
            list: Some(list),
            ..Wish::default()
        });
        refused(world.update("a.example", &parts.body()));
        let mut tablet = member("a.example/d/alice/tablet");
        refused(world.join(&mut tablet, None));
    }
}

// SelfRemove (mls-extensions §6.3).

/// Alice's room with an administrator who keeps no rules, and one who will go.
fn leaving() -> (World, Member, Raw, Raw) {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let mallory = world.invite_raw(&mut alice, ADMIN, "a.example/d/mallory/phone");
    let trent = world.invite_raw(&mut alice, ORDINARY, "b.example/d/trent/phone");
    let mut mallory = mallory;
    mallory.catch_up(&world);
    (world, alice, mallory, trent)
}

fn self_remove(raw: &mut Raw) -> openmls::prelude::MlsMessageOut {
    let Raw {
        provider,
        signer,
        group,
        ..
    } = raw;
    let group = group.as_mut().unwrap();
    group.leave_group_via_self_remove(&*provider, &*signer).unwrap()
}

#[test]
fn h_23_a_client_removes_itself_once_an_epoch() {
    let (mut world, _, _, mut trent) = leaving();
    let first = self_remove(&mut trent);
    world
        .update("b.example", &proposals(std::slice::from_ref(&first)))
        .unwrap();
    let list = ParticipantListUpdate {
        removed: vec![2],
        ..ParticipantListUpdate::default()
    };
    let update = Propose::UpdateAppDataComponent {
        component_id: ComponentId::PARTICIPANT_LIST.0,
        update: list.encode(),
    };
    let Raw {
        provider,
        signer,
        group,
        ..
    } = &mut trent;
    let by_reference = openmls::prelude::ProposalOrRefType::Reference;
    let (list, _) = group
        .as_mut()
        .unwrap()
        .propose(&*provider, &*signer, update, by_reference)
        .unwrap();
    refused(world.update("b.example", &proposals(&[first, list.clone()])));
    world.update("b.example", &proposals(&[list])).unwrap();
}

#[test]
fn h_23_nobody_removes_a_client_that_removes_itself() {
    let (mut world, mut alice, mut mallory, mut trent) = leaving();
    let leaf = mallory.leaf_of("b.example/d/trent/phone");
    let going = self_remove(&mut trent);
    world.update("b.example", &proposals(&[going])).unwrap();
    let removal = mallory.propose(Propose::Remove(leaf));
    refused(world.update("a.example", &removal));
    mallory.forget_proposals();
    mallory.catch_up(&world);
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    assert!(!world.room.view().is_active(&trent.uri.user()));
    assert!(world.room.view().participates(&trent.uri.user()), "its name stays");
}

#[test]
fn h_23_a_self_remove_is_by_reference_and_a_members_own() {
    let (mut world, _, mut mallory, _) = leaving();
    // ProposalOrRef: a proposal, self_remove.
    let by_value = mallory.commit_by_hand(&[1, 0, 10]);
    refused(world.update("a.example", &by_value.body()));
    world.sign(&[]);
    let from_outside = bundle(&[world.external(0, &[0, 10], &world.hub_key())]);
    not_allowed(
        world.update("a.example", &from_outside),
        "takes from no external sender",
    );
    // Who proposes it is who goes: no leaf is named that could be another's.
    let unsigned = bundle(&[world.external(0, &[0, 10], &key())]);
    refused(world.update("a.example", &unsigned));
}

// Room for who joins by itself (mimi-protocol §5.6, mimi-room-policy §3).

fn may_join(world: &mut World, client: &str) -> bool {
    let (request, _) = member(client).group_info_request(&id()).unwrap();
    let granted = world.group_info(client.split('/').next().unwrap(), &request);
    if granted.is_err() {
        not_allowed(granted.as_ref().map(drop).map_err(Clone::clone), "joining by oneself");
    }
    granted.is_ok()
}

#[test]
fn h_50_an_open_room_takes_as_many_as_its_role_has_room_for() {
    let mut profile = RoomProfile {
        open: true,
        ..RoomProfile::default()
    };
    with(&mut profile, ComponentId::ROLES_LIST, |roles: &mut RoleData| {
        role(roles, ORDINARY).maximum_participants = Some(1);
    });
    let (mut world, mut alice) = World::found(&profile);
    assert!(may_join(&mut world, "c.example/d/carol/phone"));
    let mut bob = member("b.example/d/bob/phone");
    world.join(&mut bob, Some(ORDINARY)).unwrap();
    assert!(!may_join(&mut world, "c.example/d/carol/phone"), "the role is full");
    assert!(may_join(&mut world, "b.example/d/bob/tablet"), "he is in it already");
    world.bring(&mut alice);
    let leave = bob.leave(&id()).unwrap();
    world.handshake(&mut bob, &leave).unwrap();
    assert!(may_join(&mut world, "c.example/d/carol/phone"), "he asked to leave");
}

#[test]
fn h_50_p_20_a_user_has_as_many_clients_as_the_room_takes() {
    let limits: [fn(&mut BaseRoomPolicy); 3] = [
        |base| base.multi_device = false,
        |base| base.max_clients = Some(2),
        |base| base.max_users = Some(2),
    ];
    for (limit, [more, others]) in limits.into_iter().zip([[false, true], [false, false], [true, false]]) {
        let mut profile = RoomProfile {
            open: true,
            ..RoomProfile::default()
        };
        with(&mut profile, ComponentId::BASE_ROOM_POLICY, limit);
        let (mut world, mut alice) = World::found(&profile);
        let mut bob = member("b.example/d/bob/phone");
        world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
        assert_eq!(may_join(&mut world, "b.example/d/bob/tablet"), more);
        assert_eq!(may_join(&mut world, "c.example/d/carol/phone"), others);
    }
}

#[test]
fn h_50_p_8_a_preauthorized_role_takes_as_many_as_it_has_room_for() {
    let mut profile = RoomProfile::default();
    with(&mut profile, ComponentId::ROLES_LIST, |roles: &mut RoleData| {
        let ordinary = role(roles, ORDINARY);
        ordinary.maximum_active_participants = Some(1);
        ordinary.capabilities.push(Capability::JoinIfPreauthorized.number());
    });
    let roles = RoleData::decode_exact(&profile.policies[&ComponentId::ROLES_LIST]).unwrap();
    with(&mut profile, ComponentId::PREAUTH_LIST, |list: &mut PreAuthData| {
        list.entries.push(PreAuthRoleEntry {
            claims: vec![Claim {
                credential_type: Credential::BASIC,
                id: Bytes::from_static(policy::preauth::DOMAIN),
                value: Bytes::from_static(b"b.example"),
            }],
            target_role: roles.role(ORDINARY).unwrap().clone(),
        });
    });
    let (mut world, _alice) = World::found(&profile);
    assert!(
        !may_join(&mut world, "c.example/d/carol/phone"),
        "nobody preauthorized her"
    );
    let mut bob = member("b.example/d/bob/phone");
    world.join(&mut bob, Some(ORDINARY)).unwrap();
    assert!(!may_join(&mut world, "b.example/d/dave/phone"), "the role is full");
    let leave = bob.retire(&id()).unwrap();
    world.handshake(&mut bob, &leave).unwrap();
    assert!(
        may_join(&mut world, "b.example/d/dave/phone"),
        "nobody is active in it any more"
    );
    assert!(!world.rows.keys().any(|row| matches!(row, RowId::Grant(_))));
}

// The franking agent (mimi-protocol §5.4.1).

fn agent(world: &World) -> FrankingAgentData {
    let hub = &world.senders()[0];
    FrankingAgentData {
        franking_signature_key: hub.signature_key.clone(),
        credential: hub.credential.clone(),
    }
}

#[test]
fn k_6_a_franking_agent_is_not_replaced() {
    let (mut world, mut alice) = World::found(&permissive(RoomProfile::default()));
    world.sign(&[]);
    let mut raw = world.invite_raw(&mut alice, ADMIN, "a.example/d/mallory/phone");
    let other = FrankingAgentData {
        franking_signature_key: Bytes::copy_from_slice(key().public()),
        ..agent(&world)
    };
    for update in [other, agent(&world)] {
        let commit = raw.commit(set(ComponentId::FRANKING_AGENT, &update));
        not_allowed(world.update("a.example", &commit.body()), "another franking agent");
        raw.forget();
        let proposed = raw.propose(Propose::UpdateAppDataComponent {
            component_id: ComponentId::FRANKING_AGENT.0,
            update: update.encode(),
        });
        not_allowed(world.update("a.example", &proposed), "another franking agent");
        raw.forget_proposals();
    }
}

#[test]
fn k_6_a_room_without_a_franking_agent_is_given_its_hub_and_nobody_else() {
    let plain = RoomProfile {
        franked: false,
        ..RoomProfile::default()
    };
    let (mut world, mut alice) = World::found(&permissive(plain.clone()));
    world.sign(&[]);
    let mut raw = world.invite_raw(&mut alice, ADMIN, "a.example/d/mallory/phone");
    let other = FrankingAgentData {
        franking_signature_key: Bytes::copy_from_slice(key().public()),
        ..agent(&world)
    };
    let commit = raw.commit(set(ComponentId::FRANKING_AGENT, &other));
    not_allowed(world.update("a.example", &commit.body()), "not this hub's");
    raw.forget();
    let commit = raw.commit(set(ComponentId::FRANKING_AGENT, &agent(&world)));
    world.update("a.example", &commit.body()).unwrap();
    let dictionary = world.room.view().dictionary();
    assert_eq!(
        dictionary.component(ComponentId::FRANKING_AGENT),
        Some(&Bytes::from(agent(&world).encode()))
    );
    // Not everybody may.
    let (mut world, mut alice) = World::found(&plain);
    world.sign(&[]);
    let mut raw = world.invite_raw(&mut alice, ADMIN, "a.example/d/mallory/phone");
    let commit = raw.commit(set(ComponentId::FRANKING_AGENT, &agent(&world)));
    not_allowed(world.update("a.example", &commit.body()), "policy");
}
