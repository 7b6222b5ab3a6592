//! What the couriers of a shard know: the tail, and what each follower is due of it. In memory only; a report says what of it
//! is to be made durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{CursorChange, IndexBlock, Offset, SetAside};
use mimi::Provider;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::follower::Follower;
use crate::lane::Lane;
use crate::orders::Orders;
use crate::tail::Tail;
use crate::{Entry, Report};

/// Offsets that one report indexes at most, over all followers: they share a transaction with everything else.
const INDEXED_MAX: usize = 65_536;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tail: Tail,
    pub(super) tail_start_durable: u64,
    pub(crate) followers: BTreeMap<Provider, Lane>,
    pub(crate) set_aside: Vec<SetAside>,
    pub(crate) orders: Orders,
    pub(crate) dirty: bool,
    pub(super) reported: Instant,
    pub(super) random: StdRng,
}

impl State {
    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        let offset = entry.offset.0;
        for recipient in &entry.recipients.0 {
            if !self.followers.contains_key(&recipient.provider) {
                let lane = Lane {
                    follower: Follower::met(offset),
                    ..Lane::default()
                };
                self.followers.insert(recipient.provider.clone(), lane);
                self.dirty = true;
            }
            let lane = self
                .followers
                .get_mut(&recipient.provider)
                .expect("it was just put there");
            lane.follower.push(offset);
        }
        self.tail.push(entry);
    }

    /// Marks every follower that is behind and has no courier as having one, and names them.
    pub(crate) fn behind(&mut self) -> Vec<(Provider, Arc<Notify>)> {
        let mut behind = Vec::new();
        for (provider, lane) in &mut self.followers {
            let wanted = !lane.follower.is_idle() || !lane.again.is_empty();
            if !lane.running && wanted && !self.orders.is_paused(provider) {
                lane.running = true;
                behind.push((provider.clone(), lane.wake.clone()));
            }
        }
        behind
    }

    pub(super) fn take_report(&mut self, excess: Option<u64>) -> Report {
        let head = self.tail.head();
        let first_due = self
            .followers
            .values()
            .filter_map(|lane| lane.follower.due().next())
            .min();
        let acknowledged = first_due.unwrap_or(head);
        let until = match excess {
            Some(excess) if excess > acknowledged => self.indexable(acknowledged, excess),
            _ => acknowledged,
        };
        let mut report = Report {
            tail_start: (until > self.tail_start_durable).then_some(Offset(until)),
            set_aside: std::mem::take(&mut self.set_aside),
            ..self.orders.take()
        };
        for (provider, lane) in &mut self.followers {
            for offsets in lane.follower.due_below(until).chunks(IndexBlock::OFFSETS_MAX) {
                let offsets = offsets.iter().copied().map(Offset).collect();
                let block = IndexBlock::new(provider.clone(), offsets);
                report
                    .index
                    .push(block.expect("what is due ascends, in chunks that are not empty"));
            }
            if lane.follower.take_dirty() {
                let follower = provider.clone();
                if lane.follower.is_held() {
                    report.expired.push(provider.clone());
                }
                report.cursors.push(CursorChange {
                    follower,
                    cursor: lane.follower.cursor(),
                });
            }
        }
        self.dirty = false;
        self.reported = Instant::now();
        report
    }

    /// How far from `from` towards `until` the tail can be evicted without indexing more than one report may; at least
    /// one entry.
    fn indexable(&self, from: u64, until: u64) -> u64 {
        let mut indexed = 0;
        for offset in from..until {
            let recipients = self.tail.entry(offset).map_or(0, |entry| entry.recipients.0.len());
            indexed += recipients;
            if indexed > INDEXED_MAX && offset > from {
                return offset;
            }
        }
        until
    }

    /// Log entries between the head and the cursor of the follower furthest behind.
    pub(super) fn lag(&self) -> u64 {
        let behind = self.followers.values().filter(|lane| !lane.follower.is_idle());
        behind
            .map(|lane| self.tail.head() - lane.follower.next())
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn lane(&mut self, provider: &Provider) -> &mut Lane {
        self.followers
            .get_mut(provider)
            .expect("a courier's follower is never forgotten")
    }
}
