//! The simulated provider's keys: the same for each of its hubs, so that whoever decides again signs the same octets.

use std::sync::LazyLock;

use bytes::Bytes;
use hub::keys::HubKeys;
use mimi::franking::{FrankingIntegrityTbs, ServerFrankingContext, TAG_BYTES, server_frank};
use mimi::mls::{CipherSuite, ExternalSender};
use mimi::submit::Frank;
use mimi::{Encode as _, Provider, RoomUri};
use room::Keys;
use room::command::GroupInfoGrant;

use crate::scenario::FOLLOWERS;

static HUB: LazyLock<HubKeys> = LazyLock::new(|| {
    let provider: Provider = FOLLOWERS[0].parse().expect("it is a domain");
    HubKeys::generate(provider).expect("the operating system has random octets")
});

/// The one key of all simulated franks.
const HUB_KEY: [u8; 32] = [0x5a; 32];

/// The answer to a GroupInfoRequest, which its client alone reads.
pub(crate) fn seal(room: &RoomUri, grant: &GroupInfoGrant) -> Option<Bytes> {
    HUB.seal_group_info(room, grant).ok()
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimKeys;

impl Keys for SimKeys {
    fn hub(&self, suite: CipherSuite) -> Option<ExternalSender> {
        HUB.external_sender(suite).ok()
    }

    fn follower(&self, _: &Provider, _: CipherSuite) -> Option<ExternalSender> {
        None
    }

    fn sign(&self, suite: CipherSuite, label: &str, content: &[u8]) -> Option<Bytes> {
        HUB.sign(suite, label, content)
    }

    fn frank(&self, suite: CipherSuite, tag: &[u8; TAG_BYTES], context: &ServerFrankingContext) -> Option<Frank> {
        let tbs = FrankingIntegrityTbs {
            server_frank: server_frank(&HUB_KEY, tag, context),
            franking_signature_ciphersuite: suite,
            context: context.clone(),
        };
        Some(Frank {
            server_frank: tbs.server_frank,
            franking_signature_ciphersuite: suite,
            franking_integrity_signature: self.sign(suite, FrankingIntegrityTbs::LABEL, &tbs.encode())?,
        })
    }
}
