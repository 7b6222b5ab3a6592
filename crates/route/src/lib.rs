//! Which shard a room belongs to, and a hint who serves it. The first is fixed for the life of a cluster; the second may
//! be wrong at any time, and costs a redirect then, never safety.

mod map;
mod shards;

pub use map::{Owner, ShardMap};
pub use shards::{BadShards, SHARDS_MAX, ShardId, Shards};
