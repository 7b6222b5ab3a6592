//! requestConsent and updateConsent (mimi-protocol §5.7), between the two users' providers and never through a hub. The
//! answer says that an entry was received, and nothing about the user.

use bytes::Bytes;
use mimi::consent::{ConsentEntry, ConsentOperation};
use mimi::{Provider, UserUri};
use proto::follower::{ConsentReceipt, ConsentScope, SayConsentRequest};
use proto::provider::SayConsentCall;

use super::{Endpoint, Federation, decode, speaks_for, uri};
use crate::limits::{CONSENT_BYTES_MAX, URIS_BYTES};
use crate::reply::Reply;

impl Federation {
    /// C-1 to C-4: requests and their cancellations come to the target's provider, grants and revocations to the
    /// requester's; each from the other's.
    pub(super) async fn consent(
        &self,
        source: &Provider,
        endpoint: Endpoint,
        target: &str,
        body: Bytes,
    ) -> Result<Reply, Reply> {
        self.is_ours(target)?;
        let entry = decode::<ConsentEntry>(&body)?;
        let requester = entry.requester.user().map_err(uri("requesterUri"))?;
        let target = entry.target.user().map_err(uri("targetUri"))?;
        if let Some(room) = &entry.room {
            room.room().map_err(uri("roomId"))?;
        }
        let (here, there) = match (endpoint_of(&entry.operation), &entry.operation) {
            (fitting, _) if fitting != endpoint => return Err(Reply::malformed("not an operation of this endpoint")),
            (_, ConsentOperation::Request | ConsentOperation::Cancel) => (target, requester),
            (_, ConsentOperation::Grant(_) | ConsentOperation::Revoke) => (requester, target),
        };
        speaks_for(source, there.provider())?;
        if *here.provider() != self.us {
            return Err(Reply::refused(403, "not the provider of this user"));
        }
        let receipt = ConsentReceipt {
            source: source.as_str().to_owned(),
            entry: body,
        };
        let mut follower = self.follower.clone();
        self.in_time(follower.receive_consent(receipt)).await?;
        Ok(Reply::created())
    }

    /// What a local user says to another: written down first, then told. A second time is the same as once.
    pub(crate) async fn say_consent(&self, user: &UserUri, call: SayConsentCall) -> Result<Reply, Reply> {
        let octets: usize = call
            .key_packages
            .iter()
            .map(|package| package.len() + URIS_BYTES / 256)
            .sum();
        if octets + URIS_BYTES > CONSENT_BYTES_MAX {
            return Err(Reply::refused(413, "too many KeyPackages"));
        }
        let other: UserUri = call.other.parse().map_err(uri("the other user"))?;
        let silently = call.silently;
        let request = SayConsentRequest {
            operation: call.operation,
            scope: Some(ConsentScope {
                user: user.as_str().to_owned(),
                other: call.other,
                room: call.room,
            }),
            key_packages: call.key_packages,
        };
        let mut follower = self.follower.clone();
        let said = self.in_time(follower.say_consent(request)).await?;
        let entry = decode::<ConsentEntry>(&said.entry)?;
        // C-7
        if silently && entry.operation == ConsentOperation::Revoke {
            return Ok(Reply::created());
        }
        let (endpoint, to) = (endpoint_of(&entry.operation), other.provider());
        let told = if *to == self.us {
            Box::pin(self.answer(&self.us, endpoint, to.as_str(), said.entry)).await
        } else {
            self.relay(to, endpoint, to.as_str(), said.entry).await
        };
        match told.status {
            200..=299 => Ok(Reply::created()),
            _ => Err(told),
        }
    }

    /// The path names us, or a user of ours; whom the request is about, its body says.
    pub(super) fn is_ours(&self, target: &str) -> Result<(), Reply> {
        let named = match target.parse::<Provider>() {
            Ok(domain) => domain,
            Err(_) => target.parse::<UserUri>().map_err(uri("the domain"))?.provider().clone(),
        };
        match named == self.us {
            true => Ok(()),
            false => Err(Reply::refused(421, "not this provider")),
        }
    }
}

const fn endpoint_of(operation: &ConsentOperation) -> Endpoint {
    match operation {
        ConsentOperation::Request | ConsentOperation::Cancel => Endpoint::RequestConsent,
        ConsentOperation::Grant(_) | ConsentOperation::Revoke => Endpoint::UpdateConsent,
    }
}
