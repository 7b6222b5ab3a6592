//! The directory: by what a user can be found. What the terms mean, and that they fit the user's profile, is the caller's.

use std::collections::BTreeSet;

use mimi::UserUri;
use prost::Message;
use room::Digest;
use store::Transaction;

use super::{FollowerError, keys};
use crate::value;

/// Something that a user is found by. The key holds a digest of it: every term is equally long, and none can be read there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(Digest);

impl Term {
    /// The term of a kind with a name and a value; none of them holds a zero octet.
    pub fn new(kind: &str, name: &str, value: &str) -> Self {
        Self(Digest::of([kind, name, value].join("\0").as_bytes()))
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0.0
    }
}

#[derive(Clone, PartialEq, Message)]
struct ListedRow {}

/// The directory's rows, in one transaction.
#[derive(Debug)]
pub struct Directory<'a>(pub &'a mut Transaction);

impl Directory<'_> {
    /// Up to `limit` users that are listed under a term, in the order of their URIs.
    pub async fn users(&self, term: &Term, limit: usize) -> Result<Vec<UserUri>, FollowerError> {
        let prefix = keys::listed(term);
        let rows = self.0.snapshot_range(prefix.prefix(), limit, false).await?;
        let user = |key: &[u8]| keys::last_text(key, prefix.len())?.parse().ok();
        rows.iter()
            .map(|(key, _)| user(key).ok_or(FollowerError::Damaged("not a user")))
            .collect()
    }

    /// Lists a user under the terms of `after` alone, who was listed under those of `before`.
    pub fn list(&mut self, user: &UserUri, before: &BTreeSet<Term>, after: &BTreeSet<Term>) {
        for gone in before.difference(after) {
            self.0.clear(keys::listed_user(gone, user));
        }
        for new in after.difference(before) {
            self.0.set(keys::listed_user(new, user), value::encode(&ListedRow {}));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use store::Database;

    use super::*;

    #[tokio::test]
    async fn a_user_is_listed_under_its_newest_terms_alone() {
        let database = Database::memory();
        let mut open = database.begin();
        let mut directory = Directory(&mut open);
        let [ann, bob]: [UserUri; 2] = ["ann", "bob"].map(|name| format!("mimi://b.example/u/{name}").parse().unwrap());
        let [red, green, blue] = ["red", "green", "blue"].map(|value| Term::new("colour", "", value));
        directory.list(&ann, &[].into(), &[red, green].into());
        directory.list(&bob, &[].into(), &[green].into());
        directory.list(&ann, &[red, green].into(), &[green, blue].into());
        assert_eq!(directory.users(&red, 9).await.unwrap(), []);
        assert_eq!(directory.users(&green, 9).await.unwrap(), [ann.clone(), bob]);
        assert_eq!(directory.users(&green, 1).await.unwrap(), std::slice::from_ref(&ann));
        assert_eq!(directory.users(&blue, 9).await.unwrap(), [ann]);
    }

    #[test]
    fn kind_name_and_value_are_kept_apart() {
        assert_ne!(Term::new("a", "bc", ""), Term::new("ab", "c", ""));
        assert_ne!(Term::new("a", "b", "c"), Term::new("a", "", "bc"));
    }
}
