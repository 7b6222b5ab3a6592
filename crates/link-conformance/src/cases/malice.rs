//! What no hub sends. A stream ends with the documented code, nothing is stored, and the connection goes on.

use anyhow::ensure;
use bytes::Bytes;
use proto::link::{Item, StreamHeader, item};

use super::Bench;
use crate::Outcome;
use crate::hub::{Ended, announced, deliver, fanout_header, frame};

const MALFORMED: Ended = Ended::Code(1);
const TOO_LARGE: Ended = Ended::Code(2);

pub(super) async fn unknown_fields_are_passed_over(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    // Field 1,000 of the outermost message, a varint, and field 1,001, a string: of a version to come.
    let unknown = [0xc0, 0x3e, 7, 0xca, 0x3e, 2, b'h', b'i'];
    let with_unknown = |whole: Vec<u8>| announced(&[&whole[4..], &unknown].concat());
    let link = bench.dial().await?;
    let mut stream = link.stream(&with_unknown(fanout_header(&bench.ledger))).await?;
    stream.resume(1).await?;
    stream
        .write(&with_unknown(deliver(1, &[bench.room.message(0, 100)])))
        .await;
    stream.acknowledged(1, 0).await?;
    Ok(Outcome::Passed)
}

pub(super) async fn a_frame_over_the_limit_ends_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    ends(bench, &u32::MAX.to_be_bytes(), false, TOO_LARGE).await
}

pub(super) async fn a_frame_cut_short_ends_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let whole = deliver(1, &[bench.room.message(0, 100)]);
    ends(bench, &whole[..whole.len() - 1], true, MALFORMED).await?;
    ends(bench, &whole[..3], true, MALFORMED).await
}

pub(super) async fn a_frame_of_no_kind_ends_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    // Empty; of a kind of a version to come; no protobuf.
    ends(bench, &announced(&[]), false, MALFORMED).await?;
    ends(bench, &announced(&[0xa2, 0x06, 0]), false, MALFORMED).await?;
    ends(bench, &announced(&[0xff; 3]), false, MALFORMED).await
}

pub(super) async fn offsets_that_do_not_ascend_end_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (one, two) = (bench.room.message(5, 100), bench.room.message(6, 100));
    ends(bench, &deliver(1, &[two, one.clone()]), false, MALFORMED).await?;
    ends(bench, &deliver(1, &[one.clone(), one]), false, MALFORMED).await
}

pub(super) async fn a_shard_that_was_not_resumed_ends_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let octets = deliver(2, &[bench.room.message(0, 100)]);
    ends(bench, &octets, false, MALFORMED).await
}

pub(super) async fn items_of_the_wrong_shape_end_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let breaks: [fn(&mut Item); 7] = [
        |item| item.chain = Bytes::from_static(&[1; 31]),
        |item| item.recipient_set = Bytes::from_static(&[1; 17]),
        |item| item.room = String::new(),
        |item| item.room = "x".repeat(1_025),
        |item| item.body = None,
        |item| item.body = Some(item::Body::Message(Bytes::new())),
        |item| item.body = Some(item::Body::Digest(Bytes::from_static(&[1; 20]))),
    ];
    for breaks in breaks {
        let mut item = bench.room.message(0, 100);
        breaks(&mut item);
        ends(bench, &deliver(1, &[item]), false, MALFORMED).await?;
    }
    ends(bench, &deliver(1, &[]), false, MALFORMED).await
}

pub(super) async fn too_many_items_end_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    // Small on the wire, large when decoded.
    let octets = deliver(1, &vec![Item::default(); 1_025]);
    ends(bench, &octets, false, MALFORMED).await
}

pub(super) async fn a_bad_header_ends_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let link = bench.dial().await?;
    let cases = [
        (fanout_header(&bench.ledger[1..]), MALFORMED, "a ledger of 15 octets"),
        (frame(&StreamHeader::default()), MALFORMED, "a stream of no kind"),
        (announced(&[0xff; 3]), MALFORMED, "no protobuf"),
        (257_u32.to_be_bytes().to_vec(), TOO_LARGE, "a header over the limit"),
    ];
    for (octets, expected, what) in cases {
        let ended = link.stream(&octets).await?.ended().await?;
        ensure!(ended == expected, "{what}: {ended:?}");
    }
    let mut stream = link.stream(&[]).await?;
    stream.finish();
    let ended = stream.ended().await?;
    ensure!(ended == MALFORMED, "a stream without a header: {ended:?}");
    bench.still_works(&link).await?;
    Ok(Outcome::Passed)
}

/// `octets` after a Resume of shard 1 end the stream with `expected`.
async fn ends(bench: &Bench<'_>, octets: &[u8], finish: bool, expected: Ended) -> anyhow::Result<Outcome> {
    let (link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.write(octets).await;
    if finish {
        stream.finish();
    }
    let ended = stream.ended().await?;
    ensure!(ended == expected, "{ended:?} and not {expected:?}");
    let mut again = link.fanout(bench.ledger).await?;
    ensure!(again.resume(1).await?.position.is_none(), "something was stored");
    Ok(Outcome::Passed)
}
