//! What a transaction writes, recognised by its keys: the simulator sees fences and tails as they become durable.

use bytes::Bytes;
use store::Mutation;

use crate::trace::Event;

/// What a transaction writes, as far as the record needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wrote {
    pub(crate) anything: bool,
    pub(crate) log: bool,
    /// Of which shard.
    pub(crate) log_of: Option<u32>,
    pub(crate) index: bool,
    pub(crate) rows: Vec<Event>,
    pub(crate) fence: Option<WroteFence>,
}

/// A fence, as its row and as what that says.
#[derive(Debug, Clone)]
pub(crate) struct WroteFence {
    pub(crate) key: Bytes,
    pub(crate) row: Bytes,
    pub(crate) shard: u32,
    pub(crate) owned: bool,
}

impl Wrote {
    /// Recognises the rows that the promises speak of: fences (crate `shard`), tails and entries (crate `ledger`).
    pub(crate) fn see(&mut self, mutation: &Mutation) {
        self.anything = true;
        let Mutation::Set { key, value } = mutation else { return };
        match (key.as_ref(), value.as_ref()) {
            ([b'F', shard @ ..], [1, rest @ ..]) => {
                let (Ok(shard), Some((term, owner))) = (shard.try_into(), rest.split_first_chunk()) else {
                    return;
                };
                let (shard, term) = (u32::from_be_bytes(shard), u64::from_be_bytes(*term));
                let owned = owner.first() == Some(&1);
                self.rows.push(Event::Fence { shard, term, owned });
                self.fence = Some(WroteFence {
                    key: key.clone(),
                    row: value.clone(),
                    shard,
                    owned,
                });
            }
            ([b'S', a, b, c, d, table, ..], [_, row @ ..]) => match table {
                b'l' => {
                    self.log = true;
                    self.log_of = Some(u32::from_be_bytes([*a, *b, *c, *d]));
                }
                b'i' => self.index = true,
                b't' => self.rows.extend(tail(u32::from_be_bytes([*a, *b, *c, *d]), row)),
                _ => {}
            },
            _ => {}
        }
    }
}

/// The tail row, as the ledger's golden bytes fix it.
#[derive(Clone, PartialEq, prost::Message)]
struct TailRow {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    opening: u64,
    #[prost(uint64, tag = "3")]
    batch: u64,
    #[prost(uint64, tag = "4")]
    next: u64,
}

fn tail(shard: u32, row: &[u8]) -> Option<Event> {
    let TailRow {
        term,
        opening,
        batch,
        next,
    } = prost::Message::decode(row).ok()?;
    Some(Event::Tail {
        shard,
        term,
        opening,
        batch,
        next,
    })
}
