//! Messages, joining by oneself, KeyPackages and founding: what is answered and to whom it is due.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::rc::Rc;

use bytes::Bytes;
use client::mls::{ADMIN, Member, ORDINARY, Received, RoomProfile};
use mimi::codec::{Decode as _, Encode as _};
use mimi::group_info::{GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoResponse};
use mimi::key_material::{KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode};
use mimi::submit::{SubmitMessageRequest, SubmitMessageResponse, SubmitOutcome};
use mimi::update::{RatchetTreeOption, UpdateOutcome, UpdateRoomResponse};
use room::{Answer, Command, EntryKind, Epoch, Founding, Millis, Refusal, Reply, Room, RowId};
use world::keys::Signers;
use world::{World, forbidden, founding, id, material, member, not_allowed, provider, recipients, shown};

fn pair() -> (World, Member, Member) {
    pair_with(&RoomProfile::default())
}

fn pair_with(profile: &RoomProfile) -> (World, Member, Member) {
    let (mut world, mut alice) = World::found(profile);
    let mut bob = member("b.example/d/bob/phone");
    world.invite(&mut alice, ORDINARY, &mut [&mut bob]).unwrap();
    (world, alice, bob)
}

fn accepted_at(answer: &Answer) -> u64 {
    let response = SubmitMessageResponse::decode_exact(answer.body().unwrap()).unwrap();
    match response.outcome {
        SubmitOutcome::Accepted { accepted_timestamp, .. } => accepted_timestamp,
        other => panic!("{other:?}"),
    }
}

// Messages.

#[test]
fn h_40_h_47_a_message_reaches_every_provider_with_a_client_in_the_room() {
    let (mut world, mut alice, mut bob) = pair();
    let body = alice.send(&id(), b"hello").unwrap();
    let answer = world.submit("a.example", &body).unwrap();
    let entry = world.log.last().unwrap();
    assert_eq!(entry.kind, EntryKind::Message);
    assert_eq!(accepted_at(&answer), entry.accepted.0);
    assert_eq!(recipients(entry), ["a.example", "b.example"]);
    let received = world.bring(&mut bob);
    assert!(matches!(&received[..], [Received::Message(message)] if &*message.data == b"hello"));
}

#[test]
fn h_33_the_sender_is_told_to_nobody() {
    let (mut world, _, mut bob) = pair();
    let body = bob.send(&id(), b"hello").unwrap();
    world.submit("b.example", &body).unwrap();
    let message = &world.log.last().unwrap().message;
    let name = bob.user();
    assert!(
        !message
            .windows(name.as_str().len())
            .any(|window| window == name.as_str().as_bytes())
    );
}

