//! What the processes of a provider share when each tier runs by itself.
//!
//! * [`Cluster`]: gRPC from node to node, over mutual TLS under a CA that signs for nobody else.
//! * [`Calls`]: requests to a hub's node, many over one stream.
//! * [`accept`]: TLS connections taken, bounded and drained; the edge's own ports use it, too.
//! * [`provider`]: the parts of a configuration that say who we are to other providers, and who they are.
//! * [`Retention`]: how long what was delivered is kept.
//! * [`process`]: from a checked configuration to ready, and from SIGTERM to drained.

pub mod accept;
pub mod calls;
mod cluster;
pub mod process;
pub mod provider;
mod retention;

pub use calls::Calls;
pub use cluster::{Cluster, ClusterFiles, Tier};
pub use retention::Retention;
