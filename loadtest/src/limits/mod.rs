//! What the machine can do without Nave, in the same sizes: what no hub can be faster than.

pub(crate) mod quinn;
pub(crate) mod sync;
