//! For inviters: one KeyPackage of each client of a user, given to nobody else (mimi-protocol §5.2).

use bytes::Bytes;
use ledger::follower::{Book, Claimed, Consents, KeyPackages, Profiles, Sets};
use ledger::{Digest, Millis};
use mimi::key_material::{ClientKeyMaterial, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode};
use mimi::mls::{KeyPackage, label};
use mimi::{Decode as _, Encode as _, Protocol, Provider, UserUri};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::types::{Ciphersuite, SignatureScheme};

use store::Transaction;

use crate::choose::{take_each, take_named, take_set, wants_pseudonyms};
use crate::limits::{CLAIM_REPEAT_MS, CONSENT_ROOMS_MAX};
use crate::verdict::Verdict;
use crate::{Fault, Follower};

impl Follower {
    /// Answers a KeyMaterialRequest that `source` brings: the requesting user's provider, or the hub of the room.
    ///
    /// A request that requires pseudonymous credentials gets one whole [set](Follower::upload_sets), if that is
    /// [served](Follower::with_minimal_metadata); its clients bear their pseudonyms, the answer the user's name as asked.
    /// A request for a pseudonym gets the set under it: nobody knows it but from its user, so no other consent is asked.
    ///
    /// The same request again within ten minutes gets the same answer, as long as none of its KeyPackages is used and the
    /// user has not revoked. A user who does not exist and one who does not consent look the same.
    ///
    /// # Errors
    /// The body is malformed, the target is not ours, or the store does not serve.
    pub async fn claim(&self, source: &Provider, body: &Bytes) -> Result<Bytes, Fault> {
        let request = KeyMaterialRequest::decode_exact(body).map_err(|error| Fault::Malformed(error.reason()))?;
        let target = request
            .target_user
            .user()
            .map_err(|_| Fault::Malformed("target user"))?;
        if target.provider() != &self.provider {
            return Err(Fault::Forbidden("the target user is not of this provider"));
        }
        if !is_authentic(&request, source) {
            return Ok(refusal(&request, KeyMaterialUserCode::NoConsent));
        }
        let claim = claim_digest(source, body);
        let now = (self.clock)();
        let pseudonyms = self.minimal_metadata;
        let by_set = pseudonyms && wants_pseudonyms(&request);
        let (request, claim, target) = (&request, &claim, &target);
        let (response, outcomes) = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let owner = match pseudonyms && target.is_pseudonym() {
                    true => Sets(open).user(target).await?,
                    false => None,
                };
                // Who is not there, and who is but does not consent, cost the same reads.
                let refused = refused(open, target, request).await?;
                let rows = KeyPackages(open);
                let clients = rows.clients(target).await?;
                let before = unused(&rows, claim, now).await?;
                let code = match &owner {
                    Some(_) => None,
                    None if clients.is_empty() => Some(KeyMaterialUserCode::NoConsent),
                    None => refused,
                };
                if let Some(code) = code {
                    return Ok::<_, Fault>((transaction, (refusal(request, code), vec!["refused"])));
                }
                if let Some(before) = before {
                    return Ok((transaction, (before, vec!["repeat"])));
                }
                let given = match owner {
                    Some(owner) => take_named(open, &owner, target, request, now).await?,
                    None if by_set => take_set(open, target, request, now).await?,
                    None => take_each(open, &clients, request, now).await?,
                };
                let outcomes = given.outcomes();
                let response = Bytes::from(answer(request, given.clients).encode());
                if !given.references.is_empty() {
                    let claimed = Claimed {
                        at: Millis(now),
                        response: response.clone(),
                        references: given.references,
                    };
                    KeyPackages(open).put_claimed(claim, &claimed);
                }
                Ok((transaction, (response, outcomes)))
            })
            .await?;
        for outcome in outcomes {
            self.metrics.claimed(outcome);
        }
        Ok(response)
    }
}

