//! Members among themselves: a relay puts requests in order and fans them out, and judges nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

mod relay;

use bytes::Bytes;
use client::mls::{Answered, MemberError, ORDINARY, Received, RoomProfile};
use mimi::RoomUri;
use relay::{Relay, assert_agreed, founded, invited, joined, member, room};

fn data(received: &[Received]) -> Vec<(String, Bytes, bool)> {
    received
        .iter()
        .filter_map(|received| match received {
            Received::Message(message) => Some((message.sender.to_string(), message.data.clone(), message.mine)),
            _ => None,
        })
        .collect()
}

#[test]
fn ce_5_an_invited_user_reads_what_is_said_once_and_is_heard() {
    let (mut alice, mut bob, mut relay) = invited();
    assert_agreed(&room(), &[&alice, &bob]);
    assert_eq!(alice.epoch(&room()), Some(1));

    relay.submit(&alice.send(&room(), b"hello").unwrap());
    relay.submit(&bob.send(&room(), b"hi").unwrap());
    let expected = |mine: &str| {
        ["mimi://a.example/d/alice/phone", "mimi://b.example/d/bob/phone"]
            .into_iter()
            .zip(["hello", "hi"])
            .map(|(sender, text)| (sender.to_owned(), Bytes::from(text), sender == mine))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        data(&relay.bring(&mut alice)),
        expected("mimi://a.example/d/alice/phone")
    );
    assert_eq!(data(&relay.bring(&mut bob)), expected("mimi://b.example/d/bob/phone"));
    relay.rewind(&bob);
    assert!(
        relay
            .bring(&mut bob)
            .iter()
            .all(|again| matches!(again, Received::Duplicate | Received::NotForMe))
    );
}

#[test]
fn a_member_brings_in_a_third_whom_it_found_itself() {
    let (mut alice, mut bob, mut relay) = invited();
    let mut cathy = member("c.example/d/cathy/phone");
    let key_packages = cathy.key_packages(1).unwrap();
    let update = bob.add_user(&room(), &cathy.user(), ORDINARY, &key_packages).unwrap();
    let answer = relay.update(&update);
    assert!(matches!(
        bob.on_answer(&room(), &answer).unwrap(),
        Answered::Accepted(_)
    ));
    relay.bring(&mut alice);
    assert_eq!(
        relay.bring(&mut bob).last(),
        Some(&Received::NotForMe),
        "the Welcome is Cathy's"
    );
    assert!(relay.bring(&mut cathy).contains(&Received::Joined { epoch: 2 }));
    assert_agreed(&room(), &[&alice, &bob, &cathy]);
    assert_eq!(cathy.participants(&room()).unwrap().participants.len(), 3);
}

#[test]
fn ce_5_an_own_commit_takes_effect_once_whichever_comes_first() {
    let (mut alice, mut bob, mut relay) = invited();
    for answered_first in [true, false] {
        let before = alice.epoch(&room()).unwrap();
        let update = alice.self_update(&room()).unwrap();
        assert!(matches!(alice.self_update(&room()), Err(MemberError::Unanswered)));
        let answer = relay.update(&update);
        if answered_first {
            alice.on_answer(&room(), &answer).unwrap();
            assert_eq!(relay.bring(&mut alice), [Received::Duplicate]);
        } else {
            let epoch = before + 1;
            assert_eq!(relay.bring(&mut alice), [Received::EpochChanged { epoch, mine: true }]);
            alice.on_answer(&room(), &answer).unwrap();
        }
        assert_eq!(alice.epoch(&room()), Some(before + 1));
        assert!(!alice.is_unanswered(&room()));
        relay.bring(&mut bob);
        assert_agreed(&room(), &[&alice, &bob]);
    }
}

#[test]
fn f_21_the_loser_of_an_epoch_follows_the_winner_and_tries_again() {
    let (mut alice, mut bob, mut relay) = invited();
    let won = alice.self_update(&room()).unwrap();
    let lost = bob.self_update(&room()).unwrap();
    let answer = relay.update(&won);
    alice.on_answer(&room(), &answer).unwrap();
    let answer = relay.update(&lost);
    // The winner may arrive before the loser hears that it lost, or after.
    assert_eq!(
        relay.bring(&mut bob),
        [Received::EpochChanged { epoch: 2, mine: false }]
    );
    assert_eq!(bob.on_answer(&room(), &answer).unwrap(), Answered::WrongEpoch(2));
    let again = bob.self_update(&room()).unwrap();
    let answer = relay.update(&again);
    bob.on_answer(&room(), &answer).unwrap();
    relay.bring(&mut alice);
    relay.bring(&mut bob);
    assert_agreed(&room(), &[&alice, &bob]);
    assert_eq!(bob.epoch(&room()), Some(3));
}

#[test]
fn messages_are_read_after_the_epoch_moved_on_and_out_of_order() {
    let (mut alice, mut bob, mut relay) = invited();
    let late: Vec<_> = (0..20)
        .map(|n| alice.send(&room(), format!("{n}").as_bytes()).unwrap())
        .collect();
    for _ in 0..7 {
        let update = bob.self_update(&room()).unwrap();
        let answer = relay.update(&update);
        bob.on_answer(&room(), &answer).unwrap();
        relay.bring(&mut alice);
    }
    relay.bring(&mut bob);
    for message in late.iter().rev() {
        relay.submit(message);
    }
    let read = data(&relay.bring(&mut bob));
    let expected: Vec<_> = (0..20).rev().map(|n| Bytes::from(format!("{n}"))).collect();
    assert_eq!(read.into_iter().map(|(_, data, _)| data).collect::<Vec<_>>(), expected);
}

