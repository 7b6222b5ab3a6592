//! One value has one spelling.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use mimi::app_data::SafeAad;
use mimi::key_material::KeyMaterialRequest;
use mimi::metadata::Text;
use mimi::mls::{Message, Proposal};
use mimi::role::RoleData;
use mimi::submit::SubmitMessageResponse;
use mimi::update::{HandshakeBundle, RatchetTreeOption, UpdateRequest};
use mimi::{AppDataDictionary, AppDataUpdate, Decode, DecodeError, Encode, IdentifierUri, uri};

fn length_of(octets: &[u8]) -> Result<usize, DecodeError> {
    let mut reader = mimi::codec::Reader::new(octets);
    let length = reader.length()?;
    reader.finish()?;
    Ok(length)
}

#[test]
fn w_1_a_length_is_in_its_shortest_form() {
    assert_eq!(length_of(&[0x3f]), Ok(63));
    assert_eq!(length_of(&[0x40, 0x40]), Ok(64));
    assert_eq!(length_of(&[0x7f, 0xff]), Ok(16_383));
    assert_eq!(length_of(&[0x80, 0x00, 0x40, 0x00]), Ok(16_384));
    assert_eq!(length_of(&[0xbf, 0xff, 0xff, 0xff]), Ok((1 << 30) - 1));

    assert_eq!(length_of(&[0x40, 0x3f]), Err(DecodeError::Length));
    assert_eq!(length_of(&[0x80, 0x00, 0x3f, 0xff]), Err(DecodeError::Length));
    assert_eq!(length_of(&[0x80, 0x00, 0x00, 0x00]), Err(DecodeError::Length));
    assert_eq!(length_of(&[]), Err(DecodeError::Truncated));
    assert_eq!(length_of(&[0x40]), Err(DecodeError::Truncated));
    assert_eq!(length_of(&[0x80, 0x00, 0x40]), Err(DecodeError::Truncated));
}

#[test]
fn w_1_the_eight_octet_length_is_invalid() {
    assert_eq!(length_of(&[0xc0, 0, 0, 0, 0x40, 0, 0, 0]), Err(DecodeError::Length));
    assert_eq!(length_of(&[0xff]), Err(DecodeError::Length));
}

#[test]
fn w_1_lengths_encode_to_what_they_decode_from() {
    for length in [0, 63, 64, 16_383, 16_384, (1 << 30) - 1] {
        let mut writer = mimi::codec::Writer::default();
        writer.length(length);
        assert_eq!(length_of(&writer.into_octets()), Ok(length));
    }
}

#[test]
fn w_2_w_3_a_flag_is_0_or_1() {
    assert_eq!(bool::decode_exact(&[0]), Ok(false));
    assert_eq!(bool::decode_exact(&[1]), Ok(true));
    assert_eq!(bool::decode_exact(&[2]), Err(DecodeError::Flag));
    assert_eq!(Option::<u8>::decode_exact(&[0]), Ok(None));
    assert_eq!(Option::<u8>::decode_exact(&[1, 7]), Ok(Some(7)));
    assert_eq!(Option::<u8>::decode_exact(&[2, 7]), Err(DecodeError::Flag));
    // accepted, timestamp 0, and neither a frank nor none.
    let response = [&[1, 0][..], &[0; 8], &[2]].concat();
    assert_eq!(SubmitMessageResponse::decode_exact(&response), Err(DecodeError::Flag));
}

#[test]
fn w_5_octets_after_the_structure_are_refused() {
    assert_eq!(RatchetTreeOption::decode_exact(&[4, 0]), Err(DecodeError::Trailing));
    assert_eq!(RoleData::decode_exact(&[0, 0]), Err(DecodeError::Trailing));
}

#[test]
fn w_1_an_element_does_not_reach_past_its_list() {
    // A list of one octet, in which a number of four begins.
    assert_eq!(Vec::<u32>::decode_exact(&[1, 0, 0, 0, 0]), Err(DecodeError::Truncated));
}

#[test]
fn e_10_components_are_sorted_and_unique() {
    let sorted = [6, 0, 1, 0, 0, 2, 0];
    assert_eq!(AppDataDictionary::decode_exact(&sorted).unwrap().encode(), sorted);
    assert!(AppDataDictionary::decode_exact(&[6, 0, 2, 0, 0, 1, 0]).is_err());
    assert!(AppDataDictionary::decode_exact(&[6, 0, 1, 0, 0, 1, 0]).is_err());
    assert!(SafeAad::decode_exact(&[6, 0, 1, 0, 0, 1, 0]).is_err());
}

#[test]
fn an_app_data_update_updates_or_removes() {
    assert!(AppDataUpdate::decode_exact(&[0, 0x22, 2]).is_ok());
    assert!(AppDataUpdate::decode_exact(&[0, 0x22, 2, 0]).is_err());
    assert!(AppDataUpdate::decode_exact(&[0, 0x22, 0]).is_err());
    assert!(AppDataUpdate::decode_exact(&[0, 0x22, 3]).is_err());
}

#[test]
fn a_proposal_of_unknown_type_is_refused_alone_and_in_a_commit() {
    let unknown = DecodeError::Unknown {
        what: "proposal type",
        value: 0xf7a0,
    };
    assert_eq!(Proposal::decode_exact(&[0xf7, 0xa0, 0]), Err(unknown));
    // PublicMessage of an external joiner, a commit with one proposal by value.
    let commit = [&[0, 1, 0, 1, 0][..], &[0; 8], &[4, 0, 3, 4, 1, 0xf7, 0xa0, 0, 0, 0, 0]].concat();
    assert_eq!(Message::decode_exact(&commit), Err(unknown));
}

#[test]
fn a_bundle_is_a_commit_or_proposals() {
    let private = |content_type| [&[0, 1, 0, 2, 0][..], &[0; 8], &[content_type, 0, 0, 0]].concat();
    let bundle = |first, more| [private(first), Bytes::from(private(more)).encode()].concat();
    let two = UpdateRequest::decode_exact(&bundle(2, 2)).unwrap();
    assert!(matches!(two.bundle, HandshakeBundle::Proposals { proposals } if proposals.len() == 2));
    assert!(
        UpdateRequest::decode_exact(&bundle(2, 3)).is_err(),
        "a commit among proposals"
    );
    assert!(
        UpdateRequest::decode_exact(&bundle(2, 1)).is_err(),
        "a message among proposals"
    );
    assert!(UpdateRequest::decode_exact(&bundle(1, 2)).is_err(), "a message first");
}

#[test]
fn f_1_a_request_for_key_material_accepts_some_suite() {
    // mls10, three empty identifiers, no suites, no requirements, no key, basic credential, no signature.
    let request = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(
        KeyMaterialRequest::decode_exact(&request),
        Err(DecodeError::Invalid("no acceptable cipher suite"))
    );
}

#[test]
fn w_4_texts_are_utf8_without_nul_and_uris_not_too_long() {
    assert!(Text::decode_exact(&[1, b'a']).is_ok());
    assert!(Text::decode_exact(&[1, 0]).is_err());
    assert!(String::decode_exact(&[1, 0xff]).is_err());
    let uri = |octets| IdentifierUri::decode_exact(&Bytes::from(vec![b'a'; octets]).encode());
    assert!(uri(uri::URI_BYTES_MAX).is_ok());
    assert!(uri(uri::URI_BYTES_MAX + 1).is_err());
}
