//! A content that is not deterministic CBOR or not what the draft defines is refused, and said why.
#![allow(clippy::unwrap_used, reason = "tests")]

use mimi::content::{Expiration, Key, MessageDerivedValues, MessageStatusReport, MimiContent, Part, Salt, Value};
use mimi::{Decode, DecodeError, Encode, limits};

const SALT: &str = "50000102030405060708090a0b0c0d0e0f";
const ID: &str = "582001000000000000000000000000000000000000000000000000000000000000aa";
/// Disposition, language and NullPart.
const NULL_PART: &str = "83016000";

/// A message of the fields given, with the defaults for what is empty.
fn message(replaces: &str, topic: &str, expires: &str, reply: &str, extensions: &str, body: &str) -> Vec<u8> {
    let or = |field: &str, default: &str| {
        if field.is_empty() {
            default.to_owned()
        } else {
            field.to_owned()
        }
    };
    let fields = [
        "87",
        SALT,
        &or(replaces, "f6"),
        &or(topic, "40"),
        &or(expires, "f6"),
        &or(reply, "f6"),
        &or(extensions, "a0"),
        &or(body, NULL_PART),
    ];
    hex::decode(fields.concat()).unwrap()
}

fn with_extensions(extensions: &str) -> Vec<u8> {
    message("", "", "", "", extensions, "")
}

fn with_body(body: &str) -> Vec<u8> {
    message("", "", "", "", "", body)
}

/// A message whose extension 3 is `value`.
fn with_value(value: &str) -> Vec<u8> {
    with_extensions(&format!("a103{value}"))
}

fn reason(octets: &[u8]) -> &'static str {
    match MimiContent::decode_exact(octets) {
        Ok(content) => panic!("{} decodes: {content:?}", hex::encode(octets)),
        Err(error) => error.reason(),
    }
}

fn accepted(octets: &[u8]) -> MimiContent {
    let content = MimiContent::decode_exact(octets).unwrap_or_else(|error| panic!("{}: {error}", hex::encode(octets)));
    assert_eq!(hex::encode(content.encode()), hex::encode(octets));
    content
}

