//! Who may do what to a room, one sentence a rule. Clients are real; those that break a rule keep MLS.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use bytes::Bytes;
use client::mls::{ADMIN, BANNED, Member, ORDINARY, Received, RoomProfile};
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::mls::{Extensions, GroupInfo};
use mimi::update::{
    GroupInfoOption, HandshakeBundle, PartialGroupInfo, RatchetTreeOption, RatchetTreePresence, UpdateRequest,
};
use mimi::{Participant, ParticipantListUpdate, RoleChange, UserUri};
use openmls::prelude::Propose;
use room::{EntryKind, Epoch, Refusal};
use world::raw::{Parts, Raw, Wish, key_package, proposals};
use world::{World, forbidden, id, member, not_allowed, recipients};

/// Alice's room with Bob of b.example, and a raw client with a role at c.example.
fn trio(role: u32) -> (World, Member, Member, Raw) {
    let (mut world, mut alice) = World::found(&RoomProfile::default());
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    let raw = world.invite_raw(&mut alice, role, "c.example/d/mallory/phone");
    world.bring(&mut bob);
    (world, alice, bob, raw)
}

fn added(user: &UserUri, role: u32) -> ParticipantListUpdate {
    ParticipantListUpdate {
        added: vec![Participant {
            user: user.into(),
            role,
        }],
        ..ParticipantListUpdate::default()
    }
}

fn changed(user_index: u32, role: u32) -> ParticipantListUpdate {
    ParticipantListUpdate {
        changed: vec![RoleChange { user_index, role }],
        ..ParticipantListUpdate::default()
    }
}

fn removed(index: u32) -> ParticipantListUpdate {
    ParticipantListUpdate {
        removed: vec![index],
        ..ParticipantListUpdate::default()
    }
}

// Commits.

#[test]
fn h_16_s_11_one_commit_an_epoch_is_accepted_and_the_loser_learns_where_the_room_is() {
    let (mut world, mut alice, mut bob, _) = trio(ORDINARY);
    let epoch = world.room.epoch();
    let winner = alice.self_update(&id()).unwrap();
    let loser = bob.self_update(&id()).unwrap();
    world.handshake(&mut alice, &winner).unwrap();
    let current = Epoch(epoch.0 + 1);
    assert_eq!(world.handshake(&mut bob, &loser), Err(Refusal::WrongEpoch { current }));
    world.bring(&mut alice);
    world.bring(&mut bob);
    world.assert_agreed(&[&alice, &bob]);
}

#[test]
fn h_24_a_replayed_bundle_gets_its_first_answer_in_any_later_epoch() {
    let (mut world, mut alice, _, _) = trio(ORDINARY);
    let first = alice.self_update(&id()).unwrap();
    let answer = world.update("a.example", &first).unwrap();
    alice.on_accepted(&id()).unwrap();
    world.bring(&mut alice);
    let next = alice.self_update(&id()).unwrap();
    world.handshake(&mut alice, &next).unwrap();
    let seq = world.room.seq();
    world.restart();
    assert_eq!(world.update("a.example", &first), Ok(answer));
    assert_eq!(world.room.seq(), seq);
    let by_another = world.update("b.example", &first);
    assert!(by_another.is_err(), "it is a request of a.example: {by_another:?}");
}

#[test]
fn f_20_h_31_a_provider_acts_for_its_own_clients_only() {
    let (mut world, mut alice, mut bob, mut raw) = trio(ORDINARY);
    let commit = bob.self_update(&id()).unwrap();
    forbidden(world.update("c.example", &commit));
    bob.on_refused(&id()).unwrap();
    let proposals = bob.retire(&id()).unwrap();
    forbidden(world.update("a.example", &proposals));
    bob.on_refused(&id()).unwrap();
    let message = alice.send(&id(), b"hello").unwrap();
    forbidden(world.submit("b.example", &message));
    let mut tablet = member("a.example/d/alice/tablet");
    let join = world.external_commit(&mut tablet, None).unwrap();
    forbidden(world.update("b.example", &join));
    let (request, _) = tablet.group_info_request(&id()).unwrap();
    forbidden(world.group_info("b.example", &request));
    not_allowed(world.update("d.example", &commit), "a provider without participants");
    raw.catch_up(&world);
    assert_eq!(world.room.seq().0, u64::try_from(world.log.len()).unwrap());
}

