//! Franking as a room sees it (mimi-protocol §5.4.1): who its agent is, and which messages ask for a frank.

use mimi::franking::{FrankAad, FrankingAgentData, ServerFrankingContext, TAG_BYTES};
use mimi::mls::CipherSuite;
use mimi::submit::Frank;
use mimi::{AppDataDictionary, ComponentId, Decode as _, IdentifierUri};

use crate::{Keys, Millis, Refusal, Room};

/// A message that asks for a frank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrankWanted {
    pub(crate) tag: [u8; TAG_BYTES],
    /// The octets that the hub received.
    pub(crate) sender_uri: IdentifierUri,
}

/// Refuses a room whose franking agent is somebody else than this hub: nobody would ever frank there.
pub(crate) fn check_agent(dictionary: &AppDataDictionary, suite: CipherSuite, keys: &dyn Keys) -> Result<(), Refusal> {
    let Some(octets) = dictionary.component(ComponentId::FRANKING_AGENT) else {
        return Ok(());
    };
    let agent = FrankingAgentData::decode_exact(octets).map_err(|error| Refusal::Malformed(error.reason()))?;
    let Some(hub) = keys.hub(suite) else {
        return Err(Refusal::NotAllowed(
            "this hub does not frank with the room's cipher suite",
        ));
    };
    if agent.credential != hub.credential {
        return Err(Refusal::NotAllowed("a franking agent that is not this hub"));
    }
    if agent.franking_signature_key != hub.signature_key {
        return Err(Refusal::NotAllowed("a franking signature key that is not this hub's"));
    }
    Ok(())
}

impl Room {
    /// As [`check_agent`], for a change that gives the room an agent. One that it has stays, whatever became of its key.
    pub(crate) fn check_new_agent(&self, after: &AppDataDictionary, keys: &dyn Keys) -> Result<(), Refusal> {
        let agent = |dictionary: &AppDataDictionary| dictionary.component(ComponentId::FRANKING_AGENT).cloned();
        if agent(after) == agent(self.committed.dictionary()) {
            return Ok(());
        }
        check_agent(after, self.group.suite(), keys)
    }

    /// Whether a message with this authenticated data is to be franked: the room has an agent, and the message a tag.
    pub(crate) fn frank_wanted(&self, authenticated_data: &[u8], sender_uri: IdentifierUri) -> Option<FrankWanted> {
        self.committed.dictionary().component(ComponentId::FRANKING_AGENT)?;
        let FrankAad { franking_tag: tag } = FrankAad::of(authenticated_data)?;
        Some(FrankWanted { tag, sender_uri })
    }

    /// The frank of a message that is accepted at `accepted`.
    pub(crate) fn frank(&self, wanted: FrankWanted, accepted: Millis, keys: &dyn Keys) -> Option<Frank> {
        let context = ServerFrankingContext {
            sender_uri: wanted.sender_uri,
            room_uri: (&self.id).into(),
            accepted_timestamp: accepted.0,
        };
        keys.frank(self.group.suite(), &wanted.tag, &context)
    }
}
