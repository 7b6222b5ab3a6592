//! The shard hash: SipHash-2-4 of the room's canonical URI under the cluster's key, modulo the number of shards.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

/// The most shards a cluster may have.
pub const SHARDS_MAX: u32 = 65_536;

/// One shard of a cluster, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of shards that no cluster can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} shards: a cluster has 1 to {SHARDS_MAX}")]
pub struct BadShards(pub u32);

/// How rooms are spread over shards. Chosen when a cluster is founded; changing either part would move every room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shards {
    count: u32,
    key: [u8; 16],
}

impl Shards {
    /// `count` shards (1 to [`SHARDS_MAX`]) and the key of the hash. The key keeps strangers from naming rooms so that they
    /// all fall into one shard.
    pub fn new(count: u32, key: [u8; 16]) -> Result<Self, BadShards> {
        if (1..=SHARDS_MAX).contains(&count) {
            Ok(Self { count, key })
        } else {
            Err(BadShards(count))
        }
    }

    /// How many shards there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The key of the hash.
    pub fn key(&self) -> &[u8; 16] {
        &self.key
    }

    /// All shards, in order.
    pub fn all(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.count).map(ShardId)
    }

    /// The shard of the room with this canonical URI.
    pub fn of(&self, room: &str) -> ShardId {
        let mut hash = SipHasher24::new_with_key(&self.key);
        hash.write(room.as_bytes());
        let shard = hash.finish() % u64::from(self.count);
        ShardId(u32::try_from(shard).expect("a remainder is less than the count, which is a u32"))
    }
}

/// The key is left out.
impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_siphash_2_4_of_the_uri() {
        // The reference vectors of SipHash-2-4: key 00..0f, input 00..0e.
        let key: [u8; 16] = std::array::from_fn(|n| u8::try_from(n).unwrap());
        let mut hash = SipHasher24::new_with_key(&key);
        hash.write(&(0..15).collect::<Vec<u8>>());
        assert_eq!(hash.finish(), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn a_room_stays_in_its_shard_for_ever() {
        let shards = Shards::new(1024, *b"0123456789abcdef").unwrap();
        assert_eq!(shards.of("mimi://a.example/r/clubhouse"), ShardId(157));
        assert_eq!(shards.of("mimi://a.example/r/kitchen"), ShardId(514));
        assert_eq!(shards.of(""), ShardId(696));
    }

    #[test]
    fn a_cluster_without_shards_is_refused() {
        assert_eq!(Shards::new(0, [0; 16]), Err(BadShards(0)));
        assert_eq!(Shards::new(SHARDS_MAX + 1, [0; 16]), Err(BadShards(SHARDS_MAX + 1)));
    }

    #[test]
    fn the_key_stays_out_of_logs() {
        let shards = Shards::new(16, [0xab; 16]).unwrap();
        assert_eq!(format!("{shards:?}"), "Shards { count: 16, .. }");
    }

    proptest! {
        #[test]
        fn every_room_has_a_shard_and_keys_decide_which(room in ".*", count in 1..=SHARDS_MAX, key: [u8; 16]) {
            let shards = Shards::new(count, key).unwrap();
            prop_assert!(shards.of(&room).0 < count);
            prop_assert_eq!(shards.of(&room), shards.of(&room));
        }
    }

    #[test]
    fn rooms_spread_evenly() {
        let shards = Shards::new(16, [7; 16]).unwrap();
        let mut count = [0_u32; 16];
        for n in 0..16_000 {
            count[shards.of(&format!("mimi://a.example/r/{n}")).0 as usize] += 1;
        }
        assert!(count.iter().all(|rooms| (800..1200).contains(rooms)), "{count:?}");
    }
}
