#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use bytes::Bytes;
use ledger::{LogEntry, Seq, SetId};
use room::{Chain, EntryKind, Epoch, Millis, Recipients};

use proto::link::item;

use super::*;

fn due(offset: u64, room: &str) -> Due {
    let entry = LogEntry {
        offset: Offset(offset),
        room: format!("mimi://a.example/r/{room}").parse().unwrap(),
        seq: Seq(offset + 10),
        kind: EntryKind::Message,
        accepted: Millis(1),
        epoch: Epoch(3),
        message: Bytes::from_static(b"octets"),
        chain: Chain([7; 32]),
        set: SetId([9; 16]),
        recipients: Arc::new(Recipients::default()),
    };
    Due {
        entry: Arc::new(entry.into()),
        shown: Shown::Message,
        previous_seq: Seq(offset + 9),
    }
}

fn items() -> Vec<Due> {
    vec![due(1, "x"), due(2, "y"), due(4, "x"), due(7, "y")]
}

fn done(offsets: &[u64]) -> Notified {
    Notified {
        done: offsets.iter().copied().map(Offset).collect(),
        ..Notified::default()
    }
}

fn failed(offsets: &[u64], seconds: u64) -> Notified {
    let failure = Failure {
        retry_after: Some(Duration::from_secs(seconds)),
        why: "busy".into(),
    };
    Notified {
        failure: Some(failure),
        ..done(offsets)
    }
}

#[test]
fn everything_notified_is_acknowledged_up_to_the_last() {
    let settled = settle(&items(), vec![done(&[2, 7]), done(&[1, 4])]).unwrap();
    assert_eq!(settled, Acknowledged::below(Offset(8)));
}

#[test]
fn a_room_that_failed_leaves_the_others_acknowledged_above_it() {
    let settled = settle(&items(), vec![failed(&[1], 5), done(&[2, 7])]).unwrap();
    assert_eq!((settled.next, settled.above), (Offset(4), vec![Offset(7)]));
    assert_eq!(settled.retry_after, Some(Duration::from_secs(5)));
}

#[test]
fn when_nothing_arrived_the_longest_wait_is_asked_for() {
    let failure = settle(&items(), vec![failed(&[], 5), failed(&[], 9)]).unwrap_err();
    assert_eq!(failure.retry_after, Some(Duration::from_secs(9)));
}

#[test]
fn a_refused_entry_is_not_acknowledged_and_holds_up_its_room_alone() {
    let refused = Refused {
        offset: Offset(1),
        status: 400,
        reason: "no".into(),
        is_final: false,
    };
    let x = Notified {
        refused: vec![refused.clone()],
        ..done(&[])
    };
    let settled = settle(&items(), vec![x, done(&[2, 7])]).unwrap();
    assert_eq!((settled.next, settled.above), (Offset(1), vec![Offset(2), Offset(7)]));
    assert_eq!(settled.refused, vec![refused]);
}

#[test]
fn an_entry_of_a_room_is_told_with_its_own_number_and_that_of_the_last_that_goes_with_it() {
    let items = [due(1, "x"), due(4, "x"), due(5, "x")];
    let items: Vec<&Due> = items.iter().collect();
    let told: Vec<_> = numbers(&items).map(|it| (it.first, it.last, it.head)).collect();
    assert_eq!(told, [(11, 11, 15), (14, 14, 15), (15, 15, 15)]);
}

#[test]
fn a_frame_carries_the_entry_or_only_its_digest() {
    let shown = due(4, "x");
    let item = Item::from(&shown);
    assert_eq!((item.offset, item.seq, item.previous_seq, item.epoch), (4, 14, 13, 3));
    assert_eq!((&item.chain[..], &item.recipient_set[..]), (&[7; 32][..], &[9; 16][..]));
    assert_eq!(item.body, Some(item::Body::Message(Bytes::from_static(b"octets"))));
    let hidden = Item::from(&Due {
        shown: Shown::Digest,
        ..shown
    });
    let digest = room::Digest::of(b"octets").0.to_vec().into();
    assert_eq!(hidden.body, Some(item::Body::Digest(digest)));
}

#[test]
fn what_is_encoded_once_is_what_each_follower_is_due() {
    let plain = due(4, "x");
    let first = Due {
        previous_seq: Seq(0),
        ..plain.clone()
    };
    let hidden = Due {
        shown: Shown::Digest,
        ..plain.clone()
    };
    for due in [&plain, &first, &hidden] {
        assert_eq!(framed(due), Framed::from(&Item::from(due)));
    }
    assert_eq!(plain.framed().run.as_ptr(), plain.framed().run.as_ptr());
}