#[test]
fn h_35_a_message_sent_again_gets_its_first_answer_and_is_distributed_once() {
    let (mut world, mut alice, _) = pair();
    let body = alice.send(&id(), b"hello").unwrap();
    let first = world.submit("a.example", &body).unwrap();
    let commit = alice.self_update(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    world.restart();
    let entries = world.log.len();
    assert_eq!(world.submit("a.example", &body).unwrap(), first);
    assert_eq!(world.log.len(), entries);
}

#[test]
fn h_25_accepted_times_increase_though_the_clock_stands_still_or_goes_back() {
    let (mut world, mut alice, _) = pair();
    world.now = Millis(world.now.0 + 1_000);
    let mut last = 0;
    for now in [500, 400, 0, 600] {
        let body = alice.send(&id(), b"hello").unwrap();
        world.now = Millis(now);
        let accepted = accepted_at(&world.submit("a.example", &body).unwrap());
        assert!(accepted > last);
        last = accepted;
    }
}

#[test]
fn h_32_messages_of_the_tolerated_epochs_are_accepted_and_older_ones_are_told_the_epoch() {
    let profile = RoomProfile {
        epoch_tolerance: 1,
        ..RoomProfile::default()
    };
    let (mut world, mut alice, mut bob) = pair_with(&profile);
    let late: Vec<Bytes> = (0..2).map(|_| bob.send(&id(), b"late").unwrap()).collect();
    let commit = |world: &mut World, alice: &mut Member| {
        let body = alice.self_update(&id()).unwrap();
        world.handshake(alice, &body).unwrap();
        world.bring(alice);
    };
    commit(&mut world, &mut alice);
    world.submit("b.example", &late[0]).unwrap();
    commit(&mut world, &mut alice);
    let current = Epoch(world.room.epoch().0);
    let refused = world.submit("b.example", &late[1]);
    assert_eq!(refused, Err(Refusal::EpochTooOld { current }));
}

#[test]
fn h_32_a_message_of_an_epoch_to_come_is_refused() {
    let (mut world, mut alice, _) = pair();
    alice.self_update(&id()).unwrap();
    alice.on_accepted(&id()).unwrap(); // which it was not
    let body = alice.send(&id(), b"from the future").unwrap();
    not_allowed(world.submit("a.example", &body), "an epoch to come");
}

#[test]
fn h_30_h_31_l_7_only_application_messages_of_this_group_by_active_participants_are_messages() {
    let (mut world, mut alice, mut bob) = pair();
    let body = bob.send(&id(), b"hello").unwrap();
    let request = SubmitMessageRequest::decode_exact(&body).unwrap();
    let by = |user: &str| {
        let request = SubmitMessageRequest {
            sending_uri: (&user.parse::<mimi::UserUri>().unwrap()).into(),
            ..request.clone()
        };
        Bytes::from(request.encode())
    };
    not_allowed(
        world.submit("c.example", &by("mimi://c.example/u/carol")),
        "not a participant",
    );
    let inactive = [member("c.example/d/carol/phone")];
    let add = alice.add_user(&id(), &inactive[0].user(), ORDINARY, &[]).unwrap();
    world.handshake(&mut alice, &add).unwrap();
    not_allowed(
        world.submit("c.example", &by("mimi://c.example/u/carol")),
        "sending messages",
    );

    let mut octets = request.app_message.octets().to_vec();
    let name = octets.windows(9).position(|window| window == b"clubhouse").unwrap();
    octets[name] = b'p';
    let elsewhere = SubmitMessageRequest {
        app_message: mimi::mls::Message::decode_exact(&octets).unwrap(),
        ..request.clone()
    };
    not_allowed(world.submit("b.example", &elsewhere.encode().into()), "another group");

    let handshake = bob.self_update(&id()).unwrap();
    let handshake = mimi::update::UpdateRequest::decode_exact(&handshake).unwrap();
    let request = SubmitMessageRequest {
        app_message: handshake.bundle.messages()[0].clone(),
        ..request
    };
    not_allowed(
        world.submit("b.example", &request.encode().into()),
        "not an application message",
    );
}

#[test]
fn h_34_pending_proposals_keep_no_message_out() {
    let (mut world, mut alice, mut bob) = pair();
    let message = alice.send(&id(), b"meanwhile").unwrap();
    let body = bob.retire(&id()).unwrap();
    world.handshake(&mut bob, &body).unwrap();
    world.submit("a.example", &message).unwrap();
    assert_eq!(world.log.last().unwrap().kind, EntryKind::Message);
}

#[test]
fn h_36_authenticated_data_is_safe_aad_with_increasing_components() {
    let (mut world, mut alice, _) = pair();
    let body = alice.send(&id(), b"hello").unwrap();
    let request = SubmitMessageRequest::decode_exact(&body).unwrap();
    let message = &request.app_message;
    // version, wire_format, group_id, epoch and content_type stand before it.
    let at = 4 + 1 + message.group_id().unwrap().len() + 8 + 1;
    let (before, rest) = message.octets().split_at(at);
    let behind = &rest[1 + message.authenticated_data().unwrap().len()..];
    let with = |data: &[u8]| {
        let length = [u8::try_from(data.len()).unwrap()];
        let octets = [before, &length[..], data, behind].concat();
        let request = SubmitMessageRequest {
            app_message: mimi::mls::Message::decode_exact(&octets).unwrap(),
            ..request.clone()
        };
        Bytes::from(request.encode())
    };
    not_allowed(world.submit("a.example", &with(&[9])), "SafeAAD");
    not_allowed(world.submit("a.example", &with(&[])), "SafeAAD");
    not_allowed(world.submit("a.example", &with(&[6, 0, 2, 0, 0, 1, 0])), "SafeAAD");
    world.submit("a.example", &with(&[6, 0, 1, 0, 0, 2, 0])).unwrap();
}

#[test]
fn h_42_proposals_stand_before_their_commit_and_what_is_of_its_epoch_behind_it() {
    let (mut world, mut alice, mut bob) = pair();
    let from = world.log.len();
    let body = bob.retire(&id()).unwrap();
    world.handshake(&mut bob, &body).unwrap();
    world.bring(&mut alice);
    let commit = alice.commit_pending(&id()).unwrap();
    world.handshake(&mut alice, &commit).unwrap();
    world.bring(&mut alice);
    let message = alice.send(&id(), b"after it").unwrap();
    world.submit("a.example", &message).unwrap();
    let entries = world.log[from..].iter();
    let kinds: Vec<_> = entries.map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::Proposals, EntryKind::Commit, EntryKind::Message]);
}

