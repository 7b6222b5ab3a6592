//! In whose name a client's request speaks: its user's, or, in a minimal-metadata room (mimi-protocol §6), a pseudonym of
//! its user. The hub sees only which provider it was; that the name is the user's own is for us to see to.

use bytes::Bytes;
use mimi::abuse::AbuseReport;
use mimi::group_info::GroupInfoRequest;
use mimi::submit::SubmitMessageRequest;
use mimi::{ClientUri, IdentifierUri, UserUri};
use proto::follower::Pseudonym;

use super::{Actor, Api};
use crate::federation::decode;
use crate::reply::Reply;

/// Whom a request names as the one who speaks.
pub(super) enum Speaker {
    /// Nobody, or one whom a signature names.
    Unnamed,
    /// A user, and in which field.
    User(IdentifierUri, &'static str),
    /// A client, and in which field.
    Client(ClientUri, &'static str),
}

/// The sender must be the token's user.
pub(super) fn sender(body: &Bytes) -> Result<Speaker, Reply> {
    let request = decode::<SubmitMessageRequest>(body)?;
    Ok(Speaker::User(request.sending_uri, "sendingUri is not the token's user"))
}

/// Who asks for the GroupInfo of a room, if the credential is one that we can read.
pub(super) fn joiner(body: &Bytes) -> Result<Speaker, Reply> {
    let request = decode::<GroupInfoRequest>(body)?;
    Ok(match request.requesting_credential.client() {
        Ok(client) => Speaker::Client(client, "requestingCredential is not the client's"),
        Err(_) => Speaker::Unnamed,
    })
}

/// Nobody reports in the name of another; without a name everybody may.
pub(super) fn reporter(body: &Bytes) -> Result<Speaker, Reply> {
    let report = decode::<AbuseReport>(body)?;
    Ok(match report.reporting_user.is_empty() {
        true => Speaker::Unnamed,
        false => Speaker::User(report.reporting_user, "reportingUser is not the token's user"),
    })
}

/// Whose handshake it is, its signature says.
pub(super) fn signer(_: &Bytes) -> Result<Speaker, Reply> {
    Ok(Speaker::Unnamed)
}

impl Api {
    /// Refuses a request that speaks in another's name.
    pub(super) async fn speaks_for_itself(&self, actor: &Actor, speaker: Speaker) -> Result<(), Reply> {
        let (pseudonym, why) = match speaker {
            Speaker::Unnamed => return Ok(()),
            Speaker::User(name, _) if name.octets() == actor.user.as_str().as_bytes() => return Ok(()),
            Speaker::Client(client, _) if client == actor.client => return Ok(()),
            Speaker::User(name, why) => (name.user().ok(), why),
            Speaker::Client(client, why) => (Some(client.user()), why),
        };
        match pseudonym {
            Some(pseudonym) if self.is_pseudonym(&actor.user, &pseudonym).await? => Ok(()),
            _ => Err(Reply::refused(403, why)),
        }
    }

    /// Whether a name can be a pseudonym here: no local user has it.
    pub(super) fn is_free(&self, name: &UserUri) -> bool {
        name.is_pseudonym() && *name.provider() == self.federation.us && !self.tokens.names(name)
    }

    /// Whether a name is a pseudonym of a local user.
    async fn is_pseudonym(&self, user: &UserUri, name: &UserUri) -> Result<bool, Reply> {
        if !self.federation.minimal_metadata || !self.is_free(name) {
            return Ok(false);
        }
        let asked = Pseudonym {
            user: user.as_str().to_owned(),
            pseudonym: name.as_str().to_owned(),
        };
        let mut follower = self.federation.follower.clone();
        let answer = self.federation.in_time(follower.is_pseudonym(asked)).await?;
        Ok(answer.is_the_users)
    }
}
