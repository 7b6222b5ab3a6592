#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::collection::vec;
use proptest::prelude::*;
use proto::link::{FollowerFrame, Resume, StreamHeader, hub_frame};

use super::*;

fn item(offset: u64) -> Item {
    Item {
        offset,
        room: "mimi://a.example/r/x".into(),
        seq: 1,
        previous_seq: 0,
        chain: vec![1; 32].into(),
        recipient_set: vec![2; 16].into(),
        epoch: 0,
        body: Some(item::Body::Message(Bytes::from_static(b"message"))),
    }
}

fn deliver(items: Vec<Item>) -> HubFrame {
    let deliver = Deliver {
        shard: 3,
        items,
        traceparent: String::new(),
    };
    HubFrame {
        kind: Some(hub_frame::Kind::Deliver(deliver)),
    }
}

#[test]
fn w_7_a_length_above_the_bound_is_refused_before_the_frame_arrives() {
    let mut cutter = Cutter::default();
    cutter.push(&u32::MAX.to_be_bytes());
    assert!(matches!(
        cutter.take(1_000),
        Err(FrameError::TooLarge { max: 1_000, .. })
    ));
    let mut cutter = Cutter::default();
    cutter.push(&1_000_u32.to_be_bytes());
    assert!(cutter.take(1_000).unwrap().is_none());
    assert!(!cutter.is_empty());
}

#[test]
fn w_7_items_are_counted_before_one_is_made() {
    // An empty item takes two octets, so this frame would fill a hundred times its length.
    let many = vec![Item::default(); ITEMS_MAX + 1];
    let frame = Bytes::from(deliver(many).encode_to_vec());
    assert!(frame.len() < 3_000);
    assert!(matches!(decode_hub_frame(frame), Err(FrameError::Malformed(_))));
    // The same hidden in several fields, which protobuf merges into one.
    let part = deliver(vec![Item::default(); ITEMS_MAX / 2 + 1]).encode_to_vec();
    let frame = Bytes::from([part.clone(), part].concat());
    assert!(matches!(decode_hub_frame(frame), Err(FrameError::Malformed(_))));
    let frame = Bytes::from(deliver(vec![item(1); ITEMS_MAX]).encode_to_vec());
    assert!(decode_hub_frame(frame).is_ok());
}

#[test]
fn a_deliver_is_checked_for_its_shape() {
    let check = |items: Vec<Item>| {
        let deliver = Deliver {
            items,
            ..Deliver::default()
        };
        check_deliver(&deliver)
    };
    let broken = |breaks: fn(&mut Item)| {
        let mut item = item(1);
        breaks(&mut item);
        check(vec![item])
    };
    assert!(check(vec![item(1), item(2)]).is_ok());
    assert!(check(Vec::new()).is_err());
    assert!(check(vec![item(2), item(2)]).is_err());
    assert!(check(vec![item(2), item(1)]).is_err());
    assert!(broken(|item| item.chain = Bytes::new()).is_err());
    assert!(broken(|item| item.recipient_set = vec![0; 32].into()).is_err());
    assert!(broken(|item| item.room = String::new()).is_err());
    assert!(broken(|item| item.room = "x".repeat(2_000)).is_err());
    assert!(broken(|item| item.body = None).is_err());
    assert!(broken(|item| item.body = Some(item::Body::Digest(vec![0; 31].into()))).is_err());
    assert!(broken(|item| item.body = Some(item::Body::Digest(vec![0; 32].into()))).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn frames_are_the_same_however_the_octets_arrive(
        frames in vec(vec(any::<u8>(), 0..200), 0..20),
        cuts in vec(1_usize..90, 1..50),
    ) {
        let mut octets = Vec::new();
        for frame in &frames {
            octets.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            octets.extend_from_slice(frame);
        }
        let (mut cutter, mut taken, mut rest) = (Cutter::default(), Vec::new(), &octets[..]);
        for cut in cuts.iter().cycle() {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            cutter.push(chunk);
            while let Some(frame) = cutter.take(200).unwrap() {
                taken.push(frame.to_vec());
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(taken, frames);
        prop_assert!(cutter.is_empty());
    }

    #[test]
    fn w_7_no_octets_make_decoding_panic_or_swell(octets in vec(any::<u8>(), 0..400)) {
        let octets = Bytes::from(octets);
        let _ = decode::<StreamHeader>(octets.clone());
        let _ = decode::<FollowerFrame>(octets.clone());
        if let Ok(frame) = decode_hub_frame(octets)
            && let Some(hub_frame::Kind::Deliver(deliver)) = frame.kind
        {
            prop_assert!(deliver.items.len() <= ITEMS_MAX);
        }
    }

    #[test]
    fn w_7_a_damaged_deliver_never_panics(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut octets = deliver(vec![item(1), item(2), item(3)]).encode_to_vec();
        let at = at.index(octets.len());
        octets[at] = to;
        octets.truncate(cut.index(octets.len()) + 1);
        if let Ok(frame) = decode_hub_frame(octets.into())
            && let Some(hub_frame::Kind::Deliver(deliver)) = frame.kind
        {
            let _ = check_deliver(&deliver);
        }
    }

    #[test]
    fn every_frame_survives_the_wire(shard in any::<u32>(), offsets in vec(any::<u64>(), 0..30)) {
        for frame in [
            deliver(offsets.into_iter().map(item).collect()),
            HubFrame { kind: Some(hub_frame::Kind::Resume(Resume { shard })) },
        ] {
            let mut cutter = Cutter::default();
            cutter.push(&encode(&frame));
            let octets = cutter.take(1 << 20).unwrap().unwrap();
            prop_assert_eq!(decode_hub_frame(octets).unwrap(), frame);
        }
    }
}

#[test]
fn b_1_w_7_an_answer_of_items_is_of_one_room_in_a_row_and_counted_before_it_is_decoded() {
    const ROOM: &str = "mimi://a.example/r/x";
    let item = |seq: u64| Item {
        offset: 10 * seq,
        room: ROOM.to_owned(),
        seq,
        previous_seq: seq - 1,
        chain: Bytes::from_static(&[1; 32]),
        recipient_set: Bytes::from_static(&[2; 16]),
        epoch: 1,
        body: Some(item::Body::Digest(Bytes::from_static(&[3; 32]))),
    };
    let read = |items: Vec<Item>| {
        let events = RoomEvents {
            items,
            head: Bytes::from_static(b"signed"),
        };
        let read = decode_room_events(events.encode_to_vec().into(), ROOM);
        assert!(read.as_ref().is_none_or(|read| *read == events));
        read.is_some()
    };
    assert!(read(Vec::new()));
    assert!(read((7..=9).map(item).collect()));
    assert!(read((1..=ITEMS_MAX as u64).map(item).collect()));
    assert!(!read((1..=ITEMS_MAX as u64 + 1).map(item).collect()));
    assert!(!read(vec![Item::default(); 100_000]));
    assert!(!read(vec![item(7), item(9)]) && !read(vec![item(7), item(7)]) && !read(vec![item(7), item(6)]));
    let elsewhere = Item {
        room: "mimi://a.example/r/y".to_owned(),
        ..item(8)
    };
    let shapeless = Item { body: None, ..item(8) };
    assert!(!read(vec![item(7), elsewhere]) && !read(vec![item(7), shapeless]));
    assert_eq!(decode_room_events(Bytes::from_static(b"garbage"), ROOM), None);
}
