//! Rooms decided again: the requests that were accepted, in the order of the log and at the times that it has, give the same
//! entries, octet for octet, and a room equal to the one that is opened from its rows, whatever died in between. What was
//! refused is refused again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use ledger::LogEntry;
use mimi::codec::Decode as _;
use mimi::notify::FanoutMessage;
use mimi::submit::{SubmitMessageResponse, SubmitOutcome};
use mimi::update::{UpdateOutcome, UpdateRoomResponse};
use mimi::{Provider, RoomUri};
use room::{Applied, Command, Decision, Digest, Founding, Millis, Reply, Room};

use crate::checkers::landed;
use crate::keys::SimKeys;
use crate::puppet::status_name;
use crate::trace::{Asked, Event, Request, Verdict, What};
use crate::truth::Evidence;
use crate::world::STEP;

/// See the module.
pub(crate) fn rooms_reopen_as_they_were(evidence: &Evidence) -> Result<(), String> {
    for (id, canonical) in &evidence.canonical {
        let room = Replay::of(evidence, id)?.play(|_, _| {})?;
        if room.canonical() != *canonical {
            return Err(format!("{id} is opened as another room than it was"));
        }
    }
    Ok(())
}

/// Whatever was refused is refused by a state that the room had between question and answer, in the same words.
pub(crate) fn refusals_have_reasons(evidence: &Evidence) -> Result<(), String> {
    for id in evidence.canonical.keys() {
        let mut unexplained = refused(evidence, id);
        Replay::of(evidence, id)?.play(|room, lasted| {
            unexplained.retain(|refused| {
                let then = refused.asked_at <= lasted.end + STEP && lasted.start <= refused.answered_at + STEP;
                !then || says(room, refused.asked) != Some(refused.verdict)
            });
        })?;
        if let Some(Refused { asked, verdict, .. }) = unexplained.first() {
            let Asked { client, ask, .. } = asked;
            return Err(format!(
                "{client}'s ask {ask} has {verdict:?}: {id} never said so meanwhile"
            ));
        }
    }
    Ok(())
}

/// A request that was refused.
struct Refused<'a> {
    asked_at: Duration,
    asked: &'a Asked,
    answered_at: Duration,
    verdict: Verdict,
}

fn refused<'a>(evidence: &'a Evidence, room: &RoomUri) -> Vec<Refused<'a>> {
    let mut questions: BTreeMap<u64, (Duration, &Asked)> = BTreeMap::new();
    let mut refused = Vec::new();
    for (at, event) in &evidence.events {
        match event {
            Event::Asked(asked) if asked.room == *room && asked.what != What::Found => {
                questions.insert(asked.ask, (*at, asked));
            }
            Event::Answered {
                verdict: Verdict::Accepted { .. },
                ..
            } => {}
            Event::Answered { ask, verdict, .. } => {
                refused.extend(questions.get(ask).map(|(asked_at, asked)| Refused {
                    asked_at: *asked_at,
                    asked,
                    answered_at: *at,
                    verdict: *verdict,
                }));
            }
            _ => {}
        }
    }
    refused
}

/// What the room says to a request that it refuses.
fn says(room: &Room, asked: &Asked) -> Option<Verdict> {
    let command = command(asked)?;
    let refusal = room.decide(&command, room.head().accepted, &SimKeys).err()?;
    let body = match refusal.reply(room.id(), &command) {
        Reply::Status(status, _) => return Some(Verdict::Refused(status_name(status.into()))),
        Reply::Body(body) => body,
    };
    if asked.what == What::Message {
        return match SubmitMessageResponse::decode_exact(&body).ok()?.outcome {
            SubmitOutcome::EpochTooOld { current_epoch } => Some(Verdict::EpochTooOld { current: current_epoch }),
            SubmitOutcome::NotAllowed => Some(Verdict::Refused("notAllowed")),
            SubmitOutcome::Accepted { .. } => None,
        };
    }
    match UpdateRoomResponse::decode_exact(&body).ok()?.outcome {
        UpdateOutcome::WrongEpoch { current_epoch } => Some(Verdict::WrongEpoch { current: current_epoch }),
        UpdateOutcome::NotAllowed => Some(Verdict::Refused("notAllowed")),
        UpdateOutcome::InvalidProposal { .. } => Some(Verdict::Refused("invalidProposal")),
        UpdateOutcome::Success { .. } => None,
    }
}