#[test]
fn ce_6_a_user_leaves_with_all_its_clients_by_proposals_that_another_commits() {
    let (mut alice, mut bob, mut relay) = invited();
    let mut tablet = member("b.example/d/bob/tablet");
    joined(&mut relay, &mut alice, &mut tablet, None);
    relay.bring(&mut bob);
    assert_agreed(&room(), &[&alice, &bob, &tablet]);
    assert_eq!(bob.participants(&room()).unwrap().participants.len(), 2);

    let answer = relay.update(&bob.leave(&room()).unwrap());
    bob.on_answer(&room(), &answer).unwrap();
    assert_eq!(relay.bring(&mut bob), [Received::Duplicate]);
    assert_eq!(relay.bring(&mut alice), [Received::Proposals { pending: 3 }]);
    assert_eq!(relay.bring(&mut tablet), [Received::Proposals { pending: 3 }]);
    assert!(bob.is_leaving(&room()) && tablet.is_leaving(&room()) && !alice.is_leaving(&room()));
    assert!(matches!(bob.commit_pending(&room()), Err(MemberError::Leaving)));
    assert!(matches!(bob.send(&room(), b"wait"), Err(MemberError::Leaving)));
    assert!(matches!(
        alice.send(&room(), b"bye"),
        Err(MemberError::PendingProposals)
    ));
    assert!(alice.is_first_to_commit(&room()) && !bob.is_first_to_commit(&room()));

    let answer = relay.update(&alice.commit_pending(&room()).unwrap());
    alice.on_answer(&room(), &answer).unwrap();
    relay.bring(&mut alice);
    assert_eq!(relay.bring(&mut bob), [Received::Removed]);
    assert_eq!(relay.bring(&mut tablet), [Received::Removed]);
    assert_eq!(bob.epoch(&room()), None);
    assert_eq!(alice.members(&room()).unwrap(), [alice.client().clone()]);
    assert_eq!(alice.participants(&room()).unwrap().participants.len(), 1);
    assert!(matches!(
        alice.commit_pending(&room()),
        Err(MemberError::NothingPending)
    ));
}

#[test]
fn ce_6_a_refused_departure_leaves_nothing_behind() {
    let (_, mut bob, _) = invited();
    bob.leave(&room()).unwrap();
    assert!(bob.is_leaving(&room()));
    bob.on_refused(&room()).unwrap();
    assert!(!bob.is_leaving(&room()));
    assert_eq!(bob.pending_proposals(&room()), 0);
    bob.send(&room(), b"still here").unwrap();
}

#[test]
fn a_removed_user_is_out_with_all_its_clients_and_can_be_invited_again() {
    let (mut alice, mut bob, mut relay) = invited();
    let answer = relay.update(&alice.remove_user(&room(), &bob.user()).unwrap());
    alice.on_answer(&room(), &answer).unwrap();
    assert_eq!(relay.bring(&mut bob), [Received::Removed]);
    relay.bring(&mut alice);
    let key_packages = bob.key_packages(1).unwrap();
    let answer = relay.update(&alice.add_user(&room(), &bob.user(), ORDINARY, &key_packages).unwrap());
    alice.on_answer(&room(), &answer).unwrap();
    relay.bring(&mut alice);
    assert!(relay.bring(&mut bob).contains(&Received::Joined { epoch: 3 }));
    assert_agreed(&room(), &[&alice, &bob]);
}

#[test]
fn anybody_joins_an_open_room_from_outside_and_may_join_anew() {
    let profile = RoomProfile {
        open: true,
        ..RoomProfile::default()
    };
    let (mut alice, mut relay) = founded(&profile);
    let mut cathy = member("c.example/d/cathy/phone");
    joined(&mut relay, &mut alice, &mut cathy, Some(ORDINARY));
    assert_agreed(&room(), &[&alice, &cathy]);
    // A client that lost its place replaces its own leaf.
    joined(&mut relay, &mut alice, &mut cathy, None);
    assert_agreed(&room(), &[&alice, &cathy]);
    assert_eq!(alice.members(&room()).unwrap().len(), 2);
    assert_eq!(alice.participants(&room()).unwrap().participants.len(), 2);
}

#[test]
fn an_external_commit_takes_pending_self_removes_along() {
    let (mut alice, mut bob, mut relay) = invited();
    let answer = relay.update(&bob.retire(&room()).unwrap());
    bob.on_answer(&room(), &answer).unwrap();
    relay.bring(&mut alice);
    let mut laptop = member("a.example/d/alice/laptop");
    joined(&mut relay, &mut alice, &mut laptop, None);
    assert_eq!(relay.bring(&mut bob).last(), Some(&Received::Removed));
    assert_agreed(&room(), &[&alice, &laptop]);
    assert_eq!(alice.members(&room()).unwrap().len(), 2);
    assert_eq!(
        alice.participants(&room()).unwrap().participants.len(),
        2,
        "Bob is a participant still"
    );
}

#[test]
fn the_answer_of_another_hub_or_for_another_room_is_refused() {
    let (alice, _, relay) = invited();
    let mut tablet = member("b.example/d/bob/tablet");
    let (request, keys) = tablet.group_info_request(&room()).unwrap();
    let forged = Relay::new().group_info_of(&relay, &request, &room());
    assert!(matches!(
        tablet.join_by_external_commit(&forged, &keys, None),
        Err(MemberError::Refused("the answer of a hub that the group does not know"))
    ));
    let elsewhere: RoomUri = "mimi://a.example/r/elsewhere".parse().unwrap();
    let (request, keys) = tablet.group_info_request(&elsewhere).unwrap();
    let answer = relay.group_info_of(&relay, &request, &elsewhere);
    assert!(matches!(
        tablet.join_by_external_commit(&answer, &keys, None),
        Err(MemberError::Refused("the group of another room"))
    ));
    assert_eq!(tablet.rooms().count(), 0);
    drop(alice);
}
