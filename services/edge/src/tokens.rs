//! Which bearer token names which local user. Only digests are held.

use std::collections::BTreeMap;
use std::sync::Arc;

use daemon::tokens::TokenDigest;
use mimi::UserUri;

/// The tokens of the provider API. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Arc<BTreeMap<TokenDigest, UserUri>>);

impl Tokens {
    /// The user whom this token names.
    pub(crate) fn user(&self, token: &str) -> Option<&UserUri> {
        self.0.get(&TokenDigest::of(token))
    }

    /// Whether there is a local user of this name.
    pub(crate) fn names(&self, user: &UserUri) -> bool {
        self.0.values().any(|named| named == user)
    }
}

impl FromIterator<(TokenDigest, UserUri)> for Tokens {
    fn from_iter<I: IntoIterator<Item = (TokenDigest, UserUri)>>(tokens: I) -> Self {
        Self(Arc::new(tokens.into_iter().collect()))
    }
}
