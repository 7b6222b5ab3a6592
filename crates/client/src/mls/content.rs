//! Message contents (mimi-content) on their way out and in: who says what where, in the framing that the room asks for.
//! Nothing is rendered, and nobody's right to edit or delete is judged.

use bytes::Bytes;
use mimi::codec::{Decode as _, Encode as _};
use mimi::content::{ApplicationFraming, MessageId, MimiContent, NestedPart, Salt};
use mimi::franking::{self, FrankAad};
use mimi::operational::MediaType;
use mimi::{ComponentId, RoomUri, UserUri};
use openmls::framing::SafeAadItem;
use openmls::group::GroupContext;
use openmls::prelude::{Extensions, OpenMlsProvider as _, OpenMlsRand as _};

use super::{Member, MemberError, Room, dictionary, wire};

/// A message content and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its id (mimi-content §3.3), the same at everybody.
    pub id: MessageId,
    /// What was said.
    pub content: MimiContent,
}

/// What the application data of a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A message content that names its sender and its room rightly, if at all.
    Mimi(Box<Said>),
    /// Something of another media type.
    Other(Box<ApplicationFraming>),
    /// Octets that do not say what they are.
    Raw,
    /// Called a message content, and none to accept: why.
    Refused(&'static str),
}

impl Content {
    /// The message content, if it is one.
    pub fn said(&self) -> Option<&Said> {
        match self {
            Self::Mimi(said) => Some(said),
            _ => None,
        }
    }
}

/// A message content about to be submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// SubmitMessageRequest.
    pub request: Bytes,
    /// The message's id. It stays when the same content is encrypted again.
    pub id: MessageId,
}

impl Member {
    /// A content of this user for this room, with a salt of its own. Extend it as needed before it is sent.
    pub fn compose(&self, room: &RoomUri, body: NestedPart) -> Result<MimiContent, MemberError> {
        Ok(MimiContent::new(self.salt()?, &self.user_in(room), room, body))
    }

    /// A fresh salt, for an edit or a deletion.
    pub fn salt(&self) -> Result<Salt, MemberError> {
        let provider = &self.identity.provider;
        Ok(Salt(provider.rand().random_array().map_err(MemberError::mls)?))
    }

    /// SubmitMessageRequest (mimi-protocol §5.4) with this content, framed if the room frames, and with a franking tag if
    /// the room has a franking agent.
    ///
    /// # Errors
    /// [`MemberError::PendingProposals`]: commit them first. A receiver would refuse the content.
    pub fn send_content(&mut self, room: &RoomUri, content: &MimiContent) -> Result<Outgoing, MemberError> {
        let user = self.user_in(room);
        let own = content.extensions.sender_uri() == Some(user.as_str());
        if !own || content.extensions.room_uri() != Some(room.as_str()) {
            return Err(MemberError::Refused("a content of another sender or for another room"));
        }
        let octets = content
            .seal()
            .map_err(|_| MemberError::Refused("a content that breaks a limit"))?;
        let id = MessageId::of(&user, room, &octets, &content.salt);
        let extensions = self.room(room)?.group.extensions();
        let has = |component| dictionary::component(extensions, component).is_some();
        let data = if has(ComponentId::CONTENT_MEDIA_TYPES) {
            ApplicationFraming::of_content(octets).encode()
        } else {
            octets
        };
        let franked = has(ComponentId::SAFE_AAD) && has(ComponentId::FRANKING_AGENT);
        let tag = franked.then(|| FrankAad {
            franking_tag: franking::tag(&content.salt.0, &data),
        });
        let request = self.encrypt(room, data.into(), tag)?;
        Ok(Outgoing { request, id })
    }

    /// SubmitMessageRequest with application data as it is: unframed and without a tag.
    ///
    /// # Errors
    /// [`MemberError::PendingProposals`]: commit them first.
    pub fn send(&mut self, room: &RoomUri, data: &[u8]) -> Result<Bytes, MemberError> {
        self.encrypt(room, Bytes::copy_from_slice(data), None)
    }

    fn encrypt(&mut self, room: &RoomUri, data: Bytes, tag: Option<FrankAad>) -> Result<Bytes, MemberError> {
        let state = self.rooms.get_mut(room).ok_or(MemberError::NotInRoom)?;
        let identity = state.identity.clone();
        if state.is_leaving() {
            return Err(MemberError::Leaving);
        }
        if state.group.pending_proposals().next().is_some() {
            return Err(MemberError::PendingProposals);
        }
        let items = tag.map(|tag| SafeAadItem::new(ComponentId::FRANK_AAD.0, tag.encode()));
        state
            .group
            .set_safe_aad(items.into_iter().collect())
            .map_err(MemberError::mls)?;
        let signing = identity.signing(state.suite());
        let message = state
            .group
            .create_message(&identity.provider, &signing.signer, &data)
            .map_err(MemberError::mls)?
            .to_bytes()
            .map_err(MemberError::mls)?;
        let request = wire::submit(&message, &identity.uri.user())?;
        state.recent.sent(&message, data);
        Ok(request)
    }
}

impl Room {
    /// What application data of `sender` is in this room.
    pub(super) fn open(&self, room: &RoomUri, sender: &UserUri, data: &Bytes) -> Content {
        let Some(types) = dictionary::component(self.group.extensions(), ComponentId::CONTENT_MEDIA_TYPES) else {
            return match MimiContent::decode_shared(data) {
                Ok(content) => said(room, sender, content, data),
                Err(_) => Content::Raw,
            };
        };
        let Ok(framing) = ApplicationFraming::decode_shared(data) else {
            return Content::Raw;
        };
        let types: Vec<MediaType> = Vec::decode_exact(types).unwrap_or_default();
        if !framing.is_content(types.first()) {
            return Content::Other(Box::new(framing));
        }
        match MimiContent::decode_shared(&framing.content) {
            Ok(content) => said(room, sender, content, &framing.content),
            Err(_) => Content::Refused("not a message content"),
        }
    }

    /// The value of the franking agent's component.
    pub(super) fn franking_agent(extensions: &Extensions<GroupContext>) -> Option<&[u8]> {
        dictionary::component(extensions, ComponentId::FRANKING_AGENT)
    }
}

/// The URIs in a content are the sender's word: here they are held against what MLS and the hub vouch for.
fn said(room: &RoomUri, sender: &UserUri, content: MimiContent, octets: &[u8]) -> Content {
    let other = |named: Option<&str>, is: &str| named.is_some_and(|named| named != is);
    if other(content.extensions.sender_uri(), sender.as_str()) {
        return Content::Refused("the content names another sender");
    }
    if other(content.extensions.room_uri(), room.as_str()) {
        return Content::Refused("the content names another room");
    }
    Content::Mimi(Box::new(Said {
        id: MessageId::of(sender, room, octets, &content.salt),
        content,
    }))
}
