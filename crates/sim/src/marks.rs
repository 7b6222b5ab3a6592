//! Marks prove that a rare branch was reached: a run that never meets a fault proves nothing about it.

use std::collections::BTreeMap;

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
    /// A client was sent elsewhere.
    SentElsewhere,
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
}

impl Mark {
    /// What a handful of seeds reaches together.
    pub(crate) const ALL: [Self; 25] = [
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
        Self::WrongEpoch,
        Self::DeliveryRepeated,
        Self::FollowerRestarted,
        Self::DeliverySplit,
        Self::CreditAwaited,
        Self::DigestShown,
        Self::Indexed,
        Self::Left,
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