#[test]
fn h_17_a_commit_without_its_own_group_info_is_refused() {
    let (mut world, _, _, mut raw) = trio(ORDINARY);
    let former = raw.commit(Wish::default());
    let refused = |world: &mut World, parts: &Parts, group_info: &GroupInfo| {
        let body = parts.with(
            GroupInfoOption::Full(group_info.clone()),
            RatchetTreeOption::Full(parts.tree.clone()),
        );
        not_allowed(world.update("c.example", &body), "the GroupInfo");
    };
    let spoiled = |at: usize| {
        let mut octets = former.group_info.octets().to_vec();
        octets[at] ^= 1;
        GroupInfo::decode_exact(&octets).unwrap()
    };
    let length = former.group_info.octets().len();
    refused(&mut world, &former, &spoiled(length - 1)); // the signature
    refused(&mut world, &former, &spoiled(length - 67)); // the signer
    refused(&mut world, &former, &spoiled(length - 80)); // the confirmation tag
    refused(&mut world, &former, &spoiled(20)); // the group id
    let current = world.room.group_info().clone();
    refused(&mut world, &former, &current);
    world.update("c.example", &former.body()).unwrap();
}

#[test]
fn h_17_a_partial_group_info_is_completed_and_kept_whole() {
    let (mut world, mut alice, mut bob, mut raw) = trio(ORDINARY);
    let parts = raw.commit(Wish::default());
    let view = parts.group_info.view();
    let mut extensions = Writer::default();
    extensions.vector(|list| {
        for (kind, data) in view.extensions.iter() {
            kind.write(list);
            list.opaque(data);
        }
    });
    let extensions = Extensions::decode_exact(&extensions.into_octets()).unwrap();
    let partial = |presence| {
        GroupInfoOption::Partial(PartialGroupInfo {
            ratchet_tree_presence: presence,
            group_info_extensions: extensions.clone(),
            signature: Bytes::copy_from_slice(view.signature),
        })
    };
    let tree = || RatchetTreeOption::Full(parts.tree.clone());
    not_allowed(
        world.update("c.example", &parts.with(partial(RatchetTreePresence::Present), tree())),
        "a GroupInfo with a ratchet tree",
    );
    world
        .update(
            "c.example",
            &parts.with(partial(RatchetTreePresence::NoRatchetTree), tree()),
        )
        .unwrap();
    assert_eq!(world.reopened().group_info(), &parts.group_info);
    world.bring(&mut alice);
    world.bring(&mut bob);
    world.assert_agreed(&[&alice, &bob]);
}

#[test]
fn h_18_the_ratchet_tree_is_that_of_the_commit_or_left_to_the_hub() {
    let (mut world, _, _, mut raw) = trio(ORDINARY);
    let former = raw.group().export_ratchet_tree();
    let parts = raw.commit(Wish::default());
    let whole = || GroupInfoOption::Full(parts.group_info.clone());
    let former = openmls::prelude::tls_codec::Serialize::tls_serialize_detached(&former).unwrap();
    let former = mimi::mls::RatchetTree::decode_exact(&former).unwrap();
    let empty = mimi::mls::RatchetTree::decode_exact(&[0]).unwrap();
    for wrong in [
        RatchetTreeOption::Full(former),
        RatchetTreeOption::Full(empty),
        RatchetTreeOption::OutOfBand,
        RatchetTreeOption::HttpsUri(Bytes::from_static(b"https://c.example/tree")),
    ] {
        not_allowed(world.update("c.example", &parts.with(whole(), wrong)), "ratchet tree");
    }
    world
        .update(
            "c.example",
            &parts.with(whole(), RatchetTreeOption::DistributionService),
        )
        .unwrap();
}

#[test]
fn h_11_a_client_whose_user_is_not_listed_is_not_added() {
    let (mut world, mut alice, mut bob, mut raw) = trio(ADMIN);
    let erin = Raw::new("b.example/d/erin/phone");
    let wish = |list| Wish {
        adds: vec![key_package(&erin.key_package())],
        list,
        ..Wish::default()
    };
    let parts = raw.commit(wish(None));
    not_allowed(
        world.update("c.example", &parts.body()),
        "whose user is not in the list",
    );
    raw.forget();
    let parts = raw.commit(wish(Some(added(&erin.uri.user(), ORDINARY))));
    world.update("c.example", &parts.body()).unwrap();
    world.bring(&mut alice);
    world.bring(&mut bob);
    world.assert_agreed(&[&alice, &bob]);
}

