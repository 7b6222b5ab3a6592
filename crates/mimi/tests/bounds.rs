//! Limits hold at the limit: as much is accepted, one more is not.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use mimi::mls::RatchetTree;
use mimi::notify::FanoutMessage;
use mimi::update::UpdateRequest;
use mimi::{AppDataDictionary, Decode, DecodeError, Encode, limits};

/// A vector of `count` elements that are these octets each.
fn vector(count: usize, element: &[u8]) -> Vec<u8> {
    Bytes::from(element.repeat(count)).encode()
}

#[test]
fn w_7_a_list_longer_than_its_limit_is_refused() {
    let most = vector(limits::LIST_MAX, &[0, 0]);
    assert_eq!(Vec::<u16>::decode_exact(&most).unwrap().len(), limits::LIST_MAX);
    let more = vector(limits::LIST_MAX + 1, &[0, 0]);
    assert!(matches!(
        Vec::<u16>::decode_exact(&more),
        Err(DecodeError::TooMuch {
            max: limits::LIST_MAX,
            ..
        })
    ));
}

#[test]
fn w_7_more_nodes_than_a_tree_may_have_are_refused() {
    let most = vector(limits::TREE_NODES_MAX, &[0]);
    assert_eq!(
        RatchetTree::decode_exact(&most).unwrap().nodes().count(),
        limits::TREE_NODES_MAX
    );
    assert!(RatchetTree::decode_exact(&vector(limits::TREE_NODES_MAX + 1, &[0])).is_err());
}

#[test]
fn w_7_e_8_a_dictionary_above_its_limit_is_refused() {
    let component = |octets: usize| {
        let data = Bytes::from(vec![0; octets]).encode();
        Bytes::from([&[0, 0x22], data.as_slice()].concat()).encode()
    };
    assert!(AppDataDictionary::decode_exact(&component(limits::DICTIONARY_BYTES_MAX - 6)).is_ok());
    assert!(AppDataDictionary::decode_exact(&component(limits::DICTIONARY_BYTES_MAX - 5)).is_err());
}

#[test]
fn w_7_e_8_a_bundle_holds_as_many_proposals_as_the_limit_says_and_no_more() {
    // PublicMessage of a new member: group id, epoch 0, no authenticated data, SelfRemove, no signature.
    let proposal = [&[0, 1, 0, 1, 0][..], &[0; 8], &[3, 0, 2, 0, 10, 0]].concat();
    let bundle = |more| [proposal.clone(), vector(more, &proposal)].concat();
    let most = UpdateRequest::decode_exact(&bundle(limits::PROPOSALS_MAX - 1)).unwrap();
    assert_eq!(most.bundle.messages().len(), limits::PROPOSALS_MAX);
    assert_eq!(
        UpdateRequest::decode_exact(&bundle(limits::PROPOSALS_MAX)),
        Err(DecodeError::TooMuch {
            what: "proposals",
            max: limits::PROPOSALS_MAX - 1
        })
    );
}

#[test]
fn w_6_w_7_e_8_a_notification_holds_as_many_messages_as_the_receiver_says() {
    let message = [&[0; 8][..], &[0, 1, 0, 2, 0], &[0; 8], &[1, 0, 0, 0, 0]].concat();
    assert_eq!(FanoutMessage::decode_all(&message.repeat(3), 3).unwrap().len(), 3);
    assert!(FanoutMessage::decode_all(&message.repeat(4), 3).is_err());
    assert_eq!(FanoutMessage::decode_all(&[], 3), Err(DecodeError::Truncated));
}
