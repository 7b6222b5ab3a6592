//! Credit.

use anyhow::ensure;

use super::Bench;
use crate::Outcome;
use crate::hub::{DELIVER_BYTES_MAX, Ended, Heard, MESSAGE_BYTES_MAX};

/// The code for more than the credit.
const CREDIT: u64 = 3;

pub(super) async fn the_window_is_given_again(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (_link, mut stream) = bench.fanout().await?;
    let window = stream.resume(1).await?.window;
    let mut heard = Heard::default();
    let (mut used, mut offset) = (0, 0);
    // Several windows.
    while used < 3 * window.min(DELIVER_BYTES_MAX / 16) {
        used += stream.deliver(1, &[bench.room.message(offset, 1_000)]).await;
        // Only what is acknowledged gives the window again.
        while heard.next_offset <= offset || heard.credit < used + window {
            stream.hear(1, &mut heard).await?;
        }
        offset += 1;
    }
    Ok(Outcome::Passed)
}

pub(super) async fn a_want_is_answered(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (_link, mut stream) = bench.fanout().await?;
    let window = stream.resume(1).await?.window;
    if window >= DELIVER_BYTES_MAX / 2 {
        return Ok(Outcome::Skipped("its window holds any frame"));
    }
    let small = stream.deliver(1, &[bench.room.message(0, 100)]).await;
    // Twice, since what was given once beyond the window is not the window.
    let mut used = small;
    for offset in 1..3 {
        let large = bench.room.message(offset, usize::try_from(2 * window)?);
        let bytes = crate::hub::deliver(1, std::slice::from_ref(&large)).len() as u64 - 4;
        stream.want(1, used + bytes).await;
        let mut heard = Heard::default();
        while heard.credit < used + bytes {
            stream.hear(1, &mut heard).await?;
        }
        used += stream.deliver(1, &[large]).await;
        stream.acknowledged(1, offset).await?;
    }
    // And the largest that a room has.
    let largest = bench.room.message(3, usize::try_from(MESSAGE_BYTES_MAX)? - 256);
    let bytes = crate::hub::deliver(1, std::slice::from_ref(&largest)).len() as u64 - 4;
    stream.want(1, used + bytes).await;
    let mut heard = Heard::default();
    while heard.credit < used + bytes {
        stream.hear(1, &mut heard).await?;
    }
    stream.deliver(1, &[largest]).await;
    stream.acknowledged(1, 3).await?;
    Ok(Outcome::Passed)
}

pub(super) async fn more_than_the_credit_ends_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (link, mut stream) = bench.fanout().await?;
    let window = stream.resume(1).await?.window;
    if window >= DELIVER_BYTES_MAX / 2 {
        return Ok(Outcome::Skipped("its window holds any frame"));
    }
    let items = [bench.room.message(0, usize::try_from(window)? + 1)];
    stream.deliver(1, &items).await;
    let ended = stream.ended().await?;
    ensure!(ended == Ended::Code(CREDIT), "{ended:?}");
    let mut again = link.fanout(bench.ledger).await?;
    ensure!(again.resume(1).await?.position.is_none(), "it was stored nonetheless");
    Ok(Outcome::Passed)
}

pub(super) async fn a_want_beyond_any_frame_ends_the_stream(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    stream.want(1, DELIVER_BYTES_MAX + 1).await;
    let ended = stream.ended().await?;
    ensure!(ended == Ended::Code(CREDIT), "{ended:?}");
    bench.still_works(&link).await?;
    Ok(Outcome::Passed)
}

pub(super) async fn a_resume_begins_a_new_account(bench: &mut Bench<'_>) -> anyhow::Result<Outcome> {
    let (_link, mut stream) = bench.fanout().await?;
    stream.resume(1).await?;
    let mut heard = Heard::default();
    let bytes = stream.deliver(1, &[bench.room.message(0, 1_000)]).await;
    while heard.next_offset == 0 || heard.credit < bytes {
        stream.hear(1, &mut heard).await?;
    }
    let again = stream.resume(1).await?;
    ensure!(again.position == Some(1), "{again:?}");
    let heard = heard.credit;
    ensure!(
        again.window < heard,
        "{} and not less than before, {heard}",
        again.window
    );
    let bytes = stream.deliver(1, &[bench.room.message(1, 1_000)]).await;
    let after = stream.acknowledged(1, 1).await?.credit;
    ensure!(
        after <= again.window + bytes,
        "{after} goes on from an account that has ended"
    );
    Ok(Outcome::Passed)
}
