//! Rooms that end, and rooms whose participants follow from another.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use client::mls::{ADMIN, Member, ORDINARY, Received, RoomProfile};
use mimi::codec::{Decode, Encode};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::{BaseRoomPolicy, ComponentId, RoleData};
use policy::{Capability, RoomView};
use room::{EntryKind, RowId};
use world::{World, id, member, not_allowed, recipients};

fn with<T: Decode + Encode>(profile: &mut RoomProfile, component: ComponentId, edit: impl FnOnce(&mut T)) {
    let (world, _) = World::found(profile);
    let octets = world.room.view().dictionary().component(component).unwrap();
    let mut value = T::decode_exact(octets).unwrap();
    edit(&mut value);
    profile.policies.insert(component, value.encode().into());
}

#[test]
fn p_21_a_room_that_does_not_persist_ends_with_its_group() {
    let mut profile = RoomProfile {
        open: true,
        ..RoomProfile::default()
    };
    with(
        &mut profile,
        ComponentId::BASE_ROOM_POLICY,
        |base: &mut BaseRoomPolicy| {
            base.persistent_room = false;
        },
    );
    let (mut world, mut alice) = World::found(&profile);
    let mut bob = member("b.example/d/bob/phone");
    world.join(&mut bob, Some(ORDINARY)).unwrap();
    world.bring(&mut alice);
    let body = alice.retire(&id()).unwrap();
    world.handshake(&mut alice, &body).unwrap();
    assert!(!world.room.is_over(), "Bob's client is in it");
    world.bring(&mut bob);
    let commit = bob.commit_pending(&id()).unwrap();
    world.handshake(&mut bob, &commit).unwrap();
    let late = bob.send(&id(), b"nobody but me").unwrap();
    let last = bob.retire(&id()).unwrap();
    world.handshake(&mut bob, &last).unwrap();
    assert!(world.room.is_over(), "though both are participants");
    assert!(world.rows.contains_key(&RowId::Over));
    world.restart();
    not_allowed(world.submit("b.example", &late), "over");
    let mut carol = member("c.example/d/carol/phone");
    not_allowed(world.join(&mut carol, Some(ORDINARY)), "over");
    world.update("b.example", &last).unwrap();
}

#[test]
fn p_21_p_27_a_room_that_persists_outlives_its_last_participant_unless_that_one_may_destroy_it() {
    for may in [true, false] {
        let mut profile = RoomProfile {
            open: true,
            ..RoomProfile::default()
        };
        with(&mut profile, ComponentId::ROLES_LIST, |roles: &mut RoleData| {
            let admin = roles.roles.iter_mut().find(|role| role.index == ADMIN).unwrap();
            admin
                .capabilities
                .retain(|number| may || *number != Capability::DestroyRoom.number());
        });
        let (mut world, mut alice) = World::found(&profile);
        let body = alice.leave(&id()).unwrap();
        world.handshake(&mut alice, &body).unwrap();
        assert_eq!(world.room.is_over(), may);
        world.restart();
        let mut bob = member("b.example/d/bob/phone");
        let joined = world.join(&mut bob, Some(ORDINARY));
        if may {
            not_allowed(joined, "over");
            continue;
        }
        joined.unwrap();
        world.assert_agreed(&[&bob]);
        assert!(!world.room.view().is_active(&alice.user()), "she is gone by then");
    }
}

#[test]
fn p_27_who_may_destroy_a_room_ends_it_not_by_logging_out() {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let body = alice.retire(&id()).unwrap();
    world.handshake(&mut alice, &body).unwrap();
    assert!(!world.room.is_over(), "she is a participant");
    let mut again = member("a.example/d/alice/tablet");
    world.join(&mut again, None).unwrap();
    world.assert_agreed(&[&again]);
}

