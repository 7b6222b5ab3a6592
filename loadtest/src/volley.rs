//! A volley: messages submitted, awaited at every follower, and checked: whatever was accepted has arrived everywhere,
//! once, in its order, and nothing else has. Only then its figures count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use hdrhistogram::Histogram;
use mimi::RoomUri;
use tokio::time::{Instant, sleep};

use crate::drive::Pace;
use crate::generator::{Generator, Post, Shot};
use crate::sink::Collected;
use crate::stage::Stage;

/// Between two looks at how far the followers are.
const LOOK: Duration = Duration::from_millis(20);

/// Followers that are shown nothing for so long are given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Faults told of one volley; more would say nothing new.
const FAULTS_MAX: usize = 16;

/// What a volley brought.
#[derive(Debug)]
pub(crate) struct Volley {
    /// Messages accepted.
    pub(crate) messages: usize,
    /// Messages shown to followers, over all of them.
    pub(crate) delivered: usize,
    /// From the time at which the first message was due until the last was accepted.
    pub(crate) accepting: Duration,
    /// From the time at which the first message was due until the last was shown to the last follower.
    pub(crate) delivering: Duration,
    /// What the hub worked meanwhile.
    pub(crate) hub_cpu: Duration,
    /// From due to accepted, in microseconds.
    pub(crate) accept_us: Histogram<u64>,
    /// From due to shown, of each follower, in microseconds.
    pub(crate) deliver_us: Histogram<u64>,
    /// Each message that was accepted.
    pub(crate) shots: Vec<Shot>,
    /// What is not as it must be.
    pub(crate) faults: Vec<String>,
}

impl Volley {
    /// Submits `posts` and waits until all followers of the stage were shown all of them. `told` hears of acceptances.
    ///
    /// # Errors
    /// The hub refuses, or a follower is shown nothing any more.
    pub(crate) async fn fire(
        stage: &Stage,
        generator: &Generator,
        rooms: &[RoomUri],
        posts: Vec<Post>,
        pace: Pace,
        told: impl Fn(),
    ) -> anyhow::Result<Self> {
        Self::fire_at(stage, &stage.all(), generator, rooms, posts, pace, told).await
    }

    /// The same, where only the followers of `sinks` are waited for and asked. The others may be frozen.
    ///
    /// # Errors
    /// The hub refuses, or a follower is shown nothing any more.
    pub(crate) async fn fire_at(
        stage: &Stage,
        sinks: &[usize],
        generator: &Generator,
        rooms: &[RoomUri],
        posts: Vec<Post>,
        pace: Pace,
        told: impl Fn(),
    ) -> anyhow::Result<Self> {
        let before = stage.hub_usage()?;
        let shots = generator.fire(posts, pace, told).await?;
        arrived(stage, sinks, shots.len() as u64, |_| {}).await?;
        let hub_cpu = stage.hub_usage()?.cpu.saturating_sub(before.cpu);
        let collected = stage.collect_of(sinks).await?;
        Ok(Self {
            hub_cpu,
            ..Self::judge(rooms, shots, &collected)?
        })
    }

    /// What became of messages that were accepted in some other way, once all followers were shown all of them.
    ///
    /// # Errors
    /// A follower is shown nothing any more.
    pub(crate) async fn seen(stage: &Stage, rooms: &[RoomUri], shots: Vec<Shot>) -> anyhow::Result<Self> {
        let all = stage.all();
        arrived(stage, &all, shots.len() as u64, |_| {}).await?;
        Self::judge(rooms, shots, &stage.collect_of(&all).await?)
    }

    fn judge(rooms: &[RoomUri], shots: Vec<Shot>, collected: &[Collected]) -> anyhow::Result<Self> {
        let faults = faults(rooms, &shots, collected);
        Ok(Self {
            faults,
            ..Self::timed(rooms, shots, collected)?
        })
    }