#[test]
fn ce_4_an_encoding_that_is_not_deterministic_is_refused() {
    accepted(&with_body(NULL_PART));
    const SHORTEST: &str = "number or length is not in its shortest form";
    const INDEFINITE: &str = "indefinite length or reserved head";
    const FLOAT: &str = "float is not in its shortest form";
    const BIGNUM: &str = "bignum of a number that needs none";
    for (octets, why) in [
        // Numbers and lengths in longer forms.
        (with_body("8318016000"), SHORTEST),
        (with_body("831900016000"), SHORTEST),
        (with_body("8301601800"), SHORTEST),
        (with_body("8301780000"), SHORTEST),
        (with_body("9803016000"), SHORTEST),
        (with_body("990003016000"), SHORTEST),
        (message("", "5800", "", "", "", ""), SHORTEST),
        (message("", "5a00000000", "", "", "", ""), SHORTEST),
        (message("", "", "82f41817", "", "", ""), SHORTEST),
        (message("", "", "82f41900ff", "", "", ""), SHORTEST),
        (message("", "", "82f41a0000ffff", "", "", ""), SHORTEST),
        (message("", "", "82f41b00000000ffffffff", "", "", ""), SHORTEST),
        (with_extensions("b800"), SHORTEST),
        (with_extensions("a1180300"), SHORTEST),
        (with_extensions("a1380300"), SHORTEST),
        (with_value("3817"), SHORTEST),
        (with_value("d81700"), SHORTEST),
        (with_value("f816"), "simple value is not in its shortest form"),
        (with_value("f81f"), "simple value is not in its shortest form"),
        // Indefinite lengths, and heads that mean nothing.
        (with_body("9f016000ff"), INDEFINITE),
        (with_body("83017f6000"), INDEFINITE),
        (with_body("83017fff00"), INDEFINITE),
        (message("", "5fff", "", "", "", ""), INDEFINITE),
        (message("", "5f40ff", "", "", "", ""), INDEFINITE),
        (with_extensions("bfff"), INDEFINITE),
        (with_value("9fff"), INDEFINITE),
        (with_value("ff"), INDEFINITE),
        (with_value("1c"), INDEFINITE),
        (with_value("fc"), INDEFINITE),
        (with_value("df00"), INDEFINITE),
        // Order of map keys: as encoded, not by length first as in RFC 7049.
        (with_extensions("a204000300"), "map keys are not in order"),
        (with_extensions("a220000300"), "map keys are not in order"),
        (with_extensions("a26161001903e800"), "map keys are not in order"),
        (with_extensions("a26161002000"), "map keys are not in order"),
        (with_extensions("a262616100616200"), "map keys are not in order"),
        (with_extensions("a203000300"), "map key twice"),
        (with_extensions("a2616100616100"), "map key twice"),
        (with_value("a204000300"), "map keys are not in order"),
        (with_value("a203000300"), "map key twice"),
        // Floats in longer forms, and other NaNs than the one.
        (with_value("fa3fc00000"), FLOAT),
        (with_value("fb3ff8000000000000"), FLOAT),
        (with_value("fb3fe99999a0000000"), FLOAT),
        (with_value("fa7f800000"), FLOAT),
        (with_value("fb0000000000000000"), FLOAT),
        (with_value("fa33800000"), FLOAT),
        (with_value("fa7fc00000"), FLOAT),
        (with_value("fb7ff8000000000000"), FLOAT),
        (with_value("f97e01"), FLOAT),
        (with_value("f97c01"), FLOAT),
        (with_value("f9fe00"), FLOAT),
        // Bignums that are none.
        (with_value("c24101"), BIGNUM),
        (with_value("c340"), BIGNUM),
        (with_value("c248ffffffffffffffff"), BIGNUM),
        (with_value("c24900ffffffffffffffff"), BIGNUM),
        (with_value("c201"), BIGNUM),
    ] {
        assert_eq!(reason(&octets), why, "{}", hex::encode(&octets));
    }
}

#[test]
fn ce_4_octets_after_the_message_and_missing_ones_are_refused() {
    let mut octets = with_body(NULL_PART);
    for end in 0..octets.len() {
        assert_eq!(MimiContent::decode_exact(&octets[..end]), Err(DecodeError::Truncated));
    }
    octets.push(0xf6);
    assert_eq!(MimiContent::decode_exact(&octets), Err(DecodeError::Trailing));
}

#[test]
fn ce_4_a_huge_declared_length_is_refused_as_missing_octets() {
    for value in [
        "5b7fffffffffffffff",
        "5bffffffffffffffff",
        "7bffffffffffffffff",
        "9bffffffffffffffff",
        "bbffffffffffffffff",
        "bb8000000000000000",
        "9affffffff",
    ] {
        assert_eq!(reason(&with_value(value)), "ends too early", "{value}");
    }
}

#[test]
fn every_value_that_the_data_model_allows_is_accepted() {
    for value in [
        "00",
        "1bffffffffffffffff",
        "3bffffffffffffffff",
        "f4",
        "f7",
        "f820",
        "e0",
        "f90000",
        "f98000",
        "f93e00",
        "f90001",
        "f903ff",
        "f97bff",
        "f97c00",
        "f9fc00",
        "f97e00",
        "fa47c35000",
        "fa7f7fffff",
        "fa33000000",
        "fb3ff199999999999a",
        "fb7fefffffffffffff",
        "c249010000000000000000",
        "c349010000000000000000",
        // A typed array, whose NaN are its own business.
        "d8544401020304",
        "a203004000",
        "a40000200040006000",
        "a21b001fffffffffffff003b001ffffffffffffe00",
    ] {
        accepted(&with_value(value));
    }
    // Unsigned, negative, text; within text the shorter first.
    accepted(&with_extensions("a5030019010000200061620062616100"));
}

