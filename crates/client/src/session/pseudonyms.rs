//! Minimal-metadata rooms: being invited into one, under a pseudonym.

use bytes::Bytes;
use mimi::{ClientUri, UserUri};

use super::retry::persist;
use super::{Session, SessionError};
use crate::mls::Invitation;

impl Session {
    /// Makes a pseudonym of this user for the room of an invitation, with a KeyPackage of this client alone. Tell it to who
    /// invited, who adds it like a user.
    pub async fn accept_invitation(&self, invitation: &Invitation) -> Result<UserUri, SessionError> {
        let (pseudonym, key_package) = self.member(|member| {
            let pseudonym = member.new_pseudonym()?;
            let key_package = member.pseudonymous_key_package(invitation, &pseudonym)?;
            Ok::<_, SessionError>((pseudonym, key_package))
        })?;
        self.upload_set(vec![(self.shared.client.clone(), key_package)]).await?;
        Ok(pseudonym)
    }

    /// Joins the room of an invitation from outside: under the pseudonym of another client of this user, which told it of
    /// both; or, where the room lets anybody in, under a [new one](crate::mls::Member::new_pseudonym) in `role`.
    pub async fn join_under(
        &self,
        invitation: &Invitation,
        pseudonym: &UserUri,
        role: Option<u32>,
    ) -> Result<u64, SessionError> {
        let shared = &self.shared;
        persist(shared.deadline(), || {
            shared.api.register_pseudonym(&shared.client, pseudonym)
        })
        .await?;
        self.join_as(&invitation.room, role, |member, _| {
            member.group_info_request_under(invitation, pseudonym)
        })
        .await
    }

    /// Uploads what clients of this user made under one pseudonym
    /// ([`Member::pseudonymous_key_package`](crate::mls::Member::pseudonymous_key_package)): they are added together.
    pub async fn upload_set(&self, key_packages: Vec<(ClientUri, Bytes)>) -> Result<(), SessionError> {
        let shared = &self.shared;
        persist(shared.deadline(), || {
            shared.api.upload_key_package_set(&shared.client, key_packages.clone())
        })
        .await?;
        Ok(())
    }
}
