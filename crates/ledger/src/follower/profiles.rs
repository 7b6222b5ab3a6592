//! Profiles: what a user of ours has said about itself. Who has said nothing has the defaults.

use mimi::UserUri;
use prost::Message;
use store::Transaction;

use super::{FollowerError, keys};
use crate::value;

/// Who is given a user's KeyPackages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhoMayAdd {
    /// Every user of a provider known here, but those whom the user has revoked.
    #[default]
    Everybody,
    /// Users to whom the user has granted consent.
    WithConsent,
}

/// What a user has said about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Who is given the user's KeyPackages.
    pub who_may_add: WhoMayAdd,
}

#[derive(Clone, PartialEq, Message)]
struct ProfileRow {
    #[prost(bool, tag = "1")]
    consent_required: bool,
}

/// The profile rows, in one transaction.
#[derive(Debug)]
pub struct Profiles<'a>(pub &'a mut Transaction);

impl Profiles<'_> {
    /// A user's profile, if there is one.
    pub async fn profile(&self, user: &UserUri) -> Result<Option<Profile>, FollowerError> {
        let Some(octets) = self.0.get(&keys::profile(user)).await? else {
            return Ok(None);
        };
        let row: ProfileRow = value::decode(&octets)?;
        let who_may_add = match row.consent_required {
            true => WhoMayAdd::WithConsent,
            false => WhoMayAdd::Everybody,
        };
        Ok(Some(Profile { who_may_add }))
    }

    /// Writes it in place of the former one.
    pub fn put(&mut self, user: &UserUri, profile: &Profile) {
        let row = ProfileRow {
            consent_required: profile.who_may_add == WhoMayAdd::WithConsent,
        };
        self.0.set(keys::profile(user), value::encode(&row));
    }
}