fn submit(from: &str, body: &Bytes) -> Command {
    Command::Submit {
        from: provider(from),
        body: body.clone(),
    }
}

// Joining.

#[test]
fn h_50_s_6_a_further_client_of_a_participant_joins_by_itself() {
    let (mut world, mut alice, mut bob) = pair();
    let mut laptop = member("b.example/d/bob/laptop");
    world.join(&mut laptop, None).unwrap();
    world.bring(&mut alice);
    world.bring(&mut bob);
    world.assert_agreed(&[&alice, &bob, &laptop]);
    let body = laptop.send(&id(), b"two of me").unwrap();
    world.submit("b.example", &body).unwrap();
}

#[test]
fn h_12_h_50_a_client_is_in_the_group_once_and_a_removed_one_does_not_come_back() {
    let (mut world, mut alice, _) = pair();
    let mut again = member("b.example/d/bob/phone");
    let refused = world.join(&mut again, None);
    not_allowed(refused, "in the group already");
    let body = alice.remove_user(&id(), &again.user()).unwrap();
    world.handshake(&mut alice, &body).unwrap();
    let refused = world.join(&mut again, None);
    not_allowed(refused, "joining by oneself");
}

#[test]
fn h_50_p_7_strangers_are_granted_nothing_unless_the_room_is_open() {
    let (mut world, _, _) = pair();
    let mut stranger = member("c.example/d/carol/phone");
    not_allowed(world.join(&mut stranger, Some(ORDINARY)), "joining by oneself");
    let open = RoomProfile {
        open: true,
        ..RoomProfile::default()
    };
    let (mut world, mut alice, _) = pair_with(&open);
    let mut as_admin = member("c.example/d/mallory/phone");
    not_allowed(world.join(&mut as_admin, Some(ADMIN)), "without being added");
    world.join(&mut stranger, Some(ORDINARY)).unwrap();
    world.bring(&mut alice);
    world.assert_agreed(&[&alice, &stranger]);
    assert_eq!(
        recipients(world.log.last().unwrap()),
        ["a.example", "b.example", "+c.example"]
    );
}

#[test]
fn h_51_a_group_info_request_is_signed_by_its_key() {
    let (mut world, _, bob) = pair();
    let (request, _) = bob.group_info_request(&id()).unwrap();
    let request = GroupInfoRequest::decode_exact(&request).unwrap();
    let forged = GroupInfoRequest {
        group_info_public_key: Bytes::from_static(&[9; 32]),
        ..request
    };
    let body: Bytes = forged.encode().into();
    not_allowed(world.group_info("b.example", &body), "not signed by its key");
}

#[test]
fn h_53_a_grant_holds_the_epoch_its_tree_and_what_is_pending() {
    let (mut world, alice, mut bob) = pair();
    let body = bob.retire(&id()).unwrap();
    world.handshake(&mut bob, &body).unwrap();
    let (request, _) = alice.group_info_request(&id()).unwrap();
    let grant = world.group_info("a.example", &request).unwrap();
    let content = GroupInfoRatchetTreeTbe::decode_exact(&grant.sealed).unwrap();
    assert_eq!(content.group_info.view().group_context.epoch, world.room.epoch().0);
    let RatchetTreeOption::Full(tree) = &content.ratchet_tree else {
        panic!("no tree")
    };
    assert_eq!(tree.leaves().count(), 2);
    let [pending] = &content.pending_proposals[..] else {
        panic!("one proposal")
    };
    assert_eq!(pending.hub_accepted_time, world.log.last().unwrap().accepted.0);
}

