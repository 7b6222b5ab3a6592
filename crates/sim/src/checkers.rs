//! The promises, each a function of the evidence. They share no code with what they judge but the types and the hash chain.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ledger::LogEntry;
use mimi::codec::Decode as _;
use mimi::notify::FanoutMessage;
use mimi::{Provider, RoomUri};
use room::{Chain, Digest, EntryKind, Epoch, Seq, Shown};
use route::ShardId;

use crate::rest::{at_rest, clients_have_everything_once, followers_have_everything};
use crate::shadow::{refusals_have_reasons, rooms_reopen_as_they_were};
use crate::trace::{Asked, Body, Brought, Event, Item, Verdict, What};
use crate::truth::Evidence;
use crate::world::STEP;

pub(crate) type Judged = Result<(), String>;

/// A promise: its name, and whether the evidence keeps it.
pub(crate) type Promise = (&'static str, fn(&Evidence) -> Judged);

/// What must hold at any time.
pub(crate) const SAFETY: [Promise; 7] = [
    ("one entry per seq", one_entry_per_seq),
    ("one commit per epoch", one_commit_per_epoch),
    ("answers are true", answers_are_true),
    ("refusals are true", refusals_are_true),
    ("no term writes after the next", no_term_writes_after_the_next),
    ("followers see order", followers_see_order),
    ("providers see their rooms only", providers_see_their_rooms_only),
];

/// What must hold once faults have healed.
pub(crate) const LIVENESS: [Promise; 3] = [
    ("followers have everything", followers_have_everything),
    ("clients have everything once", clients_have_everything_once),
    ("at rest", at_rest),
];

/// What is judged once, because it takes its time.
pub(crate) const RESTORE: [Promise; 2] = [
    ("rooms reopen as they were", rooms_reopen_as_they_were),
    ("refusals have reasons", refusals_have_reasons),
];

/// The first promise that is broken, and how.
pub(crate) fn judge(promises: &[Promise], evidence: &Evidence) -> Judged {
    promises
        .iter()
        .try_for_each(|(name, keeps)| keeps(evidence).map_err(|how| format!("broken promise: {name}: {how}")))
}

/// Or else: how the promise is broken.
macro_rules! ensure {
    ($holds:expr, $($how:tt)+) => {
        if !$holds {
            return Err(format!($($how)+));
        }
    };
}

pub(crate) use ensure;

/// Offsets and seqs without gaps, chains whole, accepted times strictly increasing, and each room as its log says.
pub(crate) fn one_entry_per_seq(evidence: &Evidence) -> Judged {
    for (shard, held) in &evidence.shards {
        for (expected, entry) in (0_u64..).zip(&held.log) {
            ensure!(
                entry.offset.0 == expected,
                "shard {shard} has offset {} in place of {expected}",
                entry.offset.0
            );
        }
        let head = held.head.0;
        ensure!(
            held.log.len() as u64 == head,
            "shard {shard} ends at {} and its tail says {head}",
            held.log.len()
        );
    }
    for (room, head) in &evidence.rooms {
        let (mut seq, mut chain, mut accepted) = (Seq(0), Chain::default(), None);
        for entry in evidence.log(room) {
            ensure!(entry.seq.0 == seq.0 + 1, "{room} has {} after {}", entry.seq.0, seq.0);
            seq = entry.seq;
            chain = chain.then(seq, &Digest::of(&entry.message));
            ensure!(entry.chain == chain, "{room} {}: the chain is broken", seq.0);
            ensure!(
                Some(entry.accepted) > accepted,
                "{room} {}: accepted times do not increase",
                seq.0
            );
            accepted = Some(entry.accepted);
        }
        ensure!(
            head.seq == seq && head.chain == chain,
            "{room} is at {} and its log at {}",
            head.seq.0,
            seq.0
        );
    }
    Ok(())
}

/// Each epoch ends with one commit, which was made in it, and with nothing else.
pub(crate) fn one_commit_per_epoch(evidence: &Evidence) -> Judged {
    for (room, head) in &evidence.rooms {
        let mut epoch = Epoch(0);
        for entry in evidence.log(room) {
            if entry.kind == EntryKind::Commit {
                let made_in = fanout(entry)?.message().epoch();
                ensure!(
                    made_in == Some(epoch.0),
                    "{room} {}: a commit of {made_in:?} in {}",
                    entry.seq.0,
                    epoch.0
                );
                epoch.0 += 1;
            }
            ensure!(
                entry.epoch == epoch,
                "{room} {}: in {}, expected {}",
                entry.seq.0,
                entry.epoch.0,
                epoch.0
            );
        }
        ensure!(
            head.epoch == epoch,
            "{room} is in {} and its log in {}",
            head.epoch.0,
            epoch.0
        );
    }
    Ok(())
}

/// What was answered with success is in the log, once, with the time that was answered; what was refused is not.
pub(crate) fn answers_are_true(evidence: &Evidence) -> Judged {
    let mut logged: BTreeMap<Digest, Vec<&LogEntry>> = BTreeMap::new();
    for entry in evidence.entries() {
        logged
            .entry(Digest::of(fanout(entry)?.message().octets()))
            .or_default()
            .push(entry);
    }
    if let Some(twice) = logged.values().find(|entries| entries.len() > 1) {
        return Err(format!("{} {} is in the log again", twice[1].room, twice[1].seq.0));
    }
    let asked = asked(evidence);
    let mut answered = BTreeSet::new();
    for (_, event) in &evidence.events {
        let Event::Answered { ask, verdict, .. } = event else {
            continue;
        };
        ensure!(answered.insert(*ask), "ask {ask} is answered again");
        let Some(Asked {
            room,
            what,
            digest,
            client,
            ..
        }) = asked.get(ask)
        else {
            return Err(format!("ask {ask} was never asked"));
        };
        let Some(digest) = digest else {
            let founded = evidence.rooms.contains_key(room);
            ensure!(
                *what == What::Found && founded == matches!(verdict, Verdict::Accepted { .. }),
                "{room}: {verdict:?}"
            );
            continue;
        };
        let entry = logged.get(digest).map(|entries| entries[0]);
        match (verdict, entry) {
            (Verdict::Accepted { at }, Some(entry)) => {
                let kind = match what {
                    What::Commit => EntryKind::Commit,
                    What::Proposals => EntryKind::Proposals,
                    What::Message | What::Found => EntryKind::Message,
                };
                let place = (entry.seq.0, entry.accepted.0, entry.kind);
                ensure!(
                    entry.room == *room && entry.kind == kind,
                    "{client}'s ask {ask} is another entry: {place:?}"
                );
                ensure!(
                    entry.accepted.0 == *at,
                    "{client}'s ask {ask} was accepted at {at}, or at {}",
                    entry.accepted.0
                );
            }
            (Verdict::Accepted { .. }, None) => {
                return Err(format!(
                    "{client}'s ask {ask} was answered with success and is not in the log"
                ));
            }
            (refused, Some(entry)) => {
                let seq = entry.seq.0;
                return Err(format!(
                    "{client}'s ask {ask} has {refused:?} and is in the log: {room} {seq}"
                ));
            }
            (_, None) => {}
        }
    }
    Ok(())
}

/// A room was in the epoch that a refusal names at some time between question and answer: an owner whose shard has gone to
/// another says nothing of what was.
pub(crate) fn refusals_are_true(evidence: &Evidence) -> Judged {
    let begins = epochs(evidence);
    let mut asked: BTreeMap<u64, (Duration, &Asked)> = BTreeMap::new();
    for (at, event) in &evidence.events {
        let (ask, current, behind) = match event {
            Event::Asked(question) => {
                asked.insert(question.ask, (*at, question));
                continue;
            }
            Event::Answered { ask, verdict, .. } => match verdict {
                Verdict::WrongEpoch { current } => (ask, *current, false),
                Verdict::EpochTooOld { current } => (ask, *current, true),
                _ => continue,
            },
            _ => continue,
        };
        let (since, question) = asked.get(ask).ok_or_else(|| format!("ask {ask} was never asked"))?;
        let Asked {
            client, room, epoch, ..
        } = question;
        ensure!(
            if behind { *epoch < current } else { *epoch != current },
            "{client}'s ask {ask} of epoch {epoch} was refused because of {current}"
        );
        // A room begins in epoch 0.
        let begun = |epoch: u64| {
            (epoch == 0)
                .then_some(&Duration::ZERO)
                .or_else(|| begins.get(&(room, epoch)))
        };
        let began = begun(current).is_some_and(|began| *began <= *at + STEP);
        let lasted = begun(current + 1).is_none_or(|ended| *ended + STEP >= *since);
        ensure!(
            began && lasted,
            "{client}'s ask {ask} was refused because {room} is in {current}: since {since:?} it was not"
        );
    }
    Ok(())
}

/// When the store had the commit that began an epoch of a room.
fn epochs(evidence: &Evidence) -> BTreeMap<(&RoomUri, u64), Duration> {
    let landed = landed(evidence).into_iter();
    let commits = landed.filter(|(_, entry)| entry.kind == EntryKind::Commit);
    commits.map(|(at, entry)| ((&entry.room, entry.epoch.0), at)).collect()
}

/// The entries of the log, each with the time from which on the store had it.
pub(crate) fn landed(evidence: &Evidence) -> Vec<(Duration, &LogEntry)> {
    let mut landed = Vec::new();
    let mut reached: BTreeMap<u32, u64> = BTreeMap::new();
    for (at, event) in &evidence.events {
        let Event::Tail { shard, next, .. } = event else {
            continue;
        };
        let from = reached.insert(*shard, *next).unwrap_or_default();
        let log = evidence.shards.get(&ShardId(*shard)).map_or(&[][..], |held| &held.log);
        let fresh = log.iter().filter(|entry| (from..*next).contains(&entry.offset.0));
        landed.extend(fresh.map(|entry| (*at, entry)));
    }
    landed
}

/// Every batch is of the term that the fence had, batches are counted without gaps, and terms grow by one.
pub(crate) fn no_term_writes_after_the_next(evidence: &Evidence) -> Judged {
    let mut fences: BTreeMap<u32, (u64, bool)> = BTreeMap::new();
    let mut batches: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for (_, event) in &evidence.events {
        match event {
            Event::Fence { shard, term, owned } => {
                let (before, _) = fences.insert(*shard, (*term, *owned)).unwrap_or_default();
                ensure!(
                    *term == before + u64::from(*owned),
                    "shard {shard}: fence {term} after {before}"
                );
            }
            Event::Tail {
                shard,
                term,
                batch,
                next,
                ..
            } => {
                let fence = fences.get(shard);
                ensure!(
                    fence == Some(&(*term, true)),
                    "shard {shard}: a batch of term {term} under {fence:?}"
                );
                let (last, reached) = batches.insert(*shard, (*batch, *next)).unwrap_or_default();
                // Opening a log writes its tail and counts no batch.
                let follows = *batch == last + 1 || (*batch == last && *next == reached);
                ensure!(
                    follows && *next >= reached,
                    "shard {shard}: batch {batch} up to {next} after {last}"
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Each follower was brought each entry new once, in the order of the log, as the log has it, and again only so.
pub(crate) fn followers_see_order(evidence: &Evidence) -> Judged {
    let mut new: BTreeMap<(&Provider, u32), u64> = BTreeMap::new();
    let mut stored: BTreeSet<(&Provider, u32, u64)> = BTreeSet::new();
    for (_, event) in &evidence.events {
        let brought = match event {
            Event::Brought(brought) => brought,
            Event::Alarm { follower, why } => return Err(format!("alarm at {follower}: {why}")),
            _ => continue,
        };
        let Brought {
            follower,
            shard,
            item,
            repeat,
        } = brought;
        let known = !stored.insert((follower, *shard, item.offset));
        ensure!(
            known == *repeat,
            "{follower}: {shard}/{} is new: {}",
            item.offset,
            !repeat
        );
        if !repeat {
            let next = new.entry((follower, *shard)).or_default();
            ensure!(
                item.offset >= *next,
                "{follower}: {shard}/{} comes after {next}",
                item.offset
            );
            *next = item.offset + 1;
        }
        let log = evidence.shards.get(&ShardId(*shard)).map(|held| &held.log);
        let entry = log.and_then(|log| log.iter().find(|entry| entry.offset.0 == item.offset));
        let Some(entry) = entry else {
            return Err(format!("{follower}: {shard}/{} is not in the log", item.offset));
        };
        let expected = as_shown(entry, follower);
        ensure!(
            expected.as_ref() == Some(item),
            "{follower}: {shard}/{} is not what is in the log",
            item.offset
        );
    }
    Ok(())
}

/// Nothing is shown to a provider to which it is not due, and an entry itself only where that is due.
pub(crate) fn providers_see_their_rooms_only(evidence: &Evidence) -> Judged {
    for (provider, inbox) in &evidence.inboxes {
        for item in inbox.rooms.values().flat_map(BTreeMap::values) {
            let entry = evidence.log(&item.room).find(|entry| entry.seq.0 == item.seq);
            let due = entry.and_then(|entry| as_shown(entry, provider));
            ensure!(
                due.as_ref() == Some(item),
                "{provider} has {} {}, which is not due to it",
                item.room,
                item.seq
            );
        }
    }
    Ok(())
}

pub(crate) fn asked(evidence: &Evidence) -> BTreeMap<u64, &Asked> {
    let asked = evidence.events.iter().filter_map(|(_, event)| match event {
        Event::Asked(asked) => Some((asked.ask, asked)),
        _ => None,
    });
    asked.collect()
}

pub(crate) fn fanout(entry: &LogEntry) -> Result<FanoutMessage, String> {
    let place = || format!("{} {}", entry.room, entry.seq.0);
    FanoutMessage::decode_exact(&entry.message).map_err(|error| format!("{} is no FanoutMessage: {error}", place()))
}

/// The entry as `to` is to be shown it.
fn as_shown(entry: &LogEntry, to: &Provider) -> Option<Item> {
    let recipient = entry.recipients.0.iter().find(|recipient| recipient.provider == *to)?;
    Some(Item {
        offset: entry.offset.0,
        room: entry.room.clone(),
        seq: entry.seq.0,
        previous: if recipient.first { 0 } else { entry.seq.0 - 1 },
        epoch: entry.epoch.0,
        chain: entry.chain.0,
        set: entry.set.0.to_vec().into(),
        shown: match recipient.shown {
            Shown::Message => Body::Message(entry.message.clone()),
            Shown::Digest => Body::Digest(Digest::of(&entry.message)),
        },
    })
}
