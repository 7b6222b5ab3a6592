//! The shard map: who was last said to own a shard. A hint: the answer of the node itself is the truth.

use std::collections::BTreeMap;

use crate::ShardId;

/// A node that owns, or owned, a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Address of its RPC.
    pub node: String,
    /// Since which term of the shard.
    pub term: u64,
}

/// The owners known so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardMap {
    /// Of the map as its sender counts; 0 for none received.
    pub version: u64,
    /// By shard; a shard whose owner is not known is absent.
    pub owners: BTreeMap<ShardId, Owner>,
}

impl ShardMap {
    /// The owner of `shard` as far as is known.
    pub fn owner(&self, shard: ShardId) -> Option<&Owner> {
        self.owners.get(&shard)
    }

    /// Takes note of an owner, unless one of a later term is known. A term has one owner, so of two that are told for the
    /// same term the former was a guess. Says whether the map changed.
    pub fn note(&mut self, shard: ShardId, owner: Owner) -> bool {
        match self.owners.get(&shard) {
            Some(known) if known.term > owner.term || *known == owner => false,
            _ => {
                self.owners.insert(shard, owner);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_term_does_not_replace_a_newer_owner() {
        let owner = |node: &str, term| Owner {
            node: node.into(),
            term,
        };
        let mut map = ShardMap::default();
        assert!(map.note(ShardId(3), owner("one", 7)));
        assert!(!map.note(ShardId(3), owner("two", 6)));
        assert_eq!(map.owner(ShardId(3)), Some(&owner("one", 7)));
        assert!(map.note(ShardId(3), owner("two", 8)));
        assert_eq!(map.owner(ShardId(3)), Some(&owner("two", 8)));
        assert_eq!(map.owner(ShardId(4)), None);
        assert!(!map.note(ShardId(3), owner("two", 8)));
        assert!(map.note(ShardId(3), owner("three", 8)));
        assert_eq!(map.owner(ShardId(3)), Some(&owner("three", 8)));
    }
}
