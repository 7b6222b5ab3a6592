//! The credentials of minimal-metadata rooms: which pseudonyms name a client, and their place on the wire.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use mimi::mls::{Credential, PseudonymousCredential};
use mimi::{Encode as _, IdentifierUri, UriError};
use proptest::prelude::*;

const USER: &str = "6f1c1ad2-3f6b-4c1d-9d56-0e7f6d1b2a3c";
const OTHER: &str = "00000000-0000-4000-8000-000000000001";
const CLIENT: &str = "b9d1f7a0-52ce-4ba6-8a3e-94c6f0a1d2e3";

fn uri(text: &str) -> IdentifierUri {
    IdentifierUri(Bytes::copy_from_slice(text.as_bytes()))
}

fn fields(client: &str, user: &str) -> PseudonymousCredential {
    PseudonymousCredential {
        client_pseudonym: uri(client),
        user_pseudonym: uri(user),
        signature_public_key: Bytes::from_static(b"key"),
        identity_link_ciphertext: Bytes::from_static(b"link"),
    }
}

fn named() -> PseudonymousCredential {
    fields(
        &format!("mimi://a.example/d/{USER}/{CLIENT}"),
        &format!("mimi://a.example/u/{USER}"),
    )
}

#[test]
fn mm_1_a_pseudonymous_credential_names_its_client_by_the_pseudonym() {
    let credential = named().credential();
    assert_eq!(credential.credential_type, 0xf0a1);
    let client = credential.client().unwrap();
    assert_eq!(client.as_str(), format!("mimi://a.example/d/{USER}/{CLIENT}"));
    assert_eq!(named().user(), Ok(client.user()));
    assert_eq!(credential.basic_identity(), None);
    assert_eq!(Credential::basic("mimi://a.example/d/al/phone").pseudonymous(), None);
}

#[test]
fn mm_1_the_fields_stand_on_the_wire_in_the_order_of_the_draft() {
    let named = named();
    let opaque = |octets: &[u8]| Bytes::copy_from_slice(octets).encode();
    let content = [
        opaque(named.client_pseudonym.octets()),
        opaque(named.user_pseudonym.octets()),
        opaque(b"key"),
        opaque(b"link"),
    ];
    let octets = [vec![0xf0, 0xa1], Bytes::from(content.concat()).encode()].concat();
    assert_eq!(named.credential().encode(), octets);
}

#[test]
fn mm_1_a_name_that_is_no_uuid_is_no_pseudonym() {
    let upper = USER.to_uppercase();
    for (user, client) in [
        ("alice", CLIENT),
        (USER, "phone"),
        (&*upper, CLIENT),
        (&USER[1..], CLIENT),
    ] {
        let fields = fields(
            &format!("mimi://a.example/d/{user}/{client}"),
            &format!("mimi://a.example/u/{user}"),
        );
        assert_eq!(
            fields.credential().client(),
            Err(UriError::Pseudonym),
            "{user} {client}"
        );
    }
}

#[test]
fn mm_2_a_client_of_another_user_pseudonym_is_named_by_nobody() {
    let client = format!("mimi://a.example/d/{USER}/{CLIENT}");
    for user in [
        format!("mimi://a.example/u/{OTHER}"),
        format!("mimi://b.example/u/{USER}"),
    ] {
        assert_eq!(fields(&client, &user).credential().client(), Err(UriError::Pseudonym));
    }
    assert!(fields(&client, "nobody").credential().client().is_err());
    assert!(
        fields("nobody", &format!("mimi://a.example/u/{USER}"))
            .client()
            .is_err()
    );
}

#[test]
fn mm_1_octets_that_are_no_pseudonymous_credential_name_nobody() {
    let mut credential = named().credential();
    credential.content = [&credential.content[..], b"x"].concat().into();
    assert_eq!(credential.client(), Err(UriError::Pseudonym));
    assert!(credential.pseudonymous().unwrap().is_err());
}

proptest! {
    #[test]
    fn mm_1_the_fields_come_back_from_the_credential(fields in common::mls::pseudonymous_credentials()) {
        let credential = fields.credential();
        prop_assert_eq!(credential.client(), fields.client());
        prop_assert!(credential.client().is_ok());
        prop_assert_eq!(credential.pseudonymous(), Some(Ok(fields)));
    }
}
