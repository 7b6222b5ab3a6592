//! Minimal-metadata rooms (mimi-protocol §6) as a client takes part in them: under a pseudonym of its own for each room,
//! which only the members can link to it.
//!
//! Nobody is added who was not invited first, over a channel that the room's hub does not read. The invitation holds the
//! room's identity key; the invited client makes a pseudonym and KeyPackages for this one room, and answers with the
//! pseudonym, by which it is added. Knowing it is its consent.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mimi::codec::{Decode as _, Encode as _, Reader, Writer};
use mimi::{ClientUri, DecodeError, IdentifierUri, Provider, RoomUri, UserUri};
use openmls::prelude::{Ciphersuite, KeyPackage, OpenMlsProvider as _, OpenMlsRand as _};

use super::identity::{Identity, client_of, credential_of};
use super::link::{IdentityKey, Link};
use super::{CIPHERSUITES, Member, MemberError, Room};

/// KeyPackages under pseudonyms whose Welcome has not come.
const UNUSED_MAX: usize = 1_024;

/// What a member of a minimal-metadata room tells whom it invites. It is a secret of the room's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The room.
    pub room: RoomUri,
    pub(super) suite: Ciphersuite,
    pub(super) key: IdentityKey,
}

impl Invitation {
    /// `struct { IdentifierUri room; uint16 cipher_suite; opaque identity_key<V>; }`
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::default();
        IdentifierUri::from(&self.room).write(&mut writer);
        u16::from(self.suite).write(&mut writer);
        self.key.octets().write(&mut writer);
        writer.into_octets().into()
    }

    /// Reads what [`Invitation::encode`] wrote.
    ///
    /// # Errors
    /// It is none, or of a cipher suite that these clients do not speak.
    pub fn decode(octets: &[u8]) -> Result<Self, MemberError> {
        let read = |reader: &mut Reader<'_>| -> Result<(IdentifierUri, u16, Bytes), DecodeError> {
            let fields = (
                IdentifierUri::decode(reader)?,
                u16::decode(reader)?,
                Bytes::decode(reader)?,
            );
            reader.finish()?;
            Ok(fields)
        };
        let malformed = MemberError::Malformed("an invitation");
        let (room, suite, key) = read(&mut Reader::new(octets)).map_err(|_| malformed)?;
        let suite = CIPHERSUITES.into_iter().find(|each| u16::from(*each) == suite);
        let suite = suite.ok_or(MemberError::Refused(
            "an invitation in a cipher suite that is not spoken here",
        ))?;
        Ok(Self {
            room: room.room().map_err(|_| MemberError::Malformed("an invitation"))?,
            suite,
            key: IdentityKey::from_octets(key, suite)?,
        })
    }
}

/// Who is behind a pseudonym.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linked {
    /// This client, as it signed itself.
    Client {
        /// Its real name.
        client: ClientUri,
        /// Whether the key that it signed with is the one that this client has in a room where both go by their real names.
        /// A basic credential says no more: without such a room a new key may be anybody's.
        confirmed: bool,
    },
    /// Nobody who can be told: why.
    Unreadable(&'static str),
}

/// A KeyPackage under a pseudonym, until its Welcome.
pub(super) struct Mask {
    pub(super) identity: Arc<Identity>,
    pub(super) key: IdentityKey,
    pub(super) room: RoomUri,
    reference: Vec<u8>,
}

impl Member {
    /// What to tell a user who is to be invited into the room.
    ///
    /// # Errors
    /// This client is not in the room, or the room goes by real names.
    pub fn invitation(&self, room: &RoomUri) -> Result<Invitation, MemberError> {
        let state = self.room(room)?;
        Ok(Invitation {
            room: room.clone(),
            suite: state.suite(),
            key: state.identity_key()?.clone(),
        })
    }

    /// A new pseudonym of this client's user: a random UUID at its provider.
    pub fn new_pseudonym(&self) -> Result<UserUri, MemberError> {
        let uuid = uuid(&self.identity)?;
        let pseudonym = format!("mimi://{}/u/{uuid}", self.identity.uri.provider());
        Ok(pseudonym.parse().expect("a UUID can stand in a URI"))
    }

    /// A KeyPackage of this client under a pseudonym of its user, for the room of the invitation and no other. Those that
    /// the user's clients make under one pseudonym are uploaded together.
    ///
    /// # Errors
    /// The pseudonym is of another provider, or too many invitations are not used yet.
    pub fn pseudonymous_key_package(
        &mut self,
        invitation: &Invitation,
        pseudonym: &UserUri,
    ) -> Result<Bytes, MemberError> {
        if self.masks.len() >= UNUSED_MAX {
            return Err(MemberError::Refused("too many invitations that are not used"));
        }
        let Invitation { room, suite, key } = invitation;
        let identity = self.under(pseudonym, *suite, key)?;
        let key_package = identity.key_package(*suite)?;
        let reference = mimi::mls::KeyPackage::decode_exact(&key_package)
            .map_err(|_| MemberError::Malformed("a KeyPackage of this client's own"))?
            .reference()
            .map_err(|_| MemberError::Refused("a cipher suite without a hash"))?;
        self.masks.push(Mask {
            identity: Arc::new(identity),
            key: key.clone(),
            room: room.clone(),
            reference: reference.to_vec(),
        });
        Ok(key_package.into())
    }

