//! The burst's book: every message sent and every decryption of it, and from them what was lost, shown twice or shown out
//! of order. It knows nothing of clients or networks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told apart, an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// One client, by its place in the list of those that take part.
pub(super) type Party = usize;

/// A message of the burst: who sent it, and its number among that sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) sender: Party,
    pub(super) number: u32,
}

impl Mark {
    const PREFIX: &str = "nave demo burst";

    /// The message's content, `bytes` octets long if that is enough to hold the mark.
    pub(super) fn content(self, bytes: usize) -> Vec<u8> {
        let mut content = format!("{} {} {} ", Self::PREFIX, self.sender, self.number).into_bytes();
        content.resize(content.len().max(bytes), b'.');
        content
    }

    /// The mark in a message's content; none where it is no message of the burst.
    pub(super) fn of(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?;
        let mut words = text.strip_prefix(Self::PREFIX)?.split_ascii_whitespace();
        let sender = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        Some(Self { sender, number })
    }
}

/// What came of the burst.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) order_violations: u64,
    pub(super) late: u64,
    pub(super) bytes: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// The book of one burst.
#[derive(Debug)]
pub(super) struct Tally {
    parties: usize,
    sent: BTreeMap<Mark, Duration>,
    bytes: u64,
    seen: Vec<BTreeSet<Mark>>,
    last: Vec<BTreeMap<Party, u32>>,
    order: Vec<Vec<Mark>>,
    duplicates: u64,
    order_violations: u64,
    late: u64,
    latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new(parties: usize) -> Self {
        Self {
            parties,
            sent: BTreeMap::new(),
            bytes: 0,
            seen: vec![BTreeSet::new(); parties],
            last: vec![BTreeMap::new(); parties],
            order: vec![Vec::new(); parties],
            duplicates: 0,
            order_violations: 0,
            late: 0,
            latency: Histogram::new(3).expect("3 significant figures are allowed"),
        }
    }

    /// `mark` is about to be submitted, at `at` since the burst began; its content has `bytes` octets.
    pub(super) fn sending(&mut self, mark: Mark, bytes: usize, at: Duration) {
        self.sent.insert(mark, at);
        self.bytes += bytes as u64;
    }

    /// `receiver` decrypted `mark` at `at`; `late` says that its epoch had passed by then.
    pub(super) fn decrypted(&mut self, receiver: Party, mark: Mark, late: bool, at: Duration) {
        if !self.seen[receiver].insert(mark) {
            self.duplicates += 1;
            return;
        }
        if let Some(before) = self.last[receiver].insert(mark.sender, mark.number)
            && before > mark.number
        {
            self.order_violations += 1;
        }
        self.order[receiver].push(mark);
        self.late += u64::from(late);
        let sent = self.sent.get(&mark).copied().unwrap_or(at);
        let took = u64::try_from(at.saturating_sub(sent).as_micros()).unwrap_or(u64::MAX);
        let recorded = self.latency.record(took.min(LATENCY_US_MAX));
        recorded.expect("a histogram that grows holds an hour");
    }

    /// Messages that this party submitted.
    pub(super) fn sent_by(&self, sender: Party) -> u64 {
        self.sent.keys().filter(|mark| mark.sender == sender).count() as u64
    }

    /// Decryptions so far, all receivers together.
    pub(super) fn delivered(&self) -> u64 {
        self.seen.iter().map(|marks| marks.len() as u64).sum()
    }

    /// Whether everybody but its sender decrypted every message.
    pub(super) fn is_whole(&self) -> bool {
        self.delivered() == self.sent.len() as u64 * (self.parties as u64 - 1)
    }

    pub(super) fn outcome(&self) -> Outcome {
        let lost = (0..self.parties)
            .map(|receiver| {
                let due = self.sent.keys().filter(|mark| mark.sender != receiver);
                due.filter(|mark| !self.seen[receiver].contains(mark)).count() as u64
            })
            .sum();
        let ms = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        Outcome {
            sent: self.sent.len() as u64,
            delivered: self.delivered(),
            lost,
            duplicates: self.duplicates,
            order_violations: self.order_violations + self.disagreements(),
            late: self.late,
            bytes: self.bytes,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
        }
    }

