//! KeyPackage sets: the KeyPackages of a user's clients under one pseudonym of the user. A set is given away whole and once,
//! and a pseudonym has one set ever. Whose each KeyPackage is stays known until its Welcome comes, as of any other.

use bytes::Bytes;
use mimi::{ClientUri, UserUri};
use prost::Message;
use store::Transaction;

use super::{FollowerError, KeyPackages, keys};
use crate::value;

/// KeyPackages of the largest set.
pub const SET_KEY_PACKAGES_MAX: usize = 64;

/// One KeyPackage of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetMember {
    /// Whose it is, by its real name.
    pub client: ClientUri,
    /// KeyPackageRef (RFC 9420 §5.2).
    pub reference: Bytes,
    /// KeyPackage.
    pub key_package: Bytes,
    /// End of its lifetime, in seconds since the UNIX epoch.
    pub not_after: u64,
}

/// A set that nobody was given yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPackageSet {
    /// The pseudonym of the user in it.
    pub pseudonym: UserUri,
    /// One KeyPackage of each client, [`SET_KEY_PACKAGES_MAX`] at most.
    pub members: Vec<SetMember>,
}

#[derive(Clone, PartialEq, Message)]
struct MemberRow {
    #[prost(string, tag = "1")]
    client: String,
    #[prost(bytes = "bytes", tag = "2")]
    reference: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    key_package: Bytes,
    #[prost(uint64, tag = "4")]
    not_after: u64,
    #[prost(uint32, tag = "5")]
    of: u32,
}

#[derive(Clone, PartialEq, Message)]
struct PseudonymRow {
    #[prost(string, tag = "1")]
    user: String,
}

#[derive(Clone, PartialEq, Message)]
struct CountRow {
    #[prost(uint64, tag = "1")]
    count: u64,
}

/// The rows of pseudonyms and KeyPackage sets, in one transaction.
#[derive(Debug)]
pub struct Sets<'a>(pub &'a mut Transaction);

impl Sets<'_> {
    /// Whose pseudonym it is, if it was ever used.
    pub async fn user(&self, pseudonym: &UserUri) -> Result<Option<UserUri>, FollowerError> {
        let Some(octets) = self.0.get(&keys::pseudonym(pseudonym)).await? else {
            return Ok(None);
        };
        let row: PseudonymRow = value::decode(&octets)?;
        let user = row.user.parse().map_err(|_| FollowerError::Damaged("not a user"))?;
        Ok(Some(user))
    }

    /// How many pseudonyms the user has had.
    pub async fn count(&self, user: &UserUri) -> Result<u64, FollowerError> {
        let Some(octets) = self.0.get(&keys::pseudonyms(user)).await? else {
            return Ok(0);
        };
        let row: CountRow = value::decode(&octets)?;
        Ok(row.count)
    }

    /// Makes it a pseudonym of the user, for good: the last of as many as [`Sets::count`] says and one.
    pub async fn name(&mut self, user: &UserUri, pseudonym: &UserUri) -> Result<(), FollowerError> {
        let count = self.count(user).await? + 1;
        let row = PseudonymRow {
            user: user.as_str().to_owned(),
        };
        self.0.set(keys::pseudonym(pseudonym), value::encode(&row));
        self.0.set(keys::pseudonyms(user), value::encode(&CountRow { count }));
        Ok(())
    }

    /// Adds a set under a pseudonym of the user; its clients exist from now on.
    pub fn put(&mut self, user: &UserUri, set: &KeyPackageSet) {
        let of = u32::try_from(set.members.len()).unwrap_or(u32::MAX);
        for (number, member) in (0..).zip(&set.members) {
            let row = MemberRow {
                client: member.client.as_str().to_owned(),
                reference: member.reference.clone(),
                key_package: member.key_package.clone(),
                not_after: member.not_after,
                of,
            };
            let key = keys::set_member(user, &set.pseudonym, number);
            self.0.set(key, value::encode(&row));
            KeyPackages(self.0).own(&member.client, &member.reference);
        }
    }

    /// The set under one pseudonym, if nobody was given it yet.
    pub async fn of(&self, user: &UserUri, pseudonym: &UserUri) -> Result<Option<KeyPackageSet>, FollowerError> {
        let range = keys::set(user, pseudonym).prefix();
        let rows = self.0.range(range, SET_KEY_PACKAGES_MAX, false).await?;
        Ok(whole(user, rows)?.pop())
    }

    /// Sets that nobody was given yet: those that are whole within the first `limit` KeyPackages.
    pub async fn available(&self, user: &UserUri, limit: usize) -> Result<Vec<KeyPackageSet>, FollowerError> {
        let rows = self.0.range(keys::sets(user).prefix(), limit, false).await?;
        whole(user, rows)
    }

    /// How many KeyPackages of sets wait, up to `limit`.
    pub async fn waiting(&self, user: &UserUri, limit: usize) -> Result<usize, FollowerError> {
        Ok(self.0.range(keys::sets(user).prefix(), limit, false).await?.len())
    }

    /// Takes a set out: it is given away, or worthless. Its KeyPackages' owners stay known.
    pub fn take(&mut self, user: &UserUri, pseudonym: &UserUri) {
        self.0.clear_range(keys::set(user, pseudonym).prefix());
    }
}

/// The sets that rows make, without those of which a part is missing.
fn whole(user: &UserUri, rows: Vec<(Bytes, Bytes)>) -> Result<Vec<KeyPackageSet>, FollowerError> {
    let prefix = keys::sets(user);
    let mut sets: Vec<(KeyPackageSet, u32)> = Vec::new();
    for (key, octets) in rows {
        let (pseudonym, _) = key[prefix.len()..].split_last_chunk::<4>().unwrap_or((&[], &[0; 4]));
        let pseudonym = keys::last_text(pseudonym, 0).and_then(|text| text.parse().ok());
        let pseudonym: UserUri = pseudonym.ok_or(FollowerError::Damaged("not a pseudonym"))?;
        let row: MemberRow = value::decode(&octets)?;
        let member = SetMember {
            client: row.client.parse().map_err(|_| FollowerError::Damaged("not a client"))?,
            reference: row.reference,
            key_package: row.key_package,
            not_after: row.not_after,
        };
        match sets.last_mut() {
            Some((set, _)) if set.pseudonym == pseudonym => set.members.push(member),
            _ => {
                let members = vec![member];
                sets.push((KeyPackageSet { pseudonym, members }, row.of));
            }
        }
    }
    let whole = sets.into_iter().filter(|(set, of)| set.members.len() == *of as usize);
    Ok(whole.map(|(set, _)| set).collect())
}