    /// This client under a pseudonym of its user, with a new pseudonym of its own.
    pub(super) fn under(
        &self,
        pseudonym: &UserUri,
        suite: Ciphersuite,
        key: &IdentityKey,
    ) -> Result<Identity, MemberError> {
        let provider: &Provider = self.identity.uri.provider();
        if pseudonym.provider() != provider || !pseudonym.is_pseudonym() {
            return Err(MemberError::Refused(
                "a pseudonym that is not of this client's provider",
            ));
        }
        let user = pseudonym.as_str().rsplit('/').next().unwrap_or_default();
        let client = format!("mimi://{provider}/d/{user}/{}", uuid(&self.identity)?);
        let client: ClientUri = client.parse().expect("UUIDs can stand in a URI");
        Identity::pseudonymous(client, suite, |tbs| key.seal(&self.identity, suite, tbs))
    }

    /// This client under a new pseudonym, and the identity key of the room that it is about to found.
    pub(super) fn disguise(&self, suite: Ciphersuite) -> Result<(Identity, IdentityKey), MemberError> {
        let key = IdentityKey::random(&self.identity, suite)?;
        let identity = self.under(&self.new_pseudonym()?, suite, &key)?;
        Ok((identity, key))
    }

    /// The name of this client in a room: its own, or its pseudonym there.
    pub fn client_in(&self, room: &RoomUri) -> &ClientUri {
        &self.identity_in(room).uri
    }

    /// The name of this client's user in a room.
    pub fn user_in(&self, room: &RoomUri) -> UserUri {
        self.client_in(room).user()
    }

    /// Who is behind each pseudonym of a minimal-metadata room.
    ///
    /// # Errors
    /// This client is not in the room, or the room goes by real names.
    pub fn linked(&self, room: &RoomUri) -> Result<BTreeMap<ClientUri, Linked>, MemberError> {
        let state = self.room(room)?;
        let key = state.identity_key()?;
        let members = state.group.members();
        members
            .map(|member| {
                let pseudonym = client_of(&member.credential)?;
                let linked = match self.link(state, key, &member.credential) {
                    Ok(link) => Linked::Client {
                        confirmed: self.knows(&link),
                        client: link.client,
                    },
                    Err(why) => Linked::Unreadable(why),
                };
                Ok((pseudonym, linked))
            })
            .collect()
    }

    fn link(
        &self,
        room: &Room,
        key: &IdentityKey,
        credential: &openmls::prelude::Credential,
    ) -> Result<Link, &'static str> {
        let fields = credential_of(credential).pseudonymous();
        let fields = fields.ok_or("a real name")?.map_err(|_| "malformed")?;
        key.open(&self.identity, room.suite(), &fields)
    }

    /// Whether a client has this key in a room of real names, or is this one.
    fn knows(&self, link: &Link) -> bool {
        let own = link.client == self.identity.uri && self.identity.has_key(&link.signature_key);
        let named = self.rooms.values().filter(|room| room.identity_key.is_none());
        own || named.flat_map(|room| room.group.members()).any(|member| {
            member.signature_key == link.signature_key
                && client_of(&member.credential).ok().as_ref() == Some(&link.client)
        })
    }

    /// Refuses to add pseudonyms of whom nobody can tell who they are.
    pub(super) fn check_links(&self, room: &RoomUri, key_packages: &[KeyPackage]) -> Result<(), MemberError> {
        let state = self.room(room)?;
        let Some(key) = &state.identity_key else { return Ok(()) };
        key_packages.iter().try_for_each(|key_package| {
            let link = self.link(state, key, key_package.leaf_node().credential());
            link.map(drop).map_err(MemberError::Refused)
        })
    }

    /// The pseudonym for which one of these Welcomes is.
    pub(super) fn mask_of<'a>(&self, mut references: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
        references.find_map(|reference| self.masks.iter().position(|mask| mask.reference == reference))
    }
}

impl Room {
    fn identity_key(&self) -> Result<&IdentityKey, MemberError> {
        let key = self.identity_key.as_ref();
        key.ok_or(MemberError::Refused("the room goes by real names"))
    }
}

/// A random UUID (version 4, RFC 9562 §5.4).
fn uuid(identity: &Identity) -> Result<String, MemberError> {
    let mut octets: [u8; 16] = identity.provider.rand().random_array().map_err(MemberError::mls)?;
    octets[6] = octets[6] & 0x0f | 0x40;
    octets[8] = octets[8] & 0x3f | 0x80;
    let mut uuid = String::with_capacity(36);
    for (at, octet) in octets.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            uuid.push('-');
        }
        uuid.push_str(&format!("{octet:02x}"));
    }
    Ok(uuid)
}
