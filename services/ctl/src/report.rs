//! What was found, as it is printed.

use std::io::Write;

use proto::admin::{FollowerInShard, FollowerSummary, Outcome, SetAside};
use serde::Serialize;

use crate::Verdict;
use crate::table::{Table, shortened};

/// Everything that one command found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Report {
    List(Vec<Follower>),
    Show(Shown),
    Entries(Vec<Entry>),
    Changed(Changed),
}

/// One follower over all shards.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Follower {
    pub(crate) domain: String,
    state: State,
    shards: u32,
    shards_behind: u32,
    lag: u64,
    lag_max: u64,
    shards_paused: u32,
    shards_resting: u32,
    failures: u32,
    failure: String,
    set_aside: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It has everything.
    #[default]
    UpToDate,
    /// It is being brought what it is due.
    Behind,
    /// It cannot be brought anything at the moment, and is tried again.
    Resting,
    /// An operator paused it.
    Paused,
    /// In some shards.
    PartlyPaused,
}

impl State {
    const fn text(self) -> &'static str {
        match self {
            Self::UpToDate => "up to date",
            Self::Behind => "behind",
            Self::Resting => "not reached",
            Self::Paused => "paused",
            Self::PartlyPaused => "partly paused",
        }
    }
}

impl Follower {
    /// The same follower, as another node sees it.
    pub(crate) fn add(&mut self, summary: FollowerSummary) {
        self.domain = summary.domain;
        self.shards += summary.shards;
        self.shards_behind += summary.shards_behind;
        self.lag = self.lag.saturating_add(summary.lag);
        self.lag_max = self.lag_max.max(summary.lag_max);
        self.shards_paused += summary.shards_paused;
        self.shards_resting += summary.shards_resting;
        if summary.failures > self.failures {
            self.failures = summary.failures;
            self.failure = summary.failure;
        }
        self.set_aside = self.set_aside.saturating_add(summary.set_aside);
        self.state = match () {
            () if self.shards_paused > 0 && self.shards_paused >= self.shards => State::Paused,
            () if self.shards_paused > 0 => State::PartlyPaused,
            () if self.shards_resting > 0 => State::Resting,
            () if self.shards_behind > 0 => State::Behind,
            () => State::UpToDate,
        };
    }
}

/// One follower in one shard.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InShard {
    pub(crate) shard: u32,
    oldest_due: Option<u64>,
    head: u64,
    paused: bool,
    resting: bool,
    failures: u32,
    failure: String,
    set_aside: u64,
}

impl From<FollowerInShard> for InShard {
    fn from(told: FollowerInShard) -> Self {
        Self {
            shard: told.shard,
            oldest_due: told.behind.then_some(told.oldest_due),
            head: told.head,
            paused: told.paused,
            resting: told.resting,
            failures: told.failures,
            failure: told.failure,
            set_aside: told.set_aside,
        }
    }
}

impl InShard {
    /// Whether there is anything to say about it.
    pub(crate) fn is_notable(&self) -> bool {
        self.oldest_due.is_some() || self.paused || self.resting || self.set_aside > 0
    }
}

/// An entry that a follower refused.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) shard: u32,
    pub(crate) offset: u64,
    room: String,
    seq: u64,
    status: u32,
    reason: String,
    tries: u32,
    outcome: Became,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Became {
    SetAside,
    Brought,
    RefusedAgain,
    CatchUpOnly,
    Trimmed,
    Settled,
    FollowerPaused,
    Pending,
    Skipped,
    NotReached,
}

impl Became {
    const fn text(self) -> &'static str {
        match self {
            Self::SetAside => "set aside",
            Self::Brought => "brought",
            Self::RefusedAgain => "refused once more",
            Self::CatchUpOnly => "it gets this by catch-up only",
            Self::Trimmed => "trimmed: not in the log any more",
            Self::Settled => "settled meanwhile",
            Self::FollowerPaused => "the follower is paused: resume it first",
            Self::Pending => "not known yet: see `navectl follower show`",
            Self::Skipped => "given up",
            Self::NotReached => "the follower was not reached",
        }
    }

    const fn is_done(self) -> bool {
        matches!(self, Self::SetAside | Self::Brought | Self::Settled | Self::Skipped)
    }
}