#[test]
fn floats_keep_their_number() {
    for (value, number) in [
        ("f93e00", 1.5),
        ("f90001", 5.960_464_477_539_063e-8),
        ("f9fbff", -65504.0),
        ("fa47c35000", 100_000.0),
        ("fb3ff199999999999a", 1.1),
    ] {
        let content = accepted(&with_value(value));
        let Some(Value::Float(float)) = content.extensions.0.get(&Key::from(3)) else {
            panic!("no float")
        };
        assert_eq!(float.number(), number);
    }
}

#[test]
fn ce_4_what_the_data_model_forbids_is_refused() {
    for (octets, why) in [
        (with_value("61ff"), "text is not UTF-8"),
        (with_value("62c080"), "text is not UTF-8"),
        (with_value("63eda080"), "text is not UTF-8"),
        (with_body("830161ff00"), "text is not UTF-8"),
        (with_extensions("a161ff00"), "text is not UTF-8"),
        (with_extensions("a10000"), "extension 0 is reserved"),
        (with_extensions("a1410000"), "extension named by octets"),
        (with_extensions("a16000"), "empty name of an extension"),
        (with_extensions("a1f600"), "map key is neither integer nor string"),
        (with_extensions("a1f93e0000"), "map key is neither integer nor string"),
        (with_extensions("a18000"), "map key is neither integer nor string"),
        (with_value("a1f600"), "map key is neither integer nor string"),
        (
            with_extensions("a11b002000000000000000"),
            "map key that a double cannot hold",
        ),
        (
            with_extensions("a13b001fffffffffffff00"),
            "map key that a double cannot hold",
        ),
        (
            with_value("a11b002000000000000000"),
            "map key that a double cannot hold",
        ),
        (with_extensions("a10101"), "senderUri or roomUri is not text"),
        (with_extensions("a10240"), "senderUri or roomUri is not text"),
        (with_extensions("80"), "extensions are not a map"),
    ] {
        assert_eq!(reason(&octets), why, "{}", hex::encode(&octets));
    }
}

#[test]
fn what_the_draft_does_not_define_is_refused() {
    let part = format!("85016003{{}}82{NULL_PART}{NULL_PART}");
    let multi = |semantics: &str| with_body(&part.replace("{}", semantics));
    for semantics in ["00", "01", "02"] {
        accepted(&multi(semantics));
    }
    accepted(&message(ID, "", "82f51affffffff", ID, "", "8318ff6000"));
    let external = |numbers: [&str; 4]| {
        let [expires, size, enc_alg, hash_alg] = numbers;
        with_body(&format!("8f0160026060{expires}{size}{enc_alg}404040{hash_alg}406060"))
    };
    accepted(&external(["1affffffff", "1bffffffffffffffff", "19ffff", "18ff"]));

    let other_hash = ID.replacen("582001", "582002", 1);
    for (octets, why) in [
        (multi("03"), "partSemantics"),
        (with_body("84016001"), "ends too early"),
        (
            with_body("8401600160"),
            "part has another number of items than its cardinality",
        ),
        (
            with_body("8401600040"),
            "part has another number of items than its cardinality",
        ),
        (with_body("83016004"), "unknown cardinality"),
        (with_body("831901006000"), "disposition is not an integer of 8 bits"),
        (with_body("83206000"), "disposition is not an integer of 8 bits"),
        (with_body("83014000"), "language is not text"),
        (with_body("850160016060"), "content is not a byte string"),
        (with_body("850160014040"), "contentType is not text"),
        (with_body("f6"), "part is not an array"),
        (
            with_body(&format!("850160030081{NULL_PART}")),
            "parts are not an array of two or more",
        ),
        (with_body("850160030080"), "parts are not an array of two or more"),
        (
            external(["1b0000000100000000", "00", "00", "00"]),
            "expires is not an integer of 32 bits",
        ),
        (external(["00", "20", "00", "00"]), "size is not an integer of 64 bits"),
        (
            external(["00", "00", "1a00010000", "00"]),
            "encAlg is not an integer of 16 bits",
        ),
        (
            external(["00", "00", "00", "190100"]),
            "hashAlg is not an integer of 8 bits",
        ),
        (message("40", "", "", "", "", ""), "message id is not 32 octets"),
        (message("f7", "", "", "", "", ""), "message id is not 32 octets"),
        (message(&other_hash, "", "", "", "", ""), "hash of a message id"),
        (message("", "", "", &other_hash, "", ""), "hash of a message id"),
        (message("", "60", "", "", "", ""), "topicId is not a byte string"),
        (message("", "f6", "", "", "", ""), "topicId is not a byte string"),
        (message("", "", "820000", "", "", ""), "relative is not a bool"),
        (
            message("", "", "83f40000", "", "", ""),
            "expires is not an array of two",
        ),
        (
            message("", "", "82f41b0000000100000000", "", "", ""),
            "time is not an integer of 32 bits",
        ),
        (
            message("", "", "82f420", "", "", ""),
            "time is not an integer of 32 bits",
        ),
        (hex::decode("86").unwrap(), "ends too early"),
        (hex::decode("f6").unwrap(), "content is not an array of seven"),
        (
            hex::decode(format!("874f{}", &SALT[2..])).unwrap(),
            "salt is not 16 octets",
        ),
    ] {
        assert_eq!(reason(&octets), why, "{}", hex::encode(&octets));
    }
}