    /// The times alone.
    ///
    /// # Errors
    /// A time is beyond what can be counted.
    pub(crate) fn timed(rooms: &[RoomUri], mut shots: Vec<Shot>, collected: &[Collected]) -> anyhow::Result<Self> {
        let mut accept_us = Histogram::new(3)?;
        let mut deliver_us = Histogram::new(3)?;
        let first = shots.iter().map(|shot| shot.due_ns).min().unwrap_or_default();
        let answered = shots.iter().map(|shot| shot.answered_ns).max().unwrap_or(first);
        for shot in &shots {
            accept_us.record(shot.answered_ns.saturating_sub(shot.due_ns) / 1_000)?;
        }
        let (mut delivered, mut last_us) = (0, first / 1_000);
        shots.sort_unstable_by_key(|shot| (shot.room, shot.accepted_ms));
        let numbers: BTreeMap<&str, usize> = rooms.iter().enumerate().map(|(n, room)| (room.as_str(), n)).collect();
        for room in collected.iter().flat_map(|follower| &follower.rooms) {
            let Some(number) = numbers.get(room.room.as_str()) else {
                continue;
            };
            let from = shots.partition_point(|shot| shot.room < *number);
            // They are the same where nothing is wrong, and otherwise no figure counts.
            for (shot, received_us) in shots[from..].iter().zip(&room.received_us) {
                deliver_us.record(received_us.saturating_sub(shot.due_ns / 1_000))?;
                delivered += 1;
                last_us = last_us.max(*received_us);
            }
        }
        Ok(Self {
            messages: shots.len(),
            delivered,
            accepting: Duration::from_nanos(answered - first),
            delivering: Duration::from_micros(last_us - first / 1_000),
            hub_cpu: Duration::ZERO,
            accept_us,
            deliver_us,
            shots,
            faults: Vec::new(),
        })
    }
}

/// Waits until each follower of `sinks` was shown so many messages since the last collection. `told` hears how many all of
/// them were shown, at each look.
///
/// # Errors
/// A follower is shown nothing any more.
pub(crate) async fn arrived(
    stage: &Stage,
    sinks: &[usize],
    messages: u64,
    told: impl FnMut(u64),
) -> anyhow::Result<()> {
    arrived_where(stage, sinks, |_| messages, told).await
}

/// The same where each follower, by its place among those of `sinks`, is to be shown another number of messages.
///
/// # Errors
/// A follower is shown nothing any more.
pub(crate) async fn arrived_where(
    stage: &Stage,
    sinks: &[usize],
    messages: impl Fn(usize) -> u64,
    mut told: impl FnMut(u64),
) -> anyhow::Result<()> {
    let mut last = (Instant::now(), 0);
    loop {
        let progress = stage.progress_of(sinks).await?;
        let shown = progress.iter().sum::<u64>();
        told(shown);
        if progress
            .iter()
            .enumerate()
            .all(|(place, shown)| *shown >= messages(place))
        {
            return Ok(());
        }
        if shown > last.1 {
            last = (Instant::now(), shown);
        }
        let due: Vec<u64> = (0..progress.len()).map(&messages).collect();
        ensure!(
            last.0.elapsed() < PATIENCE,
            "followers were shown {progress:?} of {due:?} messages, and nothing more comes"
        );
        sleep(LOOK).await;
    }
}

/// What is not as it must be: what the sinks saw themselves, then whether what arrived is what was accepted, and whether
/// all followers were shown the same.
pub(crate) fn faults(rooms: &[RoomUri], shots: &[Shot], collected: &[Collected]) -> Vec<String> {
    faults_where(rooms, shots, collected, |_, _| true)
}