#[test]
fn h_14_h_23_m_4_an_external_commit_takes_every_pending_self_remove_along() {
    let (mut world, mut alice, mut bob) = pair();
    let mut tablet = member("a.example/d/alice/tablet");
    let without = world.external_commit(&mut tablet, None).unwrap();
    let body = bob.leave(&id()).unwrap();
    world.handshake(&mut bob, &body).unwrap();
    not_allowed(world.handshake(&mut tablet, &without), "pending-proposals");
    let mut tablet = member("a.example/d/alice/tablet");
    world.join(&mut tablet, None).unwrap();
    world.bring(&mut alice);
    world.assert_agreed(&[&alice, &tablet]);
    let view = world.room.view();
    assert!(!view.is_active(&bob.user()), "his client is gone");
    assert!(view.participates(&bob.user()), "his name is not: that proposal is void");
    assert!(
        world.rows.contains_key(&RowId::Leaving(bob.user())),
        "and not forgotten"
    );
    // He may come back by himself.
    let mut back = member("b.example/d/bob/phone");
    world.join(&mut back, None).unwrap();
    assert!(!world.rows.contains_key(&RowId::Leaving(bob.user())));
}

// KeyPackages.

#[test]
fn h_1_h_41_a_welcome_goes_where_its_key_packages_came_from() {
    let (mut world, mut alice, _) = pair();
    let guests = [member("c.example/d/carol/phone"), member("c.example/d/carol/laptop")];
    let packages = world.key_material(&alice, &guests).unwrap();
    let routes = |world: &World| world.rows.keys().filter(|id| matches!(id, RowId::Route(_))).count();
    assert_eq!(routes(&world), 2);
    world.restart();
    let body = alice.add_user(&id(), &guests[0].user(), ORDINARY, &packages).unwrap();
    world.handshake(&mut alice, &body).unwrap();
    assert_eq!(routes(&world), 0, "used");
    let welcome = world.log.last().unwrap();
    assert_eq!(recipients(welcome), ["a.example#", "b.example#", "c.example"]);
    assert!(shown(welcome, &provider("c.example")));
    for mut guest in guests {
        let received = world.bring(&mut guest);
        assert!(matches!(received.last(), Some(Received::Joined { .. })), "{received:?}");
    }
}

#[test]
fn h_4_a_key_package_that_does_not_fit_is_not_passed_on() {
    let (mut world, alice, _) = pair();
    let carol = member("c.example/d/carol/phone");
    let dave = member("c.example/d/dave/phone");
    let request = alice.key_material_request(&id(), &carol.user()).unwrap();
    let record = |response: KeyMaterialResponse| Command::RecordKeyMaterial {
        from: provider("a.example"),
        request: request.clone(),
        target: provider("c.example"),
        response: response.encode().into(),
    };
    let answered = |answer: Answer| KeyMaterialResponse::decode_exact(answer.body().unwrap()).unwrap();
    let two = [carol, dave];
    let answer = answered(world.command(&record(material(&two[0].user(), &two))).unwrap());
    assert_eq!(answer.user_status, KeyMaterialUserCode::PartialSuccess);
    assert_eq!(answer.key_packages().count(), 1, "one is of another user");
    let answer = answered(world.command(&record(material(&two[0].user(), &two[1..]))).unwrap());
    assert_eq!(answer.user_status, KeyMaterialUserCode::NoCompatibleMaterial);
    let mut spoiled = material(&two[0].user(), &two[..1]);
    let package = spoiled.clients[0].key_package().unwrap();
    let mut octets = package.octets().to_vec();
    *octets.last_mut().unwrap() ^= 1;
    let package = mimi::mls::KeyPackage::decode_exact(&octets).unwrap();
    spoiled.clients[0].status = mimi::key_material::ClientStatus::Success(package);
    let answer = answered(world.command(&record(spoiled)).unwrap());
    assert_eq!(answer.key_packages().count(), 0, "its signature does not verify");
    forbidden(world.command(&record(material(&two[1].user(), &two[1..]))));
}

