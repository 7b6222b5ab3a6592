//! Minimal-metadata rooms (mimi-protocol §6): each client and each participant goes by a pseudonym, and by nothing else.
//!
//! The drafts have no flag for such a room. Here it is one whose base policy allows pseudonyms and whose operational policy
//! (mls_operational_policy) has the type of pseudonymous credentials among the mandatory capabilities. It is so from its
//! first epoch to its last.

use mimi::ClientUri;

use crate::{RoomView, Violation};

/// CredentialType of a pseudonymous credential, from the range for private use.
pub const PSEUDONYMOUS: u16 = mimi::mls::Credential::PSEUDONYMOUS;

impl RoomView {
    /// Whether only pseudonyms may be in it.
    pub fn is_minimal_metadata(&self) -> bool {
        self.base.pseudonyms_allowed && self.demands_pseudonyms()
    }

    fn demands_pseudonyms(&self) -> bool {
        self.operational()
            .is_some_and(|operational| operational.mandatory_capabilities.credentials.contains(&PSEUDONYMOUS))
    }

    /// Refuses a leaf whose CredentialType the room does not have, whether its client comes in or is there.
    ///
    /// # Errors
    /// A pseudonym where there may be none; a real name where all are pseudonyms (MM-1).
    pub fn check_credential(&self, credential_type: u16) -> Result<(), Violation> {
        let pseudonymous = credential_type == PSEUDONYMOUS;
        if pseudonymous && !self.base.pseudonyms_allowed {
            return Err(Violation::Invalid("a pseudonym in a room without pseudonyms"));
        }
        if !pseudonymous && self.is_minimal_metadata() {
            return Err(Violation::Invalid("a real name in a room of pseudonyms"));
        }
        Ok(())
    }

    /// The participants of a room of pseudonyms have no other names (MM-2: a client's user is in the list by the pseudonym
    /// that its credential has).
    pub(crate) fn check_pseudonyms(&self) -> Result<(), Violation> {
        if !self.base.pseudonyms_allowed {
            return match self.demands_pseudonyms() {
                true => Err(Violation::Invalid("pseudonyms are demanded and not allowed")),
                false => Ok(()),
            };
        }
        if self.demands_pseudonyms() && !self.held.keys().all(|user| user.is_pseudonym()) {
            return Err(Violation::Invalid(
                "a participant with a real name in a room of pseudonyms",
            ));
        }
        Ok(())
    }

    /// What there is of real names cannot be taken back, and pseudonyms are not uncovered.
    pub(crate) fn check_same_metadata(&self, before: &Self) -> Result<(), Violation> {
        match self.is_minimal_metadata() == before.is_minimal_metadata() {
            true => Ok(()),
            false => Err(Violation::Invalid("a room becomes one of pseudonyms, or ceases to be")),
        }
    }
}

/// A pseudonymous credential is that of the leaf it stands in: it names the leaf's key.
pub(crate) fn check_key(client: &ClientUri, leaf: &mimi::mls::LeafNodeView<'_>) -> Result<(), Violation> {
    match leaf.credential().pseudonymous() {
        None => Ok(()),
        Some(Ok(fields))
            if fields.client().as_ref() == Ok(client) && fields.signature_public_key == leaf.signature_key =>
        {
            Ok(())
        }
        Some(_) => Err(Violation::Invalid("a pseudonymous credential that is not its leaf's")),
    }
}
