//! From our own users: sets of KeyPackages under a pseudonym of the user, for minimal-metadata rooms (mimi-protocol §6). Whose
//! pseudonym it is nobody is told but by the answer to a claim of that user.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ledger::follower::{KeyPackageSet, KeyPackages, SET_KEY_PACKAGES_MAX, SetMember, Sets};
use mimi::mls::KeyPackage;
use mimi::{ClientUri, Decode as _, UserUri};
use store::Transaction;

use crate::limits::{UPLOAD_KEY_PACKAGES_MAX, USER_SET_KEY_PACKAGES_MAX};
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

impl Follower {
    /// Stores KeyPackages of the user's clients: all or none. Those under one pseudonym of the user are one set, which is
    /// given away whole and once; the pseudonym has no other set, ever. Returns how many KeyPackages wait in sets.
    ///
    /// # Errors
    /// Pseudonyms are not served, a KeyPackage is not valid (RFC 9420 §10.1) or not pseudonymous, a client is another
    /// user's or twice in a set, a pseudonym is known, there are too many, or the store does not serve.
    pub async fn upload_sets(&self, user: &UserUri, key_packages: &[Pseudonymous]) -> Result<usize, Fault> {
        self.own_user(user)?;
        if !self.minimal_metadata {
            return Err(Fault::Forbidden("pseudonyms are not served"));
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
        if Sets(open).user(&set.pseudonym).await?.is_some() {
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
        Sets(open).put(user, set);
    }
    Ok(waiting)
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
