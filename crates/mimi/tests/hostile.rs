//! Every decoder of octets from outside: values survive the wire, and whatever octets arrive are either refused or the
//! one spelling of a value.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt::Debug;

use common::{Harm, catch_up, content, harm, harmed, mls, policies, requests, values};
use hostile::decoder;
use mimi::notify::FanoutMessage;
use mimi::{Decode, Encode};
use proptest::prelude::*;
use proptest::test_runner::Config;

fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

fn survives<T: Encode + Decode + Debug + PartialEq>(value: &T) {
    let octets = value.encode();
    assert_eq!(&T::decode_exact(&octets).unwrap(), value);
    let mut more = octets.clone();
    more.push(0);
    assert!(T::decode_exact(&more).is_err(), "an octet after the structure");
    assert_eq!(&T::decode_shared(&octets.into()).unwrap(), value);
}

/// What happens to a value's octets on a bad day.
#[derive(Debug, Clone)]
struct Weather {
    harms: Vec<Harm>,
    noise: Vec<u8>,
    cut: prop::sample::Index,
}

fn weather() -> impl Strategy<Value = Weather> {
    let noise = prop::collection::vec(any::<u8>(), 0..64);
    (harm(), noise, any::<prop::sample::Index>()).prop_map(|(harms, noise, cut)| Weather { harms, noise, cut })
}

/// Plays the decoder of that name as `fuzz/` does.
fn endures<T: Encode + Decode>(name: &str, value: &T, weather: &Weather) {
    let octets = value.encode();
    let cut = weather.cut.index(octets.len());
    assert!(T::decode_exact(&octets[..cut]).is_err(), "the front of a value");
    let decode = decoder(name);
    decode(&octets);
    decode(&weather.noise);
    decode(&harmed(octets, &weather.harms));
}

macro_rules! decoders {
    ($($name:ident: $samples:expr;)+) => {$(
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(config(1_000))]

                #[test]
                fn a_value_survives_the_wire(value in $samples) {
                    survives(&value);
                }
            }

            proptest! {
                #![proptest_config(config(10_000))]

                #[test]
                fn w_5_w_7_any_octets_are_refused_or_canonical(value in $samples, weather in weather()) {
                    endures(stringify!($name), &value, &weather);
                }
            }
        }
    )+};
}

decoders! {
    identifier_uri: values::identifier();
    credential: mls::credentials();
    pseudonymous_credential: mls::pseudonymous_credentials();
    identity_link: mls::identity_links();
    leaf_node: mls::leaf_nodes();
    key_package: mls::key_packages();
    proposal: mls::proposals();
    welcome: mls::welcomes();
    group_info: mls::group_infos();
    ratchet_tree: mls::trees();
    message: mls::messages();
    dictionary: values::dictionary();
    safe_aad: values::safe_aad();
    components: values::components();
    app_data_update: values::app_data_update();
    participant_list: values::participant_list();
    participant_list_update: values::participant_list_update();
    metadata: values::metadata();
    role_data: values::role_data();
    preauth_data: values::preauth_data();
    base_room_policy: values::base_room_policy();
    operational_parameters: values::operational_parameters();
    status_notification_policy: policies::status_notification_policy();
    join_link_policy: policies::join_link_policy();
    join_links: policies::join_links();
    join_links_update: policies::join_links_update();
    link_preview_policy: policies::link_preview_policy();
    asset_policy: policies::asset_policy();
    logging_policy: policies::logging_policy();
    history_policy: policies::history_policy();
    bot_policy: policies::bot_policy();
    message_expiration: policies::message_expiration();
    key_material_request: requests::key_material_request();
    key_material_response: requests::key_material_response();
    update_request: requests::update_request();
    update_response: requests::update_response();
    submit_request: requests::submit_request();
    submit_response: requests::submit_response();
    fanout_message: requests::fanout_message();
    group_info_request: requests::group_info_request();
    group_info_response: requests::group_info_response();
    group_info_tbe: requests::group_info_tbe();
    consent_entry: requests::consent_entry();
    identifier_request: requests::identifier_request();
    identifier_response: requests::identifier_response();
    abuse_report: requests::abuse_report();
    room_head: catch_up::room_head();
    room_heads_request: catch_up::room_heads_request();
    room_heads_response: catch_up::room_heads_response();
    room_events_request: catch_up::room_events_request();
    application_framing: values::application_framing();
    mimi_content: content::content();
    derived_values: content::derived_values();
    status_report: content::status_report();
}

proptest! {
    #![proptest_config(config(10_000))]

    #[test]
    fn w_6_w_7_a_notification_is_refused_or_every_message_of_it(
        messages in prop::collection::vec(requests::fanout_message(), 1..4),
        harms in harm(),
    ) {
        let body: Vec<u8> = messages.iter().flat_map(Encode::encode).collect();
        assert_eq!(FanoutMessage::decode_all(&body, 3), Ok(messages));
        decoder("notification")(&harmed(body, &harms));
    }
}
