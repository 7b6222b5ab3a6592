//! What comes before the epoch it belongs to.

#![allow(clippy::unwrap_used, reason = "tests")]

mod relay;

use client::mls::{Member, Received};
use mimi::notify::FanoutMessage;
use proptest::prelude::*;
use relay::{Relay, assert_agreed, done, invited, room};

/// Hands over one message and whatever becomes due with it.
fn receive(member: &mut Member, fanout: &FanoutMessage) -> Vec<Received> {
    let mut received = vec![member.receive(&room(), fanout).unwrap()];
    while let Some(due) = member.due(&room()) {
        received.push(member.receive(&room(), &due).unwrap());
    }
    received
}

fn said(received: &[Received]) -> Vec<String> {
    let mut said: Vec<_> = received
        .iter()
        .filter_map(|received| match received {
            Received::Message(message) => Some(String::from_utf8(message.data.to_vec()).unwrap()),
            _ => None,
        })
        .collect();
    said.sort();
    said
}

/// Alice says something in each of three epochs, in one of which Cathy's client is removed by the hub's proposal.
fn history() -> (Member, Member, Vec<FanoutMessage>) {
    let (mut alice, mut bob, mut relay) = invited();
    let cathy = relay::member("c.example/d/cathy/phone");
    let packages = cathy.key_packages(1).unwrap();
    let added = alice
        .add_user(&room(), &cathy.user(), client::mls::ORDINARY, &packages)
        .unwrap();
    done(&mut relay, &mut alice, &added);
    relay.bring(&mut alice);
    relay.bring(&mut bob);
    let begin = relay.log.len();
    relay.submit(&alice.send(&room(), b"one").unwrap());
    let update = alice.self_update(&room()).unwrap();
    done(&mut relay, &mut alice, &update);
    relay.submit(&alice.send(&room(), b"three").unwrap());
    relay.propose_removal(2);
    relay.bring(&mut alice);
    let update = alice.commit_pending(&room()).unwrap();
    done(&mut relay, &mut alice, &update);
    relay.submit(&alice.send(&room(), b"two").unwrap());
    (alice, bob, relay.log.split_off(begin))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f_45_in_whichever_order_epochs_come_each_message_is_read_once(order in Just([0_usize, 1, 2, 3, 4, 5]).prop_shuffle()) {
        let (alice, mut bob, log) = history();
        prop_assert_eq!(log.len(), order.len());
        // Within the epoch that is, the hub's order counts: the proposal before the commit that refers to it.
        let at = |entry| order.iter().position(|each| *each == entry).unwrap();
        prop_assume!(at(3) < at(4) || at(3) < at(1));
        let mut received = Vec::new();
        for entry in order {
            received.extend(receive(&mut bob, &log[entry]));
        }
        prop_assert_eq!(said(&received), ["one", "three", "two"]);
        assert_agreed(&room(), &[&alice, &bob]);
    }
}

/// Bob misses a commit, and Alice goes on.
fn without_a_commit() -> (Member, Member, Relay) {
    let (mut alice, mut bob, mut relay) = invited();
    let update = alice.self_update(&room()).unwrap();
    done(&mut relay, &mut alice, &update);
    relay.bring(&mut alice);
    relay.bring(&mut bob);
    let update = alice.self_update(&room()).unwrap();
    done(&mut relay, &mut alice, &update);
    (alice, bob, relay)
}

#[test]
fn f_45_no_more_waits_than_the_room_lets() {
    let (mut alice, mut bob, mut relay) = without_a_commit();
    let begin = relay.log.len();
    for _ in 0..257 {
        relay.submit(&alice.send(&room(), b"early").unwrap());
    }
    let (last, first) = relay.log[begin..].split_last().unwrap();
    for fanout in first {
        assert_eq!(receive(&mut bob, fanout), [Received::Early { epoch: 3 }]);
    }
    assert!(matches!(&receive(&mut bob, last)[..], [Received::OutOfStep(_)]));
    assert_eq!(
        said(&receive(&mut bob, &relay.log[begin - 1])),
        [""; 0],
        "nothing waits any more"
    );
}

#[test]
fn f_45_nothing_waits_longer_than_the_room_lets() {
    let (mut alice, mut bob, mut relay) = without_a_commit();
    let begin = relay.log.len();
    for _ in 0..3 {
        relay.submit(&alice.send(&room(), b"early").unwrap());
    }
    let mut early = relay.log.split_off(begin);
    early[1].timestamp = early[0].timestamp + 60_000;
    early[2].timestamp = early[0].timestamp + 60_001;
    assert_eq!(receive(&mut bob, &early[0]), [Received::Early { epoch: 3 }]);
    assert_eq!(receive(&mut bob, &early[1]), [Received::Early { epoch: 3 }]);
    assert!(matches!(&receive(&mut bob, &early[2])[..], [Received::OutOfStep(_)]));
}
