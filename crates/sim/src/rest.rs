//! The promises about the end: once faults have healed, everything has arrived and nothing is under way.

use std::collections::BTreeMap;

use client::mls::Received;
use mimi::RoomUri;
use room::{Digest, EntryKind};

use crate::checkers::{Judged, asked, ensure, fanout};
use crate::trace::{Asked, Event, What};
use crate::truth::Evidence;

/// Every entry is in the inbox of every follower to which it is due.
pub(crate) fn followers_have_everything(evidence: &Evidence) -> Judged {
    for entry in evidence.entries() {
        for recipient in &entry.recipients.0 {
            let provider = &recipient.provider;
            let inbox = evidence
                .inboxes
                .get(provider)
                .ok_or_else(|| format!("{provider} is nobody's"))?;
            let item = inbox
                .rooms
                .get(&entry.room)
                .and_then(|entries| entries.get(&entry.seq.0));
            ensure!(item.is_some(), "{provider} lacks {} {}", entry.room, entry.seq.0);
        }
    }
    Ok(())
}

/// Each client read every message of its time in the room once, and understood everything that it was given.
pub(crate) fn clients_have_everything_once(evidence: &Evidence) -> Judged {
    let asked: BTreeMap<Digest, &Asked> = asked(evidence)
        .into_values()
        .filter_map(|asked| Some((asked.digest?, asked)))
        .collect();
    let mut messages: BTreeMap<&RoomUri, Vec<(u64, &Asked)>> = BTreeMap::new();
    for entry in evidence.entries().filter(|entry| entry.kind == EntryKind::Message) {
        let digest = Digest::of(fanout(entry)?.message().octets());
        let asked = asked
            .get(&digest)
            .ok_or_else(|| format!("{} {} is nobody's", entry.room, entry.seq.0))?;
        messages.entry(&entry.room).or_default().push((entry.seq.0, asked));
    }
    for client in evidence.standings.keys() {
        for (room, messages) in &messages {
            let heard: Vec<(u64, &Received)> = heard(evidence, client, room).collect();
            for (seq, what) in &heard {
                let understood = !matches!(
                    what,
                    Received::Undecryptable(_) | Received::OutOfStep(_) | Received::Early { .. }
                );
                ensure!(understood, "{client} {room} {seq}: {what:?}");
            }
            let founded = asked_to_found(evidence, client, room);
            for (seq, asked) in messages {
                let due = is_due(&heard, founded, *seq, asked.epoch);
                let count = heard.iter().filter(|(at, what)| at == seq && is_message(what)).count();
                ensure!(
                    count == usize::from(due),
                    "{client} read {room} {seq} {count} times, due: {due}"
                );
            }
        }
    }
    Ok(())
}

/// Nothing is under way: cursors have reached every entry that is due, shards are owned, members agree.
pub(crate) fn at_rest(evidence: &Evidence) -> Judged {
    for (shard, held) in &evidence.shards {
        for entry in &held.log {
            for recipient in &entry.recipients.0 {
                let cursor = held.cursors.get(&recipient.provider);
                let done = cursor.is_some_and(|cursor| cursor.is_done(entry.offset));
                ensure!(
                    done,
                    "shard {shard}: {}'s cursor has not reached {}",
                    recipient.provider,
                    entry.offset.0
                );
            }
        }
        let fence = evidence.events.iter().rev().find_map(|(_, event)| match event {
            Event::Fence { shard: of, owned, .. } if *of == shard.0 => Some(*owned),
            _ => None,
        });
        ensure!(fence == Some(true), "shard {shard} is nobody's");
    }
    for (room, head) in &evidence.rooms {
        let mut agreed = None;
        for (client, standing) in &evidence.standings {
            if heard(evidence, client, room).next().is_none() && !asked_to_found(evidence, client, room) {
                continue;
            }
            ensure!(standing.settled, "{client} still has something to do");
            let Some(epoch) = standing.epoch else { continue };
            ensure!(
                epoch == head.epoch.0,
                "{client} is in epoch {epoch}, {room} in {}",
                head.epoch.0
            );
            let authenticator = agreed.get_or_insert(&standing.authenticator);
            ensure!(
                **authenticator == standing.authenticator,
                "{client} is in another epoch {epoch} than others"
            );
        }
        ensure!(agreed.is_some(), "nobody is in {room}");
    }
    let open = asked(evidence).len() - evidence.events.iter().filter(|(_, event)| is_answer(event)).count();
    ensure!(open == 0, "{open} requests are not answered");
    Ok(())
}

fn asked_to_found(evidence: &Evidence, client: &str, room: &RoomUri) -> bool {
    let founded = |asked: &&Asked| asked.what == What::Found && asked.client == client && asked.room == *room;
    asked(evidence).into_values().any(|asked| founded(&asked))
}

fn is_answer(event: &Event) -> bool {
    matches!(event, Event::Answered { .. })
}

fn is_message(what: &Received) -> bool {
    matches!(what, Received::Message(_))
}

fn heard<'a>(evidence: &'a Evidence, by: &'a str, of: &'a RoomUri) -> impl Iterator<Item = (u64, &'a Received)> + 'a {
    evidence.events.iter().filter_map(move |(_, event)| match event {
        Event::Heard {
            client,
            room,
            seq,
            what,
        } if client == by && room == of => Some((*seq, what)),
        _ => None,
    })
}

/// Whether a message at `at`, sent in `epoch`, is for a client that heard this.
fn is_due(heard: &[(u64, &Received)], founded: bool, at: u64, epoch: u64) -> bool {
    let mut entered = founded.then_some(0);
    for (_, what) in heard.iter().take_while(|(seq, _)| *seq < at) {
        match what {
            Received::Joined { epoch } => entered = Some(*epoch),
            Received::Removed => entered = None,
            _ => {}
        }
    }
    entered.is_some_and(|entered| epoch >= entered)
}
