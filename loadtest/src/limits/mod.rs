//! What the machine can do without Nave, in the same sizes: what no hub can be faster than.

pub(crate) mod echo;
mod nowhere;
pub(crate) mod openmls;
pub(crate) mod quinn;
pub(crate) mod sync;

/// A process that ends when this is dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
