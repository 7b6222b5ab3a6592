//! Entries and acknowledgements as frames of the link carry them, on whichever transport.

use bytes::BytesMut;
use ledger::{LogEntry, Offset, Seq, Shown};
use proto::link::{Acknowledge, Item, item};

use crate::{Acknowledged, Due, Refused};

/// The number of the field `items` of a Deliver.
const ITEMS: u32 = 2;

/// The entry as it is shown to one who was shown `previous_seq` before.
pub(crate) fn item(entry: &LogEntry, shown: Shown, previous_seq: Seq) -> Item {
    let body = match shown {
        Shown::Message => item::Body::Message(entry.message.clone()),
        Shown::Digest => item::Body::Digest(entry.digest().0.to_vec().into()),
    };
    Item {
        offset: entry.offset.0,
        room: entry.room.as_str().to_owned(),
        seq: entry.seq.0,
        previous_seq: previous_seq.0,
        chain: entry.chain.0.to_vec().into(),
        recipient_set: entry.set.0.to_vec().into(),
        epoch: entry.epoch.0,
        body: Some(body),
    }
}

/// An item as a field of a Deliver.
pub(crate) fn framed(item: &Item, octets: &mut BytesMut) {
    prost::encoding::message::encode(ITEMS, item, octets);
}

/// Octets that it takes.
pub(crate) fn framed_len(item: &Item) -> usize {
    prost::encoding::message::encoded_len(ITEMS, item)
}

impl From<&Due> for Item {
    fn from(due: &Due) -> Self {
        item(&due.entry, due.shown, due.previous_seq)
    }
}

impl From<Acknowledge> for Acknowledged {
    /// A status that HTTP does not have counts as 400.
    fn from(frame: Acknowledge) -> Self {
        let refused = frame.refused.into_iter().map(|refusal| Refused {
            offset: Offset(refusal.offset),
            status: u16::try_from(refusal.status).unwrap_or(400),
            reason: refusal.reason,
            is_final: true,
        });
        Self {
            refused: refused.collect(),
            ..Self::below(Offset(frame.next_offset))
        }
    }
}
