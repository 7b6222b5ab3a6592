//! Who is found by what, and what is told of it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::counting::Reads;
use common::{World, provider, user};
use ledger::follower::{Field, FieldKind, Profile};
use mimi::identifier::{FieldSource, IdentifierQueryCode, IdentifierRequest, IdentifierResponse, QueryElement, Search};
use mimi::{AppDataDictionary, Decode as _, Encode as _, IdentifierUri};
use nave_follower::Fault;
use nave_follower::limits::{FIELD_BYTES_MAX, PROFILE_FIELDS_MAX, QUERY_FOUND_MAX, SEARCHABLE_BYTES_MAX};
use proptest::prelude::*;

use FieldKind::{Email, Handle, Oidc, Phone, Vcard};
use IdentifierQueryCode::{Ambiguous, Forbidden, NotFound, Success, UnsupportedField};

fn field(kind: FieldKind, name: &str, value: &str) -> Field {
    Field {
        kind,
        name: name.to_owned(),
        value: value.to_owned(),
        searchable: true,
        shown: true,
    }
}

fn oidc(name: &str) -> Search {
    Search::OidcStdClaim(Bytes::copy_from_slice(name.as_bytes()))
}

fn vcard(name: &str) -> Search {
    Search::VcardField(Bytes::copy_from_slice(name.as_bytes()))
}

