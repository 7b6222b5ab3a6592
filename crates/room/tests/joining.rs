//! Join codes: whoever has one joins by itself, as it says and no further.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use bytes::Bytes;
use client::mls::{CIPHERSUITE, JoinKeys, Member, ORDINARY, RoomProfile};
use mimi::ComponentId;
use mimi::codec::{Decode as _, Encode as _};
use mimi::group_info::GroupInfoRequest;
use mimi::policy::{JoinLink, JoinLinkPolicy, JoinLinks, JoinLinksUpdate};
use openmls::prelude::{AppDataUpdateProposal, Proposal};
use room::command::GroupInfoGrant;
use room::{Millis, Refusal, RowId};
use world::raw::{Parts, Raw, Wish};
use world::{World, id, member, not_allowed};

/// Leads to the role of ordinary users until second 9,000; a world begins at 1,000.
const CODE: &str = "https://a.example/j#2.9000.0123456789abcdef";

/// Administrator of a strict room.
const GROUP_ADMIN: u32 = 3;

fn link(text: &str) -> JoinLink {
    JoinLink {
        join_link: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// A strict room with one link.
fn coded(multiuser: bool) -> (World, Member) {
    let policy = JoinLinkPolicy {
        multiuser,
        expiration: 8_000,
        ..JoinLinkPolicy::default()
    };
    let links = JoinLinks {
        links: vec![link(CODE)],
    };
    let mut profile = RoomProfile::preset("strict").unwrap();
    profile
        .policies
        .insert(ComponentId::JOIN_LINK_POLICY, policy.encode().into());
    profile.policies.insert(ComponentId::JOIN_LINKS, links.encode().into());
    World::found(&profile)
}

type Asked = (GroupInfoGrant, JoinKeys);

fn ask(world: &mut World, member: &Member, code: &str) -> Result<Asked, Refusal> {
    let code = Bytes::copy_from_slice(code.as_bytes());
    let request = member.group_info_request_with(&id(), CIPHERSUITE, Some(code));
    let (request, keys) = request.unwrap();
    let from = member.client().provider().to_string();
    Ok((world.group_info(&from, &request)?, keys))
}

fn join(world: &mut World, member: &mut Member, (grant, keys): &Asked, role: u32) -> Result<(), Refusal> {
    let sealed = world.seal(grant);
    let body = member.join_by_external_commit(&sealed, keys, Some(role)).unwrap();
    world.handshake(member, &body)
}

fn grants(world: &World) -> usize {
    world.rows.keys().filter(|id| matches!(id, RowId::Grant(_))).count()
}

#[test]
fn h_50_h_51_p_9_whoever_has_a_code_joins_in_the_role_that_it_names() {
    let (mut world, mut alice) = coded(false);
    let mut carol = member("c.example/d/carol/phone");
    let (plain, _) = carol.group_info_request(&id()).unwrap();
    not_allowed(world.group_info("c.example", &plain), "joining by oneself");
    let asked = ask(&mut world, &carol, CODE).unwrap();
    assert_eq!(grants(&world), 1);
    world.restart();
    join(&mut world, &mut carol, &asked, ORDINARY).unwrap();
    world.bring(&mut alice);
    world.assert_agreed(&[&alice, &carol]);
    let (mut world, _) = coded(false);
    let mut carol = member("c.example/d/carol/phone");
    let asked = ask(&mut world, &carol, CODE).unwrap();
    let refused = join(&mut world, &mut carol, &asked, GROUP_ADMIN);
    not_allowed(refused, "without being added");
}

#[test]
fn h_51_the_external_commit_is_of_the_client_that_asked() {
    let (mut world, _) = coded(true);
    let carol = member("c.example/d/carol/phone");
    let (grant, _) = ask(&mut world, &carol, CODE).unwrap();
    for other in ["c.example/d/carol/tablet", "c.example/d/dave/phone"] {
        // Whoever was shown the group's information by her, and has a code, has not asked.
        let mut other = member(other);
        let (request, keys) = other.group_info_request(&id()).unwrap();
        let shown = GroupInfoGrant {
            public_key: GroupInfoRequest::decode_exact(&request).unwrap().group_info_public_key,
            ..grant.clone()
        };
        assert!(join(&mut world, &mut other, &(shown, keys), ORDINARY).is_err());
    }
}

#[test]
fn p_9_a_code_is_for_one_user_unless_the_room_says_for_several() {
    let (mut world, _) = coded(false);
    let (mut phone, tablet) = (member("c.example/d/carol/phone"), member("c.example/d/carol/tablet"));
    let mut dave = member("d.example/d/dave/phone");
    ask(&mut world, &tablet, CODE).unwrap();
    not_allowed(ask(&mut world, &dave, CODE).map(drop), "joining by oneself");
    let asked = ask(&mut world, &phone, CODE).unwrap();
    join(&mut world, &mut phone, &asked, ORDINARY).unwrap();
    not_allowed(ask(&mut world, &dave, CODE).map(drop), "joining by oneself");

    let (mut world, mut alice) = coded(true);
    let mut carol = member("c.example/d/carol/phone");
    let hers = ask(&mut world, &carol, CODE).unwrap();
    ask(&mut world, &dave, CODE).unwrap();
    join(&mut world, &mut carol, &hers, ORDINARY).unwrap();
    assert_eq!(grants(&world), 0, "each asks in the epoch in which it joins");
    let his = ask(&mut world, &dave, CODE).unwrap();
    join(&mut world, &mut dave, &his, ORDINARY).unwrap();
    world.bring(&mut alice);
    world.bring(&mut carol);
    world.assert_agreed(&[&alice, &carol, &dave]);
}

#[test]
fn p_9_a_code_that_ended_or_is_not_listed_lets_nobody_in() {
    let (mut world, _) = coded(false);
    let mut carol = member("c.example/d/carol/phone");
    let unlisted = "https://a.example/j#2.9000.fedcba9876543210";
    not_allowed(ask(&mut world, &carol, unlisted).map(drop), "joining by oneself");
    let asked = ask(&mut world, &carol, CODE).unwrap();
    world.now = Millis(9_000_000);
    not_allowed(ask(&mut world, &carol, CODE).map(drop), "joining by oneself");
    not_allowed(join(&mut world, &mut carol, &asked, ORDINARY), "without being added");
}

fn change(raw: &mut Raw, update: &JoinLinksUpdate) -> Parts {
    let update = AppDataUpdateProposal::update(ComponentId::JOIN_LINKS.0, update.encode());
    raw.commit(Wish {
        others: vec![Proposal::AppDataUpdate(Box::new(update))],
        ..Wish::default()
    })
}

#[test]
fn p_9_a_code_lasts_as_long_as_the_room_lets_it_and_goes_with_its_link() {
    let (mut world, mut alice) = coded(false);
    let mut raw = world.invite_raw(&mut alice, GROUP_ADMIN, "a.example/d/mallory/phone");
    let add = |until: u32| JoinLinksUpdate {
        added: vec![link(&format!("https://a.example/j#2.{until}.fedcba9876543210"))],
        ..JoinLinksUpdate::default()
    };
    let parts = change(&mut raw, &add(10_000));
    not_allowed(world.update("a.example", &parts.body()), "lasts longer");
    raw.forget();
    let parts = change(&mut raw, &add(8_500));
    world.update("a.example", &parts.body()).unwrap();
    raw.merge();
    let carol = member("c.example/d/carol/phone");
    ask(&mut world, &carol, CODE).unwrap();
    assert_eq!(grants(&world), 1);
    let removal = JoinLinksUpdate {
        removed: vec![0],
        ..JoinLinksUpdate::default()
    };
    let parts = change(&mut raw, &removal);
    world.update("a.example", &parts.body()).unwrap();
    assert_eq!(grants(&world), 0);
    not_allowed(ask(&mut world, &carol, CODE).map(drop), "joining by oneself");
}
