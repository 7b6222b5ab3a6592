//! Whom this user lets add it, who lets this user, and whom it can find.

use bytes::Bytes;
use mimi::codec::{Decode as _, Encode as _};
use mimi::identifier::{IdentifierRequest, IdentifierResponse};
use mimi::{Provider, RoomUri, UserUri};
use proto::follower::{Consent as Listed, ConsentBook, ConsentOperation, Profile};

use super::retry::persist;
use super::{Session, SessionError};
use crate::api::Consent;
use crate::mls::{CIPHERSUITE, MemberError};

/// Pages of a book of consents that are read at most.
const PAGES_MAX: usize = 64;

impl Session {
    /// Asks another user for consent to be added, to one room or any.
    pub async fn request_consent(&self, other: &UserUri, room: Option<&RoomUri>) -> Result<(), SessionError> {
        self.consent(ConsentOperation::Request, other, room, Vec::new()).await
    }

    /// Takes such a request back.
    pub async fn cancel_consent(&self, other: &UserUri, room: Option<&RoomUri>) -> Result<(), SessionError> {
        self.consent(ConsentOperation::Cancel, other, room, Vec::new()).await
    }

    /// Lets another user add this one, and gives it this many KeyPackages of this client for that.
    pub async fn grant_consent(
        &self,
        other: &UserUri,
        room: Option<&RoomUri>,
        key_packages: usize,
    ) -> Result<(), SessionError> {
        let key_packages = self.member(|member| member.key_packages_in(CIPHERSUITE, key_packages))?;
        self.consent(ConsentOperation::Grant, other, room, key_packages).await
    }

    /// Lets another user add this one no more.
    pub async fn revoke_consent(&self, other: &UserUri, room: Option<&RoomUri>) -> Result<(), SessionError> {
        self.consent(ConsentOperation::Revoke, other, room, Vec::new()).await
    }

    async fn consent(
        &self,
        operation: ConsentOperation,
        other: &UserUri,
        room: Option<&RoomUri>,
        key_packages: Vec<Bytes>,
    ) -> Result<(), SessionError> {
        let shared = &self.shared;
        let consent = Consent {
            operation,
            other: other.clone(),
            room: room.cloned(),
            key_packages,
            silently: false,
        };
        Ok(persist(shared.deadline(), || shared.api.say_consent(&consent)).await?)
    }

    /// Everything in one of the user's books of consents.
    pub async fn consents(&self, book: ConsentBook) -> Result<Vec<Listed>, SessionError> {
        let shared = &self.shared;
        let deadline = shared.deadline();
        let (mut consents, mut after) = (Vec::new(), (String::new(), String::new()));
        for _ in 0..PAGES_MAX {
            let page = persist(deadline, || shared.api.list_consents(book, after.clone())).await?;
            consents.extend(page.consents);
            if !page.more {
                break;
            }
            after = (page.last_other, page.last_room);
        }
        Ok(consents)
    }

    /// Adds a user with the KeyPackages that came with its grant.
    pub async fn add_granted(
        &self,
        room: &RoomUri,
        user: &UserUri,
        role: u32,
        scope: Option<&RoomUri>,
    ) -> Result<u64, SessionError> {
        let shared = &self.shared;
        // Not repeated: a second call gives nothing.
        let key_packages = shared.api.take_granted(user, scope).await?;
        shared
            .handshake(room, |member| member.add_user(room, user, role, &key_packages))
            .await
    }

    /// Replaces the user's profile: who may add it, and what others find it by.
    pub async fn set_profile(&self, profile: &Profile) -> Result<(), SessionError> {
        let shared = &self.shared;
        Ok(persist(shared.deadline(), || shared.api.set_profile(profile.clone())).await?)
    }

    /// The user's profile.
    pub async fn profile(&self) -> Result<Profile, SessionError> {
        let shared = &self.shared;
        Ok(persist(shared.deadline(), || shared.api.read_profile()).await?)
    }

    /// Searches the users of a provider (identifierQuery, mimi-protocol §5.8).
    pub async fn find(
        &self,
        provider: &Provider,
        request: &IdentifierRequest,
    ) -> Result<IdentifierResponse, SessionError> {
        let shared = &self.shared;
        let body = Bytes::from(request.encode());
        let response = persist(shared.deadline(), || shared.api.query(provider, body.clone())).await?;
        Ok(IdentifierResponse::decode_exact(&response).map_err(|_| MemberError::Malformed("an IdentifierResponse"))?)
    }
}
