//! What members say to each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use mimi::content::{
    Disposition, Expiration, Extensions, ExternalPart, KEY_INTEGER_MAX, Key, MessageDerivedValues, MessageId,
    MessageStatusReport, MimiContent, MultiPart, NestedPart, Part, PartSemantics, PerMessageStatus, Salt, SinglePart,
    Status, Timestamp, Value,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

use super::octets;
use super::values::{Sample, text};

fn message_id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 31]>().prop_map(|rest| {
        let mut id = [MessageId::SHA_256; 32];
        id[1..].copy_from_slice(&rest);
        MessageId::from_octets(id).unwrap()
    })
}

/// Numbers of every width.
fn number() -> impl Strategy<Value = u64> + Clone {
    (any::<u64>(), 0u32..64).prop_map(|(number, shift)| number >> shift)
}

fn float() -> Sample<Value> {
    let float = prop_oneof![
        any::<f64>(),
        any::<f32>().prop_map(f64::from),
        (-2048i32..2048, -24i32..16).prop_map(|(whole, scale)| f64::from(whole) * 2f64.powi(scale)),
        Just(f64::NAN),
    ];
    float.prop_map(|float| Value::Float(float.into())).boxed()
}

fn key() -> Sample<Key> {
    prop_oneof![
        number().prop_map(|number| Key::Unsigned(number.min(KEY_INTEGER_MAX))),
        number().prop_map(|number| Key::Negative(number.min(KEY_INTEGER_MAX - 1))),
        octets().prop_map(Key::Bytes),
        text().prop_map(Key::Text),
    ]
    .boxed()
}

fn name() -> Sample<Key> {
    prop_oneof![
        number().prop_map(|number| Key::Unsigned(number.clamp(3, KEY_INTEGER_MAX))),
        number().prop_map(|number| Key::Negative(number.min(KEY_INTEGER_MAX - 1))),
        "[a-zé]{1,4}".prop_map(Key::Text),
    ]
    .boxed()
}

fn value() -> Sample<Value> {
    let leaf = prop_oneof![
        number().prop_map(Value::Unsigned),
        number().prop_map(Value::Negative),
        octets().prop_map(Value::Bytes),
        text().prop_map(Value::Text),
        prop_oneof![0u8..24, 32u8..].prop_map(Value::Simple),
        float(),
        vec(any::<u8>(), 8..12).prop_map(|rest| {
            let octets = Bytes::from([&[1], &rest[..]].concat());
            Value::Tag(2, Box::new(Value::Bytes(octets)))
        }),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            btree_map(key(), inner.clone(), 0..3).prop_map(Value::Map),
            (number(), inner).prop_map(|(tag, value)| Value::Tag(tag.max(4), Box::new(value))),
        ]
    })
    .boxed()
}

fn extensions() -> Sample<Extensions> {
    let uris = (of(text()), of(text()));
    (uris, btree_map(name(), value(), 0..4))
        .prop_map(|((sender, room), mut all)| {
            let known = [(Extensions::SENDER_URI, sender), (Extensions::ROOM_URI, room)];
            all.extend(
                known
                    .into_iter()
                    .filter_map(|(key, uri)| Some((key, Value::Text(uri?)))),
            );
            Extensions(all)
        })
        .boxed()
}

fn external() -> Sample<ExternalPart> {
    let texts = (text(), text(), text(), text());
    let strings = (octets(), octets(), octets(), octets());
    let numbers = (any::<u32>(), number(), any::<u16>(), any::<u8>());
    (texts, strings, numbers)
        .prop_map(|(texts, strings, numbers)| ExternalPart {
            content_type: texts.0,
            url: texts.1,
            expires: numbers.0,
            size: numbers.1,
            enc_alg: numbers.2,
            key: strings.0,
            nonce: strings.1,
            aad: strings.2,
            hash_alg: numbers.3,
            content_hash: strings.3,
            description: texts.2,
            filename: texts.3,
        })
        .boxed()
}

fn nested(part: impl Strategy<Value = Part> + 'static) -> Sample<NestedPart> {
    (any::<u8>(), text(), part)
        .prop_map(|(disposition, language, part)| NestedPart {
            disposition: Disposition(disposition),
            language,
            part,
        })
        .boxed()
}

fn body() -> Sample<NestedPart> {
    let single = (text(), octets()).prop_map(|(content_type, content)| SinglePart { content_type, content });
    let leaf = prop_oneof![
        1 => Just(Part::Null),
        2 => single.prop_map(Part::Single),
        1 => external().prop_map(|external| Part::External(Box::new(external))),
    ];
    let semantics = prop::sample::select(vec![
        PartSemantics::ChooseOne,
        PartSemantics::SingleUnit,
        PartSemantics::ProcessAll,
    ]);
    nested(leaf)
        .prop_recursive(3, 8, 3, move |inner| {
            nested(
                (semantics.clone(), vec(inner, 2..4))
                    .prop_map(|(semantics, parts)| Part::Multi(MultiPart { semantics, parts })),
            )
        })
        .boxed()
}

fn expiration() -> Sample<Expiration> {
    prop_oneof![
        any::<u32>().prop_map(Expiration::AfterReading),
        any::<u32>().prop_map(Expiration::At)
    ]
    .boxed()
}

pub(crate) fn content() -> Sample<MimiContent> {
    let ids = (of(message_id()), of(message_id()));
    (any::<[u8; 16]>(), ids, octets(), of(expiration()), extensions(), body())
        .prop_map(
            |(salt, (replaces, in_reply_to), topic_id, expires, extensions, body)| MimiContent {
                salt: Salt(salt),
                replaces,
                topic_id,
                expires,
                in_reply_to,
                extensions,
                body,
            },
        )
        .boxed()
}

fn timestamp() -> Sample<Timestamp> {
    let element = prop_oneof![
        2 => prop::sample::select(vec![1i64, -3, -6, -9]).prop_map(Key::from),
        1 => name(),
    ];
    let elements = btree_map(element, prop_oneof![number().prop_map(Value::Unsigned), value()], 0..4);
    prop_oneof![
        number().prop_map(Timestamp::Millis),
        elements.prop_map(|elements: BTreeMap<Key, Value>| Timestamp::Extended(elements)),
    ]
    .boxed()
}

pub(crate) fn derived_values() -> Sample<MessageDerivedValues> {
    let urls = (text(), text(), text());
    (message_id(), timestamp(), octets(), any::<u32>(), urls)
        .prop_map(
            |(message_id, hub_accepted_timestamp, mls_group_id, sender_leaf_index, urls)| MessageDerivedValues {
                message_id,
                hub_accepted_timestamp,
                mls_group_id,
                sender_leaf_index,
                sender_client_url: urls.0,
                sender_user_url: urls.1,
                room_url: urls.2,
            },
        )
        .boxed()
}

pub(crate) fn status_report() -> Sample<MessageStatusReport> {
    let status = (message_id(), any::<u8>()).prop_map(|(message_id, status)| PerMessageStatus {
        message_id,
        status: Status(status),
    });
    vec(status, 0..4).prop_map(MessageStatusReport).boxed()
}
