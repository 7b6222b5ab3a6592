//! Which KeyPackages a claim gets: of each client the first that fits, or one whole set under a pseudonym. What is taken out
//! here is given to nobody else.

use bytes::Bytes;
use ledger::follower::{KeyPackageSet, KeyPackages, SetMember, Sets, StoredKeyPackage};
use mimi::key_material::{ClientKeyMaterial, ClientStatus, KeyMaterialRequest};
use mimi::mls::{Credential, KeyPackage};
use mimi::{ClientUri, Decode as _, IdentifierUri, UserUri};
use store::Transaction;

use crate::Fault;
use crate::limits::{CLAIM_CANDIDATES_MAX, CLAIM_SET_CANDIDATES_MAX};

/// What a claim gets.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) clients: Vec<ClientKeyMaterial>,
    pub(crate) references: Vec<Bytes>,
}

impl Given {
    fn add(&mut self, client: &ClientUri, status: ClientStatus, reference: Option<Bytes>) {
        self.references.extend(reference);
        self.clients.push(ClientKeyMaterial {
            status,
            client: IdentifierUri::from(client),
        });
    }

    /// How it ended for each client, as the metrics call it.
    pub(crate) fn outcomes(&self) -> Vec<&'static str> {
        let outcome = |client: &ClientKeyMaterial| match client.status {
            ClientStatus::Success(_) => "given",
            ClientStatus::Exhausted => "exhausted",
            ClientStatus::NothingCompatible(_) => "incompatible",
        };
        self.clients.iter().map(outcome).collect()
    }
}

/// Whether only pseudonymous clients will do: the request is for a minimal-metadata room.
pub(crate) fn wants_pseudonyms(request: &KeyMaterialRequest) -> bool {
    let types = &request.required_capabilities.credential_types;
    types.contains(&Credential::PSEUDONYMOUS)
}

/// Takes one of each client.
pub(crate) async fn take_each(
    open: &mut Transaction,
    clients: &[ClientUri],
    request: &KeyMaterialRequest,
    now: u64,
) -> Result<Given, Fault> {
    let mut given = Given::default();
    for client in clients {
        let (status, reference) = take_one(&mut KeyPackages(open), client, request, now).await?;
        given.add(client, status, reference);
    }
    Ok(given)
}

/// Takes out the first KeyPackage that fits; drops expired ones on the way.
async fn take_one(
    rows: &mut KeyPackages<'_>,
    client: &ClientUri,
    request: &KeyMaterialRequest,
    now: u64,
) -> Result<(ClientStatus, Option<Bytes>), Fault> {
    let mut seen = None;
    for stored in rows.available(client, CLAIM_CANDIDATES_MAX).await? {
        let StoredKeyPackage {
            reference,
            key_package,
            not_after,
            ..
        } = stored;
        if not_after <= now / 1_000 {
            rows.forget(client, &reference);
            continue;
        }
        let Ok(package) = KeyPackage::decode_exact(&key_package) else {
            rows.forget(client, &reference);
            continue;
        };
        if fits(&package, request) {
            rows.take(client, &reference);
            return Ok((ClientStatus::Success(package), Some(reference)));
        }
        seen = Some(package.view().leaf.capabilities.capabilities());
    }
    Ok(match seen {
        Some(capabilities) => (ClientStatus::NothingCompatible(Some(capabilities)), None),
        None => (ClientStatus::Exhausted, None),
    })
}

/// Takes out the first set that fits, whole; drops expired ones on the way. Its clients are named by their pseudonyms.
/// Without one, no client is named at all.
pub(crate) async fn take_set(
    open: &mut Transaction,
    user: &UserUri,
    request: &KeyMaterialRequest,
    now: u64,
) -> Result<Given, Fault> {
    for set in Sets(open).available(user, CLAIM_SET_CANDIDATES_MAX).await? {
        if let Some(given) = take(open, user, &set, request, now) {
            return Ok(given);
        }
    }
    Ok(Given::default())
}

/// Takes out the set under one pseudonym of the user, whole, if it fits.
pub(crate) async fn take_named(
    open: &mut Transaction,
    user: &UserUri,
    pseudonym: &UserUri,
    request: &KeyMaterialRequest,
    now: u64,
) -> Result<Given, Fault> {
    let set = Sets(open).of(user, pseudonym).await?;
    Ok(set
        .and_then(|set| take(open, user, &set, request, now))
        .unwrap_or_default())
}

/// Takes out a set if it fits, and, to no avail, if it is expired.
fn take(
    open: &mut Transaction,
    user: &UserUri,
    set: &KeyPackageSet,
    request: &KeyMaterialRequest,
    now: u64,
) -> Option<Given> {
    if set.members.iter().any(|member| member.not_after <= now / 1_000) {
        Sets(open).take(user, &set.pseudonym);
        for SetMember { client, reference, .. } in &set.members {
            KeyPackages(open).forget(client, reference);
        }
        return None;
    }
    let given = whole(set, request)?;
    Sets(open).take(user, &set.pseudonym);
    Some(given)
}

/// The answer that a set makes, if each of its KeyPackages fits.
fn whole(set: &KeyPackageSet, request: &KeyMaterialRequest) -> Option<Given> {
    let mut given = Given::default();
    for member in &set.members {
        let package = KeyPackage::decode_exact(&member.key_package).ok()?;
        let client = package.credential().client().ok()?;
        if !fits(&package, request) {
            return None;
        }
        given.add(&client, ClientStatus::Success(package), Some(member.reference.clone()));
    }
    Some(given)
}

/// Whether a KeyPackage will do. What every client must be able to do (RFC 9420 §7.2: default extensions, proposals) is
/// not listed in its capabilities.
fn fits(package: &KeyPackage, request: &KeyMaterialRequest) -> bool {
    const DEFAULT_EXTENSIONS_MAX: u16 = 0x0005;
    const DEFAULT_PROPOSALS_MAX: u16 = 0x0007;
    let view = package.view();
    let required = &request.required_capabilities;
    let capabilities = &view.leaf.capabilities;
    let extension = |each: &u16| *each <= DEFAULT_EXTENSIONS_MAX || capabilities.extensions.contains(*each);
    let proposal = |each: &u16| *each <= DEFAULT_PROPOSALS_MAX || capabilities.proposals.contains(*each);
    let credential = |each: &u16| capabilities.credentials.contains(*each);
    request.acceptable_ciphersuites.contains(&view.cipher_suite)
        && required.extension_types.iter().all(extension)
        && required.proposal_types.iter().all(proposal)
        && required.credential_types.iter().all(credential)
}
