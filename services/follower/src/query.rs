//! For other providers: who of ours is found by a handle, an address or a name (mimi-protocol §5.8). Nobody is found by what
//! it has not made searchable, and nothing is told of it that it does not show.
//!
//! Each element of a query is looked up in the directory by its terms: one for a value that must match exactly, one for each
//! three characters of a part. The shortest list that is not too long is compared with the whole query. So the reads depend
//! on the query and on who is found, and a user who does not want to be found costs what nobody costs.

pub(crate) mod fields;
mod terms;

use bytes::Bytes;
use ledger::follower::{Directory, Field, Profiles};
use mimi::app_data::AppDataDictionary;
use mimi::identifier::{IdentifierQueryCode, IdentifierRequest, IdentifierResponse, UserProfile};
use mimi::{Decode as _, Encode as _, IdentifierUri, Provider, UserUri};

pub(crate) use terms::terms;

use crate::limits::{QUERY_CANDIDATES_MAX, QUERY_FOUND_MAX};
use crate::{Fault, Follower};
use terms::Wanted;

type Found = Vec<(UserUri, Vec<Field>)>;

impl Follower {
    /// Answers an IdentifierRequest that `source` brings: users who match every element, up to [`QUERY_FOUND_MAX`].
    ///
    /// A query without elements is forbidden; one that more match, or that is too vague to look up, is ambiguous.
    ///
    /// # Errors
    /// The body is malformed, or the store does not serve.
    pub async fn query(&self, source: &Provider, body: &Bytes) -> Result<Bytes, Fault> {
        let request = IdentifierRequest::decode_exact(body).map_err(|error| Fault::Malformed(error.reason()))?;
        let response = match wanted(&request)? {
            Ok(wanted) => match self.find(&wanted).await? {
                Some(found) => answer(found),
                None => refusal(IdentifierQueryCode::Ambiguous),
            },
            Err(code) => refusal(code),
        };
        self.metrics.queried(source, outcome(response.code));
        Ok(response.encode().into())
    }

    /// Who matches; none: it cannot be said who, or too many do.
    async fn find(&self, wanted: &[Wanted]) -> Result<Option<Found>, Fault> {
        let mut transaction = self.database.begin();
        let mut narrowest: Option<Vec<UserUri>> = None;
        for term in wanted.iter().flat_map(Wanted::terms) {
            let users = Directory(&mut transaction)
                .users(&term, QUERY_CANDIDATES_MAX + 1)
                .await?;
            let is_narrower = narrowest.as_ref().is_none_or(|least| users.len() < least.len());
            if users.len() <= QUERY_CANDIDATES_MAX && is_narrower {
                narrowest = Some(users);
            }
        }
        let Some(candidates) = narrowest else {
            return Ok(None);
        };
        let profiles = Profiles(&mut transaction);
        if candidates.is_empty() {
            // To find nobody costs what it costs to find somebody.
            profiles.profile(&self.nobody()).await?;
        }
        let mut found = Vec::new();
        for user in candidates {
            let fields = profiles.profile(&user).await?.unwrap_or_default().fields;
            if wanted.iter().all(|wanted| wanted.matches(&fields)) {
                found.push((user, fields));
            }
        }
        Ok((found.len() <= QUERY_FOUND_MAX).then_some(found))
    }

    fn nobody(&self) -> UserUri {
        let text = format!("mimi://{}/u/-", self.provider);
        text.parse().expect("a provider's users have such URIs")
    }
}

/// What the elements want, or the code that says why it is not looked for.
fn wanted(request: &IdentifierRequest) -> Result<Result<Vec<Wanted>, IdentifierQueryCode>, Fault> {
    if request.elements.is_empty() {
        return Ok(Err(IdentifierQueryCode::Forbidden));
    }
    let mut wanted = Vec::with_capacity(request.elements.len());
    for element in &request.elements {
        match Wanted::of(element)? {
            Some(one) => wanted.push(one),
            None => return Ok(Err(IdentifierQueryCode::UnsupportedField)),
        }
    }
    Ok(Ok(wanted))
}

fn answer(found: Found) -> IdentifierResponse {
    if found.is_empty() {
        return refusal(IdentifierQueryCode::NotFound);
    }
    let profile = |(user, fields): &(UserUri, Vec<Field>)| UserProfile {
        stable_uri: IdentifierUri::from(user),
        fields: fields.iter().filter(|field| field.shown).map(fields::told).collect(),
    };
    IdentifierResponse {
        code: IdentifierQueryCode::Success,
        uris: found.iter().map(|(user, _)| IdentifierUri::from(user)).collect(),
        profiles: found.iter().map(profile).collect(),
        extensions: AppDataDictionary::default(),
    }
}

fn refusal(code: IdentifierQueryCode) -> IdentifierResponse {
    IdentifierResponse {
        code,
        uris: Vec::new(),
        profiles: Vec::new(),
        extensions: AppDataDictionary::default(),
    }
}

fn outcome(code: IdentifierQueryCode) -> &'static str {
    match code {
        IdentifierQueryCode::Success => "success",
        IdentifierQueryCode::NotFound => "not_found",
        IdentifierQueryCode::Ambiguous => "ambiguous",
        IdentifierQueryCode::Forbidden => "forbidden",
        IdentifierQueryCode::UnsupportedField => "unsupported_field",
    }
}
