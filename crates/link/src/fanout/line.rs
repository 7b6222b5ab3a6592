//! What the hub knows of one shard on one fan-out stream.

use proto::link::{Acknowledge, Credit, ItemRefusal, Position};
use tokio::sync::{Mutex, watch};

/// Refusals kept until somebody asks for them.
const REFUSED_MAX: usize = 4_096;

/// One shard of a stream.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) shard: u32,
    /// Held by whoever is sending: gives entries their order.
    pub(super) turn: Mutex<Turn>,
    /// What the follower last said.
    pub(super) state: watch::Sender<State>,
}

/// The sender's account since the last Position.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The first credit; 0: resume first.
    pub(super) window: u64,
    pub(super) sent: u64,
}

impl Turn {
    /// Octets that a frame of several items should have: a part of the window, so that the follower writes one while
    /// the next is on its way.
    pub(super) fn frame_bytes(&self) -> usize {
        usize::try_from(self.window / 4).unwrap_or(usize::MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Resumes written and Positions read: acknowledgements and credit count only while they are equal.
    pub(super) resumes: u64,
    pub(super) positions: u64,
    pub(super) position: Option<u64>,
    pub(super) credit: u64,
    pub(super) next_offset: u64,
    refused: Vec<ItemRefusal>,
}

impl Line {
    pub(super) fn new(shard: u32) -> Self {
        Self {
            shard,
            turn: Mutex::default(),
            state: watch::Sender::default(),
        }
    }

    /// Counts a Resume that is about to be written; the number of its Position.
    pub(super) fn resume(&self) -> u64 {
        let mut awaited = 0;
        self.state.send_modify(|state| {
            state.resumes += 1;
            awaited = state.resumes;
        });
        awaited
    }

    /// `Err`: a follower that answers what nobody asked.
    pub(super) fn position(&self, position: &Position) -> Result<(), &'static str> {
        let mut verdict = Ok(());
        self.state.send_modify(|state| {
            if state.positions == state.resumes {
                verdict = Err("a Position without a Resume");
                return;
            }
            state.positions += 1;
            state.position = position.known.then_some(position.next_offset);
            state.next_offset = position.next_offset;
            state.credit = 0;
            state.refused.clear();
        });
        verdict
    }

    pub(super) fn credit(&self, credit: &Credit) {
        self.state.send_if_modified(|state| {
            let more = state.positions == state.resumes && credit.bytes_total > state.credit;
            if more {
                state.credit = credit.bytes_total;
            }
            more
        });
    }

    /// `Err`: more refusals than anything was sent for.
    pub(super) fn acknowledge(&self, acknowledge: Acknowledge) -> Result<(), &'static str> {
        let mut verdict = Ok(());
        self.state.send_modify(|state| {
            if state.refused.len() + acknowledge.refused.len() > REFUSED_MAX {
                verdict = Err("more refusals than entries");
                return;
            }
            state.refused.extend(acknowledge.refused);
            state.next_offset = state.next_offset.max(acknowledge.next_offset);
        });
        verdict
    }

    /// The acknowledgement of `first..=last`, with the refusals among them, which are not kept any longer.
    pub(super) fn collect(&self, first: u64, last: u64) -> Acknowledge {
        let mut collected = Acknowledge {
            shard: self.shard,
            ..Acknowledge::default()
        };
        self.state.send_if_modified(|state| {
            collected.next_offset = state.next_offset;
            let range = first..=last;
            collected.refused = state
                .refused
                .extract_if(.., |item| range.contains(&item.offset))
                .collect();
            false
        });
        collected
    }
}