#[test]
fn fields_decode_to_what_they_say() {
    let content = accepted(&message(ID, "4161", "82f50a", ID, "a1016178", "8318c862656e00"));
    assert_eq!(content.salt, Salt(std::array::from_fn(|at| at as u8)));
    assert_eq!(content.replaces, content.in_reply_to);
    assert_eq!(content.topic_id, "a");
    assert_eq!(content.expires, Some(Expiration::AfterReading(10)));
    assert_eq!(content.extensions.sender_uri(), Some("x"));
    assert_eq!(content.extensions.room_uri(), None);
    assert_eq!(content.body.disposition.0, 200);
    assert_eq!(content.body.language, "en");
    assert_eq!(content.body.part, Part::Null);
    assert_eq!(Value::from(-1i64), Value::Negative(0));
    assert_eq!(Value::from(i64::MIN).as_integer(), Some(i64::MIN.into()));
    assert_eq!(Value::from(7i64).as_integer(), Some(7));
}

#[test]
fn a_status_report_and_derived_values_are_as_strict() {
    let report = |octets: &str| MessageStatusReport::decode_exact(&hex::decode(octets).unwrap());
    assert_eq!(report("80"), Ok(MessageStatusReport::default()));
    assert!(report(&format!("8182{ID}18ff")).is_ok());
    for wrong in ["9fff", "9800", "8180", "f6", "8000"] {
        assert!(report(wrong).is_err(), "{wrong}");
    }
    for wrong in ["1802", "190100", "20", "f6"] {
        assert!(report(&format!("8182{ID}{wrong}")).is_err(), "{wrong}");
    }
    let one = report(&format!("8182{ID}02")).unwrap().0[0];
    let many = |count| MessageStatusReport(vec![one; count]).encode();
    assert!(MessageStatusReport::decode_exact(&many(limits::STATUSES_MAX)).is_ok());
    let error = MessageStatusReport::decode_exact(&many(limits::STATUSES_MAX + 1)).unwrap_err();
    assert_eq!(error.reason(), "statuses");

    let derived =
        |time: &str| MessageDerivedValues::decode_exact(&hex::decode(format!("87{ID}{time}4004606060")).unwrap());
    for time in ["00", "1bffffffffffffffff", "d903e9a10100", "d903e9a2010022187b"] {
        assert!(derived(time).is_ok(), "{time}");
    }
    for wrong in [
        "f6",
        "20",
        "c100",
        "d903e900",
        "d903e9a14000",
        "d903e9a16000",
        "d903e9a222000100",
        "a10100",
    ] {
        assert!(derived(wrong).is_err(), "{wrong}");
    }
}
