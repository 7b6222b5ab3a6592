//! Signed heads: the hub says under its key what a room's history is up to an entry, so that it cannot say otherwise to
//! somebody else unnoticed. Nothing is read here.

use bytes::Bytes;
use ledger::{Chain, LedgerId, Seq};
use mimi::RoomUri;
use mimi::catch_up::RoomHead;
use mimi::identifier::IdentifierUri;
use mimi::mls::CipherSuite;
use room::Epoch;

use crate::keys::{HubKeys, UnsupportedSuite};

/// Whose signature scheme heads are signed with, whatever the room's suite is: Ed25519.
pub const HEAD_SUITE: CipherSuite = 0x0001;

impl HubKeys {
    /// The head of `room` after its entry `seq`, signed.
    ///
    /// # Errors
    /// There is no key for [`HEAD_SUITE`].
    pub fn sign_head(
        &self,
        room: &RoomUri,
        ledger: LedgerId,
        seq: Seq,
        chain: Chain,
        epoch: Epoch,
    ) -> Result<RoomHead, UnsupportedSuite> {
        let (_, key) = self.key(HEAD_SUITE)?;
        let mut head = RoomHead {
            room: IdentifierUri::from(room),
            ledger: ledger.0,
            seq: seq.0,
            chain: chain.0,
            epoch: epoch.0,
            cipher_suite: HEAD_SUITE,
            signature: Bytes::new(),
        };
        head.signature = key.sign(&head.tbs());
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn b_1_a_head_is_signed_as_a_whole() {
        let keys = HubKeys::generate("a.example".parse().unwrap()).unwrap();
        let room = "mimi://a.example/r/clubhouse".parse().unwrap();
        let head = keys
            .sign_head(&room, LedgerId([1; 16]), Seq(7), Chain([2; 32]), Epoch(3))
            .unwrap();
        let (_, key) = keys.key(HEAD_SUITE).unwrap();
        assert!(key.verifies(&head.tbs(), &head.signature));
        let mut others = vec![head.clone(); 5];
        others[0].seq += 1;
        others[1].chain[0] ^= 1;
        others[2].epoch += 1;
        others[3].ledger[0] ^= 1;
        others[4].room = IdentifierUri::from(&"mimi://a.example/r/other".parse::<RoomUri>().unwrap());
        for other in others {
            assert!(!key.verifies(&other.tbs(), &head.signature), "{other:?}");
        }
    }
}