fn request(elements: &[(Search, &str)]) -> Bytes {
    let element = |(search, value): &(Search, &str)| QueryElement {
        search: search.clone(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    let request = IdentifierRequest {
        elements: elements.iter().map(element).collect(),
        extensions: AppDataDictionary::default(),
    };
    request.encode().into()
}

impl World {
    async fn say(&self, name: &str, fields: &[Field]) {
        let profile = Profile {
            fields: fields.to_vec(),
            ..Profile::default()
        };
        self.follower.set_profile(&user(name), &profile).await.unwrap();
    }

    async fn ask(&self, elements: &[(Search, &str)]) -> IdentifierResponse {
        let octets = self.follower.query(&provider("a"), &request(elements)).await.unwrap();
        let response = IdentifierResponse::decode_exact(&octets).unwrap();
        let stable: Vec<_> = response.profiles.iter().map(|found| found.stable_uri.clone()).collect();
        assert_eq!(response.uris, stable, "in the order of the profiles");
        assert_eq!(response.code == Success, !response.uris.is_empty());
        response
    }

    async fn code(&self, search: Search, value: &str) -> IdentifierQueryCode {
        self.ask(&[(search, value)]).await.code
    }

    /// Xavier can be found by much, Yolanda by her handle, Zach by nothing.
    async fn draft() -> Self {
        let world = Self::new();
        let zachs = ["im:zach@b.example"].map(|handle| Field {
            searchable: false,
            ..field(Handle, "", handle)
        });
        world
            .say(
                "xavier",
                &[
                    field(Handle, "", "IM:Xavier.M@B.example"),
                    field(Email, "", "xm@Sales.Example"),
                    field(Phone, "", "+12125551212"),
                    field(Oidc, "given_name", "Mathieu"),
                    field(Vcard, "org", "Öl & Söhne"),
                ],
            )
            .await;
        world.say("yolanda", &[field(Handle, "", "im:yolanda@b.example")]).await;
        world.say("zach", &zachs).await;
        world
    }
}

#[tokio::test]
async fn q_2_each_search_finds_what_it_says() {
    let world = World::draft().await;
    for (search, hit, miss) in [
        (Search::Handle, "im:Xavier.M@b.EXAMPLE", "im:xavier@b.example"),
        (Search::Nick, "Xavier.M", "Xavier"),
        (Search::Email, "xm@SALES.example", "m@sales.example"),
        (Search::Phone, "+12125551212", "+1212555121"),
        (Search::PartialName, "aThI", "söhne"),
        (Search::WholeProfile, "& sÖh", "sohne"),
        (oidc("given_name"), "Mathieu", "mathieu"),
        (oidc("email"), "xm@sales.example", "xm"),
        (vcard("ORG"), "Öl & Söhne", "Öl"),
        (vcard("tel"), "+12125551212", "+1"),
    ] {
        let found = world.ask(&[(search.clone(), hit)]).await;
        assert_eq!(found.uris, [IdentifierUri::from(&user("xavier"))], "{search:?} {hit}");
        assert_eq!(world.code(search.clone(), miss).await, NotFound, "{search:?} {miss}");
    }
}

#[tokio::test]
async fn q_1_all_elements_must_match() {
    let world = World::draft().await;
    world.say("mat", &[field(Oidc, "given_name", "Mathieu")]).await;
    let both = [(oidc("given_name"), "Mathieu"), (Search::Phone, "+12125551212")];
    assert_eq!(world.ask(&both).await.uris, [IdentifierUri::from(&user("xavier"))]);
    let either = [(oidc("given_name"), "Mathieu"), (Search::Nick, "yolanda")];
    assert_eq!(world.ask(&either).await.code, NotFound);
    // A part that is too short to look for still has to match.
    let short = [(oidc("given_name"), "Mathieu"), (Search::WholeProfile, "öl")];
    assert_eq!(world.ask(&short).await.uris, [IdentifierUri::from(&user("xavier"))]);
}

#[tokio::test]
async fn q_3_nobody_is_found_by_what_it_has_not_made_searchable() {
    let world = World::draft().await;
    assert_eq!(world.code(Search::Handle, "im:zach@b.example").await, NotFound);
    assert_eq!(world.code(Search::WholeProfile, "zach").await, NotFound);
    // What is taken back finds nobody any more, what is new does.
    assert_eq!(world.code(Search::Nick, "yolanda").await, Success);
    world.say("yolanda", &[field(Handle, "", "im:yo@b.example")]).await;
    assert_eq!(world.code(Search::Nick, "yolanda").await, NotFound);
    assert_eq!(world.code(Search::WholeProfile, "yolanda").await, NotFound);
    assert_eq!(world.code(Search::Nick, "yo").await, Success);
}

#[tokio::test]
async fn q_3_what_is_not_shown_is_not_told() {
    let world = World::new();
    let hidden = Field {
        shown: false,
        ..field(Phone, "", "+12125551212")
    };
    let told_only = Field {
        searchable: false,
        ..field(Vcard, "NOTE", "hello")
    };
    let fields = [hidden, told_only, field(Email, "", "a@b.example")];
    world.say("ann", &fields).await;
    let response = world.ask(&[(Search::Phone, "+12125551212")]).await;
    let told: Vec<_> = response.profiles[0]
        .fields
        .iter()
        .map(|field| (field.source, &*field.name, &*field.value))
        .collect();
    let expected: [(FieldSource, &str, &[u8]); 2] = [
        (FieldSource::VcardField, "NOTE", b"hello"),
        (FieldSource::OidcStdClaim, "email", b"a@b.example"),
    ];
    assert_eq!(told, expected);
    assert_eq!(world.code(vcard("NOTE"), "hello").await, NotFound);
}

#[tokio::test]
async fn q_3_unknown_fields_are_unsupported_and_vague_queries_ambiguous() {
    let world = World::draft().await;
    for search in [oidc("shoe_size"), vcard("X-SHOE"), oidc("EMAIL")] {
        assert_eq!(world.code(search, "42").await, UnsupportedField);
    }
    assert_eq!(world.ask(&[]).await.code, Forbidden);
    assert_eq!(world.code(Search::PartialName, "ma").await, Ambiguous);
    for n in 0..=QUERY_FOUND_MAX {
        world.say(&format!("user{n}"), &[field(Oidc, "name", "Joan Doe")]).await;
        let code = if n < QUERY_FOUND_MAX { Success } else { Ambiguous };
        assert_eq!(world.code(Search::PartialName, "joan").await, code, "{n}");
    }
    for n in 0..QUERY_FOUND_MAX * 9 {
        world.say(&format!("joan{n}"), &[field(Oidc, "name", "Joan Doe")]).await;
    }
    // Too many to look at; with something narrower it is looked at who is meant.
    assert_eq!(world.code(oidc("name"), "Joan Doe").await, Ambiguous);
    world
        .say("one", &[field(Oidc, "name", "Joan Doe"), field(Vcard, "ORG", "One")])
        .await;
    let narrow = [(oidc("name"), "Joan Doe"), (vcard("ORG"), "One")];
    assert_eq!(world.ask(&narrow).await.uris, [IdentifierUri::from(&user("one"))]);
}

#[tokio::test]
async fn q_4_success_tells_somebody_and_every_other_code_nobody() {
    let world = World::draft().await;
    assert_eq!(world.ask(&[(Search::Nick, "yolanda")]).await.profiles.len(), 1);
    for elements in [
        &[][..],
        &[(Search::Nick, "nobody")],
        &[(oidc("x"), "y")],
        &[(Search::PartialName, "y")],
    ] {
        let response = world.ask(elements).await;
        assert!(response.code != Success && response.uris.is_empty() && response.profiles.is_empty());
    }
}

#[tokio::test]
async fn q_5_uris_are_the_stable_ones_in_the_order_of_the_profiles() {
    let world = World::new();
    for name in ["cleo", "ann", "bob"] {
        world.say(name, &[field(Oidc, "family_name", "Doe")]).await;
    }
    let found = world.ask(&[(oidc("family_name"), "Doe")]).await;
    let expected = ["ann", "bob", "cleo"].map(|name| IdentifierUri::from(&user(name)));
    assert_eq!(found.uris, expected);
}

#[tokio::test]
async fn q_6_who_is_found_who_hides_and_who_is_not_there_cost_the_same_reads() {
    let reads = Reads::default();
    let world = World::over(reads.database());
    let hides = Field {
        searchable: false,
        ..field(Handle, "", "im:zach@b.example")
    };
    world.say("zach", &[hides]).await;
    world.say("yolanda", &[field(Handle, "", "im:yolanda@b.example")]).await;
    let mut costs = Vec::new();
    for name in ["yolanda", "zach", "nobody"] {
        reads.take();
        world.code(Search::Handle, &format!("im:{name}@b.example")).await;
        costs.push(reads.take());
    }
    assert!(costs[0] == costs[1] && costs[1] == costs[2], "{costs:?}");
}

#[tokio::test]
async fn a_profile_is_kept_in_canonical_form_and_within_bounds() {
    let world = World::draft().await;
    let kept = world.follower.profile(&user("xavier")).await.unwrap().fields;
    let kept: Vec<_> = kept.iter().map(|field| (&*field.name, &*field.value)).collect();
    assert_eq!(kept[..2], [("", "im:Xavier.M@b.example"), ("", "xm@sales.example")]);
    assert_eq!(kept[4], ("ORG", "Öl & Söhne"));

    let long = |bytes| field(Oidc, "name", &"x".repeat(bytes));
    let many = SEARCHABLE_BYTES_MAX / FIELD_BYTES_MAX;
    for fields in [
        vec![field(Oidc, "name", "x"); PROFILE_FIELDS_MAX + 1],
        vec![long(FIELD_BYTES_MAX + 1)],
        vec![long(FIELD_BYTES_MAX); many + 1],
        vec![field(Oidc, "name", "")],
        vec![field(Oidc, "name", "a\0b")],
        vec![field(Oidc, "shoe_size", "42")],
        vec![field(Oidc, "email", "a@b.example")],
        vec![field(Phone, "", "2125551212")],
        vec![field(Email, "mail", "a@b.example")],
    ] {
        let profile = Profile {
            fields,
            ..Profile::default()
        };
        let set = world.follower.set_profile(&user("xavier"), &profile).await;
        assert!(matches!(set, Err(Fault::Malformed(_) | Fault::TooMuch(_))));
    }
    assert_eq!(
        world.code(Search::Nick, "Xavier.M").await,
        Success,
        "nothing was changed"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn queries_from_outside_never_panic(octets in prop::collection::vec(any::<u8>(), 0..100), value in "\\PC{0,12}", kind in 0..8_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::draft().await;
            let _ = world.follower.query(&provider("a"), &octets.into()).await;
            let searches = [
                Search::Handle, Search::Nick, Search::Email, Search::Phone, Search::PartialName, Search::WholeProfile,
                oidc(&value), vcard(&value),
            ];
            world.code(searches[kind].clone(), &value).await;
        });
    }
}
