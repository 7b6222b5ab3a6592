//! Users and clients on the way out, by their own wish or by the hub's.

#![allow(clippy::unwrap_used, reason = "tests")]

mod relay;

use client::mls::{Answered, MemberError, ORDINARY, Received};
use relay::{assert_agreed, done, invited, joined, member, room};

#[test]
fn ce_6_a_departure_that_an_external_commit_tore_apart_is_proposed_again() {
    let (mut alice, mut bob, mut relay) = invited();
    let mut tablet = member("b.example/d/bob/tablet");
    joined(&mut relay, &mut alice, &mut tablet, None);
    relay.bring(&mut bob);
    let request = bob.leave(&room()).unwrap();
    done(&mut relay, &mut bob, &request);
    relay.bring(&mut alice);
    relay.bring(&mut tablet);
    assert!(tablet.is_leaving(&room()) && !tablet.must_leave_again(&room()));

    // A joiner takes along the SelfRemove alone.
    let mut laptop = member("a.example/d/alice/laptop");
    joined(&mut relay, &mut alice, &mut laptop, None);
    assert_eq!(relay.bring(&mut bob).last(), Some(&Received::Removed));
    relay.bring(&mut tablet);
    assert_eq!(tablet.participants(&room()).unwrap().participants.len(), 2);
    assert!(tablet.must_leave_again(&room()));

    let request = tablet.leave_again(&room()).unwrap();
    done(&mut relay, &mut tablet, &request);
    assert!(!tablet.must_leave_again(&room()));
    relay.bring(&mut alice);
    let request = alice.commit_pending(&room()).unwrap();
    done(&mut relay, &mut alice, &request);
    assert_eq!(relay.bring(&mut tablet).last(), Some(&Received::Removed));
    relay.bring(&mut alice);
    relay.bring(&mut laptop);
    assert_agreed(&room(), &[&alice, &laptop]);
    assert_eq!(alice.participants(&room()).unwrap().participants.len(), 1);
    assert!(matches!(tablet.leave_again(&room()), Err(MemberError::NotInRoom)));
}

#[test]
fn ce_6_a_departure_that_lost_its_epoch_is_proposed_again_in_the_next() {
    let (mut alice, mut bob, mut relay) = invited();
    let lost = bob.leave(&room()).unwrap();
    let won = alice.self_update(&room()).unwrap();
    done(&mut relay, &mut alice, &won);
    let answer = relay.update(&lost);
    assert_eq!(bob.on_answer(&room(), &answer).unwrap(), Answered::WrongEpoch(2));
    relay.bring(&mut bob);
    assert!(bob.must_leave_again(&room()));
    let request = bob.leave_again(&room()).unwrap();
    done(&mut relay, &mut bob, &request);
    relay.bring(&mut alice);
    let request = alice.commit_pending(&room()).unwrap();
    done(&mut relay, &mut alice, &request);
    assert_eq!(relay.bring(&mut bob).last(), Some(&Received::Removed));
}

#[test]
fn s_13_whoever_commits_the_hubs_removal_of_a_user_takes_it_off_the_list() {
    let (mut alice, mut bob, mut relay) = invited();
    let mut cathy = member("c.example/d/cathy/phone");
    let key_packages = cathy.key_packages(1).unwrap();
    let request = alice.add_user(&room(), &cathy.user(), ORDINARY, &key_packages).unwrap();
    done(&mut relay, &mut alice, &request);
    for each in [&mut alice, &mut bob, &mut cathy] {
        relay.bring(each);
    }
    // Bob's only leaf.
    relay.propose_removal(1);
    assert_eq!(relay.bring(&mut cathy), [Received::Proposals { pending: 1 }]);
    relay.bring(&mut alice);
    relay.bring(&mut bob);
    // An ordinary user may: the hub's promise is kept, not its own wish.
    let request = cathy.commit_pending(&room()).unwrap();
    done(&mut relay, &mut cathy, &request);
    relay.bring(&mut cathy);
    relay.bring(&mut alice);
    assert_eq!(relay.bring(&mut bob), [Received::Removed]);
    assert_agreed(&room(), &[&alice, &cathy]);
    let list = alice.participants(&room()).unwrap();
    assert_eq!(list.position(b"mimi://b.example/u/bob"), None);
    assert_eq!(list.participants.len(), 2);
}

#[test]
fn s_13_a_user_of_whom_a_client_stays_stays_on_the_list() {
    let (mut alice, mut bob, mut relay) = invited();
    let mut tablet = member("b.example/d/bob/tablet");
    joined(&mut relay, &mut alice, &mut tablet, None);
    relay.bring(&mut bob);
    relay.propose_removal(1);
    relay.bring(&mut alice);
    relay.bring(&mut tablet);
    let request = alice.commit_pending(&room()).unwrap();
    done(&mut relay, &mut alice, &request);
    relay.bring(&mut alice);
    assert_eq!(alice.participants(&room()).unwrap().participants.len(), 2);
}
