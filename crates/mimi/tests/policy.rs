//! Policy components, octet for octet as mimi-room-policy §5 lays them out.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use mimi::policy::{
    Allowed, AssetPolicy, AssetUploadLocation, DownloadPrivacyType, ExpirationRules, HistoryPolicy, JoinLink,
    JoinLinkPolicy, JoinLinksUpdate, LinkPreviewPolicy, LoggingPolicy, MessageExpiration, Optionality,
};
use mimi::{Decode, DecodeError, Encode};

fn spelt<T: Encode + Decode + PartialEq + std::fmt::Debug>(octets: &[u8], value: &T) {
    assert_eq!(value.encode(), octets);
    assert_eq!(&T::decode_exact(octets).unwrap(), value);
}

#[test]
fn join_links_are_vectors_as_in_draft_04() {
    let policy = JoinLinkPolicy {
        on_request: true,
        join_link: mimi::IdentifierUri(Bytes::from_static(b"x:")),
        multiuser: false,
        expiration: 258,
    };
    spelt(&[1, 2, b'x', b':', 0, 0, 0, 1, 2], &policy);
    let update = JoinLinksUpdate {
        removed: vec![3],
        added: vec![JoinLink {
            join_link: Bytes::from_static(b"ab"),
        }],
    };
    spelt(&[4, 0, 0, 0, 3, 3, 2, b'a', b'b'], &update);
}

#[test]
fn nothing_follows_what_is_forbidden() {
    let forbidden = MessageExpiration {
        expiring_messages: Allowed::Forbidden,
    };
    spelt(&[2], &forbidden);
    assert_eq!(HistoryPolicy::decode_exact(&[2, 0]), Err(DecodeError::Trailing));
    assert_eq!(LoggingPolicy::decode_exact(&[1]), Err(DecodeError::Truncated));
    let unknown = MessageExpiration::decode_exact(&[3]);
    assert!(matches!(unknown, Err(DecodeError::Unknown { value: 3, .. })));
}

#[test]
fn rules_follow_what_is_optional_or_required() {
    let rules = ExpirationRules {
        min_expiration_duration: 1,
        max_expiration_duration: 2,
        default_expiration_duration: Some(2),
    };
    let expiration = MessageExpiration {
        expiring_messages: Allowed::Required(rules),
    };
    spelt(&[1, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0, 0, 2], &expiration);
    let previews = LinkPreviewPolicy {
        autodetect_hyperlinks_in_text: Optionality::Optional,
        send_link_previews: Optionality::Required,
        automatic_link_previews: Optionality::Forbidden,
        link_preview_proxy_use: Allowed::Optional(vec![mimi::IdentifierUri(Bytes::from_static(b"p"))]),
    };
    spelt(&[0, 1, 2, 0, 2, 1, b'p'], &previews);
}

#[test]
fn an_asset_policy_is_read_field_by_field() {
    let mut octets = vec![2, 6, 1, b'h', 3, 2, b'h', b'h'];
    octets.extend([2, 1, 2, 1, 0, 1]);
    for size in 1u64..=4 {
        octets.extend(size.to_be_bytes());
    }
    octets.extend([3, 1, b'm', 0, 1, 0]);
    let policy = AssetPolicy::decode_exact(&octets).unwrap();
    assert_eq!(policy.encode(), octets);
    assert_eq!(policy.asset_upload_location, AssetUploadLocation::Hub);
    assert_eq!(policy.upload_domains[0].asset_upload_destinations, [&b"hh"[..]]);
    assert_eq!(
        policy.download_privacy.default_download_type,
        DownloadPrivacyType::HubProxy
    );
    assert_eq!((policy.max_image, policy.max_attachment), (1, 4));
    assert_eq!(policy.permitted_media_types, Some(Vec::new()));
}

#[test]
fn w_7_a_list_has_a_bound() {
    let links = |number: usize| {
        let links = vec![JoinLink::default(); number];
        mimi::policy::JoinLinks { links }.encode()
    };
    let max = mimi::limits::JOIN_LINKS_MAX;
    assert!(mimi::policy::JoinLinks::decode_exact(&links(max)).is_ok());
    assert!(matches!(
        mimi::policy::JoinLinks::decode_exact(&links(max + 1)),
        Err(DecodeError::TooMuch { .. })
    ));
}
