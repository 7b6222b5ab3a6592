//! Entries as the log holds them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use room::{Chain, Digest, EntryKind, Epoch, Millis, Recipient, Recipients, Seq};

/// Position in a shard's log, from 0, without gaps. Means nothing without the ledger it belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `n` further on.
    pub fn plus(self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }
}

/// Names one life of a ledger: offsets count only together with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(pub [u8; 16]);

/// Names a recipient set: the first 16 octets of the SHA-256 of its encoding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId(pub [u8; 16]);

macro_rules! hexadecimal {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    )*};
}

hexadecimal!(LedgerId SetId);

/// One entry of a shard's log: a room's entry and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position in the shard's log.
    pub offset: Offset,
    /// The room.
    pub room: RoomUri,
    /// Its position in the room.
    pub seq: Seq,
    /// What it carries.
    pub kind: EntryKind,
    /// When it was accepted.
    pub accepted: Millis,
    /// The room's epoch after it.
    pub epoch: Epoch,
    /// FanoutMessage (mimi-protocol §5.5), the same octets for every follower.
    pub message: Bytes,
    /// The room's chain after it.
    pub chain: Chain,
    /// The name of `recipients`.
    pub set: SetId,
    /// To whom it is due.
    pub recipients: Arc<Recipients>,
}

impl LogEntry {
    /// How `provider` is to see the entry; `None` if it is not due to it.
    pub fn recipient(&self, provider: &Provider) -> Option<&Recipient> {
        let all = &self.recipients.0;
        let at = all
            .binary_search_by(|recipient| recipient.provider.cmp(provider))
            .ok()?;
        all.get(at)
    }

    /// The seq before this one that `recipient`, one of this entry's, was shown; 0 if there was none.
    pub fn previous_seq(&self, recipient: &Recipient) -> Seq {
        if recipient.first {
            Seq(0)
        } else {
            Seq(self.seq.0.saturating_sub(1))
        }
    }

    /// What a follower gets in place of an entry that is not addressed to it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.message)
    }

    /// Octets it takes in a queue, roughly.
    pub fn bytes(&self) -> usize {
        self.message.len() + self.room.as_str().len() + 160
    }
}
