//! Positions, deliveries, acknowledgements, and what a crash leaves of them.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use proto::link::{Item, follower_frame, item};

use super::Bench;
use crate::Outcome;
use crate::entries::Room;
use crate::hub::{Ended, Heard, Stream};

/// Until what is stored is shown.
const SHOWN: Duration = Duration::from_secs(10);

/// Deliveries in the middle of which the follower dies.
const BURST: u64 = 64;

pub(super) async fn an_unknown_ledger_has_no_position(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (_link, mut stream) = bench.fanout().await?;
    for shard in [0, 7, u32::MAX] {
        let place = stream.resume(shard).await?;
        ensure!(place.position.is_none(), "{place:?} of shard {shard}");
    }
    Ok(Outcome::Passed)
}

pub(super) async fn what_is_delivered_is_acknowledged(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (_link, mut stream) = bench.fanout().await?;
    stream.resume(5).await?;
    // A shard has entries for others, too: offsets ascend, with gaps.
    let items = vec![bench.room.message(3, 100), bench.room.message(17, 200)];
    stream.deliver(5, &items).await;
    ensure!(
        stream.acknowledged(5, 17).await?.refused.is_empty(),
        "entries were refused"
    );
    let next = vec![bench.room.message(18, 100)];
    stream.deliver(5, &next).await;
    stream.acknowledged(5, 18).await?;
    is_stored(bench, &[items, next].concat()).await
}

