//! Franking (mimi-protocol §5.4.1): what a sender puts into a message and what a hub adds, so that a receiver can prove
//! later that the message came through the hub. Keys and signatures are the caller's.

use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::app_data::{ComponentId, SafeAad};
use crate::codec::{Decode as _, Encode as _, wire};
use crate::content::MimiContent;
use crate::identifier::IdentifierUri;
use crate::mls::label::sign_content;
use crate::mls::{CipherSuite, Credential};
use crate::submit::Frank;

/// Octets of a franking tag, of a server_frank and of the salt's HMAC.
pub const TAG_BYTES: usize = 32;

/// The franking tag of application data: HMAC-SHA256 under the salt of the content in it. The data is exactly what is
/// encrypted, with its framing where the room frames (CHOICE A-30).
pub fn tag(salt: &[u8; 16], application_data: &[u8]) -> [u8; TAG_BYTES] {
    mac(salt, application_data).finalize().into_bytes().into()
}

/// The hub's own tag (§5.4.1.2): HMAC-SHA256 under a key that only the hub has.
pub fn server_frank(hub_key: &[u8; 32], tag: &[u8; TAG_BYTES], context: &ServerFrankingContext) -> [u8; TAG_BYTES] {
    mac(hub_key, &context.framed(tag)).finalize().into_bytes().into()
}

/// Whether `frank` is what [`server_frank`] gives. How long it takes does not tell how much of it is right.
pub fn is_server_frank(
    hub_key: &[u8; 32],
    tag: &[u8; TAG_BYTES],
    context: &ServerFrankingContext,
    frank: &[u8; TAG_BYTES],
) -> bool {
    mac(hub_key, &context.framed(tag)).verify_slice(frank).is_ok()
}

/// What a message says of itself: the sender put it there, and the tag covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The content's salt, which the tag's key is.
    pub salt: [u8; 16],
    /// Who sent it.
    pub sender_uri: IdentifierUri,
    /// To which room.
    pub room_uri: IdentifierUri,
}

impl Claim {
    /// The claim of a content; `None` where it lacks one of the two URIs.
    pub fn of(content: &MimiContent) -> Option<Self> {
        let uri = |text: &str| IdentifierUri(Bytes::copy_from_slice(text.as_bytes()));
        Some(Self {
            salt: content.salt.0,
            sender_uri: uri(content.extensions.sender_uri()?),
            room_uri: uri(content.extensions.room_uri()?),
        })
    }
}

fn mac(key: &[u8], octets: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(octets);
    mac
}

/// FrankAAD: the item of component 0x0020 in a message's SafeAAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrankAad {
    /// HMAC-SHA256 under the content's salt of the application data.
    pub franking_tag: [u8; TAG_BYTES],
}
wire!(FrankAad { franking_tag });

impl FrankAad {
    /// The tag in a message's authenticated data; `None` where that is no SafeAAD, or has no tag in it.
    pub fn of(authenticated_data: &[u8]) -> Option<Self> {
        let items = SafeAad::decode_exact(authenticated_data).ok()?;
        Self::decode_exact(items.0.get(&ComponentId::FRANK_AAD)?).ok()
    }

    /// Authenticated data that carries this tag and nothing else.
    pub fn authenticated_data(&self) -> Vec<u8> {
        SafeAad([(ComponentId::FRANK_AAD, Bytes::from(self.encode()))].into()).encode()
    }
}

/// FrankingAgentData: the value of component 0x0021 of a GroupContext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrankingAgentData {
    /// SignaturePublicKey, of the scheme of the group's cipher suite.
    pub franking_signature_key: Bytes,
    /// Whose key it is.
    pub credential: Credential,
}
wire!(FrankingAgentData {
    franking_signature_key,
    credential
});

/// ServerFrankingContext: what the hub vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFrankingContext {
    /// Who sent it: the octets as the hub received them.
    pub sender_uri: IdentifierUri,
    /// The room.
    pub room_uri: IdentifierUri,
    /// Milliseconds since the UNIX epoch, as answered and fanned out.
    pub accepted_timestamp: u64,
}
wire!(ServerFrankingContext {
    sender_uri,
    room_uri,
    accepted_timestamp
});

impl ServerFrankingContext {
    /// The input of the server_frank's HMAC, whose key is the hub's: franking_tag || context.
    pub fn framed(&self, tag: &[u8; TAG_BYTES]) -> Vec<u8> {
        [tag.as_slice(), &self.encode()].concat()
    }
}

/// FrankingIntegrityTBS: what the franking agent signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrankingIntegrityTbs {
    /// HMAC under the hub's key.
    pub server_frank: [u8; TAG_BYTES],
    /// Suite of the signature.
    pub franking_signature_ciphersuite: CipherSuite,
    /// What the hub vouches for.
    pub context: ServerFrankingContext,
}
wire!(FrankingIntegrityTbs {
    server_frank,
    franking_signature_ciphersuite,
    context
});

impl FrankingIntegrityTbs {
    /// Label of SignWithLabel (RFC 9420 §5.1.2).
    pub const LABEL: &'static str = "FrankingIntegrityTBS";

    /// What the agent signed when it gave `frank` for a message of this context.
    pub fn of(frank: &Frank, context: ServerFrankingContext) -> Self {
        Self {
            server_frank: frank.server_frank,
            franking_signature_ciphersuite: frank.franking_signature_ciphersuite,
            context,
        }
    }

    /// SignContent (RFC 9420 §5.1.2) under [`Self::LABEL`]: the octets that the signature is over.
    pub fn sign_content(&self) -> Vec<u8> {
        sign_content(Self::LABEL, &self.encode())
    }
}
