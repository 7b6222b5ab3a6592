//! The checkers can fail: each is given a true record in which one thing was changed, and must see it.

use std::sync::LazyLock;

use bytes::Bytes;
use client::mls::Received;
use ledger::{Cursor, LogEntry, Offset};
use room::{Digest, EntryKind, Shown};

use crate::Sabotage;
use crate::checkers::{LIVENESS, RESTORE, SAFETY};
use crate::scenario::play_with;
use crate::trace::{Asked, Body, Event, Verdict, What};
use crate::truth::{Evidence, Shard};

/// The record of a run in which nothing is wrong.
static TRUE: LazyLock<Evidence> = LazyLock::new(|| {
    play_with(1, Sabotage::None)
        .expect("the promises hold on this seed")
        .evidence
});

/// Asserts that a promise which holds is broken by `change`.
fn breaks(promise: &str, change: impl FnOnce(&mut Evidence)) {
    let (_, keeps) = SAFETY
        .iter()
        .chain(&LIVENESS)
        .chain(&RESTORE)
        .find(|(name, _)| *name == promise)
        .expect("it is a promise");
    assert_eq!(keeps(&TRUE), Ok(()));
    let mut doctored = TRUE.clone();
    change(&mut doctored);
    let found = keeps(&doctored);
    assert!(found.is_err(), "{promise}: nothing was seen");
    eprintln!("{promise}: {}", found.unwrap_err());
}

fn busiest(evidence: &mut Evidence) -> &mut Shard {
    evidence
        .shards
        .values_mut()
        .max_by_key(|shard| shard.log.len())
        .expect("there are shards")
}

fn entry(evidence: &mut Evidence, kind: EntryKind) -> &mut LogEntry {
    let log = &mut busiest(evidence).log;
    log.iter_mut()
        .filter(|entry| entry.kind == kind)
        .nth(1)
        .expect("there are such entries")
}

fn flipped(octets: &Bytes) -> Bytes {
    let mut octets = octets.to_vec();
    *octets.last_mut().expect("it is not empty") ^= 1;
    octets.into()
}

/// The `n`th event that `is` one of these.
fn event(evidence: &Evidence, n: usize, is: impl Fn(&Event) -> bool) -> usize {
    let mut found = evidence.events.iter().enumerate().filter(|(_, (_, event))| is(event));
    found.nth(n).expect("there are such events").0
}

fn is_new(event: &Event) -> bool {
    matches!(event, Event::Brought(brought) if !brought.repeat)
}

fn is_repeat(event: &Event) -> bool {
    matches!(event, Event::Brought(brought) if brought.repeat)
}

#[test]
fn a_lost_doubled_changed_or_displaced_entry_is_seen() {
    let promise = "one entry per seq";
    breaks(promise, |evidence| drop(busiest(evidence).log.remove(7)));
    breaks(promise, |evidence| drop(busiest(evidence).log.pop()));
    breaks(promise, |evidence| busiest(evidence).log[7].seq.0 += 1);
    breaks(promise, |evidence| busiest(evidence).log.swap(7, 8));
    breaks(promise, |evidence| {
        let entry = entry(evidence, EntryKind::Message);
        entry.message = flipped(&entry.message);
    });
    breaks(promise, |evidence| entry(evidence, EntryKind::Message).accepted.0 = 0);
    breaks(promise, |evidence| {
        // A room that forgot its last entry when it was opened.
        let head = evidence.rooms.values_mut().next().unwrap();
        head.seq.0 -= 1;
    });
}

#[test]
fn two_commits_of_one_epoch_are_seen() {
    let promise = "one commit per epoch";
    breaks(promise, |evidence| {
        let room = entry(evidence, EntryKind::Commit).room.clone();
        let log = &mut busiest(evidence).log;
        let mut commits = log
            .iter_mut()
            .filter(|entry| entry.kind == EntryKind::Commit && entry.room == room);
        let first = commits.next().unwrap().message.clone();
        commits.next().unwrap().message = first;
    });
    breaks(promise, |evidence| entry(evidence, EntryKind::Message).epoch.0 += 1);
    breaks(promise, |evidence| {
        evidence.rooms.values_mut().next().unwrap().epoch.0 += 1
    });
}