impl From<SetAside> for Entry {
    fn from(told: SetAside) -> Self {
        let outcome = match told.outcome() {
            Outcome::SetAside => Became::SetAside,
            Outcome::Brought => Became::Brought,
            Outcome::Refused => Became::RefusedAgain,
            Outcome::CatchUp => Became::CatchUpOnly,
            Outcome::Trimmed => Became::Trimmed,
            Outcome::Settled => Became::Settled,
            Outcome::Paused => Became::FollowerPaused,
            Outcome::Pending => Became::Pending,
            Outcome::Skipped => Became::Skipped,
            Outcome::Unreached => Became::NotReached,
        };
        Self {
            shard: told.shard,
            offset: told.offset,
            room: told.room,
            seq: told.seq,
            status: told.status,
            reason: told.reason,
            tries: told.tries,
            outcome,
        }
    }
}

/// All about one follower.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    pub(crate) follower: Follower,
    pub(crate) shards: Vec<InShard>,
    pub(crate) set_aside: Vec<Entry>,
}

/// A follower that was paused, or is no longer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Changed {
    pub(crate) domain: String,
    pub(crate) paused: bool,
    pub(crate) shards: u32,
    pub(crate) full: u32,
    pub(crate) shards_total: u32,
}

impl Report {
    /// Whether what was asked for is done.
    pub(crate) fn verdict(&self) -> Verdict {
        let done = match self {
            Self::List(_) | Self::Show(_) => true,
            Self::Entries(entries) => entries.iter().all(|entry| entry.outcome.is_done()),
            Self::Changed(changed) => changed.shards >= changed.shards_total,
        };
        if done { Verdict::Done } else { Verdict::NotAll }
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
        match self {
            Self::List(followers) if followers.is_empty() => writeln!(out, "no followers"),
            Self::List(followers) => list(followers).print(out),
            Self::Show(shown) => {
                list(std::slice::from_ref(&shown.follower)).print(out)?;
                if !shown.shards.is_empty() {
                    writeln!(out)?;
                    shards(&shown.shards).print(out)?;
                }
                if !shown.set_aside.is_empty() {
                    writeln!(out)?;
                    entries(&shown.set_aside).print(out)?;
                }
                Ok(())
            }
            Self::Entries(found) if found.is_empty() => writeln!(out, "nothing is set aside"),
            Self::Entries(found) => entries(found).print(out),
            Self::Changed(changed) => print_changed(changed, out),
        }
    }
}

fn print_changed(changed: &Changed, out: &mut (impl Write + ?Sized)) -> std::io::Result<()> {
    let Changed {
        domain,
        paused,
        shards,
        full,
        shards_total,
    } = changed;
    let state = if *paused {
        "is paused"
    } else {
        "is brought again what it is due"
    };
    writeln!(out, "{domain} {state} in {shards} of {shards_total} shards")?;
    if *full > 0 {
        writeln!(
            out,
            "in {full} shards too many followers are paused already: resume some"
        )?;
    } else if shards < shards_total {
        writeln!(out, "ask again for the others: it does no harm where it is done")?;
    }
    Ok(())
}

fn list(followers: &[Follower]) -> Table {
    let mut table = Table::new(&[
        "FOLLOWER",
        "STATE",
        "BEHIND IN",
        "LAG",
        "SET ASIDE",
        "FAILURES",
        "LAST FAILURE",
    ]);
    for follower in followers {
        table.row([
            follower.domain.clone(),
            follower.state.text().to_owned(),
            format!("{} of {} shards", follower.shards_behind, follower.shards),
            follower.lag.to_string(),
            follower.set_aside.to_string(),
            follower.failures.to_string(),
            shortened(&follower.failure),
        ]);
    }
    table
}

fn shards(shards: &[InShard]) -> Table {
    let mut table = Table::new(&[
        "SHARD",
        "STATE",
        "OLDEST DUE",
        "HEAD",
        "SET ASIDE",
        "FAILURES",
        "LAST FAILURE",
    ]);
    for shard in shards {
        let state = match () {
            () if shard.paused => State::Paused,
            () if shard.resting => State::Resting,
            () if shard.oldest_due.is_some() => State::Behind,
            () => State::UpToDate,
        };
        table.row([
            shard.shard.to_string(),
            state.text().to_owned(),
            shard
                .oldest_due
                .map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            shard.head.to_string(),
            shard.set_aside.to_string(),
            shard.failures.to_string(),
            shortened(&shard.failure),
        ]);
    }
    table
}

fn entries(entries: &[Entry]) -> Table {
    let mut table = Table::new(&["ROOM", "SEQ", "SHARD", "OFFSET", "STATUS", "TRIES", "OUTCOME", "REASON"]);
    for entry in entries {
        table.row([
            entry.room.clone(),
            entry.seq.to_string(),
            entry.shard.to_string(),
            entry.offset.to_string(),
            entry.status.to_string(),
            entry.tries.to_string(),
            entry.outcome.text().to_owned(),
            shortened(&entry.reason),
        ]);
    }
    table
}