/// Why the user does not let the requester add it, if it does not. A user adds its own clients without asking itself.
async fn refused(
    open: &mut Transaction,
    target: &UserUri,
    request: &KeyMaterialRequest,
) -> Result<Option<KeyMaterialUserCode>, Fault> {
    let requester = request.requesting_user.user();
    let requester = requester.map_err(|_| Fault::Malformed("requesting user"))?;
    let room = request.room_id.room().ok();
    if requester == *target {
        return Ok(None);
    }
    let profile = Profiles(open).profile(target).await?.unwrap_or_default();
    let given = Consents(open)
        .between(Book::Given, target, &requester, CONSENT_ROOMS_MAX + 1)
        .await?;
    Ok(Verdict::of(&given, room.as_ref()).refusal(profile.who_may_add, room.as_ref()))
}

fn claim_digest(source: &Provider, body: &[u8]) -> Digest {
    Digest::of(&[source.as_str().as_bytes(), &[0], body].concat())
}

/// The answer given before, if it still holds: it is young, and each of its KeyPackages is valid and waits for a Welcome.
async fn unused(rows: &KeyPackages<'_>, claim: &Digest, now: u64) -> Result<Option<Bytes>, Fault> {
    let Some(before) = rows.claimed(claim).await? else {
        return Ok(None);
    };
    if now.saturating_sub(before.at.0) > CLAIM_REPEAT_MS {
        return Ok(None);
    }
    for reference in &before.references {
        if rows.owner(reference).await?.is_none() {
            return Ok(None);
        }
    }
    let is_valid = |package: &KeyPackage| package.not_after().is_some_and(|not_after| not_after > now / 1_000);
    let response = KeyMaterialResponse::decode_exact(&before.response);
    Ok(response
        .is_ok_and(|response| response.key_packages().all(is_valid))
        .then_some(before.response))
}

/// The user status that the clients' statuses make (F-4: success for all, partial success for some).
fn answer(request: &KeyMaterialRequest, clients: Vec<ClientKeyMaterial>) -> KeyMaterialResponse {
    let given = clients.iter().filter(|client| client.key_package().is_some()).count();
    let user_status = match given {
        0 => KeyMaterialUserCode::NoCompatibleMaterial,
        all if all == clients.len() => KeyMaterialUserCode::Success,
        _ => KeyMaterialUserCode::PartialSuccess,
    };
    KeyMaterialResponse {
        protocol: Protocol::Mls10,
        user_status,
        user: request.target_user.clone(),
        clients,
    }
}

fn refusal(request: &KeyMaterialRequest, code: KeyMaterialUserCode) -> Bytes {
    KeyMaterialResponse::refusal(code, request.target_user.clone())
        .encode()
        .into()
}

/// The requester is who it says (its credential names a client of the requesting user, and its key signed), and `source`
/// may bring its requests: it is the user's own provider, or the hub of the room.
fn is_authentic(request: &KeyMaterialRequest, source: &Provider) -> bool {
    let (Ok(user), Ok(client)) = (request.requesting_user.user(), request.requester_credential.client()) else {
        return false;
    };
    let hub = request.room_id.room().ok();
    let may_bring = user.provider() == source || hub.is_some_and(|room| room.provider() == source);
    may_bring && client.user() == user && is_signed(request)
}

fn is_signed(request: &KeyMaterialRequest) -> bool {
    let content = label::sign_content(KeyMaterialRequest::LABEL, &request.tbs());
    let scheme = |suite: &u16| Ciphersuite::try_from(*suite).ok().map(SignatureScheme::from);
    let fitting = request.acceptable_ciphersuites.iter().filter_map(scheme);
    // The suites' schemes differ in the form of their keys: the first that verifies is the one that was meant.
    let mut schemes: Vec<SignatureScheme> = fitting.collect();
    schemes.dedup();
    schemes.truncate(4);
    schemes.iter().any(|scheme| {
        let (key, signature) = (&request.requester_signature_key, &request.signature);
        RustCrypto::default()
            .verify_signature(*scheme, &content, key, signature)
            .is_ok()
    })
}