pub(super) async fn after_a_reconnect_the_position_is_what_was_acknowledged(
    bench: &mut Bench<'_>,
) -> anyhow::Result<Outcome> {
    let (link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.deliver(1, &[bench.room.message(40, 100)]).await;
    stream.acknowledged(1, 40).await?;
    link.close();
    let (_link, mut stream) = bench.fanout().await?;
    let place = stream.resume(1).await?;
    ensure!(place.position == Some(41), "{place:?} after 41 was acknowledged");
    let other = stream.resume(2).await?;
    ensure!(other.position.is_none(), "{other:?} of another shard");
    stream.deliver(1, &[bench.room.message(41, 100)]).await;
    stream.acknowledged(1, 41).await?;
    Ok(Outcome::Passed)
}

pub(super) async fn another_ledger_starts_from_nothing(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.deliver(1, &[bench.room.message(1_000, 100)]).await;
    stream.acknowledged(1, 1_000).await?;
    let mut other = link.fanout(rand::random()).await?;
    let place = other.resume(1).await?;
    ensure!(place.position.is_none(), "{place:?} of a ledger that it never saw");
    let mut room = Room::new(&bench.hub.domain);
    other.deliver(1, &[room.message(0, 100)]).await;
    other.acknowledged(1, 0).await?;
    let again = stream.resume(1).await?;
    ensure!(
        again.position == Some(1_001),
        "{again:?} of the first ledger afterwards"
    );
    Ok(Outcome::Passed)
}

pub(super) async fn a_repeat_is_acknowledged_and_has_one_effect(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let items: Vec<Item> = (0..4).map(|offset| bench.room.message(offset, 100)).collect();
    let (link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.deliver(1, &items[..3]).await;
    stream.acknowledged(1, 2).await?;
    // As a hub does that has not heard the acknowledgement.
    stream.deliver(1, &items[1..3]).await;
    let mut heard = Heard::default();
    while heard.next_offset == 0 {
        stream.hear(1, &mut heard).await?;
    }
    ensure!(
        heard.next_offset == 3,
        "{} was acknowledged of a repeat",
        heard.next_offset
    );
    link.close();
    let (_link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    // Some of it is new.
    stream.deliver(1, &items).await;
    stream.acknowledged(1, 3).await?;
    is_stored(bench, &items).await
}

pub(super) async fn shards_share_a_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let mut other = Room::new(&bench.hub.domain);
    let (_link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.resume(2).await?;
    for offset in 0..8 {
        stream.deliver(1, &[bench.room.message(offset, 100)]).await;
        stream.deliver(2, &[other.message(2 * offset, 100)]).await;
    }
    let mut next = [0, 0];
    while next != [8, 15] {
        match stream.next().await? {
            follower_frame::Kind::Acknowledge(acknowledge) => {
                let of = usize::try_from(acknowledge.shard)?.wrapping_sub(1);
                let before = next.get_mut(of).context("of a shard that was not resumed")?;
                ensure!(acknowledge.next_offset > *before, "an acknowledgement went back");
                *before = acknowledge.next_offset;
            }
            follower_frame::Kind::Credit(_) => {}
            follower_frame::Kind::Position(position) => anyhow::bail!("nobody asked for {position:?}"),
        }
    }
    Ok(Outcome::Passed)
}

pub(super) async fn a_digest_takes_the_place_of_an_entry(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let items = vec![
        bench.room.digest(0),
        bench.room.message(1, 100),
        bench.room.digest(2),
        bench.room.message(3, 100),
    ];
    let (_link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.deliver(1, &items).await;
    ensure!(
        stream.acknowledged(1, 3).await?.refused.is_empty(),
        "a digest was refused"
    );
    is_stored(bench, &items).await
}

pub(super) async fn entries_of_others_rooms_are_refused_one_by_one(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let mut foreign = Room::new("somebody-else.example");
    let items = vec![
        bench.room.message(10, 100),
        foreign.message(11, 100),
        bench.room.message(12, 100),
        foreign.message(13, 100),
    ];
    let (_link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.deliver(1, &items).await;
    let mut refused = stream.acknowledged(1, 13).await?.refused;
    refused.sort_unstable();
    ensure!(refused == [(11, 403), (13, 403)], "refused were {refused:?}");
    // Nothing but such items.
    stream.deliver(1, &[foreign.message(14, 100)]).await;
    ensure!(stream.acknowledged(1, 14).await?.refused == [(14, 403)]);
    is_stored(bench, &[items[0].clone(), items[2].clone()]).await
}

pub(super) async fn what_arrived_before_the_end_of_a_stream_is_acknowledged(
    bench: &mut Bench<'_>,
) -> anyhow::Result<Outcome> {
    let (_link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.deliver(1, &[bench.room.message(0, 100)]).await;
    stream.finish();
    stream.acknowledged(1, 0).await?;
    ensure!(stream.ended().await? == Ended::Finished);
    Ok(Outcome::Passed)
}

pub(super) async fn nothing_acknowledged_is_lost_in_a_crash(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let items: Vec<Item> = (0..BURST).map(|offset| bench.room.message(offset, 500)).collect();
    let (link, mut stream) = bench.fanout().await?;
    let window = stream.resume(1).await?.window;
    let mut heard = Heard::within(window);
    send_each(&mut stream, &items, &mut heard).await?;
    // Some of it is on its way, some in the middle of being stored, some acknowledged.
    while heard.next_offset < BURST / 4 {
        stream.hear(1, &mut heard).await?;
    }
    let acknowledged = heard.next_offset;
    if !bench.subject.crash().await? {
        return Ok(Outcome::Skipped("it cannot be killed from here"));
    }
    drop((link, stream));
    bench.hub.reaches(bench.subject.address()).await?;
    let (_link, mut stream) = bench.fanout().await?;
    let place = stream.resume(1).await?;
    let position = place.position.context("it knows nothing any more")?;
    ensure!(
        (acknowledged..=BURST).contains(&position),
        "it is at {position}, {acknowledged} was acknowledged and {BURST} sent"
    );
    let mut heard = Heard::within(place.window);
    send_each(&mut stream, &items[usize::try_from(position)?..], &mut heard).await?;
    while heard.next_offset < BURST && position < BURST {
        stream.hear(1, &mut heard).await?;
    }
    is_stored(bench, &items).await
}

/// Sends items of shard 1, which was just resumed, each in a frame of its own, as far as the credit goes at a time.
async fn send_each(stream: &mut Stream, items: &[Item], heard: &mut Heard) -> anyhow::Result<()> {
    let mut used = 0;
    for item in items {
        used += stream.deliver(1, std::slice::from_ref(item)).await;
        while heard.credit < used + 1_000 {
            stream.hear(1, heard).await?;
        }
    }
    Ok(())
}

/// The follower has stored the messages among `items`, each once and in their order.
async fn is_stored(bench: &mut Bench<'_>, items: &[Item]) -> anyhow::Result<Outcome> {
    let expected = items.iter().filter_map(|item| match &item.body {
        Some(item::Body::Message(message)) => Some(message.clone()),
        _ => None,
    });
    let expected: Vec<Bytes> = expected.collect();
    // What was acknowledged is stored; how it is shown may take a moment more.
    let began = Instant::now();
    loop {
        match bench.subject.stored(&bench.room.uri).await {
            Some(stored) if stored != expected => ensure!(
                began.elapsed() < SHOWN,
                "{} entries are stored, {} were acknowledged, or they are others",
                stored.len(),
                expected.len()
            ),
            _ => return Ok(Outcome::Passed),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
