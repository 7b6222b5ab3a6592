//! Marks prove that a rare branch was reached: a run that never meets a fault proves nothing about it.

use std::collections::BTreeMap;
use std::time::Duration;

use mimi::mls::Sender;
use room::EntryKind;

use crate::checkers::fanout;
use crate::trace::Event;
use crate::truth::Evidence;

/// One rare branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// A hub lost all its memory and was started anew.
    HubRestarted,
    /// A hub was killed while an append was on its way to the store.
    KilledDuringAppend,
    /// That append had effect, although nobody was left to hear of it.
    OrphanLanded,
    /// A shard was taken from an owner that did not resign.
    TakenOver,
    /// A shard was taken over while an append of its former owner was on its way.
    TakenOverInFlight,
    /// A shard went from one hub to another in good order.
    HandedOver,
    /// A hub that was to end handed over everything.
    Drained,
    /// A hub that still ran was told that a shard is not its own any more.
    Deposed,
    /// An append's result was unknown, and it had effect.
    UnknownWithEffect,
    /// An append's result was unknown, and it had none.
    UnknownWithoutEffect,
    /// An append was given up by its client and had effect later.
    LateWithEffect,
    /// An append was given up by its client, and refused when it arrived.
    LateRefused,
    /// An append conflicted, was too old, or met a busy store.
    AppendRefused,
    /// A request was carried out and its answer lost.
    AnswerLost,
    /// The same request again got the first answer.
    AnswerRepeated,
    /// And from another hub than the one whose answer was lost.
    AnswerRepeatedElsewhere,
    /// An edge was sent elsewhere.
    SentElsewhere,
    /// An edge lost all that it knew and was started anew.
    EdgeRestarted,
    /// An edge that lost a hub with a request brought the request again, and it was answered.
    BroughtAgain,
    /// A client asked for an epoch that was over.
    WrongEpoch,
    /// A follower was brought again what it had.
    DeliveryRepeated,
    /// A follower was restarted.
    FollowerRestarted,
    /// A follower acknowledged part of a delivery.
    DeliverySplit,
    /// A hub waited for credit.
    CreditAwaited,
    /// A follower was shown a digest in place of an entry.
    DigestShown,
    /// Entries were indexed because a follower was behind the memory tail.
    Indexed,
    /// A user left, and the commit that took it out was accepted.
    Left,
    /// A client came in by itself while proposals were pending, which its commit voided.
    JoinedOverProposals,
    /// A follower that had stored a part of a delivery when the stream broke said so to whoever came next.
    ResumedMidBatch,
    /// A shard changed hands again and again within a short time.
    Stormed,
}

/// That many changes of hands within [`STORM`] are a storm.
const STORM_CHANGES: usize = 4;

/// Three leases.
const STORM: Duration = Duration::from_secs(9);

/// The branches that only the end of a run tells.
pub(crate) fn told_by(evidence: &Evidence) -> Result<Marks, String> {
    let mut marks = Marks::default();
    let drained = |(_, event): &(_, Event)| matches!(event, Event::Drained { .. });
    if evidence.events.iter().any(drained) {
        marks.reach(Mark::Drained);
    }
    for room in evidence.rooms.keys() {
        let mut pending = false;
        for entry in evidence.log(room) {
            match entry.kind {
                EntryKind::Proposals => pending = true,
                EntryKind::Commit => {
                    let joins = fanout(entry)?.message().sender() == Some(Sender::NewMemberCommit);
                    if pending && joins {
                        marks.reach(Mark::JoinedOverProposals);
                    }
                    pending = false;
                }
                _ => {}
            }
        }
    }
    for shard in evidence.shards.keys() {
        let changes = evidence.events.iter().filter_map(|(at, event)| match event {
            Event::Fence {
                shard: of, owned: true, ..
            } if *of == shard.0 => Some(*at),
            _ => None,
        });
        let changes: Vec<Duration> = changes.collect();
        if changes
            .windows(STORM_CHANGES)
            .any(|few| few[STORM_CHANGES - 1] - few[0] <= STORM)
        {
            marks.reach(Mark::Stormed);
        }
    }
    Ok(marks)
}

impl Mark {
    /// What a handful of seeds reaches together.
    pub(crate) const ALL: [Self; 30] = [
        Self::HubRestarted,
        Self::KilledDuringAppend,
        Self::OrphanLanded,
        Self::TakenOver,
        Self::TakenOverInFlight,
        Self::HandedOver,
        Self::Drained,
        Self::Deposed,
        Self::UnknownWithEffect,
        Self::UnknownWithoutEffect,
        Self::LateWithEffect,
        Self::LateRefused,
        Self::AppendRefused,
        Self::AnswerLost,
        Self::AnswerRepeated,
        Self::AnswerRepeatedElsewhere,
        Self::SentElsewhere,
        Self::EdgeRestarted,
        Self::BroughtAgain,
        Self::WrongEpoch,
        Self::DeliveryRepeated,
        Self::FollowerRestarted,
        Self::DeliverySplit,
        Self::CreditAwaited,
        Self::DigestShown,
        Self::Indexed,
        Self::Left,
        Self::JoinedOverProposals,
        Self::ResumedMidBatch,
        Self::Stormed,
    ];
}

/// How often each branch was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(BTreeMap<Mark, u64>);

impl Marks {
    pub(crate) fn reach(&mut self, mark: Mark) {
        *self.0.entry(mark).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mark, count) in &other.0 {
            *self.0.entry(*mark).or_default() += count;
        }
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (Mark, u64)> + '_ {
        self.0.iter().map(|(mark, count)| (*mark, *count))
    }

    pub(crate) fn missing<'a>(&'a self, of: &'a [Mark]) -> impl Iterator<Item = Mark> + 'a {
        of.iter().copied().filter(|mark| !self.0.contains_key(mark))
    }
}
