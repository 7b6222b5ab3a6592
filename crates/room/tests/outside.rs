//! Proposals from outside the group: of the hub, of other providers, of clients that are not in yet.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use bytes::Bytes;
use client::mls::{Member, ORDINARY, Received, RoomProfile};
use mimi::codec::{Decode as _, Encode as _};
use mimi::mls::{Message, wire_format};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::operational::OperationalParameters;
use mimi::role::PreAuthData;
use mimi::update::{HandshakeBundle, UpdateRequest};
use mimi::{ComponentId, RoleData, UserUri};
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{AppDataUpdateProposal, MlsMessageIn, Proposal};
use openmls_basic_credential::SignatureKeyPair;
use room::{EntryKind, Refusal, RowId};
use world::keys::{app_data_update, bundle, key, remove, sender};
use world::raw::{Raw, Wish, join};
use world::{World, forbidden, id, member, not_allowed, recipients};

/// Super administrator of a cooperative room.
const SUPER: u32 = 4;
/// The same in a moderated one.
const MODERATED_SUPER: u32 = 6;

/// Alice's room, whose hub signs and knows b's key, and Bob of b.example.
fn named() -> (World, Member, Member) {
    let b = key();
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    world.sign(&[("b.example", &b)]);
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    world.bring(&mut alice);
    (world, alice, bob)
}

/// A member commits whatever is pending.
fn settle(world: &mut World, by: &mut Member) {
    world.bring(by);
    let commit = by.commit_pending(&id()).unwrap();
    world.handshake(by, &commit).unwrap();
    world.bring(by);
}

fn names(world: &World) -> Vec<String> {
    let senders = world.senders();
    let identity = |each: &mimi::mls::ExternalSender| each.credential.basic_identity().unwrap().to_vec();
    senders
        .iter()
        .map(|each| String::from_utf8(identity(each)).unwrap())
        .collect()
}

/// A cooperative room with Bob, and a raw super administrator, in which b.example and the hub enforce the policy.
fn enforced() -> (World, Member, Member, SignatureKeyPair) {
    let b = key();
    let (mut world, mut alice) = World::found(&RoomProfile::preset("cooperative").unwrap());
    let mut raw = world.invite_raw(&mut alice, SUPER, "a.example/d/mallory/phone");
    let list = world
        .room
        .view()
        .dictionary()
        .component(ComponentId::PREAUTH_LIST)
        .unwrap();
    let mut list = PreAuthData::decode_exact(list).unwrap();
    let mut entry = list.entries[0].clone();
    entry.claims[0].value = Bytes::from_static(b"mimi://b.example");
    list.entries.push(entry);
    let update = AppDataUpdateProposal::update(ComponentId::PREAUTH_LIST.0, list.encode());
    let commit = raw.commit(Wish {
        others: vec![Proposal::AppDataUpdate(Box::new(update))],
        ..Wish::default()
    });
    world.update("a.example", &commit.body()).unwrap();
    world.bring(&mut alice);
    world.sign(&[("b.example", &b)]);
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    settle(&mut world, &mut alice);
    world.bring(&mut bob);
    assert_eq!(names(&world), ["mimi://a.example", "mimi://b.example"]);
    (world, alice, bob, b)
}

/// Alice's cooperative room, in which nobody enforces the policy from outside.
fn unenforced() -> (World, Member) {
    let (mut world, mut alice) = World::found(&RoomProfile::preset("cooperative").unwrap());
    let mut raw = world.invite_raw(&mut alice, SUPER, "a.example/d/mallory/phone");
    let update = AppDataUpdateProposal::update(ComponentId::PREAUTH_LIST.0, PreAuthData::default().encode());
    accept(&mut world, &mut raw, vec![Proposal::AppDataUpdate(Box::new(update))]);
    world.bring(&mut alice);
    (world, alice)
}

/// Leaf of a client, as a member sees it.
fn leaf(member: &Member, client: &str) -> u32 {
    let uri: mimi::ClientUri = format!("mimi://{client}").parse().unwrap();
    let members = member.members(&id()).unwrap();
    u32::try_from(members.iter().position(|each| *each == uri).unwrap()).unwrap()
}