/// A room with Alice, and with Bob's phone and tablet, that depends on another.
fn dependent() -> (World, Member, [Member; 2]) {
    let mut profile = RoomProfile::default();
    with(
        &mut profile,
        ComponentId::BASE_ROOM_POLICY,
        |base: &mut BaseRoomPolicy| {
            base.parent_dependant = true;
            base.parent_room = vec![(&"mimi://a.example/r/parent".parse::<mimi::RoomUri>().unwrap()).into()];
        },
    );
    let (mut world, mut alice) = World::found(&profile);
    world.sign(&[]);
    let (mut phone, mut tablet) = (member("b.example/d/bob/phone"), member("b.example/d/bob/tablet"));
    world
        .invite(&mut alice, ORDINARY, &mut [&mut phone, &mut tablet])
        .unwrap();
    (world, alice, [phone, tablet])
}

/// A room in which these users participate.
fn parent(others: &[&Member]) -> RoomView {
    let profile = RoomProfile {
        participants: others.iter().map(|other| other.user()).collect(),
        ..RoomProfile::default()
    };
    World::found(&profile).0.room.outlook().clone()
}

#[test]
fn p_19_m_3_whoever_left_the_parent_is_removed_whatever_the_hubs_role_and_silent_at_once() {
    let (mut world, mut alice, [mut phone, mut tablet]) = dependent();
    assert!(!world.follow(Some(&parent(&[&phone]))), "nobody left");
    let message = phone.send(&id(), b"hello").unwrap();
    assert!(world.follow(Some(&parent(&[]))));
    assert!(!world.follow(Some(&parent(&[]))), "that is known");
    let last = world.log.last().unwrap();
    assert_eq!(last.kind, EntryKind::Proposals);
    assert_eq!(recipients(last), ["a.example", "b.example"]);
    world.restart();
    not_allowed(world.submit("b.example", &message), "removal or ban was accepted");
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    assert!(
        !world.room.view().participates(&phone.user()),
        "the committer took the user off the list"
    );
    assert!(
        !world
            .rows
            .keys()
            .any(|row| matches!(row, RowId::Orphan(_) | RowId::Blocked(_)))
    );
    for client in [&mut phone, &mut tablet] {
        assert!(world.bring(client).contains(&Received::Removed));
    }
    world.bring(&mut alice);
    world.assert_agreed(&[&alice]);
}

#[test]
fn p_19_h_43_what_an_external_commit_voids_the_hub_proposes_anew() {
    let (mut world, mut alice, [phone, _]) = dependent();
    world.follow(Some(&parent(&[])));
    let mut watch = member("a.example/d/alice/watch");
    world.join(&mut watch, None).unwrap();
    let fanout = FanoutMessage::decode_exact(&world.log.last().unwrap().message).unwrap();
    let FanoutContent::Commit { external_proposals, .. } = &fanout.content else {
        panic!("a commit")
    };
    assert_eq!(external_proposals.len(), 2, "the removal of each of his clients");
    let mut back = member("b.example/d/bob/laptop");
    not_allowed(world.join(&mut back, None), "joining by oneself");
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    assert!(!world.room.view().participates(&phone.user()));
}

#[test]
fn p_19_whoever_is_leaving_anyway_is_let_go() {
    let (mut world, mut alice, [mut phone, mut tablet]) = dependent();
    world.bring(&mut phone);
    let leave = phone.leave(&id()).unwrap();
    world.handshake(&mut phone, &leave).unwrap();
    let head = world.room.head();
    assert!(!world.follow(Some(&parent(&[]))), "nothing is left to do");
    assert_eq!(world.room.head(), head);
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    assert!(world.bring(&mut tablet).contains(&Received::Removed));
}

#[test]
fn p_19_a_dependent_room_ends_with_its_parent() {
    let (mut world, mut alice, _) = dependent();
    let message = alice.send(&id(), b"hello").unwrap();
    assert!(world.follow(None));
    assert!(!world.follow(None));
    world.restart();
    assert!(world.room.is_over());
    not_allowed(world.submit("a.example", &message), "over");
}
