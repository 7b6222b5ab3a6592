//! The way to other providers, as the edge needs it.

use async_trait::async_trait;
use mimi::Provider;
use proto::link::{Answer, Call};

/// Another provider gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no answer from the other provider: {0}")]
pub struct Unreachable(pub String);

/// Brings requests to other providers.
#[async_trait]
pub trait Relay: Send + Sync + 'static {
    /// Brings one request to `to` and returns its answer, whatever the status.
    async fn request(&self, to: &Provider, call: Call) -> Result<Answer, Unreachable>;
}

#[async_trait]
impl Relay for peer::Peers {
    async fn request(&self, to: &Provider, call: Call) -> Result<Answer, Unreachable> {
        Self::request(self, to, call)
            .await
            .map_err(|error| Unreachable(error.to_string()))
    }
}
