//! Waiting for a key to change.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::Error;

/// Becomes ready when the watched key no longer has the value that its transaction saw.
///
/// It may become ready without a change, and may miss a change that was undone; so read the key again. Dropping it
/// stops waiting.
pub struct Watch(Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>);

impl Watch {
    /// A watch that is ready when `changed` is. For backends.
    pub fn new(changed: impl Future<Output = Result<(), Error>> + Send + 'static) -> Self {
        Self(Box::pin(changed))
    }
}

impl Future for Watch {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