#[test]
fn an_answer_that_is_not_true_is_seen() {
    let promise = "answers are true";
    let accepted = |event: &Event| {
        matches!(
            event,
            Event::Answered {
                verdict: Verdict::Accepted { .. },
                ..
            }
        )
    };
    breaks(promise, |evidence| {
        let message = entry(evidence, EntryKind::Message).clone();
        busiest(evidence).log.retain(|entry| *entry != message);
    });
    for verdict in [Verdict::Refused("notAllowed"), Verdict::Accepted { at: 17 }] {
        breaks(promise, |evidence| {
            let at = event(evidence, 20, accepted);
            let Event::Answered { verdict: told, .. } = &mut evidence.events[at].1 else {
                unreachable!()
            };
            *told = verdict;
        });
    }
    breaks(promise, |evidence| {
        let refused = |event: &Event| {
            matches!(
                event,
                Event::Answered {
                    verdict: Verdict::WrongEpoch { .. },
                    ..
                }
            )
        };
        let at = event(evidence, 0, refused);
        let Event::Answered { verdict: told, .. } = &mut evidence.events[at].1 else {
            unreachable!()
        };
        *told = Verdict::Accepted { at: 1 };
    });
    breaks(promise, |evidence| {
        let again = entry(evidence, EntryKind::Message).clone();
        busiest(evidence).log.push(again);
    });
    breaks(promise, |evidence| {
        let founded = |event: &Event| matches!(event, Event::Asked(Asked { what: What::Found, .. }));
        let at = event(evidence, 0, founded);
        let Event::Asked(Asked { room, .. }) = &evidence.events[at].1 else {
            unreachable!()
        };
        let room = room.clone();
        evidence.rooms.remove(&room);
    });
}

#[test]
fn a_refusal_for_what_was_or_will_be_is_seen() {
    let promise = "refusals are true";
    let refused = |event: &Event| {
        matches!(
            event,
            Event::Answered {
                verdict: Verdict::WrongEpoch { .. },
                ..
            }
        )
    };
    for untrue in [0, 1_000] {
        breaks(promise, |evidence| {
            let at = evidence.events.iter().rposition(|(_, event)| refused(event)).unwrap();
            let Event::Answered { verdict, .. } = &mut evidence.events[at].1 else {
                unreachable!()
            };
            *verdict = Verdict::WrongEpoch { current: untrue };
        });
    }
    breaks(promise, |evidence| {
        // As if it were of the very epoch that the room is in.
        let at = event(evidence, 0, refused);
        let Event::Answered { ask, verdict, .. } = &evidence.events[at].1 else {
            unreachable!()
        };
        let (ask, Verdict::WrongEpoch { current }) = (*ask, *verdict) else {
            unreachable!()
        };
        let asked = event(
            evidence,
            0,
            |event| matches!(event, Event::Asked(asked) if asked.ask == ask),
        );
        let Event::Asked(asked) = &mut evidence.events[asked].1 else {
            unreachable!()
        };
        asked.epoch = current;
    });
}

#[test]
fn a_refusal_without_a_reason_is_seen() {
    let promise = "refusals have reasons";
    let said = |event: &Event| {
        matches!(
            event,
            Event::Asked(Asked {
                what: What::Message,
                ..
            })
        )
    };
    for verdict in [Verdict::Refused("notAllowed"), Verdict::Refused("404")] {
        breaks(promise, |evidence| {
            let (at, asked) = evidence.events[event(evidence, 20, said)].clone();
            let Event::Asked(mut asked) = asked else { unreachable!() };
            // What was accepted is asked once more, as if it were another message.
            (asked.ask, asked.digest) = (u64::MAX, Some(Digest::of(b"another")));
            let answered = Event::Answered {
                ask: asked.ask,
                attempts: 1,
                verdict,
            };
            evidence.events.extend([(at, Event::Asked(asked)), (at, answered)]);
        });
    }
}

#[test]
fn a_write_under_a_former_term_is_seen() {
    let promise = "no term writes after the next";
    let tail = |event: &Event| {
        matches!(
            event,
            Event::Tail {
                term: 1,
                batch: 2..,
                ..
            }
        )
    };
    breaks(promise, |evidence| {
        let late = evidence.events[event(evidence, 0, tail)].clone();
        evidence.events.push(late);
    });
    breaks(promise, |evidence| {
        let fence = |event: &Event| matches!(event, Event::Fence { term: 2, .. });
        evidence.events.remove(event(evidence, 0, fence));
    });
    breaks(promise, |evidence| {
        let again = event(evidence, 0, tail);
        evidence.events.remove(again);
    });
}

