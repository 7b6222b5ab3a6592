//! From our own users: pseudonyms for minimal-metadata rooms (mimi-protocol §6), and sets of KeyPackages under them. Whose
//! pseudonym it is stays here; nobody is told but by the answer to a claim of that user by its real name.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ledger::follower::{KeyPackageSet, KeyPackages, SET_KEY_PACKAGES_MAX, SetMember, Sets};
use mimi::mls::KeyPackage;
use mimi::{ClientUri, Decode as _, UserUri};
use store::Transaction;

use crate::limits::{UPLOAD_KEY_PACKAGES_MAX, USER_PSEUDONYMS_MAX, USER_SET_KEY_PACKAGES_MAX};
use crate::upload::check;
use crate::{Fault, Follower};

/// A KeyPackage under a pseudonym, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pseudonymous {
    /// The client, by its real name.
    pub client: ClientUri,
    /// KeyPackage with a pseudonymous credential.
    pub key_package: Bytes,
}

const SWITCHED_OFF: Fault = Fault::Forbidden("minimal-metadata rooms are switched off here");

impl Follower {
    /// From now on, and for good, it is a pseudonym of the user: of the room that the user is about to found. Again, it
    /// changes nothing.
    ///
    /// # Errors
    /// Pseudonyms are not served, it is not of a pseudonym's form or of another provider, it is another user's, the user
    /// has had too many, or the store does not serve.
    pub async fn register_pseudonym(&self, user: &UserUri, pseudonym: &UserUri) -> Result<(), Fault> {
        self.own_user(user)?;
        if !self.minimal_metadata {
            return Err(SWITCHED_OFF);
        }
        if !pseudonym.is_pseudonym() {
            return Err(Fault::Malformed("a pseudonym that is no UUID"));
        }
        if pseudonym.provider() != user.provider() {
            return Err(Fault::Forbidden("a pseudonym of another provider"));
        }
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                match Sets(open).user(pseudonym).await? {
                    None => name(open, user, pseudonym).await?,
                    Some(owner) if owner == *user => {}
                    Some(_) => return Err(Fault::Forbidden("a pseudonym that is known")),
                }
                Ok::<_, Fault>((transaction, ()))
            })
            .await
    }

    /// Whether it is a pseudonym of the user, be pseudonyms served or not.
    ///
    /// # Errors
    /// The store does not serve.
    pub async fn is_pseudonym(&self, user: &UserUri, pseudonym: &UserUri) -> Result<bool, Fault> {
        self.database
            .run(|mut transaction| async move {
                let owner = Sets(&mut transaction).user(pseudonym).await?;
                Ok::<_, Fault>((transaction, owner.as_ref() == Some(user)))
            })
            .await
    }

    /// Stores KeyPackages of the user's clients: all or none. Those under one pseudonym of the user are one set, which is
    /// given away whole and once; the pseudonym has no other set, ever. The same set again changes nothing. Returns how many
    /// KeyPackages wait in sets.
    ///
    /// # Errors
    /// Pseudonyms are not served, a KeyPackage is not valid (RFC 9420 §10.1) or not pseudonymous, a client is another
    /// user's or twice in a set, a pseudonym is known, there are too many, or the store does not serve.
    pub async fn upload_sets(&self, user: &UserUri, key_packages: &[Pseudonymous]) -> Result<usize, Fault> {
        self.own_user(user)?;
        if !self.minimal_metadata {
            return Err(SWITCHED_OFF);
        }
        if key_packages.len() > UPLOAD_KEY_PACKAGES_MAX {
            return Err(Fault::TooMuch("KeyPackages in an upload"));
        }
        let sets = &sets(user, key_packages)?;
        self.database
            .run(|mut transaction| async move {
                let waiting = store(&mut transaction, user, sets).await?;
                Ok::<_, Fault>((transaction, waiting))
            })
            .await
    }
}

