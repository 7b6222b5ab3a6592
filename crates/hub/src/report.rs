//! What the messages of an abuse report prove (mimi-protocol §5.9). Pure: nothing is stored, and a bad message does not
//! spoil the good ones beside it.

use mimi::abuse::AbusiveMessage;
use mimi::content::ApplicationFraming;
use mimi::franking::{Claim, FrankingIntegrityTbs, ServerFrankingContext, tag};
use mimi::{Decode as _, IdentifierUri, MimiContent, RoomUri};

use crate::frank::Found;
use crate::keys::HubKeys;

/// What the hub finds of one reported message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The accused sent it to this room through this hub, at this time.
    Valid,
    /// Not what went through this hub, for this reason.
    Invalid(&'static str),
    /// It cannot be said, for this reason.
    Unverifiable(&'static str),
}

impl Verdict {
    /// Why; empty when it is valid.
    pub fn why(&self) -> &'static str {
        match self {
            Self::Valid => "",
            Self::Invalid(why) | Self::Unverifiable(why) => why,
        }
    }
}

impl HubKeys {
    /// Judges a message that was reported in `room` as sent by `accused`. `framed`: the room's application data is framed.
    pub fn judge_report(
        &self,
        room: &RoomUri,
        accused: &IdentifierUri,
        framed: bool,
        message: &AbusiveMessage,
    ) -> Verdict {
        let Some(content) = content(&message.message_content, framed) else {
            return Verdict::Unverifiable("no message content, hence no salt");
        };
        let Some(claim) = Claim::of(&content) else {
            return Verdict::Unverifiable("the content names no sender or no room");
        };
        if claim.room_uri.octets() != room.as_str().as_bytes() {
            return Verdict::Invalid("a message of another room");
        }
        if claim.sender_uri != *accused {
            return Verdict::Invalid("a message of another sender");
        }
        let frank = &message.frank;
        let Ok((_, key)) = self.key(frank.franking_signature_ciphersuite) else {
            return Verdict::Unverifiable("a cipher suite with which this hub does not frank");
        };
        let context = ServerFrankingContext {
            sender_uri: claim.sender_uri,
            room_uri: claim.room_uri,
            accepted_timestamp: message.accepted_timestamp,
        };
        let tag = tag(&claim.salt, &message.message_content);
        match self.ring().find(&tag, &context, &frank.server_frank) {
            Found::NoKey => return Verdict::Unverifiable("the franking key of that time is gone"),
            Found::Forged => return Verdict::Invalid("a frank that is not this hub's"),
            Found::Genuine => {}
        }
        let signed = FrankingIntegrityTbs::of(frank, context).sign_content();
        if !key.verifies(&signed, &frank.franking_integrity_signature) {
            return Verdict::Invalid("a franking signature that is not this hub's");
        }
        Verdict::Valid
    }
}

/// The content of application data. A room that frames may not always have done so; the tag is over the whole data, so a
/// reading that is not the sender's verifies nothing.
fn content(data: &[u8], framed: bool) -> Option<MimiContent> {
    let framing = framed.then(|| ApplicationFraming::decode_exact(data).ok()).flatten();
    let inner = framing.and_then(|framing| MimiContent::decode_exact(&framing.content).ok());
    inner.or_else(|| MimiContent::decode_exact(data).ok())
}
