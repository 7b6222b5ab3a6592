//! What users of ours have said about themselves.

use ledger::follower::{Directory, Profile, Profiles};
use mimi::UserUri;

use crate::query::{fields, terms};
use crate::{Fault, Follower};

impl Follower {
    /// A user's profile; the defaults where the user has said nothing.
    ///
    /// # Errors
    /// The user is not ours, or the store does not serve.
    pub async fn profile(&self, user: &UserUri) -> Result<Profile, Fault> {
        self.own_user(user)?;
        let mut transaction = self.database.begin();
        Ok(Profiles(&mut transaction).profile(user).await?.unwrap_or_default())
    }

    /// Replaces a user's profile, and what the user is found by, at once. Values are kept in their canonical form.
    ///
    /// # Errors
    /// The user is not ours, a field is not of its kind or not known, there are too many, or the store does not serve.
    pub async fn set_profile(&self, user: &UserUri, profile: &Profile) -> Result<(), Fault> {
        self.own_user(user)?;
        let profile = &Profile {
            who_may_add: profile.who_may_add,
            fields: fields::canonical(&profile.fields)?,
        };
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let before = Profiles(open).profile(user).await?.unwrap_or_default();
                Profiles(open).put(user, profile);
                Directory(open).list(user, &terms(&before), &terms(profile));
                Ok::<_, Fault>((transaction, ()))
            })
            .await
    }

    pub(crate) fn own_user(&self, user: &UserUri) -> Result<(), Fault> {
        if user.provider() != &self.provider {
            return Err(Fault::Forbidden("the user is another provider's"));
        }
        Ok(())
    }
}
