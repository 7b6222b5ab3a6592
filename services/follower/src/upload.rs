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
        let checked = |octets| match check(octets)? {
            (of, stored) if of == *client => Ok(stored),
            _ => Err(Fault::Forbidden("a KeyPackage of another client")),
        };
        let checked: Result<Vec<_>, Fault> = key_packages.iter().map(checked).collect();
        let checked = &checked?;
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut rows = KeyPackages(open);
                let waiting = rows.available(client, CLIENT_KEY_PACKAGES_MAX).await?;
                let mut new = Vec::with_capacity(checked.len());
                for stored in checked {
                    // Known: it waits, or was given to somebody and is given to nobody else.
                    if rows.owner(&stored.reference).await?.is_none() {
                        new.push(stored);
                    }
                }
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
                self.ring(open, [(room, std::slice::from_ref(client))]);
                Ok::<_, Fault>((transaction, ()))
            })
            .await?;
        self.wake.all(room, std::slice::from_ref(client));
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
                self.ring(open, [(room, std::slice::from_ref(client))]);
                Ok::<_, Fault>((transaction, ()))
            })
            .await?;
        self.wake.all(room, std::slice::from_ref(client));
        Ok(())
    }

    pub(crate) fn own(&self, client: &ClientUri) -> Result<(), Fault> {
        if client.provider() != &self.provider {
            return Err(Fault::Forbidden("the client is another provider's"));
        }
        Ok(())
    }
}

/// A KeyPackage that is valid (RFC 9420 §10.1), and the client that its credential names.
pub(crate) fn check(octets: &Bytes) -> Result<(ClientUri, StoredKeyPackage), Fault> {
    let package = KeyPackage::decode_exact(octets).map_err(|error| Fault::Malformed(error.reason()))?;
    let client = package.credential().client();
    let client = client.map_err(|_| Fault::Forbidden("a KeyPackage of nobody's client"))?;
    let parsed = KeyPackageIn::tls_deserialize_exact_bytes(octets).map_err(|_| Fault::Malformed("KeyPackage"))?;
    let valid = parsed.validate(&RustCrypto::default(), ProtocolVersion::Mls10);
    valid.map_err(|_| Fault::Malformed("a KeyPackage that is not valid"))?;
    let reference = package
        .reference()
        .map_err(|_| Fault::Malformed("an unknown cipher suite"))?;
    let not_after = package
        .not_after()
        .ok_or(Fault::Malformed("a KeyPackage without a lifetime"))?;
    let stored = StoredKeyPackage {
        reference,
        key_package: octets.clone(),
        not_after,
        last_resort: package.is_last_resort(),
    };
    Ok((client, stored))
}
