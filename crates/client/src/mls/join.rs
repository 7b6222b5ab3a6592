//! Coming into a room: asking for others' KeyPackages, being welcomed, or joining from outside with the room's GroupInfo.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mimi::codec::{Decode as _, Encode as _};
use mimi::metadata::RoomMetaData;
use mimi::update::RatchetTreeOption;
use mimi::{ComponentId, ParticipantListUpdate, RoomUri, UserUri};
use openmls::group::GroupContext;
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{
    AppDataUpdateProposal, Ciphersuite, Extensions, ExternalSender, MlsGroup, MlsMessageBodyIn, MlsMessageIn,
    OpenMlsProvider as _, PublicMessageIn, RatchetTreeIn, StagedWelcome, Welcome, WelcomeError,
};
use openmls_traits::types::HpkeKeyPair;

use super::handshake::encoded;
use super::identity::Identity;
use super::link::IdentityKey;
use super::{CIPHERSUITE, Invitation, Joining, Member, MemberError, Received, Room, dictionary, profile, wire};

/// The private half of one GroupInfoRequest.
pub struct JoinKeys {
    room: RoomUri,
    suite: Ciphersuite,
    keys: HpkeKeyPair,
    /// As whom this client asked.
    identity: Arc<Identity>,
    identity_key: Option<IdentityKey>,
}

/// As whom a client was in a room that it lost.
pub struct Lost {
    identity: Arc<Identity>,
    identity_key: Option<IdentityKey>,
}

impl fmt::Debug for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lost").finish_non_exhaustive()
    }
}

