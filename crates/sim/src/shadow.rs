//! Rooms decided again: the requests that were accepted, in the order of the log and at the times that it has, give the same
//! entries, octet for octet, and a room equal to the one that is opened from its rows, whatever died in between.

use std::collections::BTreeMap;

use bytes::Bytes;
use ledger::LogEntry;
use mimi::codec::Decode as _;
use mimi::notify::FanoutMessage;
use mimi::{Provider, RoomUri};
use room::{Applied, Command, Decision, Digest, EntryKind, Founding, Millis, Room};

use crate::keys::SimKeys;
use crate::trace::{Asked, Event, Request, What};
use crate::truth::Evidence;

/// See the module.
pub(crate) fn rooms_reopen_as_they_were(evidence: &Evidence) -> Result<(), String> {
    let mut requests: BTreeMap<Digest, &Asked> = BTreeMap::new();
    let mut foundings: BTreeMap<&RoomUri, &Asked> = BTreeMap::new();
    for (_, event) in &evidence.events {
        match event {
            Event::Asked(asked) if asked.what == What::Found => drop(foundings.insert(&asked.room, asked)),
            Event::Asked(asked) => drop(asked.digest.map(|digest| requests.insert(digest, asked))),
            _ => {}
        }
    }
    for (id, canonical) in &evidence.canonical {
        let founding = foundings.get(id).ok_or_else(|| format!("{id} was never founded"))?;
        let room = decided_again(id, founding, &requests, evidence.log(id))?;
        if room.canonical() != *canonical {
            return Err(format!("{id} is opened as another room than it was"));
        }
    }
    Ok(())
}

fn decided_again<'a>(
    id: &RoomUri,
    founding: &Asked,
    requests: &BTreeMap<Digest, &Asked>,
    log: impl Iterator<Item = &'a LogEntry>,
) -> Result<Room, String> {
    let mut log = log.peekable();
    // When it was founded is not in the log; the room remembers it only until its first entry.
    let founded = log.peek().map_or(0, |first| first.accepted.0 - 1);
    let Request::Found {
        group_info,
        ratchet_tree,
    } = founding.request.clone()
    else {
        return Err(format!("{id} is not founded by a founding"));
    };
    let from = id.provider().clone();
    let founding = Founding {
        from,
        group_info,
        ratchet_tree,
    };
    let (mut room, _) =
        Room::found(id.clone(), founding, Millis(founded), &SimKeys).map_err(|why| format!("{id}: {why}"))?;
    while let Some(entry) = log.next() {
        let place = || format!("{id} {}", entry.seq.0);
        let fanout = FanoutMessage::decode_exact(&entry.message).map_err(|why| format!("{}: {why}", place()))?;
        let asked = requests.get(&Digest::of(fanout.message().octets()));
        let asked = asked.ok_or_else(|| format!("{} was never asked for", place()))?;
        let applied = decide(&mut room, asked, entry.accepted).map_err(|why| format!("{}: {why}", place()))?;
        let mut same = applied.entries.first().is_some_and(|again| is_same(again, entry));
        for welcome in &applied.entries[1..] {
            same &= log
                .next()
                .is_some_and(|entry| entry.kind == EntryKind::Welcome && is_same(welcome, entry));
        }
        if !same {
            return Err(format!("{}: another entry when it is decided again", place()));
        }
    }
    Ok(room)
}

fn decide(room: &mut Room, asked: &Asked, at: Millis) -> Result<Applied, String> {
    let from: Provider = asked.from.clone();
    let command = match &asked.request {
        Request::Update(body) => Command::Update {
            from,
            body: Bytes::clone(body),
        },
        Request::Submit(body) => Command::Submit {
            from,
            body: Bytes::clone(body),
        },
        Request::Found { .. } => return Err("a founding".to_owned()),
    };
    match room.decide(&command, at, &SimKeys) {
        Ok(Decision::Append(append)) => Ok(room.apply(*append, &SimKeys)),
        Ok(Decision::Answer(_)) => Err("no entry when it is decided again".to_owned()),
        Err(why) => Err(format!("refused when it is decided again: {why}")),
    }
}

fn is_same(again: &room::Entry, entry: &LogEntry) -> bool {
    let same_place =
        (again.seq, again.kind, again.accepted, again.epoch) == (entry.seq, entry.kind, entry.accepted, entry.epoch);
    same_place && again.message == entry.message && again.chain == entry.chain && again.recipients == *entry.recipients
}
