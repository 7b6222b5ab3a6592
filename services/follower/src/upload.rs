//! From our own clients: KeyPackages, checked before they are stored, and which rooms they follow.

use bytes::Bytes;
use ledger::follower::{Inboxes, KeyPackages, StoredKeyPackage};
use mimi::mls::KeyPackage;
use mimi::{ClientUri, Decode as _, RoomUri, UserUri};
use openmls::prelude::{KeyPackageIn, ProtocolVersion};
use openmls_rust_crypto::RustCrypto;
use tls_codec::DeserializeBytes as _;

use crate::limits::{CLIENT_KEY_PACKAGES_MAX, CLIENT_ROOMS_MAX, UPLOAD_KEY_PACKAGES_MAX};
use crate::{Fault, Follower};

impl Follower {
    /// Stores KeyPackages of one client: all or none. Returns how many the client now has waiting.
    ///
    /// # Errors
    /// One is not valid (RFC 9420 §10.1) or not this client's, there are too many, or the store does not serve.
    pub async fn upload(&self, user: &UserUri, client: &ClientUri, key_packages: &[Bytes]) -> Result<usize, Fault> {
        self.own(client)?;
        if client.user() != *user {
            return Err(Fault::Forbidden("the client is another user's"));
        }
        if key_packages.len() > UPLOAD_KEY_PACKAGES_MAX {
            return Err(Fault::TooMuch("KeyPackages in an upload"));
        }
        let checked: Result<Vec<_>, Fault> = key_packages.iter().map(|octets| check(client, octets)).collect();
        let checked = &checked?;
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut rows = KeyPackages(open);
                let waiting = rows.available(client, CLIENT_KEY_PACKAGES_MAX).await?;
                let new = checked
                    .iter()
                    .filter(|new| waiting.iter().all(|old| old.reference != new.reference));
                let new: Vec<_> = new.collect();
                if waiting.len() + new.len() > CLIENT_KEY_PACKAGES_MAX {
                    return Err(Fault::TooMuch("KeyPackages of a client"));
                }
                for stored in &new {
                    rows.put(client, stored);
                }
                Ok::<_, Fault>((transaction, waiting.len() + new.len()))
            })
            .await
    }

    /// From now on the client is shown the room's entries; a client that follows already goes on where it is.
    ///
    /// # Errors
    /// The client is not ours, follows too many rooms, or the store does not serve.
    pub async fn follow(&self, client: &ClientUri, room: &RoomUri) -> Result<(), Fault> {
        self.own(client)?;
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut inboxes = Inboxes(open);
                if inboxes.subscription(client, room).await?.is_none() {
                    if inboxes.subscriptions(client, None, CLIENT_ROOMS_MAX).await?.len() == CLIENT_ROOMS_MAX {
                        return Err(Fault::TooMuch("rooms of a client"));
                    }
                    let head = inboxes.head(room).await?;
                    inboxes.put_subscription(client, room, head.next);
                }
                Ok::<_, Fault>((transaction, ()))
            })
            .await?;
        self.wake.all(room.clone(), [client.clone()]);
        Ok(())
    }

    /// The client is shown nothing of the room any more.
    ///
    /// # Errors
    /// The client is not ours, or the store does not serve.
    pub async fn unfollow(&self, client: &ClientUri, room: &RoomUri) -> Result<(), Fault> {
        self.own(client)?;
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                Inboxes(open).clear_subscription(client, room);
                Ok::<_, Fault>((transaction, ()))
            })
            .await?;
        self.wake.all(room.clone(), [client.clone()]);
        Ok(())
    }

    pub(crate) fn own(&self, client: &ClientUri) -> Result<(), Fault> {
        if client.provider() != &self.provider {
            return Err(Fault::Forbidden("the client is another provider's"));
        }
        Ok(())
    }
}

fn check(client: &ClientUri, octets: &Bytes) -> Result<StoredKeyPackage, Fault> {
    let package = KeyPackage::decode_exact(octets).map_err(|error| Fault::Malformed(error.reason()))?;
    if package.credential().client().as_ref() != Ok(client) {
        return Err(Fault::Forbidden("a KeyPackage of another client"));
    }
    let parsed = KeyPackageIn::tls_deserialize_exact_bytes(octets).map_err(|_| Fault::Malformed("KeyPackage"))?;
    let valid = parsed.validate(&RustCrypto::default(), ProtocolVersion::Mls10);
    valid.map_err(|_| Fault::Malformed("a KeyPackage that is not valid"))?;
    let reference = package
        .reference()
        .map_err(|_| Fault::Malformed("an unknown cipher suite"))?;
    let not_after = package
        .not_after()
        .ok_or(Fault::Malformed("a KeyPackage without a lifetime"))?;
    Ok(StoredKeyPackage {
        reference,
        key_package: octets.clone(),
        not_after,
    })
}