#[test]
fn h_11_h_10_a_user_is_removed_with_all_its_clients() {
    let (mut world, mut alice, _, mut raw) = trio(ADMIN);
    let mut laptop = member("b.example/d/bob/laptop");
    world.join(&mut laptop, None).unwrap();
    world.bring(&mut alice);
    raw.catch_up(&world);
    let phone = raw.leaf_of("b.example/d/bob/phone");
    let laptop = raw.leaf_of("b.example/d/bob/laptop");
    let wish = |removes| Wish {
        removes,
        list: Some(removed(1)),
        ..Wish::default()
    };
    let parts = raw.commit(wish(vec![phone]));
    not_allowed(
        world.update("c.example", &parts.body()),
        "whose user is not in the list",
    );
    raw.forget();
    let parts = raw.commit(wish(vec![phone, laptop]));
    world.update("c.example", &parts.body()).unwrap();
    world.bring(&mut alice);
    world.assert_agreed(&[&alice]);
    assert!(!world.room.recipients().any(|provider| provider.as_str() == "b.example"));
}

#[test]
fn h_20_p_10_an_ordinary_member_removes_nobody_else() {
    let (mut world, _, mut bob, mut raw) = trio(ORDINARY);
    let alice = raw.leaf_of("a.example/d/alice/phone");
    let parts = raw.commit(Wish {
        removes: vec![alice],
        list: Some(removed(0)),
        ..Wish::default()
    });
    not_allowed(
        world.update("c.example", &parts.body()),
        "the removal of another participant",
    );
    let body = bob
        .remove_user(&id(), &"mimi://a.example/u/alice".parse().unwrap())
        .unwrap();
    not_allowed(world.handshake(&mut bob, &body), "the removal of another participant");
}

#[test]
fn h_41_h_19_each_added_client_is_welcomed_and_nobody_else() {
    let (mut world, _, _, mut raw) = trio(ADMIN);
    let erin = Raw::new("b.example/d/erin/phone");
    let mut parts = raw.commit(Wish {
        adds: vec![key_package(&erin.key_package())],
        list: Some(added(&erin.uri.user(), ORDINARY)),
        ..Wish::default()
    });
    let welcome = parts.welcome.take();
    not_allowed(
        world.update("c.example", &parts.body()),
        "a Welcome for each added client",
    );
    raw.forget();
    let mut bare = raw.commit(Wish::default());
    bare.welcome = welcome;
    not_allowed(
        world.update("c.example", &bare.body()),
        "a Welcome for each added client",
    );
}

#[test]
fn h_50_p_16_who_is_banned_is_granted_nothing_even_in_an_open_room() {
    let open = RoomProfile {
        open: true,
        ..RoomProfile::default()
    };
    let (mut world, mut alice) = World::found(&open);
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    let mut raw = world.invite_raw(&mut alice, ADMIN, "c.example/d/mallory/phone");
    let leaf = raw.leaf_of("b.example/d/bob/phone");
    let parts = raw.commit(Wish {
        removes: vec![leaf],
        list: Some(changed(1, BANNED)),
        ..Wish::default()
    });
    world.update("c.example", &parts.body()).unwrap();
    let (request, _) = bob.group_info_request(&id()).unwrap();
    not_allowed(world.group_info("b.example", &request), "joining by oneself");
}

// Proposals.

#[test]
fn h_14_a_members_commit_holds_everything_pending() {
    let (mut world, mut alice, mut bob, mut raw) = trio(ORDINARY);
    let body = bob.retire(&id()).unwrap();
    world.handshake(&mut bob, &body).unwrap();
    raw.catch_up(&world);
    let parts = raw.commit(Wish {
        ignore_pending: true,
        ..Wish::default()
    });
    assert_eq!(
        world.update("c.example", &parts.body()),
        Err(Refusal::NotAllowed("pending-proposals"))
    );
    raw.forget();
    let parts = raw.commit(Wish::default());
    world.update("c.example", &parts.body()).unwrap();
    world.bring(&mut alice);
    world.assert_agreed(&[&alice]);
    assert!(!world.room.view().is_active(&bob.user()));
}

