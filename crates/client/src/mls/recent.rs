//! Which application messages of one room this client has sent or seen lately: MLS cannot decrypt an own message that
//! comes back, and a repeat must not be shown twice.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Messages of a client in one room that are on their way at most: of what was sent before these it does not know the
/// content any more when it comes back. Normally that takes milliseconds. As many that others sent are told from repeats.
pub const IN_FLIGHT_MAX: usize = 4_096;

type Digest = [u8; 32];

/// What an incoming message is, before anything is decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    New,
    /// Sent from here, with this content; back for the first time.
    Own(Bytes),
    Repeat,
}

/// The two kinds apart: what others say while an own message is on its way does not displace it.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Sent from here and not yet back: what was in it.
    sent: Latest<Bytes>,
    seen: Latest<()>,
}

impl Recent {
    pub(crate) fn sent(&mut self, message: &[u8], data: Bytes) {
        self.sent.insert(Sha256::digest(message).into(), data);
    }

    pub(crate) fn incoming(&mut self, message: &[u8]) -> Incoming {
        let digest: Digest = Sha256::digest(message).into();
        if let Some(data) = self.sent.remove(&digest) {
            self.seen.insert(digest, ());
            return Incoming::Own(data);
        }
        match self.seen.known.contains_key(&digest) {
            true => Incoming::Repeat,
            false => Incoming::New,
        }
    }

    /// To be called once a new message was decrypted: one that failed may be tried again.
    pub(crate) fn seen(&mut self, message: &[u8]) {
        self.seen.insert(Sha256::digest(message).into(), ());
    }
}

/// Of the latest [`IN_FLIGHT_MAX`] that were inserted those that were not removed.
#[derive(Debug)]
struct Latest<T> {
    /// Removed ones stay in here until they are the oldest, and count.
    order: VecDeque<Digest>,
    known: BTreeMap<Digest, T>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self {
            order: VecDeque::new(),
            known: BTreeMap::new(),
        }
    }
}

impl<T> Latest<T> {
    fn insert(&mut self, digest: Digest, value: T) {
        if self.known.insert(digest, value).is_none() {
            self.order.push_back(digest);
        }
        if self.order.len() > IN_FLIGHT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn remove(&mut self, digest: &Digest) -> Option<T> {
        let removed = self.known.remove(digest);
        while let Some(oldest) = self.order.front()
            && !self.known.contains_key(oldest)
        {
            self.order.pop_front();
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_message_comes_back_once() {
        let mut recent = Recent::default();
        recent.sent(b"ciphertext", Bytes::from_static(b"hello"));
        assert_eq!(
            recent.incoming(b"ciphertext"),
            Incoming::Own(Bytes::from_static(b"hello"))
        );
        assert_eq!(recent.incoming(b"ciphertext"), Incoming::Repeat);
        assert_eq!(recent.incoming(b"another"), Incoming::New);
        assert_eq!(
            recent.incoming(b"another"),
            Incoming::New,
            "not seen until it was decrypted"
        );
        recent.seen(b"another");
        assert_eq!(recent.incoming(b"another"), Incoming::Repeat);
    }

    #[test]
    fn an_own_message_comes_back_however_much_others_say_meanwhile() {
        let mut recent = Recent::default();
        recent.sent(b"ciphertext", Bytes::from_static(b"hello"));
        for n in 0..2 * IN_FLIGHT_MAX {
            recent.seen(&n.to_be_bytes());
        }
        assert_eq!(
            recent.incoming(b"ciphertext"),
            Incoming::Own(Bytes::from_static(b"hello"))
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for n in 0..2 * IN_FLIGHT_MAX {
            recent.seen(&n.to_be_bytes());
            recent.sent(&n.to_le_bytes(), Bytes::new());
        }
        assert_eq!(recent.seen.known.len(), IN_FLIGHT_MAX);
        assert_eq!(recent.seen.order.len(), IN_FLIGHT_MAX);
        assert_eq!(recent.sent.known.len(), IN_FLIGHT_MAX);
        assert_eq!(recent.sent.order.len(), IN_FLIGHT_MAX);
    }

    #[test]
    fn what_came_back_in_any_order_leaves_nothing_behind() {
        let mut recent = Recent::default();
        for message in [b"first", b"other", b"third"] {
            recent.sent(message, Bytes::new());
        }
        for message in [b"third", b"first", b"other"] {
            assert_eq!(recent.incoming(message), Incoming::Own(Bytes::new()));
        }
        assert!(recent.sent.order.is_empty());
    }
}
