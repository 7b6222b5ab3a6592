//! Joining from outside, and joining again where entries of a room are lost (RFC 9420 §12.4.3.2).

use bytes::Bytes;
use mimi::RoomUri;
use openmls::prelude::Ciphersuite;
use tokio::time::Instant;

use super::retry::persist;
use super::{SessionError, Shared};
use crate::mls::{Answered, CIPHERSUITE, JoinKeys, Lost, Member, MemberError};

impl Shared {
    /// Takes the place of this client in a room that it lost.
    pub(super) async fn rejoin(&self, room: &RoomUri, lost: &Lost) -> Result<u64, SessionError> {
        let _turn = self.turn(room).await;
        let ask = |member: &Member, suite| member.group_info_request_again(room, suite, lost);
        self.join_once_followed(room, None, ask, self.deadline()).await
    }

    pub(super) async fn join_once_followed(
        &self,
        room: &RoomUri,
        role: Option<u32>,
        ask: impl Fn(&Member, Ciphersuite) -> Result<(Bytes, JoinKeys), MemberError>,
        deadline: Instant,
    ) -> Result<u64, SessionError> {
        let mut suite = CIPHERSUITE;
        loop {
            let (request, keys) = ask(&self.member(), suite)?;
            let response = persist(deadline, || self.api.group_info(&self.client, room, request.clone())).await?;
            let made = self.member().join_by_external_commit(&response, &keys, role);
            let body = match made {
                // Only the GroupInfo tells; the hub answers with the key of the suite that it is asked in.
                Err(MemberError::OtherSuite(other)) if suite == CIPHERSUITE => {
                    suite = other;
                    continue;
                }
                made => made?,
            };
            match self.settle(room, body, deadline).await? {
                Answered::Accepted(time) => return Ok(time),
                Answered::WrongEpoch(_) if Instant::now() < deadline => {}
                Answered::WrongEpoch(_) => return Err(SessionError::TimedOut),
                Answered::NotAllowed(why) | Answered::InvalidProposal(why) => {
                    return Err(SessionError::NotAllowed(why));
                }
            }
        }
    }
}