#[test]
fn h_13_what_is_accepted_takes_effect_before_it_is_committed() {
    let (mut world, mut alice, _, mut mallory) = trio(ADMIN);
    let mut trent = world.invite_raw(&mut alice, ADMIN, "c.example/d/trent/phone");
    mallory.catch_up(&world);
    // Mallory stands third, after Alice and Bob.
    let demote = trent.propose_list(&changed(2, ORDINARY));
    world.update("c.example", &demote).unwrap();
    let privileged = mallory.propose_list(&changed(1, BANNED));
    not_allowed(world.update("c.example", &privileged), "a change of another's role");
    world.restart();
    not_allowed(world.update("c.example", &privileged), "a change of another's role");
}

#[test]
fn l_3_h_20_one_user_is_operated_on_once_an_epoch() {
    let (mut world, _, _, mut raw) = trio(ADMIN);
    let first = raw.propose_list(&changed(1, ADMIN));
    world.update("c.example", &first).unwrap();
    let second = raw.propose_list(&removed(1));
    let refused = world.update("c.example", &second);
    let Err(Refusal::InvalidProposal { proposals, .. }) = refused else {
        panic!("{refused:?}")
    };
    let UpdateRequest { bundle } = UpdateRequest::decode_exact(&second).unwrap();
    let named = bundle.messages()[0].proposal_ref(1).unwrap().unwrap();
    assert_eq!(proposals, [named]);
    raw.forget_proposals();
    let (mut world, _, _, mut raw) = trio(ADMIN);
    let twice = ParticipantListUpdate {
        removed: vec![1],
        ..changed(1, ADMIN)
    };
    let leaf = raw.leaf_of("b.example/d/bob/phone");
    let parts = raw.commit(Wish {
        removes: vec![leaf],
        list: Some(twice),
        ..Wish::default()
    });
    not_allowed(world.update("c.example", &parts.body()), "two operations on one user");
}

#[test]
fn h_15_a_bundle_is_accepted_whole_or_not_at_all() {
    let (mut world, _, _, mut raw) = trio(ORDINARY);
    let alice = raw.leaf_of("a.example/d/alice/phone");
    let Raw {
        group,
        provider,
        signer,
        ..
    } = &mut raw;
    let group = group.as_mut().unwrap();
    let leave = group.leave_group_via_self_remove(provider, signer).unwrap();
    let (kick, _) = group
        .propose(
            provider,
            signer,
            Propose::Remove(alice),
            openmls::prelude::ProposalOrRefType::Reference,
        )
        .unwrap();
    not_allowed(
        world.update("c.example", &proposals(&[leave.clone(), kick])),
        "the removal of a client",
    );
    assert!(!world.rows.keys().any(|id| matches!(id, room::RowId::Pending(_))));
    world.update("c.example", &proposals(&[leave])).unwrap();
}

#[test]
fn h_15_proposals_of_several_clients_do_not_come_as_one() {
    let (mut world, mut alice, _, mut raw) = trio(ADMIN);
    let mut other = world.invite_raw(&mut alice, ADMIN, "c.example/d/trent/phone");
    raw.catch_up(&world);
    let of = |body: &Bytes| match UpdateRequest::decode_exact(body).unwrap().bundle {
        HandshakeBundle::Proposals { proposals } => proposals,
        HandshakeBundle::Commit { .. } => panic!("a commit"),
    };
    let mine = of(&raw.propose_list(&changed(1, ADMIN)));
    let theirs = of(&other.propose_list(&changed(2, ORDINARY)));
    let bundle = HandshakeBundle::Proposals {
        proposals: [mine, theirs].concat(),
    };
    not_allowed(
        world.update("c.example", &UpdateRequest { bundle }.encode().into()),
        "several senders",
    );
}

