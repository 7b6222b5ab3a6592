//! Which application messages of one room this client has sent or seen lately: MLS cannot decrypt an own message that
//! comes back, and a repeat must not be shown twice.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// Messages remembered per room. An own message is normally back within milliseconds.
const REMEMBERED_MAX: usize = 4_096;

type Digest = [u8; 32];

#[derive(Debug)]
enum Known {
    /// Sent from here and not yet back: what was in it.
    Sent(Bytes),
    Seen,
}

/// What an incoming message is, before anything is decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    New,
    /// Sent from here, with this content; back for the first time.
    Own(Bytes),
    Repeat,
}

#[derive(Debug, Default)]
pub(crate) struct Recent {
    order: VecDeque<Digest>,
    known: BTreeMap<Digest, Known>,
}

impl Recent {
    pub(crate) fn sent(&mut self, message: &[u8], data: Bytes) {
        self.remember(Sha256::digest(message).into(), Known::Sent(data));
    }

    pub(crate) fn incoming(&mut self, message: &[u8]) -> Incoming {
        let digest: Digest = Sha256::digest(message).into();
        match self
            .known
            .get_mut(&digest)
            .map(|known| std::mem::replace(known, Known::Seen))
        {
            None => Incoming::New,
            Some(Known::Sent(data)) => Incoming::Own(data),
            Some(Known::Seen) => Incoming::Repeat,
        }
    }

    /// To be called once a new message was decrypted: one that failed may be tried again.
    pub(crate) fn seen(&mut self, message: &[u8]) {
        self.remember(Sha256::digest(message).into(), Known::Seen);
    }

    fn remember(&mut self, digest: Digest, known: Known) {
        if self.known.insert(digest, known).is_none() {
            self.order.push_back(digest);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
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
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for n in 0..2 * REMEMBERED_MAX {
            recent.seen(&n.to_be_bytes());
        }
        assert_eq!(recent.known.len(), REMEMBERED_MAX);
        assert_eq!(recent.order.len(), REMEMBERED_MAX);
    }
}