fn command(asked: &Asked) -> Option<Command> {
    let from: Provider = asked.from.clone();
    match &asked.request {
        Request::Update(body) => Some(Command::Update {
            from,
            body: Bytes::clone(body),
        }),
        Request::Submit(body) => Some(Command::Submit {
            from,
            body: Bytes::clone(body),
        }),
        Request::Found { .. } => None,
    }
}

/// A room, from its founding through everything that was accepted.
struct Replay<'a> {
    id: &'a RoomUri,
    founding: &'a Asked,
    requests: BTreeMap<Digest, &'a Asked>,
    /// Its entries, each with the time from which on the store had it.
    log: Vec<(Duration, &'a LogEntry)>,
}

impl<'a> Replay<'a> {
    fn of(evidence: &'a Evidence, id: &'a RoomUri) -> Result<Self, String> {
        let mut requests = BTreeMap::new();
        let mut founding = None;
        for (_, event) in &evidence.events {
            let Event::Asked(asked) = event else { continue };
            if asked.what == What::Found && asked.room == *id {
                founding = Some(asked);
            }
            requests.extend(asked.digest.map(|digest| (digest, asked)));
        }
        let mut log = landed(evidence);
        log.retain(|(_, entry)| entry.room == *id);
        Ok(Self {
            id,
            founding: founding.ok_or_else(|| format!("{id} was never founded"))?,
            requests,
            log,
        })
    }

    /// Decides everything again. `seen` is shown each state of the room, and when the room was in it.
    fn play(self, mut seen: impl FnMut(&Room, Range<Duration>)) -> Result<Room, String> {
        let id = self.id;
        // When it was founded is not in the log; the room remembers it only until its first entry.
        let founded = self.log.first().map_or(0, |(_, first)| first.accepted.0 - 1);
        let Request::Found {
            group_info,
            ratchet_tree,
        } = self.founding.request.clone()
        else {
            return Err(format!("{id} is not founded by a founding"));
        };
        let founding = Founding {
            from: id.provider().clone(),
            group_info,
            ratchet_tree,
        };
        let (mut room, _) =
            Room::found(id.clone(), founding, Millis(founded), &SimKeys).map_err(|why| format!("{id}: {why}"))?;
        let mut since = Duration::ZERO;
        let mut log = self.log.into_iter();
        while let Some((at, entry)) = log.next() {
            seen(&room, since..at);
            since = at;
            let place = || format!("{id} {}", entry.seq.0);
            let fanout = FanoutMessage::decode_exact(&entry.message).map_err(|why| format!("{}: {why}", place()))?;
            let asked = self.requests.get(&Digest::of(fanout.message().octets()));
            let asked = asked.ok_or_else(|| format!("{} was never asked for", place()))?;
            let applied = decide(&mut room, asked, entry.accepted).map_err(|why| format!("{}: {why}", place()))?;
            let mut same = applied.entries.first().is_some_and(|again| is_same(again, entry));
            // A Welcome, and what the hub proposes itself in the new epoch.
            for more in &applied.entries[1..] {
                same &= log.next().is_some_and(|(_, entry)| is_same(more, entry));
            }
            if !same {
                return Err(format!("{}: another entry when it is decided again", place()));
            }
        }
        seen(&room, since..Duration::MAX - STEP);
        Ok(room)
    }
}

fn decide(room: &mut Room, asked: &Asked, at: Millis) -> Result<Applied, String> {
    let command = command(asked).ok_or("a founding")?;
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