impl fmt::Debug for JoinKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinKeys")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// KeyMaterialRequest (mimi-protocol §5.2), signed, for one KeyPackage of each client of `target`.
    pub fn key_material_request(&self, room: &RoomUri, target: &UserUri) -> Result<Bytes, MemberError> {
        let suite = self.rooms.get(room).map_or(CIPHERSUITE, Room::suite);
        wire::key_material_request(self.identity_in(room), target, room, suite)
    }

    /// The KeyPackages of a KeyMaterialResponse: of the clients that gave one, when the user consented.
    pub fn open_key_material(&self, target: &UserUri, response: &[u8]) -> Result<Vec<Bytes>, MemberError> {
        wire::key_packages(target, response)
    }

    /// GroupInfoRequest (§5.6), signed, and the key that opens its answer.
    pub fn group_info_request(&self, room: &RoomUri) -> Result<(Bytes, JoinKeys), MemberError> {
        self.group_info_request_with(room, CIPHERSUITE, None)
    }

    /// The same for a room of another cipher suite, and with a code that lets its bearer join.
    pub fn group_info_request_with(
        &self,
        room: &RoomUri,
        suite: Ciphersuite,
        joining_code: Option<Bytes>,
    ) -> Result<(Bytes, JoinKeys), MemberError> {
        self.ask_group_info(room, suite, self.identity.clone(), None, joining_code)
    }

    /// The same for a minimal-metadata room to which this client was invited, under a pseudonym of its user: that of another
    /// client that is in the room, or where the room lets anybody in, a new one.
    ///
    /// # Errors
    /// The pseudonym is of another provider.
    pub fn group_info_request_under(
        &self,
        invitation: &Invitation,
        pseudonym: &UserUri,
    ) -> Result<(Bytes, JoinKeys), MemberError> {
        let Invitation { room, suite, key } = invitation;
        let identity = Arc::new(self.under(pseudonym, *suite, key)?);
        self.ask_group_info(room, *suite, identity, Some(key.clone()), None)
    }

    /// The same for a room that this client was in, as whom it was there.
    ///
    /// # Errors
    /// As [`Member::group_info_request`].
    pub fn group_info_request_again(
        &self,
        room: &RoomUri,
        suite: Ciphersuite,
        lost: &Lost,
    ) -> Result<(Bytes, JoinKeys), MemberError> {
        self.ask_group_info(room, suite, lost.identity.clone(), lost.identity_key.clone(), None)
    }

    /// Entries of the room are lost: forgets it, and says as whom this client was in it; `None`: it was not. Its leaf stays
    /// until it has joined again ([`Member::group_info_request_again`], [`Member::join_by_external_commit`]).
    pub fn lose(&mut self, room: &RoomUri) -> Option<Lost> {
        let state = self.rooms.get(room)?;
        let lost = Lost {
            identity: state.identity.clone(),
            identity_key: state.identity_key.clone(),
        };
        self.forget(room);
        Some(lost)
    }

    fn ask_group_info(
        &self,
        room: &RoomUri,
        suite: Ciphersuite,
        identity: Arc<Identity>,
        identity_key: Option<IdentityKey>,
        joining_code: Option<Bytes>,
    ) -> Result<(Bytes, JoinKeys), MemberError> {
        let keys = identity.hpke_key_pair(suite)?;
        let request = wire::group_info_request(&identity, suite, &keys.public, joining_code)?;
        let keys = JoinKeys {
            room: room.clone(),
            suite,
            keys,
            identity,
            identity_key,
        };
        Ok((request, keys))
    }

    /// UpdateRequest with the external commit that brings this client into the room whose GroupInfoResponse this is.
    /// When its user is no participant yet, the commit makes it one in `role`. The client is in the room once the hub
    /// accepted ([`Member::on_answer`]) or the commit's fan-out is received.
    ///
    /// # Errors
    /// [`MemberError::OtherSuite`]: ask again in the cipher suite of the room.
    pub fn join_by_external_commit(
        &mut self,
        response: &[u8],
        keys: &JoinKeys,
        role: Option<u32>,
    ) -> Result<Bytes, MemberError> {
        let identity = &keys.identity;
        let grant = wire::group_info_response(identity, &keys.room, keys.suite, &keys.keys, response)?;
        let group_info = VerifiableGroupInfo::tls_deserialize_exact_bytes(&grant.group_info)
            .map_err(|_| MemberError::Malformed("the GroupInfo"))?;
        let suite = group_info.ciphersuite();
        if suite.signature_algorithm() != keys.suite.signature_algorithm() {
            return Err(MemberError::OtherSuite(suite));
        }
        check_hub(&grant.hub_sender, group_info.group_context().extensions())?;
        check_room(&keys.room, group_info.group_context().extensions())?;
        let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&grant.ratchet_tree)
            .map_err(|_| MemberError::Malformed("the ratchet tree"))?;
        let pending = grant
            .pending
            .iter()
            .filter_map(|octets| proposal(octets))
            .collect::<Vec<_>>();
        let entry = entry(&identity.uri.user(), group_info.group_context().extensions(), role)?;
        let (provider, signing) = (&identity.provider, identity.signing(suite));
        let mut builder = MlsGroup::external_commit_builder()
            .with_proposals(pending)
            .with_ratchet_tree(tree)
            .with_config(profile::join_config())
            .build_group(provider, group_info, signing.credential.clone())
            .map_err(MemberError::mls)?
            .leaf_node_parameters(identity.leaf_parameters()?);
        if let Some(entry) = &entry {
            let update = AppDataUpdateProposal::update(ComponentId::PARTICIPANT_LIST.0, entry.encode());
            builder = builder.add_app_data_update_proposal(update);
        }
        let mut builder = builder.load_psks(provider.storage()).map_err(MemberError::mls)?;
        let changes = dictionary::changes(
            builder.app_data_dictionary_updater(),
            builder.app_data_update_proposals(),
        )?;
        builder.with_app_data_dictionary_updates(changes);
        let (group, bundle) = builder
            .create_group_info(true)
            .use_ratchet_tree_extension(false)
            .build(provider.rand(), provider.crypto(), &signing.signer, |_| true)
            .map_err(MemberError::mls)?
            .finalize(provider)
            .map_err(MemberError::mls)?;
        let (commit, _, group_info) = bundle.into_contents();
        let commit = commit.to_bytes().map_err(MemberError::mls)?;
        let group_info = group_info.ok_or(MemberError::Refused("a commit without a GroupInfo"))?;
        let request = wire::commit(
            &commit,
            None,
            &encoded(&group_info)?,
            &encoded(&group.export_ratchet_tree())?,
        )?;
        let joining = Joining {
            group,
            commit,
            identity: identity.clone(),
            identity_key: keys.identity_key.clone(),
        };
        self.joining.insert(keys.room.clone(), joining);
        Ok(request)
    }

    pub(super) fn receive_welcome(
        &mut self,
        room: &RoomUri,
        welcome: Welcome,
        tree: &RatchetTreeOption,
    ) -> Result<Received, MemberError> {
        let references: Vec<_> = welcome.secrets().iter().map(|secret| secret.new_member()).collect();
        let mask = self.mask_of(references.iter().map(|reference| reference.as_slice()));
        let (identity, key) = match mask.map(|mask| &self.masks[mask]) {
            Some(mask) if mask.room != *room => {
                return Ok(Received::OutOfStep(
                    "a Welcome into another room than the invitation's".to_owned(),
                ));
            }
            Some(mask) => (mask.identity.clone(), Some(mask.key.clone())),
            None => (self.identity.clone(), None),
        };
        let provider = &identity.provider;
        let join = match StagedWelcome::build_from_welcome(provider, &profile::join_config(), welcome) {
            Ok(join) => join,
            Err(WelcomeError::NoMatchingKeyPackage) => return Ok(Received::NotForMe),
            Err(error) => return Ok(Received::OutOfStep(error.to_string())),
        };
        let tree = match tree {
            RatchetTreeOption::Full(tree) => RatchetTreeIn::tls_deserialize_exact_bytes(&tree.encode()).ok(),
            _ => None,
        };
        let Some(tree) = tree else {
            return Ok(Received::OutOfStep("a Welcome without its ratchet tree".to_owned()));
        };
        let staged = match join.with_ratchet_tree(tree).replace_old_group().build() {
            Ok(staged) => staged,
            Err(error) => return Ok(Received::OutOfStep(error.to_string())),
        };
        if let Err(error) = check_room(room, staged.group_context().extensions()) {
            return Ok(Received::OutOfStep(error.to_string()));
        }
        let group = staged.into_group(provider).map_err(MemberError::mls)?;
        let epoch = group.epoch().as_u64();
        self.joining.remove(room);
        if let Some(mask) = mask {
            self.masks.swap_remove(mask);
        }
        self.rooms.insert(room.clone(), Room::new(group, identity, key));
        Ok(Received::Joined { epoch })
    }
}