#[test]
fn a_delivery_out_of_order_or_changed_is_seen() {
    let promise = "followers see order";
    breaks(promise, |evidence| {
        let first = event(evidence, 30, is_new);
        let Event::Brought(brought) = evidence.events[first].1.clone() else {
            unreachable!()
        };
        let same = |event: &Event| {
            matches!(event, Event::Brought(other)
                if !other.repeat && other.follower == brought.follower && other.shard == brought.shard
                    && other.item.offset > brought.item.offset)
        };
        let next = event(evidence, 0, same);
        evidence.events.swap(first, next);
    });
    for is in [is_new, is_repeat] {
        breaks(promise, |evidence| {
            let at = event(evidence, 0, is);
            let Event::Brought(brought) = &mut evidence.events[at].1 else {
                unreachable!()
            };
            brought.item.epoch += 1;
        });
    }
    breaks(promise, |evidence| {
        let again = evidence.events[event(evidence, 30, is_new)].clone();
        evidence.events.push(again);
    });
    breaks(promise, |evidence| {
        let at = event(evidence, 30, is_new);
        let Event::Brought(brought) = &evidence.events[at].1 else {
            unreachable!()
        };
        let alarm = Event::Alarm {
            follower: brought.follower.clone(),
            why: "something else".to_owned(),
        };
        evidence.events[at].1 = alarm;
    });
    breaks(promise, |evidence| drop(busiest(evidence).log.pop()));
}

#[test]
fn an_entry_shown_to_a_stranger_is_seen() {
    breaks("providers see their rooms only", |evidence| {
        let hidden = |entry: &&LogEntry| entry.recipients.0.iter().any(|to| to.shown == Shown::Digest);
        let entry = evidence.entries().find(hidden).unwrap().clone();
        let to = &entry
            .recipients
            .0
            .iter()
            .find(|to| to.shown == Shown::Digest)
            .unwrap()
            .provider;
        let inbox = evidence.inboxes.get_mut(to).unwrap();
        let item = inbox.rooms.get_mut(&entry.room).unwrap().get_mut(&entry.seq.0).unwrap();
        item.shown = Body::Message(entry.message);
    });
}

#[test]
fn an_entry_that_never_arrives_is_seen() {
    breaks("followers have everything", |evidence| {
        let inbox = evidence.inboxes.values_mut().next().unwrap();
        inbox.rooms.values_mut().next().unwrap().remove(&9);
    });
}

#[test]
fn a_message_that_is_not_read_or_read_twice_is_seen() {
    let promise = "clients have everything once";
    let read = |event: &Event| {
        matches!(
            event,
            Event::Heard {
                what: Received::Message(_),
                ..
            }
        )
    };
    breaks(promise, |evidence| {
        drop(evidence.events.remove(event(evidence, 20, read)))
    });
    breaks(promise, |evidence| {
        let again = evidence.events[event(evidence, 20, read)].clone();
        evidence.events.push(again);
    });
    breaks(promise, |evidence| {
        let at = event(evidence, 20, read);
        let Event::Heard { what, .. } = &mut evidence.events[at].1 else {
            unreachable!()
        };
        *what = Received::Undecryptable("no key".to_owned());
    });
}

#[test]
fn unrest_is_seen() {
    let promise = "at rest";
    breaks(promise, |evidence| {
        *busiest(evidence).cursors.values_mut().next().unwrap() = Cursor::at(Offset(0));
    });
    breaks(promise, |evidence| {
        evidence.standings.values_mut().next().unwrap().settled = false
    });
    breaks(promise, |evidence| {
        evidence.standings.values_mut().next().unwrap().epoch = Some(0)
    });
    breaks(promise, |evidence| {
        evidence.standings.values_mut().next().unwrap().authenticator = None
    });
    breaks(promise, |evidence| {
        let answered = |event: &Event| matches!(event, Event::Answered { .. });
        evidence.events.remove(event(evidence, 9, answered));
    });
    breaks(promise, |evidence| {
        let at = evidence.events.last().unwrap().0;
        evidence.events.push((
            at,
            Event::Fence {
                shard: 0,
                term: 99,
                owned: false,
            },
        ));
    });
}

#[test]
fn a_room_that_is_opened_otherwise_is_seen() {
    let promise = "rooms reopen as they were";
    breaks(promise, |evidence| {
        let canonical = evidence.canonical.values_mut().next().unwrap();
        *canonical.last_mut().unwrap() ^= 1;
    });
    breaks(promise, |evidence| {
        // An entry that was decided on another state than the log shows.
        let proposals = entry(evidence, EntryKind::Proposals).clone();
        busiest(evidence).log.retain(|entry| *entry != proposals);
    });
    breaks(promise, |evidence| entry(evidence, EntryKind::Message).accepted.0 += 1);
}
