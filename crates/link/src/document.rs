//! docs/link.md says what the code does: its numbers are the code's.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use bytes::Bytes;
use proto::link::{FanoutStream, HubFrame, Resume, StreamHeader, hub_frame, stream_header};

use crate::credit::Meter;
use crate::{ALPN, Code, Limits, follow, frame, serve};

const DOCUMENT: &str = include_str!("../../../docs/link.md");

/// The rows of the table under a heading or a line, without its head.
fn table(after: &str) -> Vec<Vec<&'static str>> {
    let (_, below) = DOCUMENT.split_once(after).unwrap();
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[test]
fn w_7_the_documents_limits_are_those_of_the_code() {
    let documented: BTreeMap<&str, u128> = table("\n## Limits")
        .iter()
        .map(|row| (row[0], row[1].parse().unwrap()))
        .collect();
    let limits = Limits::default();
    let expected: BTreeMap<&str, u128> = [
        ("StreamHeader frame", frame::HEADER_BYTES_MAX as u128),
        ("Call frame, Answer frame", limits.call_bytes_max as u128),
        ("endpoint of a Call", serve::ENDPOINT_BYTES_MAX as u128),
        ("target of a Call", serve::TARGET_BYTES_MAX as u128),
        ("frame of a hub", limits.deliver_bytes_max as u128),
        ("frame of a follower", frame::FOLLOWER_BYTES_MAX as u128),
        ("items of a Deliver", frame::ITEMS_MAX as u128),
        ("FanoutMessage of an item", frame::MESSAGE_BYTES_MAX as u128),
        ("room of an item", frame::ROOM_BYTES_MAX as u128),
        ("traceparent", frame::TRACEPARENT_BYTES_MAX as u128),
        ("characters of a refusal's reason", follow::REASON_CHARS_MAX as u128),
        ("streams open on a connection", limits.streams_max.into()),
        (
            "fan-out streams open on a connection",
            limits.fanout_streams_max as u128,
        ),
        ("shards resumed on a fan-out stream", limits.shards_max as u128),
        ("connections of one provider", limits.connections_per_peer_max as u128),
        ("smallest window", follow::WINDOW_BYTES_MIN as u128),
        ("largest window", limits.credit_bytes as u128),
        ("milliseconds for a handshake", limits.connect_timeout.as_millis()),
        ("milliseconds for a header, a call", limits.call_timeout.as_millis()),
        ("milliseconds between keep-alives", limits.keep_alive.as_millis()),
        (
            "milliseconds until an idle connection is lost",
            limits.idle_timeout.as_millis(),
        ),
        ("milliseconds to drain", limits.drain_timeout.as_millis()),
    ]
    .into();
    assert_eq!(documented, expected);
}

#[test]
fn the_documents_codes_are_those_of_the_code() {
    let rows = table("\n## Codes");
    let names: Vec<&str> = rows.iter().map(|row| row[1].trim_matches('`')).collect();
    let codes = [
        (Code::Done, "done"),
        (Code::Malformed, "malformed"),
        (Code::TooLarge, "too_large"),
        (Code::Credit, "credit"),
        (Code::TooMany, "too_many"),
        (Code::Unavailable, "unavailable"),
        (Code::Draining, "draining"),
        (Code::TimedOut, "timed_out"),
        (Code::Unknown, "unknown"),
    ];
    assert_eq!(names, codes.map(|(_, name)| name));
    for (row, (code, _)) in rows.iter().zip(codes) {
        assert_eq!(row[0].parse(), Ok(code.varint().into_inner()), "{code}");
    }
    let protocol = std::str::from_utf8(ALPN).unwrap();
    assert!(DOCUMENT.contains(&format!("ALPN protocol `{protocol}`")));
}

#[test]
fn the_documents_first_octets_are_those_of_a_stream() {
    let ledger = Bytes::from_iter(0..16);
    let header = StreamHeader {
        kind: Some(stream_header::Kind::Fanout(FanoutStream { ledger })),
    };
    let resume = HubFrame {
        kind: Some(hub_frame::Kind::Resume(Resume { shard: 5 })),
    };
    for frame in [frame::encode(&header), frame::encode(&resume)] {
        let (length, message) = frame.split_at(frame::PREFIX);
        let line = format!("\n{} {}\n", hexadecimal(length), hexadecimal(message));
        assert!(DOCUMENT.contains(&line), "{line}");
    }
}

#[test]
fn the_documents_account_is_kept_as_the_code_keeps_it() {
    let mut meter = Meter::default();
    let (mut credit, mut used, mut acknowledged) = (0, 0, 0);
    let rows = table("The account of one shard");
    assert_eq!(rows.len(), 8);
    for row in rows {
        let (what, number) = row[0].rsplit_once(' ').unwrap();
        let number: u64 = number.parse().unwrap();
        let announced = match what {
            "Position, Credit" => {
                let resume = meter.suspend();
                meter.open(resume, number)
            }
            "Deliver" => {
                assert!(meter.charge(number), "{row:?}");
                used += number;
                None
            }
            "Acknowledge" => {
                acknowledged += number;
                meter.settle(number)
            }
            "Want" => {
                assert!(
                    meter
                        .excess(number, Limits::default().deliver_bytes_max as u64)
                        .is_some()
                );
                meter.grant(number)
            }
            other => panic!("what is {other}?"),
        };
        credit = announced.unwrap_or(credit);
        let expected = [credit, used, credit - used].map(|number| number.to_string());
        assert_eq!(row[1..], expected, "{row:?}");
    }
    assert_eq!(acknowledged, used, "everything is acknowledged at the end");
}
