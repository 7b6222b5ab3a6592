//! Everybody sends at once, and some messages arrive after their epoch.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use client::mls::Submitted;

use super::members::settle;
use crate::demo::party::{Burst, PATIENCE, Party};
use crate::demo::tally::Mark;

/// Octets of each message of the burst before encryption.
const CONTENT_BYTES: usize = 256;
/// Messages that each party encrypts, and sends only when the epoch has moved on.
pub(in crate::demo) const LATE: u32 = 5;

/// Everybody sends its share at once; in the middle, each holds some messages back until the epoch has moved on. Waits
/// until everything that was sent is decrypted everywhere, or nothing more comes.
pub(in crate::demo) async fn send_all(
    parties: &[Party],
    messages: u32,
    burst: &Arc<Burst>,
    bar: &indicatif::ProgressBar,
) -> anyhow::Result<()> {
    settle(&parties.iter().collect::<Vec<_>>()).await?;
    for (place, party) in parties.iter().enumerate() {
        party.take_part(place, burst);
    }
    let count = u32::try_from(parties.len()).context("too many parties")?;
    let shares = (0..count).map(|place| messages / count + u32::from(place < messages % count));
    let senders = shares
        .enumerate()
        .map(|(place, share)| send_share(parties, place, share, burst));
    let watching = async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            bar.set_position(burst.tally().delivered());
        }
    };
    let sent = tokio::select! {
        biased;
        sent = futures::future::try_join_all(senders) => sent,
        () = watching => unreachable!("it never ends"),
    };
    let mut delivered = 0;
    let mut moved = Instant::now();
    while !burst.tally().is_whole() && moved.elapsed() < PATIENCE {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let now = burst.tally().delivered();
        bar.set_position(now);
        if now > delivered {
            (delivered, moved) = (now, Instant::now());
        }
    }
    sent.map(drop)
}

async fn send_share(parties: &[Party], place: usize, share: u32, burst: &Burst) -> anyhow::Result<()> {
    let party = &parties[place];
    let late = (share / 2)..(share / 2 + LATE).min(share);
    let mut number = 0;
    while number < share {
        if number == late.start && share >= LATE {
            let neighbour = &parties[(place + 1) % parties.len()];
            send_late(party, neighbour, place, late.clone(), burst).await?;
            number = late.end;
            continue;
        }
        let mark = Mark { sender: place, number };
        let content = mark.content(CONTENT_BYTES);
        let at = burst.elapsed();
        burst.tally().sending(mark, CONTENT_BYTES, at);
        party.session.send(&party.room, &content).await?;
        number += 1;
    }
    Ok(())
}

/// Messages encrypted in one epoch and sent in the next: they must be accepted and decrypted all the same.
async fn send_late(
    party: &Party,
    neighbour: &Party,
    place: usize,
    numbers: std::ops::Range<u32>,
    burst: &Burst,
) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for number in numbers {
        let mark = Mark { sender: place, number };
        held.push((mark, party.encrypt(&mark.content(CONTENT_BYTES))?));
    }
    neighbour.session.self_update(&party.room).await?;
    for (mark, body) in held {
        let at = burst.elapsed();
        burst.tally().sending(mark, CONTENT_BYTES, at);
        match party.submit(body).await? {
            Submitted::Accepted(_) => {}
            other => bail!("a message of the epoch before was answered {other:?}"),
        }
    }
    Ok(())
}
