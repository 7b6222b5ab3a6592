//! KeyPackages: what is taken out of the store is given to nobody else, and its owner is known until its Welcome comes.

use bytes::Bytes;
use mimi::{ClientUri, UserUri};
use prost::Message;
use room::{Digest, Millis};
use store::Transaction;

use super::{FollowerError, keys};
use crate::value;

/// Clients of one user that are looked at.
const CLIENTS_MAX: usize = 256;

#[derive(Clone, PartialEq, Message)]
struct KeyPackageRow {
    #[prost(bytes = "bytes", tag = "1")]
    key_package: Bytes,
    #[prost(uint64, tag = "2")]
    not_after: u64,
}

#[derive(Clone, PartialEq, Message)]
struct OwnerRow {
    #[prost(string, tag = "1")]
    client: String,
}

#[derive(Clone, PartialEq, Message)]
struct ClaimRow {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(bytes = "bytes", tag = "2")]
    response: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    references: Vec<Bytes>,
}

/// A KeyPackage that nobody was given yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeyPackage {
    /// KeyPackageRef (RFC 9420 §5.2).
    pub reference: Bytes,
    /// KeyPackage.
    pub key_package: Bytes,
    /// End of its lifetime, in seconds since the UNIX epoch.
    pub not_after: u64,
    /// It is given when there is no other.
    pub last_resort: bool,
}

/// What was answered to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// When.
    pub at: Millis,
    /// KeyMaterialResponse.
    pub response: Bytes,
    /// The KeyPackages in it.
    pub references: Vec<Bytes>,
}

/// The KeyPackage rows, in one transaction.
#[derive(Debug)]
pub struct KeyPackages<'a>(pub &'a mut Transaction);

impl KeyPackages<'_> {
    /// The clients of a user that ever had KeyPackages.
    pub async fn clients(&self, user: &UserUri) -> Result<Vec<ClientUri>, FollowerError> {
        let prefix = keys::clients(user);
        let rows = self.0.range(prefix.prefix(), CLIENTS_MAX, false).await?;
        let client = |key: &Bytes| keys::last_text(key, prefix.len())?.parse().ok();
        rows.iter()
            .map(|(key, _)| client(key).ok_or(FollowerError::Damaged("not a client")))
            .collect()
    }

    /// Adds one, whose client exists from now on.
    pub fn put(&mut self, client: &ClientUri, stored: &StoredKeyPackage) {
        let row = KeyPackageRow {
            key_package: stored.key_package.clone(),
            not_after: stored.not_after,
        };
        let key = match stored.last_resort {
            true => keys::last_resort(client, &stored.reference),
            false => keys::key_package(client, &stored.reference),
        };
        self.0.set(key, value::encode(&row));
        self.own(client, &stored.reference);
    }

    /// The client exists, and the KeyPackage is its own.
    pub(super) fn own(&mut self, client: &ClientUri, reference: &[u8]) {
        let owner = OwnerRow {
            client: client.as_str().to_owned(),
        };
        self.0.set(keys::client(client), value::encode(&OwnerRow::default()));
        self.0.set(keys::owner(reference), value::encode(&owner));
    }

    /// Up to `limit` that nobody was given yet; those of last resort come last.
    pub async fn available(&self, client: &ClientUri, limit: usize) -> Result<Vec<StoredKeyPackage>, FollowerError> {
        let mut found = Vec::new();
        for (prefix, last_resort) in [(keys::key_packages(client), false), (keys::last_resorts(client), true)] {
            let rows = self.0.range(prefix.prefix(), limit - found.len(), false).await?;
            for (key, octets) in rows {
                let row: KeyPackageRow = value::decode(&octets)?;
                found.push(StoredKeyPackage {
                    reference: key.slice(prefix.len()..),
                    key_package: row.key_package,
                    not_after: row.not_after,
                    last_resort,
                });
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    /// Whether it is stored and nobody was given it yet.
    pub async fn is_available(&self, client: &ClientUri, reference: &[u8]) -> Result<bool, FollowerError> {
        let ordinary = self.0.get(&keys::key_package(client, reference)).await?;
        let last_resort = self.0.get(&keys::last_resort(client, reference)).await?;
        Ok(ordinary.or(last_resort).is_some())
    }

    /// Takes one out: it is given away, or worthless. Its owner stays known.
    pub fn take(&mut self, client: &ClientUri, reference: &[u8]) {
        self.0.clear(keys::key_package(client, reference));
        self.0.clear(keys::last_resort(client, reference));
    }

    /// Whose KeyPackage it is, if its Welcome has not come yet.
    pub async fn owner(&self, reference: &[u8]) -> Result<Option<ClientUri>, FollowerError> {
        let Some(octets) = self.0.get(&keys::owner(reference)).await? else {
            return Ok(None);
        };
        let row: OwnerRow = value::decode(&octets)?;
        Ok(Some(
            row.client.parse().map_err(|_| FollowerError::Damaged("not a client"))?,
        ))
    }

    /// Its Welcome came: nobody can use it any more.
    pub fn forget(&mut self, client: &ClientUri, reference: &[u8]) {
        self.take(client, reference);
        self.0.clear(keys::owner(reference));
    }

    /// What was answered to the same claim before.
    pub async fn claimed(&self, claim: &Digest) -> Result<Option<Claimed>, FollowerError> {
        let Some(octets) = self.0.get(&keys::claim(claim)).await? else {
            return Ok(None);
        };
        let row: ClaimRow = value::decode(&octets)?;
        Ok(Some(Claimed {
            at: Millis(row.at),
            response: row.response,
            references: row.references,
        }))
    }

    /// Remembers what was answered.
    pub fn put_claimed(&mut self, claim: &Digest, claimed: &Claimed) {
        let row = ClaimRow {
            at: claimed.at.0,
            response: claimed.response.clone(),
            references: claimed.references.clone(),
        };
        self.0.set(keys::claim(claim), value::encode(&row));
    }
}
