//! Entries: what a room accepted, in its order, and to whom it is due.

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use sha2::{Digest as _, Sha256};

/// Position of an entry in its room, from 1, without gaps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

/// MLS epoch (RFC 9420 §8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Milliseconds since the UNIX epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// SHA-256 of some octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of `octets`.
    pub fn of(octets: &[u8]) -> Self {
        Self(Sha256::digest(octets).into())
    }
}

/// Head of a room's hash chain: H(n) = SHA-256(H(n-1) || seq || digest of the entry), seq as eight octets big-endian.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// The head after one more entry.
    pub fn then(&self, seq: Seq, entry: &Digest) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(seq.0.to_be_bytes());
        hash.update(entry.0);
        Self(hash.finalize().into())
    }
}

/// What an entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// An MLS commit.
    Commit,
    /// One or more MLS proposals, accepted together.
    Proposals,
    /// An MLS application message.
    Message,
    /// An MLS Welcome.
    Welcome,
}

/// What a follower is shown of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// The entry itself.
    Message,
    /// Only its digest, which keeps the follower's chain whole: the entry is not addressed to it.
    Digest,
}

/// One provider to which an entry is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recipient {
    /// The provider.
    pub provider: Provider,
    /// What it is shown.
    pub shown: Shown,
    /// Whether the room begins here for this provider: it was shown nothing before, or had left in between. Otherwise it
    /// was shown the entry just before.
    pub first: bool,
}

/// The providers to which an entry is due: sorted by provider, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipients(pub Vec<Recipient>);

/// One accepted thing in a room. Its bytes never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The room.
    pub room: RoomUri,
    /// Its position in the room.
    pub seq: Seq,
    /// What it carries.
    pub kind: EntryKind,
    /// When it was accepted; strictly increasing in a room.
    pub accepted: Millis,
    /// The room's epoch after it.
    pub epoch: Epoch,
    /// FanoutMessage (mimi-protocol §5.5) as every follower receives it.
    pub message: Bytes,
    /// The chain after it.
    pub chain: Chain,
    /// To whom it is due.
    pub recipients: Recipients,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/link.md");

    #[test]
    fn the_links_document_shows_this_chain() {
        let mut chain = Chain::default();
        for (seq, message) in (1..).zip(["first", "second", "third"]) {
            chain = chain.then(Seq(seq), &Digest::of(message.as_bytes()));
            let hexadecimal = |octets: &[u8]| -> String { octets.iter().map(|octet| format!("{octet:02x}")).collect() };
            let row = format!(
                "| {seq} | {} | {} |",
                hexadecimal(message.as_bytes()),
                hexadecimal(&chain.0)
            );
            assert!(DOCUMENT.contains(&row), "{row}");
        }
    }
}
