//! Franks as a receiver checks and keeps them (mimi-protocol §5.4.1), and the reports of abuse that they make possible.

use bytes::Bytes;
use mimi::abuse::{AbuseReport, AbusiveMessage};
use mimi::codec::{Decode as _, Encode as _};
use mimi::franking::{self, FrankAad, FrankingAgentData, FrankingIntegrityTbs, ServerFrankingContext};
use mimi::limits::ABUSIVE_MESSAGES_MAX;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::Frank;
use mimi::{AppDataDictionary, RoomUri};
use openmls::prelude::Ciphersuite;

use super::content::Said;
use super::identity::Identity;
use super::{Content, Member, MemberError, Message};

/// What a receiver found of a message's frank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Franked {
    /// The room's franking agent vouches for the message, its sender, its room and its time.
    Verified,
    /// There is none: the message cannot be proven to the hub.
    Absent,
    /// There is one, and it proves nothing: why.
    Bad(&'static str),
}

/// What a frank is held against.
pub(super) struct Witness<'a> {
    pub(super) identity: &'a Identity,
    pub(super) room: &'a RoomUri,
    pub(super) suite: Ciphersuite,
    /// FrankingAgentData of the room, encoded.
    pub(super) agent: Option<&'a [u8]>,
}

impl Witness<'_> {
    /// The frank of a message and what it is worth. `data` is the application data, `content` what it was read as.
    pub(super) fn judge(&self, fanout: &FanoutMessage, data: &[u8], content: &Content) -> (Option<Frank>, Franked) {
        let FanoutContent::Application { frank, .. } = &fanout.content else {
            return (None, Franked::Absent);
        };
        let Some(frank) = frank else {
            return (None, Franked::Absent);
        };
        let franked = match self.check(fanout, frank, data, content) {
            Ok(()) => Franked::Verified,
            Err(why) => Franked::Bad(why),
        };
        (Some(frank.clone()), franked)
    }

    fn check(&self, fanout: &FanoutMessage, frank: &Frank, data: &[u8], content: &Content) -> Result<(), &'static str> {
        let agent = self.agent.ok_or("the room has no franking agent")?;
        let agent = FrankingAgentData::decode_exact(agent).map_err(|_| "the franking agent is malformed")?;
        if agent.credential.provider().as_ref() != Some(self.room.provider()) {
            return Err("the franking agent is not the hub");
        }
        if frank.franking_signature_ciphersuite != u16::from(self.suite) {
            return Err("the frank is of another cipher suite");
        }
        let Said { content, .. } = match content {
            Content::Mimi(said) => &**said,
            Content::Refused(why) => return Err(why),
            Content::Other(_) | Content::Raw => return Err("not a message content"),
        };
        let extensions = &content.extensions;
        let (sender, room) = extensions
            .sender_uri()
            .zip(extensions.room_uri())
            .ok_or("the content names no sender or no room")?;
        let tbs = FrankingIntegrityTbs {
            server_frank: frank.server_frank,
            franking_signature_ciphersuite: frank.franking_signature_ciphersuite,
            context: ServerFrankingContext {
                sender_uri: mimi::IdentifierUri(Bytes::copy_from_slice(sender.as_bytes())),
                room_uri: mimi::IdentifierUri(Bytes::copy_from_slice(room.as_bytes())),
                accepted_timestamp: fanout.timestamp,
            },
        };
        self.identity
            .verify(
                self.suite,
                FrankingIntegrityTbs::LABEL,
                &tbs.encode(),
                &agent.franking_signature_key,
                &frank.franking_integrity_signature,
            )
            .map_err(|_| "the franking agent did not sign this")?;
        let authenticated = fanout.message().authenticated_data();
        let tag = authenticated.and_then(|octets| FrankAad::of(octets));
        match tag {
            Some(tag) if tag.franking_tag == franking::tag(&content.salt.0, data) => Ok(()),
            Some(_) => Err("the tag is not that of the content"),
            None => Err("the message has no tag"),
        }
    }
}

impl Member {
    /// AbuseReport (mimi-protocol §5.9) on messages of one user in the room, with the franks that they came with. `reason_code` is
    /// the draft's AbuseType, of which it defines none but 0.
    ///
    /// # Errors
    /// No message, too many, of several users, or one without a frank: the hub could not tell what it was.
    pub fn report(
        &self,
        room: &RoomUri,
        messages: &[Message],
        reason_code: u8,
        note: &str,
    ) -> Result<Bytes, MemberError> {
        let [first, others @ ..] = messages else {
            return Err(MemberError::Refused("a report on no message"));
        };
        let abuser = first.sender.user();
        if others.iter().any(|other| other.sender.user() != abuser) {
            return Err(MemberError::Refused("a report on several users"));
        }
        if messages.len() > ABUSIVE_MESSAGES_MAX {
            return Err(MemberError::Refused("a report on too many messages"));
        }
        let unfranked = MemberError::Refused("a message without a frank");
        let messages: Option<Vec<AbusiveMessage>> = messages
            .iter()
            .map(|message| {
                Some(AbusiveMessage {
                    message_content: message.data.clone(),
                    frank: message.frank.as_deref()?.clone(),
                    accepted_timestamp: message.accepted,
                })
            })
            .collect();
        let report = AbuseReport {
            reporting_user: (&self.user_in(room)).into(),
            alleged_abuser: (&abuser).into(),
            reason_code,
            note: Bytes::copy_from_slice(note.as_bytes()),
            messages: messages.ok_or(unfranked)?,
            extensions: AppDataDictionary::default(),
        };
        Ok(report.encode().into())
    }
}