#[test]
fn m_1_h_40_the_hub_proposes_that_external_senders_follow_the_providers_in_the_room() {
    let (mut world, mut alice, mut bob) = named();
    let last = world.log.last().unwrap();
    assert_eq!(last.kind, EntryKind::Proposals, "after the commit and its Welcome");
    assert_eq!(recipients(last), ["a.example", "b.example"]);
    assert_eq!(names(&world), ["mimi://a.example"]);
    world.restart();
    world.bring(&mut bob);
    settle(&mut world, &mut bob);
    world.bring(&mut alice);
    assert_eq!(names(&world), ["mimi://a.example", "mimi://b.example"]);
    assert!(!world.rows.contains_key(&RowId::Pending(0)), "nothing more is due");
    world.assert_agreed(&[&alice, &bob]);
}

#[test]
fn m_1_s_5_the_hub_proposes_to_take_out_a_provider_whose_last_participant_left() {
    let (mut world, mut alice, mut bob) = named();
    world.bring(&mut bob);
    settle(&mut world, &mut alice);
    world.bring(&mut bob);
    let leave = bob.leave(&id()).unwrap();
    world.handshake(&mut bob, &leave).unwrap();
    settle(&mut world, &mut alice);
    let last = world.log.last().unwrap();
    assert_eq!(last.kind, EntryKind::Proposals);
    assert_eq!(recipients(last), ["a.example"], "b hears nothing more");
    assert_eq!(names(&world), ["mimi://a.example", "mimi://b.example"]);
    settle(&mut world, &mut alice);
    assert_eq!(names(&world), ["mimi://a.example"]);
    world.assert_agreed(&[&alice]);
}

#[test]
fn m_1_what_the_hub_proposes_changes_nothing_but_the_external_senders() {
    let (world, ..) = named();
    let fanout = FanoutMessage::decode_exact(&world.log.last().unwrap().message).unwrap();
    let FanoutContent::Proposals { proposals } = fanout.content else {
        panic!("proposals")
    };
    assert_eq!(proposals.len(), 1);
    let proposal = proposals[0].proposal().unwrap();
    let mimi::mls::ProposalView::GroupContextExtensions(proposed) = proposal.view() else {
        panic!("extensions")
    };
    let info = world.kept_group_info();
    let others = |extensions: mimi::mls::ExtensionsView<'_>| -> Vec<(u16, Vec<u8>)> {
        let others = extensions.iter().filter(|(kind, _)| *kind != 5);
        others.map(|(kind, data)| (kind, data.to_vec())).collect()
    };
    assert_eq!(others(proposed), others(info.view().group_context.extensions));
}