#[test]
fn h_12_h_44_h_49_s_5_a_leaver_is_silent_at_once_and_gone_with_the_next_commit() {
    let (mut world, mut alice, mut bob, _) = trio(ORDINARY);
    let early = bob.send(&id(), b"written before").unwrap();
    let body = bob.leave(&id()).unwrap();
    world.handshake(&mut bob, &body).unwrap();
    not_allowed(world.submit("b.example", &early), "not a participant");
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    assert_eq!(
        recipients(world.log.last().unwrap()),
        ["a.example", "b.example", "c.example"]
    );
    assert_eq!(world.bring(&mut bob).last(), Some(&Received::Removed));
    let message = alice.send(&id(), b"alone").unwrap();
    world.submit("a.example", &message).unwrap();
    assert_eq!(recipients(world.log.last().unwrap()), ["a.example", "c.example"]);
    assert!(world.room.view().role_index(&bob.user()).is_none());
    // Back again, the room begins anew for b.example.
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    let [.., commit, welcome] = &world.log[..] else {
        panic!("two entries")
    };
    assert_eq!((commit.kind, welcome.kind), (EntryKind::Commit, EntryKind::Welcome));
    assert_eq!(recipients(commit), ["a.example", "+b.example", "c.example"]);
    assert_eq!(recipients(welcome), ["a.example#", "b.example", "c.example#"]);
}

#[test]
fn h_12_h_48_s_7_whose_removal_was_accepted_neither_speaks_nor_hears_nor_commits() {
    let (mut world, mut alice, mut bob, mut raw) = trio(ADMIN);
    let message = bob.send(&id(), b"hello").unwrap();
    let commit = bob.self_update(&id()).unwrap();
    let body = raw.propose_list(&removed(1));
    world.update("c.example", &body).unwrap();
    not_allowed(world.submit("b.example", &message), "not a participant");
    not_allowed(world.handshake(&mut bob, &commit), "not a participant");
    let request = bob.key_material_request(&id(), &bob.user()).unwrap();
    let asked = world.command(&room::Command::AuthorizeKeyMaterial {
        from: world::provider("b.example"),
        body: request,
    });
    not_allowed(asked, "not a participant");
    let words = alice.send(&id(), b"he cannot hear this").unwrap();
    world.submit("a.example", &words).unwrap();
    assert_eq!(
        recipients(world.log.last().unwrap()),
        ["a.example", "b.example#", "c.example"]
    );
    // He may still go by himself.
    let go = bob.retire(&id()).unwrap();
    world.handshake(&mut bob, &go).unwrap();
}

#[test]
fn h_12_m_4_a_block_outlives_the_external_commit_that_voids_its_proposal() {
    let (mut world, mut alice, mut bob, mut raw) = trio(ADMIN);
    let body = raw.propose_list(&removed(1));
    world.update("c.example", &body).unwrap();
    let mut tablet = member("a.example/d/alice/tablet");
    world.join(&mut tablet, None).unwrap();
    world.bring(&mut bob);
    world.bring(&mut alice);
    world.assert_agreed(&[&alice, &bob, &tablet]);
    world.restart();
    let message = bob.send(&id(), b"am I still here?").unwrap();
    not_allowed(world.submit("b.example", &message), "removal or ban was accepted");
    // Until the removal is made again and committed.
    let body = alice.remove_user(&id(), &bob.user()).unwrap();
    world.handshake(&mut alice, &body).unwrap();
    assert!(!world.rows.keys().any(|id| matches!(id, room::RowId::Blocked(_))));
}

#[test]
fn h_11_m_2_a_proposed_addition_is_committed_by_another() {
    let (mut world, mut alice, _, mut raw) = trio(ADMIN);
    let erin = Raw::new("b.example/d/erin/phone");
    let add = raw.propose(Propose::Add(key_package(&erin.key_package())));
    let refused = world.update("c.example", &add);
    assert!(matches!(refused, Err(Refusal::InvalidProposal { .. })), "{refused:?}");
    raw.forget_proposals();
    let list = raw.propose_list(&added(&erin.uri.user(), ORDINARY));
    world.update("c.example", &list).unwrap();
    let add = raw.propose(Propose::Add(key_package(&erin.key_package())));
    world.update("c.example", &add).unwrap();
    world.restart();
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    assert!(world.room.view().is_active(&erin.uri.user()));
}

#[test]
fn h_22_m_2_proposals_that_this_hub_does_not_carry_are_refused() {
    let (mut world, _, _, mut raw) = trio(ADMIN);
    let extensions = raw.group().extensions().clone();
    let body = raw.propose(Propose::GroupContextExtensions(extensions));
    not_allowed(world.update("c.example", &body), "does not carry");
    raw.forget_proposals();
    let update = raw.propose(Propose::Update(openmls::prelude::LeafNodeParameters::default()));
    not_allowed(world.update("c.example", &update), "does not carry");
}