async fn store(open: &mut Transaction, user: &UserUri, sets: &[KeyPackageSet]) -> Result<usize, Fault> {
    let mut waiting = Sets(open).waiting(user, USER_SET_KEY_PACKAGES_MAX).await?;
    for set in sets {
        if let Some(owner) = Sets(open).user(&set.pseudonym).await? {
            if owner == *user && is_stored(open, set).await? {
                continue;
            }
            return Err(Fault::Forbidden("a pseudonym that is known"));
        }
        for member in &set.members {
            if KeyPackages(open).owner(&member.reference).await?.is_some() {
                return Err(Fault::Malformed("a KeyPackage twice"));
            }
        }
        waiting += set.members.len();
        if waiting > USER_SET_KEY_PACKAGES_MAX {
            return Err(Fault::TooMuch("KeyPackages of a user's sets"));
        }
        name(open, user, &set.pseudonym).await?;
        Sets(open).put(user, set);
    }
    Ok(waiting)
}

/// Whether the same set was stored before, and is not used yet: whoever asks again heard no answer.
async fn is_stored(open: &mut Transaction, set: &KeyPackageSet) -> Result<bool, Fault> {
    for member in &set.members {
        if KeyPackages(open).owner(&member.reference).await?.as_ref() != Some(&member.client) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn name(open: &mut Transaction, user: &UserUri, pseudonym: &UserUri) -> Result<(), Fault> {
    if !KeyPackages(open).clients(pseudonym).await?.is_empty() {
        return Err(Fault::Forbidden("a pseudonym that is a user's name"));
    }
    if Sets(open).count(user).await? >= USER_PSEUDONYMS_MAX {
        return Err(Fault::TooMuch("pseudonyms of a user"));
    }
    Ok(Sets(open).name(user, pseudonym).await?)
}

/// The sets that KeyPackages make, in the order of their pseudonyms.
fn sets(user: &UserUri, key_packages: &[Pseudonymous]) -> Result<Vec<KeyPackageSet>, Fault> {
    let mut sets: BTreeMap<UserUri, Vec<SetMember>> = BTreeMap::new();
    for pseudonymous in key_packages {
        let (pseudonym, member) = checked(user, pseudonymous)?;
        sets.entry(pseudonym).or_default().push(member);
    }
    let set = |(pseudonym, members): (UserUri, Vec<SetMember>)| {
        let clients: BTreeSet<_> = members.iter().map(|member| &member.client).collect();
        if members.len() > SET_KEY_PACKAGES_MAX {
            return Err(Fault::TooMuch("KeyPackages of a set"));
        }
        if clients.len() != members.len() {
            return Err(Fault::Malformed("a client twice in a set"));
        }
        Ok(KeyPackageSet { pseudonym, members })
    };
    sets.into_iter().map(set).collect()
}

/// The user's pseudonym, and the KeyPackage as it is stored.
fn checked(user: &UserUri, pseudonymous: &Pseudonymous) -> Result<(UserUri, SetMember), Fault> {
    let Pseudonymous { client, key_package } = pseudonymous;
    if client.user() != *user {
        return Err(Fault::Forbidden("the client is another user's"));
    }
    let (pseudonym, stored) = check(key_package)?;
    let package = KeyPackage::decode_exact(key_package).map_err(|error| Fault::Malformed(error.reason()))?;
    let signature_key = package.view().leaf.signature_key;
    match package.credential().pseudonymous() {
        Some(Ok(fields)) if fields.signature_public_key == signature_key => {}
        _ => return Err(Fault::Malformed("not a pseudonymous credential of its leaf")),
    }
    if pseudonym.provider() != user.provider() {
        return Err(Fault::Forbidden("a pseudonym of another provider"));
    }
    let member = SetMember {
        client: client.clone(),
        reference: stored.reference,
        key_package: stored.key_package,
        not_after: stored.not_after,
    };
    Ok((pseudonym.user(), member))
}