/// The same where not every follower is in every room: `there` says so of a follower, by its place among `collected`, and a
/// room, by its number.
pub(crate) fn faults_where(
    rooms: &[RoomUri],
    shots: &[Shot],
    collected: &[Collected],
    there: impl Fn(usize, usize) -> bool,
) -> Vec<String> {
    let mut accepted: BTreeMap<&str, Vec<u64>> = rooms.iter().map(|room| (room.as_str(), Vec::new())).collect();
    for shot in shots {
        if let Some(times) = accepted.get_mut(rooms[shot.room].as_str()) {
            times.push(shot.accepted_ms);
        }
    }
    accepted.values_mut().for_each(|times| times.sort_unstable());
    let mut faults = Vec::new();
    let mut heads: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for (place, follower) in collected.iter().enumerate() {
        let domain = &follower.domain;
        faults.extend(follower.faults.iter().map(|fault| format!("{domain}: {fault}")));
        let its = rooms.iter().enumerate().filter(|(number, _)| there(place, *number));
        let its: BTreeSet<&str> = its.map(|(_, room)| room.as_str()).collect();
        let mut unseen = its.len();
        for shown in &follower.rooms {
            if !its.contains(shown.room.as_str()) && accepted.contains_key(shown.room.as_str()) {
                faults.push(format!("{domain}: {} is the room of others", shown.room));
                continue;
            }
            let Some(times) = accepted.get(shown.room.as_str()) else {
                faults.push(format!("{domain}: {} is nobody's room", shown.room));
                continue;
            };
            unseen -= 1;
            if *times != shown.accepted {
                let (sent, came) = (times.len(), shown.accepted.len());
                faults.push(format!(
                    "{domain}: {}: of {sent} accepted messages {came} came, or others",
                    shown.room
                ));
            }
            let head = (shown.seq, shown.chain.as_str());
            if *heads.entry(&shown.room).or_insert(head) != head {
                faults.push(format!(
                    "{domain}: {} ends otherwise than at other followers",
                    shown.room
                ));
            }
        }
        if unseen > 0 {
            faults.push(format!("{domain}: {unseen} rooms were never shown"));
        }
    }
    faults.truncate(FAULTS_MAX);
    faults
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sink::Room;

    fn rooms() -> Vec<RoomUri> {
        vec!["mimi://hub.example/r/0".parse().unwrap()]
    }

    fn shots() -> Vec<Shot> {
        let shot = |number: u64| Shot {
            room: 0,
            due_ns: number * 1_000_000,
            answered_ns: number * 1_000_000 + 500_000,
            accepted_ms: 100 + number,
        };
        // They are answered in another order than they were accepted in.
        [2, 0, 1].map(shot).to_vec()
    }

    fn follower(domain: &str, accepted: &[u64]) -> Collected {
        Collected {
            domain: domain.to_owned(),
            rooms: vec![Room {
                room: rooms()[0].to_string(),
                seq: 9,
                chain: "00".to_owned(),
                accepted: accepted.to_vec(),
                received_us: accepted.iter().map(|time| (time - 100) * 1_000 + 2_000).collect(),
            }],
            ..Collected::default()
        }
    }

    #[test]
    fn what_arrived_everywhere_in_order_is_without_fault_and_timed_from_when_it_was_due() {
        let collected = ["f0.example", "f1.example"].map(|domain| follower(domain, &[100, 101, 102]));
        let volley = Volley::judge(&rooms(), shots(), &collected).unwrap();
        assert_eq!((volley.messages, volley.delivered), (3, 6));
        assert_eq!(volley.faults, Vec::<String>::new());
        assert_eq!((volley.accept_us.min(), volley.accept_us.max()), (500, 500));
        assert_eq!(volley.deliver_us.value_at_quantile(0.5), 2_000);
        assert_eq!(volley.accepting, Duration::from_micros(2_500));
        assert_eq!(volley.delivering, Duration::from_millis(4));
    }

    #[test]
    fn a_lost_a_doubled_and_a_foreign_message_are_faults() {
        for came in [
            &[100, 102][..],
            &[100, 101, 101, 102],
            &[100, 101, 102, 103],
            &[100, 102, 101],
        ] {
            let collected = [follower("f0.example", came)];
            assert_eq!(faults(&rooms(), &shots(), &collected).len(), 1, "{came:?}");
        }
    }

    #[test]
    fn followers_that_were_shown_different_things_are_a_fault() {
        let mut collected = ["f0.example", "f1.example"].map(|domain| follower(domain, &[100, 101, 102]));
        collected[1].rooms[0].chain = "01".to_owned();
        assert_eq!(faults(&rooms(), &shots(), &collected).len(), 1);
    }

    #[test]
    fn who_is_not_in_a_room_needs_not_be_shown_it_and_must_not_be() {
        let empty = Collected {
            domain: "f1.example".to_owned(),
            ..Collected::default()
        };
        let collected = [follower("f0.example", &[100, 101, 102]), empty];
        let found = |there: fn(usize, usize) -> bool| faults_where(&rooms(), &shots(), &collected, there).len();
        assert_eq!(found(|place, _| place == 0), 0);
        assert_eq!(found(|_, _| true), 1);
        assert_eq!(found(|_, _| false), 1);
    }

    #[test]
    fn what_a_sink_saw_and_a_room_never_shown_are_faults() {
        let mut collected = [follower("f0.example", &[100, 101, 102])];
        collected[0].faults.push("seq 4 came after 2: a gap".to_owned());
        assert_eq!(faults(&rooms(), &shots(), &collected).len(), 1);
        collected[0].rooms.clear();
        assert_eq!(faults(&rooms(), &shots(), &collected).len(), 2);
    }
}
