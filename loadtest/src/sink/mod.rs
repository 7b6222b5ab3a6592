//! A sink is a process that stands for many follower providers. It receives as a real one does, over QUIC with mutual TLS
//! and with a directory document of its own, checks everything that it is shown and keeps nothing but when it came: so
//! what is measured is the hub, not whoever stores what it sends. When it is asked to, it makes durable what it is shown.

mod check;
mod follower;
mod handle;
mod journal;
mod words;

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use link::Roots;
use mimi::Provider;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use follower::{Follower, Keeping};
use journal::Journal;

pub(crate) use handle::Sink;
use words::Ask;
#[cfg(test)]
pub(crate) use words::Room;
pub(crate) use words::{Collected, Identity, Setup};

/// Runs a sink in this process until its standard input ends.
///
/// # Errors
/// The setup cannot be used, or an address is taken.
pub(crate) async fn run(setup: &Path) -> anyhow::Result<()> {
    let journal = Arc::new(Journal::start(&setup.with_extension("journal"))?);
    let setup = std::fs::read(setup).with_context(|| format!("read {}", setup.display()))?;
    let setup: Setup = serde_json::from_slice(&setup).context("the sink's setup")?;
    let hub: Provider = setup.hub.parse().context("the hub's domain")?;
    let pem = std::fs::read(&setup.roots).with_context(|| format!("read {}", setup.roots.display()))?;
    let roots = Roots::new(BTreeMap::from([(hub, link::tls::certificates_from_pem(&pem)?)]))?;
    let stop = CancellationToken::new();
    let mut followers = Vec::new();
    for (number, identity) in setup.followers.iter().enumerate() {
        // Each would have a disk of its own. They share one, so what all are shown is written once, and each has it synced.
        let keeping = Keeping {
            journal: journal.clone(),
            writes: number == 0,
        };
        followers.push(Follower::start(identity, &roots, keeping, stop.clone()).await?);
    }
    say(&"ready")?;
    tokio::task::spawn_blocking(move || answer(&followers, &journal)).await??;
    stop.cancel();
    Ok(())
}

fn answer(followers: &[Arc<Follower>], journal: &Journal) -> anyhow::Result<()> {
    for line in std::io::stdin().lock().lines() {
        match serde_json::from_str(&line?)? {
            Ask::Progress => say(&followers.iter().map(|one| one.progress()).collect::<words::Progress>())?,
            Ask::Keep(is_kept) => {
                journal.keep(is_kept);
                say(&is_kept)?;
            }
            Ask::Collect => say(&followers.iter().map(|one| one.collect()).collect::<Vec<_>>())?,
        }
    }
    Ok(())
}

/// A line to whoever started this process.
fn say(what: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