#[test]
fn h_2_whoever_may_not_add_is_told_no_consent() {
    let (mut world, _, bob) = pair();
    let stranger = member("c.example/d/carol/phone");
    let ask = |member: &Member, from: &str| Command::AuthorizeKeyMaterial {
        from: provider(from),
        body: member.key_material_request(&id(), &bob.user()).unwrap(),
    };
    let command = ask(&stranger, "c.example");
    let refusal = world.command(&command).unwrap_err();
    let Reply::Body(body) = refusal.reply(&id(), &command) else {
        panic!("{refusal:?}")
    };
    let response = KeyMaterialResponse::decode_exact(&body).unwrap();
    assert_eq!(
        (response.user_status, response.clients.len()),
        (KeyMaterialUserCode::NoConsent, 0)
    );
    assert_eq!(response.user, (&bob.user()).into());
    assert_eq!(
        world.command(&ask(&bob, "b.example")),
        Ok(Answer::Authorized),
        "one's own clients"
    );
    let mut elsewhere =
        KeyMaterialRequest::decode_exact(&bob.key_material_request(&id(), &bob.user()).unwrap()).unwrap();
    elsewhere.room_id = (&"mimi://a.example/r/other".parse::<mimi::RoomUri>().unwrap()).into();
    let refused = world.command(&Command::AuthorizeKeyMaterial {
        from: provider("b.example"),
        body: elsewhere.encode().into(),
    });
    assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
}

// Replies.

#[test]
fn h_16_h_20_h_32_refusals_travel_as_the_drafts_say() {
    let body = Bytes::new();
    let from = provider("b.example");
    let update = Command::Update {
        from: from.clone(),
        body: body.clone(),
    };
    let reply = |refusal: &Refusal, to: &Command| match refusal.reply(&id(), to) {
        Reply::Body(body) => body,
        other => panic!("{other:?}"),
    };
    let outcome = |refusal| {
        UpdateRoomResponse::decode_exact(&reply(&refusal, &update))
            .unwrap()
            .outcome
    };
    let current = Epoch(7);
    assert_eq!(
        outcome(Refusal::WrongEpoch { current }),
        UpdateOutcome::WrongEpoch { current_epoch: 7 }
    );
    assert_eq!(outcome(Refusal::NotAllowed("no")), UpdateOutcome::NotAllowed);
    let submit = submit("b.example", &body);
    let answer = SubmitMessageResponse::decode_exact(&reply(&Refusal::EpochTooOld { current }, &submit)).unwrap();
    assert_eq!(answer.outcome, SubmitOutcome::EpochTooOld { current_epoch: 7 });
    let answer = SubmitMessageResponse::decode_exact(&reply(&Refusal::NotAllowed("no"), &submit)).unwrap();
    assert_eq!(answer.outcome, SubmitOutcome::NotAllowed);
    let group_info = Command::GroupInfo { from, body };
    let answer = GroupInfoResponse::decode_exact(&reply(&Refusal::NotAllowed("no"), &group_info)).unwrap();
    assert!(answer.outcome.is_err());
    assert_eq!(Refusal::Malformed("x").reply(&id(), &update), Reply::Status(400, "x"));
    assert_eq!(Refusal::Forbidden("x").reply(&id(), &update), Reply::Status(403, "x"));
}

// Founding.

#[test]
fn p_31_a_room_of_each_example_policy_is_founded_and_takes_a_participant() {
    for preset in policy::Preset::ALL {
        let profile = RoomProfile::preset(preset.name()).unwrap();
        let (world, alice, _) = pair_with(&profile);
        assert_eq!(world.room.epoch(), Epoch(1), "{preset:?}");
        assert_eq!(alice.participants(&id()).unwrap().participants.len(), 2);
    }
    assert!(RoomProfile::preset("anarchic").is_err());
}

#[test]
fn m_5_s_1_a_room_is_founded_at_its_own_provider_by_a_whole_group_of_its_own() {
    let (_, good, signer) = founding(&RoomProfile::default());
    let keys = Signers::of(&Rc::new(signer));
    let found = |founding: Founding| Room::found(id(), founding, Millis(1), &keys).map(drop);
    assert_eq!(found(good.clone()), Ok(()));
    forbidden(found(Founding {
        from: provider("b.example"),
        ..good.clone()
    }));
    let mut spoiled = good.group_info.to_vec();
    *spoiled.last_mut().unwrap() ^= 1;
    not_allowed(
        found(Founding {
            group_info: spoiled.into(),
            ..good.clone()
        }),
        "does not verify",
    );
    let elsewhere = "mimi://a.example/r/other".parse().unwrap();
    not_allowed(
        Room::found(elsewhere, good.clone(), Millis(1), &keys).map(drop),
        "another room",
    );
    for ratchet_tree in [RatchetTreeOption::DistributionService.encode(), vec![9], Vec::new()] {
        let refused = found(Founding {
            ratchet_tree: ratchet_tree.into(),
            ..good.clone()
        });
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
    }
}
