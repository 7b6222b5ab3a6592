//! Whether a follower is shown one room as it must be: each seq once, in order, without a gap, each entry chained to the
//! one before, and every repeat the same octets.

use sha2::{Digest as _, Sha256};

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// How a hub broke its promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// An entry is missing, or came too early.
    #[error("seq {found} came after {last}: a gap")]
    Gap {
        /// The last one before.
        last: u64,
        /// The one that came.
        found: u64,
    },
    /// What is called the entry before is not.
    #[error("seq {seq} says that {said} was shown before it")]
    Previous {
        /// The entry.
        seq: u64,
        /// What it says.
        said: u64,
    },
    /// The chain is not that of this entry after the one before.
    #[error("seq {0} breaks the chain")]
    Chain(u64),
    /// A repeat of other octets, or of what never came.
    #[error("seq {0} came again and is another")]
    Contradiction(u64),
}

/// Whether an entry was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It was.
    First,
    /// It was shown before, with the same octets.
    Repeat,
}

/// One room, as one follower is shown it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Seq of the first entry shown; 0 before there is one.
    first: u64,
    chain: Hash,
    /// The first octets of each entry's digest, from `first` on.
    known: Vec<u64>,
}

impl Room {
    /// Seq of the last entry shown.
    pub(crate) fn seq(&self) -> u64 {
        match self.known.len() as u64 {
            0 => 0,
            shown => self.first + shown - 1,
        }
    }

    /// The chain after it.
    pub(crate) fn chain(&self) -> Hash {
        self.chain
    }

    /// Takes the entry `seq`, of which `digest` is the SHA-256; `previous` and `chain` are what the hub says.
    pub(crate) fn take(&mut self, seq: u64, previous: u64, chain: Hash, digest: &Hash) -> Result<Shown, Fault> {
        let name = u64::from_be_bytes(digest[..8].try_into().expect("a digest has more than eight octets"));
        let last = self.seq();
        if last > 0 && seq <= last {
            let known = seq.checked_sub(self.first);
            let known = known.and_then(|place| self.known.get(usize::try_from(place).ok()?));
            return match known == Some(&name) {
                true => Ok(Shown::Repeat),
                false => Err(Fault::Contradiction(seq)),
            };
        }
        if last == 0 {
            // What came before this follower was in the room is not known here: the chain begins with what is said.
            (self.first, self.chain) = (seq, chain);
            self.known.push(name);
            return match previous {
                0 => Ok(Shown::First),
                said => Err(Fault::Previous { seq, said }),
            };
        }
        if seq != last + 1 {
            return Err(Fault::Gap { last, found: seq });
        }
        if previous != last {
            return Err(Fault::Previous { seq, said: previous });
        }
        if after(&self.chain, seq, digest) != chain {
            return Err(Fault::Chain(seq));
        }
        self.chain = chain;
        self.known.push(name);
        Ok(Shown::First)
    }
}

/// The chain after one more entry: SHA-256(chain before || seq || digest), seq as eight octets big-endian.
fn after(chain: &Hash, seq: u64, digest: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(chain);
    hash.update(seq.to_be_bytes());
    hash.update(digest);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries as a hub shows them, from seq 3 on.
    fn entries(count: u64) -> Vec<(u64, u64, Hash, Hash)> {
        let mut chain = [7; 32];
        let mut entry = |seq: u64| {
            let digest: Hash = Sha256::digest(seq.to_be_bytes()).into();
            chain = after(&chain, seq, &digest);
            let previous = if seq == 3 { 0 } else { seq - 1 };
            (seq, previous, chain, digest)
        };
        (3..3 + count).map(&mut entry).collect()
    }

    fn shown(entries: &[(u64, u64, Hash, Hash)]) -> Vec<Result<Shown, Fault>> {
        let mut room = Room::default();
        let take = |(seq, previous, chain, digest): &(u64, u64, Hash, Hash)| room.take(*seq, *previous, *chain, digest);
        entries.iter().map(take).collect()
    }

    #[test]
    fn what_is_whole_is_taken_and_a_repeat_of_it_counts_as_one() {
        let mut all = entries(4);
        all.push(all[1]);
        let verdicts = shown(&all);
        assert_eq!(verdicts[..4], [Ok(Shown::First); 4]);
        assert_eq!(verdicts[4], Ok(Shown::Repeat));
    }

    #[test]
    fn a_gap_is_noticed() {
        let mut all = entries(4);
        all.remove(2);
        assert_eq!(shown(&all)[2], Err(Fault::Gap { last: 4, found: 6 }));
    }

    #[test]
    fn entries_that_change_places_are_noticed() {
        let mut all = entries(4);
        all.swap(1, 2);
        let verdicts = shown(&all);
        assert_eq!(verdicts[1], Err(Fault::Gap { last: 3, found: 5 }));
    }

    #[test]
    fn a_seq_that_comes_twice_with_other_octets_is_noticed() {
        let mut all = entries(3);
        let (seq, previous, chain, _) = all[1];
        all.push((seq, previous, chain, [1; 32]));
        assert_eq!(shown(&all)[3], Err(Fault::Contradiction(4)));
    }

    #[test]
    fn what_was_never_shown_cannot_come_again() {
        let mut all = entries(2);
        all.push((2, 1, [0; 32], [0; 32]));
        assert_eq!(shown(&all)[2], Err(Fault::Contradiction(2)));
    }

    #[test]
    fn a_wrong_chain_and_a_wrong_entry_before_are_noticed() {
        let mut all = entries(4);
        all[2].2[0] ^= 1;
        assert_eq!(shown(&all)[2], Err(Fault::Chain(5)));
        let mut all = entries(4);
        all[2].1 = 3;
        assert_eq!(shown(&all)[2], Err(Fault::Previous { seq: 5, said: 3 }));
    }
}
