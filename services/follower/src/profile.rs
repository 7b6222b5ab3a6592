//! What users of ours have said about themselves.

use ledger::follower::{Profile, Profiles};
use mimi::UserUri;

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

    /// Replaces a user's profile.
    ///
    /// # Errors
    /// The user is not ours, or the store does not serve.
    pub async fn set_profile(&self, user: &UserUri, profile: &Profile) -> Result<(), Fault> {
        self.own_user(user)?;
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                Profiles(open).put(user, profile);
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
