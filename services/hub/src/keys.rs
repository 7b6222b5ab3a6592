//! What rooms are handed of keys: the hub's own, and those of other providers' hubs as their directories publish them.

use std::sync::Arc;

use bytes::Bytes;
use hub::keys::HubKeys;
use mimi::Provider;
use mimi::franking::{ServerFrankingContext, TAG_BYTES};
use mimi::mls::{CipherSuite, ExternalSender};
use mimi::submit::Frank;
use peer::Peers;
use room::Keys;

/// See the module. A provider whose directory was not read yet is not known; asking for it reads it in the background.
pub(crate) struct RoomKeys {
    pub(crate) ours: Arc<HubKeys>,
    pub(crate) peers: Peers,
}

impl Keys for RoomKeys {
    fn hub(&self, suite: CipherSuite) -> Option<ExternalSender> {
        self.ours.hub(suite)
    }

    fn follower(&self, provider: &Provider, suite: CipherSuite) -> Option<ExternalSender> {
        self.peers.hub_sender(provider, suite)
    }

    fn sign(&self, suite: CipherSuite, label: &str, content: &[u8]) -> Option<Bytes> {
        self.ours.sign(suite, label, content)
    }

    fn frank(&self, suite: CipherSuite, tag: &[u8; TAG_BYTES], context: &ServerFrankingContext) -> Option<Frank> {
        self.ours.frank(suite, tag, context)
    }
}
