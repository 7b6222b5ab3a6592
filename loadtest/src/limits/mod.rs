//! What the machine can do without Nave, in the same sizes: what no hub can be faster than.

mod nowhere;
pub(crate) mod openmls;
pub(crate) mod quinn;
pub(crate) mod sync;
