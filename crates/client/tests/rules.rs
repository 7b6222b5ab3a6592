//! A hub that lets rules be broken is found out by every client, and nobody loses step with the others.

#![allow(clippy::unwrap_used, reason = "tests")]

mod relay;

use client::mls::{ADMIN, Member, ORDINARY, Received, RoomProfile};
use mimi::mls::{Credential, ExternalSender};
use relay::{Relay, assert_agreed, done, founded, invited, joined, member, room};

/// Everybody is in one epoch.
fn in_step(members: &[&Member]) {
    let authenticators = members.iter().map(|member| member.epoch_authenticator(&room()));
    let mut authenticators: Vec<_> = authenticators.collect();
    authenticators.dedup();
    assert_eq!(authenticators.len(), 1);
}

#[test]
fn p_30_ce_3_a_commit_against_the_rules_is_reported_and_followed() {
    let (mut alice, mut bob, mut relay) = invited();
    // An ordinary user takes the founder's role away, and this hub does not mind.
    let request = bob.set_role(&room(), &alice.user(), ORDINARY).unwrap();
    done(&mut relay, &mut bob, &request);
    let received = relay.bring(&mut alice);
    assert!(
        matches!(&received[..], [Received::AgainstRules { epoch: 2, why }] if why.starts_with("not allowed")),
        "{received:?}"
    );
    assert!(alice.distrust(&room()).unwrap().starts_with("not allowed"));
    in_step(&[&alice, &bob]);
    relay.bring(&mut bob);
    relay.submit(&bob.send(&room(), b"still here").unwrap());
    assert!(matches!(relay.bring(&mut alice)[..], [Received::Message(_)]));
}

#[test]
fn p_30_ce_3_a_joiner_whom_the_room_does_not_let_in_is_reported() {
    let (mut alice, mut relay) = founded(&RoomProfile::default());
    let mut cathy = member("c.example/d/cathy/phone");
    let (request, keys) = cathy.group_info_request(&room()).unwrap();
    let answer = relay.group_info_of(&relay, &request, &room());
    let update = cathy.join_by_external_commit(&answer, &keys, Some(ADMIN)).unwrap();
    done(&mut relay, &mut cathy, &update);
    let received = relay.bring(&mut alice);
    assert!(
        matches!(&received[..], [Received::AgainstRules { epoch: 1, .. }]),
        "{received:?}"
    );
    in_step(&[&alice, &cathy]);
}

#[test]
fn p_30_ce_3_rules_that_are_kept_are_not_complained_of() {
    let profile = RoomProfile {
        open: true,
        ..RoomProfile::default()
    };
    let (mut alice, mut relay) = founded(&profile);
    let mut bob = member("b.example/d/bob/phone");
    let mut cathy = member("c.example/d/cathy/phone");
    joined(&mut relay, &mut alice, &mut bob, Some(ORDINARY));
    joined(&mut relay, &mut alice, &mut cathy, Some(ORDINARY));
    relay.bring(&mut bob);
    let steps: [&dyn Fn(&mut Member) -> bytes::Bytes; 5] = [
        &|alice| alice.self_update(&room()).unwrap(),
        &|alice| alice.set_role(&room(), &bob_uri(), ADMIN).unwrap(),
        &|alice| alice.set_role(&room(), &bob_uri(), ORDINARY).unwrap(),
        &|alice| alice.kick(&room(), &bob_uri()).unwrap(),
        &|alice| alice.ban(&room(), &bob_uri()).unwrap(),
    ];
    for step in steps {
        let request = step(&mut alice);
        done(&mut relay, &mut alice, &request);
        relay.bring(&mut alice);
        relay.bring(&mut cathy);
        assert_agreed(&room(), &[&alice, &cathy]);
    }
    assert_eq!(alice.members(&room()).unwrap().len(), 2);
    let request = alice.unban(&room(), &bob_uri(), ORDINARY).unwrap();
    done(&mut relay, &mut alice, &request);
    relay.bring(&mut alice);
    relay.bring(&mut cathy);
    assert_agreed(&room(), &[&alice, &cathy]);
    let again = alice.unban(&room(), &bob_uri(), ORDINARY);
    assert!(again.is_err(), "not banned any more");
}

fn bob_uri() -> mimi::UserUri {
    "mimi://b.example/u/bob".parse().unwrap()
}

/// A follower as rooms name it.
fn follower() -> ExternalSender {
    ExternalSender {
        credential: Credential::basic("mimi://b.example"),
        ..Relay::new().sender()
    }
}

#[test]
fn p_30_the_hub_may_name_followers_and_not_take_itself_away() {
    let (mut alice, mut bob, mut relay) = invited();
    let hub = relay.sender();
    relay.propose_senders(&[hub, follower()]);
    assert_eq!(relay.bring(&mut alice), [Received::Proposals { pending: 1 }]);
    relay.bring(&mut bob);
    let request = alice.commit_pending(&room()).unwrap();
    done(&mut relay, &mut alice, &request);
    relay.bring(&mut alice);
    relay.bring(&mut bob);
    assert_agreed(&room(), &[&alice, &bob]);

    relay.propose_senders(&[follower()]);
    let received = relay.bring(&mut alice);
    assert!(matches!(&received[..], [Received::AgainstRules { .. }]), "{received:?}");
}
