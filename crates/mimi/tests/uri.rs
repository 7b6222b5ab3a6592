//! Identifiers: one spelling each, and the parts they name.
#![allow(clippy::unwrap_used, reason = "tests")]

use mimi::{ClientUri, IdentifierUri, Provider, RoomUri, UriError, UserUri};
use proptest::prelude::*;

#[test]
fn a_uri_names_its_provider() {
    let user: UserUri = "mimi://a.example/u/alice".parse().unwrap();
    assert_eq!(user.as_str(), "mimi://a.example/u/alice");
    assert_eq!(user.provider().as_str(), "a.example");
    let room: RoomUri = "mimi://hub.a.example/r/clubhouse".parse().unwrap();
    assert_eq!(room.provider(), &"hub.a.example".parse::<Provider>().unwrap());
}

#[test]
fn a_client_names_its_user() {
    let client: ClientUri = "mimi://a.example/d/alice/phone".parse().unwrap();
    assert_eq!(client.user(), "mimi://a.example/u/alice".parse().unwrap());
}

#[test]
fn another_kind_is_another_identifier() {
    assert_eq!("mimi://a.example/u/alice".parse::<RoomUri>(), Err(UriError::Shape('r')));
    assert_eq!(
        "mimi://a.example/d/alice".parse::<ClientUri>(),
        Err(UriError::Shape('d'))
    );
    assert_eq!(
        "mimi://a.example/u/alice/x".parse::<UserUri>(),
        Err(UriError::Shape('u'))
    );
}

#[test]
fn l_1_only_the_canonical_spelling_is_accepted() {
    for other in [
        "MIMI://a.example/u/alice",
        "mimi://A.example/u/alice",
        "mimi://a.example:443/u/alice",
        "mimi://me@a.example/u/alice",
        "mimi://a.example/u/alice/",
        "mimi://a.example//u/alice",
        "mimi://a.example/u/",
        "mimi://a.example/u/.",
        "mimi://a.example/u/..",
        "mimi://a.example/u/al%69ce",
        "mimi://a.example/u/alice?x",
        "mimi://a.example/u/alice#x",
        "mimi://a.example/u/al ice",
        "mimi://a.example/u/zoë",
        "mimi:///u/alice",
        "mimi://a..example/u/alice",
        "mimi://-a.example/u/alice",
        "a.example/u/alice",
        "",
    ] {
        assert!(other.parse::<UserUri>().is_err(), "{other}");
    }
}

#[test]
fn w_7_e_8_a_uri_has_a_longest_form() {
    let uri = |octets: usize| format!("mimi://a.example/u/{}", "x".repeat(octets - 19));
    assert!(uri(1_024).parse::<UserUri>().is_ok());
    assert_eq!(uri(1_025).parse::<UserUri>(), Err(UriError::TooLong));
}

#[test]
fn octets_as_received_parse_only_when_asked() {
    let octets = IdentifierUri(bytes::Bytes::from_static(b"\xffnot a uri"));
    assert!(octets.user().is_err());
    let alice: UserUri = "mimi://a.example/u/alice".parse().unwrap();
    assert_eq!(IdentifierUri::from(&alice).user(), Ok(alice));
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_octets_are_refused_or_canonical(octets in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(user) = UserUri::from_octets(&octets) {
            prop_assert_eq!(user.as_str().as_bytes(), octets.as_slice());
        }
        let _ = RoomUri::from_octets(&octets);
        let _ = ClientUri::from_octets(&octets);
    }

    #[test]
    fn a_uri_is_parsed_from_what_it_shows(name in "[a-zA-Z0-9._~!$&'()*+,;=:@-]{1,20}", device in "[a-z]{1,8}") {
        prop_assume!(name != "." && name != "..");
        let client: ClientUri = format!("mimi://a.example/d/{name}/{device}").parse().unwrap();
        prop_assert_eq!(&client.to_string().parse::<ClientUri>().unwrap(), &client);
        prop_assert_eq!(client.user().to_string(), format!("mimi://a.example/u/{name}"));
    }
}
