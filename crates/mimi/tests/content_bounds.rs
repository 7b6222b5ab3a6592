//! A content beyond a limit is refused by whoever receives it, and not sealed by whoever sends it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use mimi::content::{Extensions, Key, MimiContent, NestedPart, Part, PartSemantics, Salt, SinglePart, Value};
use mimi::{DecodeError, Encode, limits};

fn sample() -> MimiContent {
    let sender = "mimi://a.example/u/alice".parse().unwrap();
    let room = "mimi://a.example/r/clubhouse".parse().unwrap();
    MimiContent::new(Salt([7; 16]), &sender, &room, NestedPart::text("x"))
}

fn refused(content: &MimiContent, what: &'static str, max: usize) {
    assert_eq!(content.seal(), Err(DecodeError::TooMuch { what, max }));
}

#[test]
fn ce_4_a_topic_id_has_4_096_octets_at_most() {
    let about = |octets| MimiContent {
        topic_id: vec![7; octets].into(),
        ..sample()
    };
    about(4_096).seal().unwrap();
    refused(&about(4_097), "octets of a topicId", 4_096);
}

fn nested(levels: usize) -> NestedPart {
    (1..levels).fold(NestedPart::text("x"), |part, _| {
        NestedPart::multi(PartSemantics::ProcessAll, [part, NestedPart::text("y")])
    })
}

#[test]
fn ce_4_parts_nest_four_levels_deep_at_most() {
    let deep = |levels| MimiContent {
        body: nested(levels),
        ..sample()
    };
    deep(4).seal().unwrap();
    refused(&deep(5), "depth of parts", 4);
    refused(&deep(1_000), "depth of parts", 4);
}

#[test]
fn ce_4_a_content_has_1_024_parts_at_most() {
    let wide = |parts: usize| MimiContent {
        body: NestedPart::multi(PartSemantics::ProcessAll, vec![NestedPart::text("x"); parts - 1]),
        ..sample()
    };
    wide(1_024).seal().unwrap();
    refused(&wide(1_025), "parts", 1_024);
}

#[test]
fn ce_4_a_content_beyond_the_limit_of_octets_is_refused() {
    let long = |octets| {
        let part = SinglePart {
            content_type: String::new(),
            content: vec![7; octets].into(),
        };
        MimiContent {
            body: NestedPart::render(Part::Single(part)),
            ..sample()
        }
    };
    let rest = long(limits::CONTENT_BYTES_MAX).encode().len() - limits::CONTENT_BYTES_MAX;
    long(limits::CONTENT_BYTES_MAX - rest).seal().unwrap();
    refused(
        &long(limits::CONTENT_BYTES_MAX - rest + 1),
        "octets of a content",
        limits::CONTENT_BYTES_MAX,
    );
}

fn with(key: Key, value: Value) -> MimiContent {
    MimiContent {
        extensions: Extensions(BTreeMap::from([(key, value)])),
        ..sample()
    }
}

#[test]
fn ce_4_extensions_are_bounded_in_number_name_size_and_depth() {
    let named = |octets: usize| with(Key::Text("x".repeat(octets)), Value::from(0u64));
    named(255).seal().unwrap();
    refused(&named(256), "octets of an extension's name", 255);

    for value in [
        |octets: usize| Value::Text("x".repeat(octets)),
        |octets| Value::Bytes(Bytes::from(vec![7; octets])),
        |octets| Value::Array(vec![Value::from(0u64); octets - 3]),
        |octets| Value::Tag(32, Box::new(Value::Text("x".repeat(octets - 5)))),
    ] {
        with(Key::from(3), value(4_095)).seal().unwrap();
        for more in [4_096, 4_200, 70_000] {
            refused(&with(Key::from(3), value(more)), "octets of an extension", 4_095);
        }
    }

    let many = |count: u64| MimiContent {
        extensions: Extensions(
            (3..count + 3)
                .map(|key| (Key::Unsigned(key), Value::from(key)))
                .collect(),
        ),
        ..sample()
    };
    many(256).seal().unwrap();
    refused(&many(257), "extensions", 256);

    // The draft's own example of four levels, and one more.
    let uri = |value| Value::Tag(32, Box::new(value));
    let pairs = |value| {
        Value::Array(vec![Value::Array(vec![
            Bytes::from_static(&[0x12, 0x34]).into(),
            value,
        ])])
    };
    with(Key::from(256), pairs(uri("http://example.com".into())))
        .seal()
        .unwrap();
    refused(
        &with(Key::from(256), pairs(uri(Value::Array(vec![])))),
        "depth of an extension",
        4,
    );
    let map = |value| Value::Map(BTreeMap::from([(Key::from(1), value)]));
    with(Key::from(-1), map(map(map(Value::Simple(22))))).seal().unwrap();
    refused(
        &with(Key::from(-1), map(map(map(map(Value::Simple(22)))))),
        "depth of an extension",
        4,
    );
}

#[test]
fn a_message_made_by_hand_that_breaks_the_data_model_is_not_sealed() {
    assert!(with(Key::Unsigned(1 << 53), Value::Simple(22)).seal().is_err());
    assert!(with(Key::Negative((1 << 53) - 1), Value::Simple(22)).seal().is_err());
    assert!(with(Key::Bytes(Bytes::new()), Value::Simple(22)).seal().is_err());
    assert!(with(Key::from(3), Value::Simple(24)).seal().is_err());
    assert!(with(Extensions::ROOM_URI, Value::from(3u64)).seal().is_err());
    let alone = NestedPart::multi(PartSemantics::ChooseOne, [NestedPart::text("x")]);
    assert!(
        MimiContent {
            body: alone,
            ..sample()
        }
        .seal()
        .is_err()
    );
}
