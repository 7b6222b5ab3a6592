//! Every decoder of octets from outside: values survive the wire, and whatever octets arrive are either refused or the
//! one spelling of a value.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt::Debug;

use common::{Harm, content, harm, harmed, mls, policies, requests, values};
use mimi::content::{MessageDerivedValues, MimiContent, content_id};
use mimi::mls::{Credential, GroupInfo, KeyPackage, Message, Proposal, PseudonymousCredential, RatchetTree, Welcome};
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

/// Refused, or a value whose one spelling these octets are.
fn judge<T: Encode + Decode + Debug + PartialEq>(octets: &[u8], look: fn(&T)) {
    let copied = T::decode_exact(octets);
    assert_eq!(copied, T::decode_shared(&octets.to_vec().into()));
    if let Ok(value) = copied {
        assert_eq!(value.encode(), octets);
        look(&value);
    }
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

fn endures<T: Encode + Decode + Debug + PartialEq>(value: &T, weather: &Weather, look: fn(&T)) {
    let octets = value.encode();
    let cut = weather.cut.index(octets.len());
    assert!(T::decode_exact(&octets[..cut]).is_err(), "the front of a value");
    judge(&weather.noise, look);
    judge(&harmed(octets, &weather.harms), look);
}

macro_rules! decoders {
    ($($name:ident: $samples:expr $(, look: $look:expr)?;)+) => {$(
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
                    endures(&value, &weather, decoders!(@look $($look)?));
                }
            }
        }
    )+};
    (@look) => { |_| {} };
    (@look $look:expr) => { $look };
}

fn look_at_key_package(key_package: &KeyPackage) {
    let view = key_package.view();
    view.leaf.capabilities.capabilities();
    let _ = key_package.credential().client();
    let _ = key_package.reference();
    assert_eq!(view.extensions.iter().count(), view.extensions.iter().count());
    key_package.not_after();
}

fn look_at_credential(credential: &Credential) {
    let _ = credential.client();
    if let Some(Ok(fields)) = credential.pseudonymous() {
        assert_eq!(&fields.credential(), credential);
    }
}

fn look_at_pseudonyms(fields: &PseudonymousCredential) {
    if let Ok(client) = fields.client() {
        assert_eq!(fields.user(), Ok(client.user()));
    }
}

fn look_at_proposal(proposal: &Proposal) {
    proposal.kind();
}

fn look_at_welcome(welcome: &Welcome) {
    welcome.key_package_refs().for_each(drop);
}

fn look_at_group_info(group_info: &GroupInfo) {
    group_info.view().group_context.extensions.find(6);
}

fn look_at_tree(tree: &RatchetTree) {
    assert!(tree.leaves().count() <= tree.nodes().count());
}

fn look_at_message(message: &Message) {
    let _ = message.proposal_ref(1);
    if let Some(commit) = message.commit() {
        commit.values().for_each(look_at_proposal);
        assert_eq!(
            commit.values().count() + commit.references().count(),
            commit.proposals.len()
        );
        assert!(message.confirmation_tag().is_some());
    }
    if let Some(key_package) = message.key_package() {
        look_at_key_package(key_package);
    }
    if let Some(welcome) = message.welcome() {
        look_at_welcome(welcome);
    }
    assert_eq!(message.group_id().is_some(), message.content_type().is_some());
}

fn look_at_fanout(message: &FanoutMessage) {
    look_at_message(message.message());
}

fn look_at_content(content: &MimiContent) {
    assert!(content.seal().is_ok());
    content.extensions.sender_uri();
    for (index, part) in content.body.parts().enumerate() {
        part.disposition.effective();
        content.referenced(&content_id(index));
    }
}

fn look_at_derived_values(values: &MessageDerivedValues) {
    values.order();
}

decoders! {
    identifier_uri: values::identifier();
    credential: mls::credentials(), look: look_at_credential;
    pseudonymous_credential: mls::pseudonymous_credentials(), look: look_at_pseudonyms;
    leaf_node: mls::leaf_nodes();
    key_package: mls::key_packages(), look: look_at_key_package;
    proposal: mls::proposals(), look: look_at_proposal;
    welcome: mls::welcomes(), look: look_at_welcome;
    group_info: mls::group_infos(), look: look_at_group_info;
    ratchet_tree: mls::trees(), look: look_at_tree;
    message: mls::messages(), look: look_at_message;
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
    fanout_message: requests::fanout_message(), look: look_at_fanout;
    group_info_request: requests::group_info_request();
    group_info_response: requests::group_info_response();
    group_info_tbe: requests::group_info_tbe();
    consent_entry: requests::consent_entry();
    identifier_request: requests::identifier_request();
    identifier_response: requests::identifier_response();
    abuse_report: requests::abuse_report();
    mimi_content: content::content(), look: look_at_content;
    derived_values: content::derived_values(), look: look_at_derived_values;
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
        let body = harmed(body, &harms);
        if let Ok(messages) = FanoutMessage::decode_all(&body, 3) {
            assert_eq!(messages.iter().flat_map(Encode::encode).collect::<Vec<u8>>(), body);
        }
    }
}
