//! What is said in a room, as its members find it: contents, their ids and times, and what their franks are worth.

#![allow(clippy::unwrap_used, reason = "tests")]

mod relay;

use bytes::Bytes;
use client::mls::{
    CIPHERSUITES, Content, Franked, Member, MemberError, Message, ORDINARY, Outgoing, Received, RoomProfile,
};
use mimi::abuse::AbuseReport;
use mimi::app_data::ComponentsList;
use mimi::codec::{Decode as _, Encode as _};
use mimi::content::{ApplicationFraming, NestedPart};
use mimi::franking::FrankingAgentData;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::operational::MediaType;
use mimi::submit::{Frank, SubmitMessageRequest};
use mimi::{ComponentId, MimiContent};
use relay::{Relay, assert_agreed, done, founded, invited, invited_to, joined, member, room};

fn say(member: &mut Member, text: &str) -> Outgoing {
    let content = member.compose(&room(), NestedPart::text(text)).unwrap();
    member.send_content(&room(), &content).unwrap()
}

/// The one message that a member was brought.
fn message(received: Vec<Received>) -> Message {
    match <[Received; 1]>::try_from(received) {
        Ok([Received::Message(message)]) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn k_7_ce_4_f_46_f_47_a_message_arrives_with_its_id_its_time_and_a_frank_that_verifies() {
    let (mut alice, mut bob, mut relay) = invited();
    let sent = say(&mut alice, "hello");
    let accepted = relay.submit(&sent.request);
    let at_alice = message(relay.bring(&mut alice));
    let at_bob = message(relay.bring(&mut bob));
    for seen in [&at_alice, &at_bob] {
        let said = seen.content.said().unwrap();
        assert_eq!(said.id, sent.id);
        assert_eq!(said.content.body, NestedPart::text("hello"));
        assert_eq!(said.content.extensions.sender_uri(), Some("mimi://a.example/u/alice"));
        assert_eq!(seen.sender, *alice.client());
        assert_eq!(seen.accepted, accepted);
        assert_eq!(seen.franked, Franked::Verified);
        let framing = ApplicationFraming::decode_exact(&seen.data).unwrap();
        assert_eq!(framing.media_type.media_type, "application/mimi-content");
    }
    assert!(at_alice.mine && !at_bob.mine);
}

#[test]
fn ce_4_two_messages_with_the_same_words_are_two() {
    let (mut alice, _, _) = invited();
    assert_ne!(
        say(&mut alice, "yes").id,
        say(&mut alice, "yes").id,
        "each salt is fresh"
    );
    let content = alice.compose(&room(), NestedPart::text("again")).unwrap();
    let first = alice.send_content(&room(), &content).unwrap();
    let second = alice.send_content(&room(), &content).unwrap();
    assert_eq!(first.id, second.id, "encrypted again it is the same message");
    assert_ne!(first.request, second.request);
}

#[test]
fn k_7_a_frank_that_does_not_belong_to_its_message_proves_nothing() {
    let (mut alice, mut bob, mut relay) = invited();
    type Change = fn(&mut u64, &mut Option<Frank>);
    let changes: [(Change, Franked); 6] = [
        (|_, _| (), Franked::Verified),
        (|_, frank| *frank = None, Franked::Absent),
        (
            |time, _| *time += 1,
            Franked::Bad("the franking agent did not sign this"),
        ),
        (
            |_, frank| frank.as_mut().unwrap().server_frank[0] ^= 1,
            Franked::Bad("the franking agent did not sign this"),
        ),
        (
            |_, frank| frank.as_mut().unwrap().franking_integrity_signature = Bytes::from_static(b"none"),
            Franked::Bad("the franking agent did not sign this"),
        ),
        (
            |_, frank| frank.as_mut().unwrap().franking_signature_ciphersuite = 3,
            Franked::Bad("the frank is of another cipher suite"),
        ),
    ];
    for (change, expected) in changes {
        relay.submit(&say(&mut alice, "hello").request);
        let FanoutMessage {
            timestamp,
            content: FanoutContent::Application { frank, .. },
        } = relay.log.last_mut().unwrap()
        else {
            panic!("not a message");
        };
        change(timestamp, frank);
        assert_eq!(message(relay.bring(&mut bob)).franked, expected);
    }
}

#[test]
fn k_7_a_frank_on_another_name_than_the_senders_proves_nothing() {
    let (mut alice, mut bob, mut relay) = invited();
    let mut request = SubmitMessageRequest::decode_exact(&say(&mut alice, "hello").request).unwrap();
    request.sending_uri = (&member("a.example/d/mallory/phone").user()).into();
    relay.submit(&request.encode());
    let seen = message(relay.bring(&mut bob));
    assert_eq!(seen.franked, Franked::Bad("the franking agent did not sign this"));
    assert_eq!(seen.sender, *alice.client());
}

#[test]
fn k_7_a_frank_counts_only_when_the_agent_is_the_hub() {
    let (mut alice, mut relay) = {
        let mut relay = Relay::new();
        relay.identity = "mimi://evil.example";
        let mut alice = member("a.example/d/alice/phone");
        let hub = relay.sender().encode();
        let founding = alice.create_room(&room(), &hub, &RoomProfile::default()).unwrap();
        relay.state = Some((
            mimi::mls::GroupInfo::decode_exact(&founding.group_info).unwrap(),
            mimi::update::RatchetTreeOption::decode_exact(&founding.ratchet_tree).unwrap(),
        ));
        (alice, relay)
    };
    relay.submit(&say(&mut alice, "hello").request);
    let franked = message(relay.bring(&mut alice)).franked;
    assert_eq!(franked, Franked::Bad("the franking agent is not the hub"));
}

#[test]
fn k_7_a_content_that_names_another_sender_or_room_is_refused() {
    let (mut alice, mut bob, mut relay) = invited();
    let elsewhere = "mimi://a.example/r/elsewhere".parse().unwrap();
    let mallory = member("a.example/d/mallory/phone");
    let foreign = [
        mallory.compose(&room(), NestedPart::text("hello")).unwrap(),
        alice.compose(&elsewhere, NestedPart::text("hello")).unwrap(),
    ];
    for content in foreign {
        let refused = alice.send_content(&room(), &content);
        assert!(matches!(refused, Err(MemberError::Refused(_))));
        let framed = ApplicationFraming::of_content(content.encode()).encode();
        relay.submit(&alice.send(&room(), &framed).unwrap());
        let seen = message(relay.bring(&mut bob));
        assert!(matches!(seen.content, Content::Refused(_)), "{seen:?}");
        assert_eq!(seen.franked, Franked::Absent);
    }
}

#[test]
fn k_7_raw_data_and_other_media_types_arrive_as_what_they_are_and_unfranked() {
    let (mut alice, mut bob, mut relay) = invited();
    relay.submit(&alice.send(&room(), b"just octets").unwrap());
    let raw = message(relay.bring(&mut bob));
    assert_eq!((raw.content, raw.franked), (Content::Raw, Franked::Absent));
    let other = ApplicationFraming {
        media_type: MediaType {
            media_type: Bytes::from_static(b"text/plain"),
            parameters: Vec::new(),
        },
        content: Bytes::from_static(b"plain"),
    };
    relay.submit(&alice.send(&room(), &other.encode()).unwrap());
    let seen = message(relay.bring(&mut bob));
    assert_eq!(seen.content, Content::Other(Box::new(other)));
}

#[test]
fn k_7_rooms_without_framing_or_without_an_agent_do_without() {
    let unframed = RoomProfile {
        framed: false,
        ..RoomProfile::default()
    };
    let (mut alice, mut bob, mut relay) = invited_to(&unframed);
    relay.submit(&say(&mut alice, "hello").request);
    let seen = message(relay.bring(&mut bob));
    assert!(MimiContent::decode_exact(&seen.data).is_ok());
    assert_eq!(seen.franked, Franked::Verified);

    let unfranked = RoomProfile {
        franked: false,
        ..RoomProfile::default()
    };
    let (mut alice, mut bob, mut relay) = invited_to(&unfranked);
    relay.submit(&say(&mut alice, "hello").request);
    let seen = message(relay.bring(&mut bob));
    assert!(seen.content.said().is_some());
    assert_eq!(seen.franked, Franked::Absent);
}

#[test]
fn k_7_a_report_holds_what_the_hub_needs_to_recognize_a_message() {
    let (mut alice, mut bob, mut relay) = invited();
    relay.submit(&say(&mut alice, "rude").request);
    relay.submit(&alice.send(&room(), b"unfranked").unwrap());
    let received = relay.bring(&mut bob);
    let messages: Vec<Message> = received
        .into_iter()
        .map(|received| match received {
            Received::Message(message) => message,
            other => panic!("{other:?}"),
        })
        .collect();
    let report = bob.report(&room(), &messages[..1], 0, "look").unwrap();
    let report = AbuseReport::decode_exact(&report).unwrap();
    assert_eq!(report.reporting_user.octets(), b"mimi://b.example/u/bob");
    assert_eq!(report.alleged_abuser.octets(), b"mimi://a.example/u/alice");
    assert_eq!(&*report.note, b"look");
    let [reported] = &report.messages[..] else {
        panic!("{report:?}");
    };
    assert_eq!(reported.message_content, messages[0].data);
    assert_eq!(reported.accepted_timestamp, messages[0].accepted);
    assert_eq!(Some(&reported.frank), messages[0].frank.as_deref());
    assert!(
        bob.report(&room(), &messages, 0, "").is_err(),
        "nothing proves the second"
    );
    assert!(bob.report(&room(), &[], 0, "").is_err());
}

#[test]
fn m_5_a_new_room_has_every_component_of_the_profile_in_each_cipher_suite() {
    let presets = ["cooperative", "strict", "moderated", "multi-organization"];
    let presets = presets.map(|name| RoomProfile::preset(name).unwrap());
    for profile in presets.into_iter().chain([RoomProfile::default()]) {
        for suite in CIPHERSUITES {
            let profile = RoomProfile {
                suite,
                ..profile.clone()
            };
            let (alice, relay) = founded(&profile);
            assert_agreed(&room(), &[&alice]);
            assert_eq!(alice.suite(&room()), Some(suite));
            let component = |id| alice.component(&room(), id);
            let listed = ComponentsList::decode_exact(component(ComponentId::APP_COMPONENTS).unwrap()).unwrap();
            for id in (0x0002..=0x0003).chain(0x0021..=0x0027).map(ComponentId) {
                assert!(component(id).is_some() && listed.ids.contains(&id), "{id:?}");
            }
            let safe_aad = ComponentsList::decode_exact(component(ComponentId::SAFE_AAD).unwrap()).unwrap();
            assert_eq!(safe_aad.ids, [ComponentId::FRANK_AAD]);
            let agent = FrankingAgentData::decode_exact(component(ComponentId::FRANKING_AGENT).unwrap()).unwrap();
            assert_eq!(agent.franking_signature_key, relay.sender_of(suite).signature_key);
            let types = component(ComponentId::CONTENT_MEDIA_TYPES).unwrap();
            let types: Vec<MediaType> = Vec::decode_exact(types).unwrap();
            assert_eq!(types[0].media_type, "application/mimi-content");
        }
    }
}

#[test]
fn m_5_rooms_of_each_cipher_suite_are_entered_by_welcome_and_by_oneself() {
    for suite in CIPHERSUITES {
        let profile = RoomProfile {
            suite,
            open: true,
            ..RoomProfile::default()
        };
        let (mut alice, mut bob, mut relay) = invited_to(&profile);
        let mut cathy = member("c.example/d/cathy/phone");
        let (request, keys) = cathy.group_info_request_with(&room(), suite, None).unwrap();
        let answer = relay.group_info_of(&relay, &request, &room());
        let update = cathy.join_by_external_commit(&answer, &keys, Some(ORDINARY)).unwrap();
        done(&mut relay, &mut cathy, &update);
        relay.bring(&mut cathy);
        relay.bring(&mut alice);
        relay.bring(&mut bob);
        assert_agreed(&room(), &[&alice, &bob, &cathy]);
        relay.submit(&say(&mut cathy, "hello").request);
        assert_eq!(message(relay.bring(&mut bob)).franked, Franked::Verified);
    }
}

#[test]
fn m_5_who_asks_in_the_keys_of_another_cipher_suite_is_told_the_rooms() {
    let profile = RoomProfile {
        suite: CIPHERSUITES[1],
        open: true,
        ..RoomProfile::default()
    };
    let (_, relay) = founded(&profile);
    let mut cathy = member("c.example/d/cathy/phone");
    let (request, keys) = cathy.group_info_request(&room()).unwrap();
    let answer = relay.group_info_of(&relay, &request, &room());
    let refused = cathy.join_by_external_commit(&answer, &keys, Some(ORDINARY));
    assert!(matches!(refused, Err(MemberError::OtherSuite(suite)) if suite == CIPHERSUITES[1]));
}

#[test]
fn m_5_more_of_a_policy_is_named_by_the_base_policy() {
    let logging = mimi::policy::LoggingPolicy {
        logging: mimi::policy::Allowed::Forbidden,
    };
    let profile = RoomProfile {
        open: true,
        policies: [(ComponentId::LOGGING_POLICY, logging.encode().into())].into(),
        ..RoomProfile::default()
    };
    let (mut alice, mut relay) = founded(&profile);
    let mut cathy = member("c.example/d/cathy/phone");
    joined(&mut relay, &mut alice, &mut cathy, Some(ORDINARY));
    assert_agreed(&room(), &[&alice, &cathy]);
}
