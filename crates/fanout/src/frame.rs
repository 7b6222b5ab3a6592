//! Entries and acknowledgements as frames of the link carry them, on whichever transport.

use ledger::{Offset, Shown};
use proto::link::{Acknowledge, Item, item};

use crate::{Acknowledged, Due, Refused};

impl From<&Due> for Item {
    fn from(due: &Due) -> Self {
        let entry = &due.entry;
        let body = match due.shown {
            Shown::Message => item::Body::Message(entry.message.clone()),
            Shown::Digest => item::Body::Digest(entry.digest().0.to_vec().into()),
        };
        Self {
            offset: entry.offset.0,
            room: entry.room.as_str().to_owned(),
            seq: entry.seq.0,
            previous_seq: due.previous_seq.0,
            chain: entry.chain.0.to_vec().into(),
            recipient_set: entry.set.0.to_vec().into(),
            epoch: entry.epoch.0,
            body: Some(body),
        }
    }
}

impl From<Acknowledge> for Acknowledged {
    /// A status that HTTP does not have counts as 400.
    fn from(frame: Acknowledge) -> Self {
        let refused = frame.refused.into_iter().map(|refusal| Refused {
            offset: Offset(refusal.offset),
            status: u16::try_from(refusal.status).unwrap_or(400),
            reason: refusal.reason,
        });
        Self {
            refused: refused.collect(),
            ..Self::below(Offset(frame.next_offset))
        }
    }
}
