//! Which shard a room belongs to, and a hint who serves it. The first is fixed for the life of a cluster; the second may
//! be wrong at any time, and costs a redirect then, never safety. [`Nodes`] holds the hint, [`Course`] is what a request makes
//! of it.

mod map;
mod nodes;
mod shards;

pub use map::{Owner, ShardMap};
pub use nodes::{Course, Nodes};
pub use shards::{BadShards, SHARDS_MAX, ShardId, Shards};