    /// Messages that two receivers were shown in different orders: each pair of receivers is compared on what both saw.
    fn disagreements(&self) -> u64 {
        let mut disagreements = 0;
        for (index, one) in self.order.iter().enumerate() {
            for (offset, other) in self.order[index + 1..].iter().enumerate() {
                let both =
                    |mark: &&Mark| self.seen[index].contains(mark) && self.seen[index + 1 + offset].contains(mark);
                let pairs = one.iter().filter(both).zip(other.iter().filter(both));
                disagreements += pairs.filter(|(one, other)| one != other).count() as u64;
            }
        }
        disagreements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sender: Party, number: u32) -> Mark {
        Mark { sender, number }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Three parties; 0 sent two messages, 1 sent one.
    fn tally() -> Tally {
        let mut tally = Tally::new(3);
        tally.sending(mark(0, 0), 100, ms(0));
        tally.sending(mark(0, 1), 100, ms(1));
        tally.sending(mark(1, 0), 100, ms(2));
        tally
    }

    #[test]
    fn a_mark_survives_being_content() {
        assert_eq!(Mark::of(&mark(2, 71).content(200)), Some(mark(2, 71)));
        assert_eq!(mark(2, 71).content(200).len(), 200);
        assert_eq!(Mark::of(b"hello"), None);
    }

    #[test]
    fn a_whole_burst_has_no_fault() {
        let mut tally = tally();
        tally.decrypted(1, mark(0, 0), false, ms(3));
        tally.decrypted(1, mark(0, 1), true, ms(4));
        tally.decrypted(0, mark(1, 0), false, ms(5));
        for marked in [mark(0, 0), mark(1, 0), mark(0, 1)] {
            tally.decrypted(2, marked, false, ms(6));
        }
        let outcome = tally.outcome();
        assert!(tally.is_whole());
        assert_eq!([0, 1, 2].map(|sender| tally.sent_by(sender)), [2, 1, 0]);
        assert_eq!((outcome.sent, outcome.delivered), (3, 6));
        assert_eq!((outcome.lost, outcome.duplicates, outcome.order_violations), (0, 0, 0));
        assert_eq!((outcome.late, outcome.bytes), (1, 300));
        // Latencies are 3, 3, 3, 4, 6 and 5 ms.
        assert!(
            (2.9..4.1).contains(&outcome.p50_ms) && (5.9..6.1).contains(&outcome.p99_ms),
            "{outcome:?}"
        );
    }

    #[test]
    fn what_a_receiver_was_not_shown_is_lost() {
        let mut tally = tally();
        tally.decrypted(1, mark(0, 0), false, ms(3));
        assert_eq!(tally.outcome().lost, 5);
    }

    #[test]
    fn a_second_decryption_is_a_duplicate() {
        let mut tally = tally();
        tally.decrypted(1, mark(0, 0), false, ms(3));
        tally.decrypted(1, mark(0, 0), false, ms(4));
        assert_eq!((tally.outcome().duplicates, tally.outcome().delivered), (1, 1));
    }

    #[test]
    fn one_senders_messages_in_the_wrong_order_are_a_violation() {
        let mut tally = tally();
        tally.decrypted(1, mark(0, 1), false, ms(3));
        tally.decrypted(1, mark(0, 0), false, ms(4));
        assert_eq!(tally.outcome().order_violations, 1);
    }

    #[test]
    fn two_receivers_that_see_different_orders_are_a_violation() {
        let mut tally = Tally::new(4);
        tally.sending(mark(0, 0), 1, ms(0));
        tally.sending(mark(1, 0), 1, ms(0));
        tally.decrypted(2, mark(0, 0), false, ms(1));
        tally.decrypted(2, mark(1, 0), false, ms(1));
        tally.decrypted(3, mark(1, 0), false, ms(1));
        tally.decrypted(3, mark(0, 0), false, ms(1));
        assert_eq!(tally.outcome().order_violations, 2);
    }
}
