//! The decoders that read something else than the drafts' structures, which `crates/mimi` plays with samples of each.
//! Together they are all there are, and each is a fuzz target.
#![allow(clippy::unwrap_used, reason = "tests")]

use hostile::{DECODERS, decoder};
use proptest::prelude::*;
use proptest::test_runner::Config;

fn config() -> Config {
    Config {
        cases: 10_000,
        failure_persistence: None,
        ..Config::default()
    }
}

const TEMPLATE: &str = "https://mimi.a.example:8443/v1/update/{roomId}\0/v1/update/mimi%3A%2F%2Fa.example%2Fr%2Fx";
const DIRECTORY: &str = r#"{"update":"https://a.example/v1/update/{roomId}","notify":3,"naveLink":"a.example:1","hubSenders":{"1":"016f"}}"#;
const JOIN_CODE: &str = "https://a.example/j#2.1800000000.fedcba9876543210";
const URI: &str = "mimi://a.example/d/alice/phone";

/// Valid octets of each kind, a few of them replaced, some cut off.
fn damaged(octets: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    (damage, prop::option::of(any::<prop::sample::Index>())).prop_map(|(damage, cut)| {
        let mut octets = octets.as_bytes().to_vec();
        for (at, to) in damage {
            let at = at.index(octets.len());
            octets[at] = to;
        }
        if let Some(cut) = cut {
            octets.truncate(cut.index(octets.len()));
        }
        octets
    })
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        "[ -~]{0,64}".prop_map(String::into_bytes),
    ]
}

#[test]
fn a_template_whose_path_is_the_variable_alone_is_taken_apart() {
    decoder("template")(b"https://a.example/{roomId}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn e_3_templates_of_a_peer_never_panic(octets in damaged(TEMPLATE), noise in noise()) {
        decoder("template")(&octets);
        decoder("template")(&noise);
    }

    #[test]
    fn e_3_directories_of_a_peer_never_panic(octets in damaged(DIRECTORY), noise in noise()) {
        decoder("directory")(&octets);
        decoder("directory")(&noise);
    }

    #[test]
    fn w_7_identifiers_never_panic_and_have_one_spelling(octets in damaged(URI), noise in noise()) {
        decoder("uri")(&octets);
        decoder("uri")(&noise);
    }

    #[test]
    fn h_50_join_codes_never_panic_and_have_one_spelling(octets in damaged(JOIN_CODE), noise in noise()) {
        decoder("join_code")(&octets);
        decoder("join_code")(&noise);
    }

    #[test]
    fn w_7_link_frames_of_any_octets_never_panic(octets in prop::collection::vec(prop_oneof![0u8..20, any::<u8>()], 0..400)) {
        decoder("link_frames")(&octets);
    }

    #[test]
    fn w_7_no_decoder_panics_at_noise(octets in prop::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..96)) {
        for (_, decode) in DECODERS {
            decode(&octets);
        }
    }
}

#[test]
fn each_decoder_is_a_fuzz_target() {
    let manifest: toml::Table = include_str!("../../../fuzz/Cargo.toml").parse().unwrap();
    let targets = manifest["bin"].as_array().unwrap().iter();
    let mut targets: Vec<&str> = targets.map(|target| target["name"].as_str().unwrap()).collect();
    let mut names: Vec<&str> = DECODERS.iter().map(|(name, _)| *name).collect();
    targets.sort_unstable();
    names.sort_unstable();
    assert_eq!(targets, names);
}
