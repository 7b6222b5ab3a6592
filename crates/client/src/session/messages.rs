//! Saying something in a room, and reporting what was said.

use bytes::Bytes;
use mimi::content::{MessageId, MimiContent, NestedPart};
use mimi::{RoomUri, UserUri};

use super::retry::persist;
use super::{Session, SessionError};
use crate::mls::{Member, MemberError, Message, Submitted};

/// A message content that the hub accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The message's id.
    pub id: MessageId,
    /// When the hub accepted it, in milliseconds since the UNIX epoch.
    pub accepted: u64,
}

impl Session {
    /// Says something new in the room, after committing what is pending. Returns when the hub accepted it.
    pub async fn say(&self, room: &RoomUri, body: NestedPart) -> Result<Sent, SessionError> {
        let content = self.member(|member| member.compose(room, body))?;
        self.send_content(room, &content).await
    }

    /// Sends a message content of this user for this room ([`Member::compose`]), after committing what is pending.
    pub async fn send_content(&self, room: &RoomUri, content: &MimiContent) -> Result<Sent, SessionError> {
        let (accepted, id) = self
            .submit(room, |member| {
                let outgoing = member.send_content(room, content)?;
                Ok((outgoing.request, outgoing.id))
            })
            .await?;
        Ok(Sent { id, accepted })
    }

    /// Sends application data as it is, after committing what is pending. Returns when the hub accepted it.
    pub async fn send(&self, room: &RoomUri, data: &[u8]) -> Result<u64, SessionError> {
        let sent = self.submit(room, |member| Ok((member.send(room, data)?, ())));
        Ok(sent.await?.0)
    }

    /// Encrypts and submits, anew for each epoch that turned out to be too old.
    async fn submit<T>(
        &self,
        room: &RoomUri,
        mut make: impl FnMut(&mut Member) -> Result<(Bytes, T), MemberError>,
    ) -> Result<(u64, T), SessionError> {
        let shared = &self.shared;
        let deadline = shared.deadline();
        loop {
            let made = make(&mut shared.member());
            let (request, sent) = match made {
                Ok(made) => made,
                Err(MemberError::PendingProposals) => {
                    match self.commit_pending(room).await {
                        // Somebody else was quicker.
                        Ok(_) | Err(SessionError::Member(MemberError::NothingPending)) => continue,
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error.into()),
            };
            let response = persist(deadline, || shared.api.submit(&shared.client, room, request.clone())).await?;
            match Member::submitted(&response)? {
                Submitted::Accepted(time) => return Ok((time, sent)),
                Submitted::EpochTooOld(current) => shared.catch_up(room, current, deadline).await?,
                Submitted::NotAllowed => return Err(SessionError::NotAllowed("the message".to_owned())),
            }
        }
    }

    /// Reports messages of one user to the hub, which then can tell that they came through it.
    pub async fn report_abuse(&self, room: &RoomUri, messages: &[Message], note: &str) -> Result<(), SessionError> {
        let shared = &self.shared;
        let report = shared.member().report(room, messages, 0, note)?;
        Ok(persist(shared.deadline(), || {
            shared.api.report_abuse(&shared.client, room, report.clone())
        })
        .await?)
    }

    /// Changes a participant's role. Returns when the hub accepted the commit.
    pub async fn set_role(&self, room: &RoomUri, user: &UserUri, role: u32) -> Result<u64, SessionError> {
        self.shared
            .handshake(room, |member| member.set_role(room, user, role))
            .await
    }

    /// Keeps a user out, be it a participant or not.
    pub async fn ban(&self, room: &RoomUri, user: &UserUri) -> Result<u64, SessionError> {
        self.shared.handshake(room, |member| member.ban(room, user)).await
    }

    /// Takes a ban back: the user is a participant in `role` again, without clients.
    pub async fn unban(&self, room: &RoomUri, user: &UserUri, role: u32) -> Result<u64, SessionError> {
        self.shared
            .handshake(room, |member| member.unban(room, user, role))
            .await
    }

    /// Takes all clients of a user out of the group; it stays a participant.
    pub async fn kick(&self, room: &RoomUri, user: &UserUri) -> Result<u64, SessionError> {
        self.shared.handshake(room, |member| member.kick(room, user)).await
    }
}
