//! Whom the user knows: consent, the user's own profile, and finding others.

use bytes::Bytes;
use mimi::{Provider, RoomUri, UserUri};
use proto::follower::{ConsentBook, ConsentOperation, ListConsentsResponse, Profile};
use proto::provider::{ListConsentsCall, QueryCall, ReadProfileCall, SayConsentCall, TakeGrantedCall};

use super::{Api, ApiError, outcome};

/// Something said about consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Asked, taken back, granted or revoked.
    pub operation: ConsentOperation,
    /// The other user.
    pub other: UserUri,
    /// For which room; `None` for any.
    pub room: Option<RoomUri>,
    /// With a grant: KeyPackages that nobody else gets.
    pub key_packages: Vec<Bytes>,
    /// A revocation that the other's provider is not told.
    pub silently: bool,
}

impl Api {
    /// Says something about consent; the provider has it then, and the other's provider, if it is to be told.
    pub async fn say_consent(&self, consent: &Consent) -> Result<(), ApiError> {
        let call = SayConsentCall {
            operation: consent.operation.into(),
            other: consent.other.to_string(),
            room: scope(consent.room.as_ref()),
            key_packages: consent.key_packages.clone(),
            silently: consent.silently,
        };
        outcome(self.contacts.clone().say_consent(call).await?.into_inner()).map(drop)
    }

    /// One page of a book of consents, behind the scope (other, room) with which the page before ended.
    pub async fn list_consents(
        &self,
        book: ConsentBook,
        (after_other, after_room): (String, String),
    ) -> Result<ListConsentsResponse, ApiError> {
        let call = ListConsentsCall {
            book: book.into(),
            after_other,
            after_room,
        };
        Ok(self.contacts.clone().list_consents(call).await?.into_inner())
    }

    /// The KeyPackages that came with a grant of `other`: once. They are unchecked.
    pub async fn take_granted(&self, other: &UserUri, room: Option<&RoomUri>) -> Result<Vec<Bytes>, ApiError> {
        let call = TakeGrantedCall {
            other: other.to_string(),
            room: scope(room),
        };
        Ok(self
            .contacts
            .clone()
            .take_granted(call)
            .await?
            .into_inner()
            .key_packages)
    }

    /// Replaces the user's profile.
    pub async fn set_profile(&self, profile: Profile) -> Result<(), ApiError> {
        self.contacts.clone().set_profile(profile).await?;
        Ok(())
    }

    /// The user's profile.
    pub async fn read_profile(&self) -> Result<Profile, ApiError> {
        Ok(self
            .contacts
            .clone()
            .read_profile(ReadProfileCall {})
            .await?
            .into_inner())
    }

    /// IdentifierRequest to IdentifierResponse (mimi-protocol §5.8), about the users of `provider`.
    pub async fn query(&self, provider: &Provider, body: Bytes) -> Result<Bytes, ApiError> {
        let call = QueryCall {
            provider: provider.to_string(),
            body,
        };
        outcome(self.contacts.clone().query(call).await?.into_inner())
    }
}

/// Empty: any room.
fn scope(room: Option<&RoomUri>) -> String {
    room.map(RoomUri::to_string).unwrap_or_default()
}