/// The update that makes a user a participant, unless it is one.
fn entry(
    user: &UserUri,
    extensions: &Extensions<GroupContext>,
    role: Option<u32>,
) -> Result<Option<ParticipantListUpdate>, MemberError> {
    if dictionary::participants(extensions)?
        .position(user.as_str().as_bytes())
        .is_some()
    {
        return Ok(None);
    }
    let role = role.ok_or_else(|| MemberError::NotAParticipant(user.clone()))?;
    Ok(Some(ParticipantListUpdate {
        added: vec![wire::participant(user, role)],
        ..ParticipantListUpdate::default()
    }))
}

/// The group that came under a room's name says itself that it is that room's.
fn check_room(room: &RoomUri, extensions: &Extensions<GroupContext>) -> Result<(), MemberError> {
    let octets = dictionary::component(extensions, ComponentId::ROOM_METADATA)
        .ok_or(MemberError::Refused("a room without metadata"))?;
    let metadata = RoomMetaData::decode_exact(octets).map_err(|_| MemberError::Malformed("the room's metadata"))?;
    match metadata.room_uri.octets() == room.as_str().as_bytes() {
        true => Ok(()),
        false => Err(MemberError::Refused("the group of another room")),
    }
}

/// Whoever signed the answer is the hub that the group knows.
fn check_hub(hub: &mimi::mls::ExternalSender, extensions: &Extensions<GroupContext>) -> Result<(), MemberError> {
    let hub = ExternalSender::tls_deserialize_exact_bytes(&hub.encode())
        .map_err(|_| MemberError::Malformed("the hub's ExternalSender"))?;
    match extensions
        .external_senders()
        .is_some_and(|senders| senders.contains(&hub))
    {
        true => Ok(()),
        false => Err(MemberError::Refused("the answer of a hub that the group does not know")),
    }
}

fn proposal(octets: &[u8]) -> Option<PublicMessageIn> {
    match MlsMessageIn::tls_deserialize_exact_bytes(octets).ok()?.extract() {
        MlsMessageBodyIn::PublicMessage(message) => Some(message),
        _ => None,
    }
}