#[test]
fn h_14_a_members_commit_holds_what_the_hub_proposed() {
    let (mut world, mut alice, _) = named();
    settle(&mut world, &mut alice);
    let mut raw = world.invite_raw(&mut alice, ORDINARY, "b.example/d/mallory/phone");
    let c = key();
    world.sign(&[("c.example", &c)]);
    let mut carol = member("c.example/d/carol/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut carol]).unwrap();
    raw.catch_up(&world);
    let commit = raw.commit(Wish {
        ignore_pending: true,
        ..Wish::default()
    });
    not_allowed(world.update("b.example", &commit.body()), "pending-proposals");
    raw.forget();
    let commit = raw.commit(Wish::default());
    world.update("b.example", &commit.body()).unwrap();
}

#[test]
fn m_4_h_43_s_6_what_an_external_commit_voids_the_hub_proposes_anew_with_it() {
    let (mut world, mut alice, mut bob) = named();
    world.bring(&mut bob);
    let mut tablet = member("b.example/d/bob/tablet");
    world.join(&mut tablet, None).unwrap();
    let last = world.log.last().unwrap();
    assert_eq!(last.kind, EntryKind::Commit, "not an entry of its own");
    let fanout = FanoutMessage::decode_exact(&last.message).unwrap();
    let FanoutContent::Commit { external_proposals, .. } = &fanout.content else {
        panic!("a commit")
    };
    assert_eq!(external_proposals.len(), 1);
    assert_eq!(external_proposals[0].epoch(), Some(world.room.epoch().0));
    assert_eq!(
        world.rows.keys().filter(|row| matches!(row, RowId::Pending(_))).count(),
        1
    );
    world.restart();
    world.bring(&mut tablet);
    world.bring(&mut bob);
    settle(&mut world, &mut bob);
    world.bring(&mut alice);
    world.bring(&mut tablet);
    assert_eq!(names(&world), ["mimi://a.example", "mimi://b.example"]);
    world.assert_agreed(&[&alice, &bob, &tablet]);
}

/// Bob leaves from his phone while his tablet is in; then Carol's second client joins, which voids most of it.
fn interrupted((mut world, mut alice): (World, Member)) -> (World, Member, Member) {
    world.sign(&[]);
    let (mut phone, mut tablet) = (member("b.example/d/bob/phone"), member("b.example/d/bob/tablet"));
    world
        .invite(&mut alice, ORDINARY, &mut [&mut phone, &mut tablet])
        .unwrap();
    let mut carol = member("c.example/d/carol/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut carol]).unwrap();
    world.bring(&mut phone);
    let leave = phone.leave(&id()).unwrap();
    world.handshake(&mut phone, &leave).unwrap();
    let mut watch = member("c.example/d/carol/watch");
    world.join(&mut watch, None).unwrap();
    world.bring(&mut alice);
    (world, alice, tablet)
}

#[test]
fn m_4_whoever_asked_to_leave_is_removed_by_the_hub_where_an_external_commit_voided_it() {
    let (mut world, mut alice, mut tablet) = interrupted(World::found(&RoomProfile::preset("cooperative").unwrap()));
    let bob: UserUri = tablet.user();
    assert!(world.room.view().is_active(&bob), "the SelfRemove alone was committed");
    let fanout = FanoutMessage::decode_exact(&world.log.last().unwrap().message).unwrap();
    let FanoutContent::Commit { external_proposals, .. } = &fanout.content else {
        panic!("a commit")
    };
    assert_eq!(external_proposals.len(), 1, "the removal of the tablet");
    world.restart();
    settle(&mut world, &mut alice);
    assert!(!world.room.view().is_active(&bob));
    assert!(
        !world.room.view().participates(&bob),
        "the committer took the user off the list"
    );
    assert!(world.bring(&mut tablet).contains(&Received::Removed));
}

#[test]
fn m_3_the_hub_removes_nobody_where_no_policy_lets_it() {
    let (world, ..) = interrupted(unenforced());
    let fanout = FanoutMessage::decode_exact(&world.log.last().unwrap().message).unwrap();
    let FanoutContent::Commit { external_proposals, .. } = &fanout.content else {
        panic!("a commit")
    };
    assert!(external_proposals.is_empty());
}

#[test]
fn m_2_m_3_a_provider_proposes_what_its_preauthorized_role_may() {
    let (mut world, mut alice, mut bob, b) = enforced();
    let mut carol = member("c.example/d/carol/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut carol]).unwrap();
    let target = leaf(&alice, "c.example/d/carol/phone");
    let removal = bundle(&[world.external(1, &remove(target), &b)]);
    world.update("b.example", &removal).unwrap();
    world.restart();
    world.bring(&mut bob);
    settle(&mut world, &mut alice);
    assert!(!world.room.view().participates(&carol.user()));
    let (mut world, alice) = unenforced();
    let target = leaf(&alice, "a.example/d/alice/phone");
    let removal = bundle(&[world.external(0, &remove(target), &world.hub_key())]);
    not_allowed(world.update("a.example", &removal), "removal");
}

fn named_and_settled() -> (World, Member, Member) {
    let (mut world, mut alice, bob) = named();
    settle(&mut world, &mut alice);
    (world, alice, bob)
}

#[test]
fn f_20_an_external_sender_is_the_provider_that_its_entry_names() {
    let (mut world, alice, _, b) = enforced();
    let target = leaf(&alice, "b.example/d/bob/phone");
    let theirs = bundle(&[world.external(1, &remove(target), &b)]);
    forbidden(world.update("a.example", &theirs));
    let unnamed = bundle(&[world.external(2, &remove(target), &b)]);
    not_allowed(world.update("b.example", &unnamed), "does not name");
    let forged = bundle(&[world.external(1, &remove(target), &key())]);
    not_allowed(world.update("b.example", &forged), "does not verify");
    let ours = world.external(0, &remove(target), &world.hub_key());
    let mixed = bundle(&[world.external(1, &remove(target), &b), ours]);
    not_allowed(world.update("b.example", &mixed), "several senders");
    world.update("b.example", &theirs).unwrap();
}

#[test]
fn p_28_a_room_may_take_no_external_proposals_and_then_the_hub_makes_none() {
    let (mut world, mut alice) = World::found(&RoomProfile::preset("moderated").unwrap());
    let mut raw = world.invite_raw(&mut alice, MODERATED_SUPER, "a.example/d/mallory/phone");
    let component = ComponentId::OPERATIONAL_POLICY;
    let octets = world.room.view().dictionary().component(component).unwrap();
    let mut operational = OperationalParameters::decode_exact(octets).unwrap();
    operational.external_proposal_allowed = false;
    let update = AppDataUpdateProposal::update(component.0, operational.encode());
    allow(&mut world, &mut raw, policy::Capability::ChangeMlsOperationalPolicies);
    accept(&mut world, &mut raw, vec![Proposal::AppDataUpdate(Box::new(update))]);
    world.bring(&mut alice);
    let b = key();
    world.sign(&[("b.example", &b)]);
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    assert_eq!(
        world.log.last().unwrap().kind,
        EntryKind::Welcome,
        "nothing is proposed"
    );
    let target = leaf(&alice, "b.example/d/bob/phone");
    let removal = bundle(&[world.external(0, &remove(target), &world.hub_key())]);
    not_allowed(world.update("a.example", &removal), "from outside");
}

/// Gives the role of raw's user a capability more.
fn allow(world: &mut World, raw: &mut Raw, capability: policy::Capability) {
    let component = ComponentId::ROLES_LIST;
    let octets = world.room.view().dictionary().component(component).unwrap();
    let mut roles = RoleData::decode_exact(octets).unwrap();
    let index = world.room.view().role_index(&raw.uri.user()).unwrap();
    let role = roles.roles.iter_mut().find(|role| role.index == index).unwrap();
    role.capabilities.push(capability.number());
    let update = AppDataUpdateProposal::update(component.0, roles.encode());
    accept(world, raw, vec![Proposal::AppDataUpdate(Box::new(update))]);
}

fn accept(world: &mut World, raw: &mut Raw, others: Vec<Proposal>) {
    let commit = raw.commit(Wish {
        others,
        ..Wish::default()
    });
    world.update("a.example", &commit.body()).unwrap();
    raw.merge();
}

#[test]
fn p_6_a_listed_users_client_proposes_itself() {
    let (mut world, mut alice, _) = named_and_settled();
    let mut tablet = Raw::new("b.example/d/bob/tablet");
    let epoch = world.room.epoch().0;
    forbidden(world.update("a.example", &join(&tablet, &world, epoch)));
    world.update("b.example", &join(&tablet, &world, epoch)).unwrap();
    world.restart();
    settle(&mut world, &mut alice);
    tablet.catch_up(&world);
    assert!(tablet.group.is_some(), "welcomed by the member that committed it");
    let stranger = Raw::new("b.example/d/erin/phone");
    let epoch = world.room.epoch().0;
    let refused = world.update("b.example", &join(&stranger, &world, epoch));
    assert!(matches!(refused, Err(Refusal::InvalidProposal { .. })), "{refused:?}");
}

#[test]
fn m_2_external_senders_propose_no_kind_that_openmls_does_not_take_from_them() {
    let (mut world, mut alice, _, b) = enforced();
    let list = world
        .room
        .view()
        .dictionary()
        .component(ComponentId::ROOM_METADATA)
        .unwrap();
    let update = app_data_update(ComponentId::ROOM_METADATA, list);
    let psk = [&[0, 4, 1, 1, b'x', 32][..], &[0; 32]].concat();
    let reinit = [&[0, 5, 4][..], b"next", &[0, 1, 0, 1, 0]].concat();
    for proposal in [&update, &psk, &reinit] {
        let body = bundle(&[world.external(1, proposal, &b)]);
        not_allowed(world.update("b.example", &body), "takes from no external sender");
    }
    // When this fails, OpenMLS takes component updates from external senders: then the hub can, and propose by itself
    // that participants leave the list.
    let mut raw = world.invite_raw(&mut alice, ORDINARY, "a.example/d/trent/phone");
    let message = world.external(1, &update, &b);
    assert!(
        raw.process(&message).is_err(),
        "newly supported: AppDataUpdate of external senders"
    );
    let target = leaf(&alice, "b.example/d/bob/phone");
    let message = world.external(1, &remove(target), &b);
    raw.process(&message).unwrap();
}

#[test]
fn h_22_m_2_an_external_change_of_extensions_is_of_the_external_senders_alone() {
    let (mut world, _, _, b) = enforced();
    let senders = world.senders();
    let propose = |world: &mut World, proposal: &[u8]| {
        let body = bundle(&[world.external(1, proposal, &b)]);
        world.update("b.example", &body)
    };
    let dictionary = world.extensions_with(|kind, data| if kind == 6 { vec![0] } else { data.to_vec() });
    not_allowed(propose(&mut world, &dictionary), "other extensions");
    let hubless = world.extensions(&senders[1..]);
    not_allowed(propose(&mut world, &hubless), "without the hub");
    let stranger = world.extensions(&[&senders[..], &[sender("c.example", &key())]].concat());
    not_allowed(propose(&mut world, &stranger), "without participants");
    let twice = world.extensions(&senders);
    let twice = bundle(&[
        world.external(1, &twice, &b),
        world.external(1, &world.extensions(&senders[..1]), &b),
    ]);
    not_allowed(world.update("b.example", &twice), "two changes");
    let out = world.extensions(&senders[..1]);
    propose(&mut world, &out).unwrap();
    let again = world.extensions(&senders);
    not_allowed(propose(&mut world, &again), "two changes");
}

#[test]
fn m_3_extensions_are_changed_by_the_enforcer_alone() {
    let (mut world, _) = unenforced();
    let senders = world.senders();
    let proposal = world.extensions(&senders);
    let body = bundle(&[world.external(0, &proposal, &world.hub_key())]);
    not_allowed(world.update("a.example", &body), "the group's extensions");
}

#[test]
fn s_12_h_21_a_semi_private_handshake_is_refused_and_openmls_does_not_read_it() {
    let (mut world, ..) = named_and_settled();
    let info = world.kept_group_info();
    let mut writer = mimi::codec::Writer::default();
    writer.raw(&[0, 1]);
    wire_format::SEMI_PRIVATE_MESSAGE.write(&mut writer);
    writer.opaque(info.view().group_context.group_id);
    world.room.epoch().0.write(&mut writer);
    writer.raw(&[2, 0, 0, 0, 0, 0, 0]);
    let octets = writer.into_octets();
    let message = Message::decode_exact(&octets).unwrap();
    let bundle = HandshakeBundle::Proposals {
        proposals: vec![message],
    };
    let body: Bytes = UpdateRequest { bundle }.encode().into();
    not_allowed(world.update("a.example", &body), "SemiPrivateMessage");
    // When this fails, OpenMLS reads SemiPrivateMessage: then rooms can have it.
    assert!(MlsMessageIn::tls_deserialize_exact_bytes(&octets).is_err());
}
