//! What the hub holds and a room does not: its keys, and what it knows of other providers' keys. An input of the room, as
//! the time is; whatever is signed is in the entry, so that a resend never signs again.

use bytes::Bytes;
use mimi::Provider;
use mimi::franking::{ServerFrankingContext, TAG_BYTES};
use mimi::mls::{CipherSuite, ExternalSender};
use mimi::submit::Frank;

/// The hub's keys. Each method gives `None` where there is no key for the suite; the room then does without.
pub trait Keys {
    /// The hub, as rooms of this suite name it in external_senders (RFC 9420 §12.1.8.1).
    fn hub(&self, suite: CipherSuite) -> Option<ExternalSender>;

    /// Another provider's hub, as rooms of this suite name it; `None` as long as it is not known.
    fn follower(&self, provider: &Provider, suite: CipherSuite) -> Option<ExternalSender>;

    /// SignWithLabel (RFC 9420 §5.1.2) under [`Self::hub`]'s key.
    fn sign(&self, suite: CipherSuite, label: &str, content: &[u8]) -> Option<Bytes>;

    /// The frank of a message that carries `tag` (mimi-protocol §5.4.1). The same input gives a frank that verifies as
    /// long as reports are taken.
    fn frank(&self, suite: CipherSuite, tag: &[u8; TAG_BYTES], context: &ServerFrankingContext) -> Option<Frank>;
}

/// A hub without keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn hub(&self, _: CipherSuite) -> Option<ExternalSender> {
        None
    }

    fn follower(&self, _: &Provider, _: CipherSuite) -> Option<ExternalSender> {
        None
    }

    fn sign(&self, _: CipherSuite, _: &str, _: &[u8]) -> Option<Bytes> {
        None
    }

    fn frank(&self, _: CipherSuite, _: &[u8; TAG_BYTES], _: &ServerFrankingContext) -> Option<Frank> {
        None
    }
}
