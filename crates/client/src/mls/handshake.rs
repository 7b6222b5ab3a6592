//! Commits and proposals of one's own, from the intention to the hub's answer.

use std::sync::Arc;

use bytes::Bytes;
use mimi::codec::Encode as _;
use mimi::{ComponentId, ParticipantListUpdate, RoomUri, UserUri};
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{
    AppDataUpdateProposal, Ciphersuite, KeyPackage, KeyPackageIn, LeafNodeIndex, MlsGroup, MlsMessageBodyOut,
    OpenMlsProvider as _, Proposal, ProtocolVersion,
};

use super::identity::{Identity, client_of};
use super::{Founding, Joining, Member, MemberError, Pending, Room, RoomProfile, dictionary, wire};

/// What a hub answered to a handshake (UpdateRoomResponse, mimi-protocol §5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Accepted, at this time (milliseconds since the UNIX epoch). A commit has taken effect.
    Accepted(u64),
    /// Another commit was first; the room is in this epoch. Catch up and make it anew.
    WrongEpoch(u64),
    /// Against the room's rules.
    NotAllowed(String),
    /// These proposals are against the room's rules.
    InvalidProposal(String),
}

/// What a commit does beside taking along what is pending.
#[derive(Default)]
pub(super) struct Intention {
    pub(super) adds: Vec<KeyPackage>,
    pub(super) removes: Vec<LeafNodeIndex>,
    pub(super) list: Option<ParticipantListUpdate>,
    pub(super) fresh_leaf: bool,
}

impl Member {
    /// Makes a room with this client alone in it, at epoch 0. `hub_sender` is the hub's ExternalSender.
    pub fn create_room(
        &mut self,
        room: &RoomUri,
        hub_sender: &[u8],
        profile: &RoomProfile,
    ) -> Result<Founding, MemberError> {
        if self.rooms.contains_key(room) {
            return Err(MemberError::Refused("this client is in that room already"));
        }
        let (identity, key) = match profile.minimal_metadata {
            true => {
                let (identity, key) = self.disguise(profile.suite)?;
                (Arc::new(identity), Some(key))
            }
            false => (self.identity.clone(), None),
        };
        let group = profile.found(&identity, room, hub_sender)?;
        let founding = Founding {
            group_info: encoded_group_info(&group, &identity)?.into(),
            ratchet_tree: wire::ratchet_tree_option(&encoded(&group.export_ratchet_tree())?)?,
        };
        self.rooms.insert(room.clone(), Room::new(group, identity, key));
        Ok(founding)
    }

    /// UpdateRequest with a commit of everything pending.
    pub fn commit_pending(&mut self, room: &RoomUri) -> Result<Bytes, MemberError> {
        if self.room(room)?.group.pending_proposals().next().is_none() {
            return Err(MemberError::NothingPending);
        }
        self.commit(room, Intention::default())
    }

    /// UpdateRequest with a commit that gives this client a new leaf key, together with everything pending.
    pub fn self_update(&mut self, room: &RoomUri) -> Result<Bytes, MemberError> {
        self.commit(
            room,
            Intention {
                fresh_leaf: true,
                ..Intention::default()
            },
        )
    }

    /// Takes the hub's answer to this client's last handshake in the room: an accepted commit takes effect (unless its
    /// fan-out came first), a refused handshake is undone.
    pub fn on_answer(&mut self, room: &RoomUri, response: &[u8]) -> Result<Answered, MemberError> {
        let answered = wire::answered(response)?;
        match answered {
            Answered::Accepted(_) => self.on_accepted(room)?,
            // A departure is still wanted in the epoch that won.
            Answered::WrongEpoch(_) => self.undo(room)?,
            Answered::NotAllowed(_) | Answered::InvalidProposal(_) => self.on_refused(room)?,
        }
        Ok(answered)
    }

    /// The hub accepted this client's last handshake in the room.
    pub fn on_accepted(&mut self, room: &RoomUri) -> Result<(), MemberError> {
        if let Some(joining) = self.joining.remove(room) {
            self.enter(room, joining);
            return Ok(());
        }
        let Some(state) = self.rooms.get_mut(room) else {
            return Ok(());
        };
        if let Some(Pending::Commit) = state.pending.take() {
            state
                .group
                .merge_pending_commit(&state.identity.provider)
                .map_err(MemberError::mls)?;
            state.begin_epoch();
        }
        Ok(())
    }

    /// The hub refused it, or it was never sent: nothing of it is wanted any more.
    pub fn on_refused(&mut self, room: &RoomUri) -> Result<(), MemberError> {
        if let Some(state) = self.rooms.get_mut(room)
            && matches!(state.pending, Some(Pending::Proposals(_)))
        {
            state.leaving = None;
        }
        self.undo(room)
    }

    fn undo(&mut self, room: &RoomUri) -> Result<(), MemberError> {
        if self.joining.remove(room).is_some() {
            return Ok(());
        }
        let Some(state) = self.rooms.get_mut(room) else {
            return Ok(());
        };
        let storage = state.identity.provider.storage();
        match state.pending.take() {
            None => {}
            Some(Pending::Commit) => state.group.clear_pending_commit(storage).map_err(MemberError::mls)?,
            Some(Pending::Proposals(proposals)) => {
                for proposal in &proposals {
                    // Gone already when the epoch is over.
                    let _ = state.group.remove_pending_proposal(storage, proposal);
                }
            }
        }
        Ok(())
    }

    /// From now on the client is in the room that it asked to join.
    pub(super) fn enter(&mut self, room: &RoomUri, joining: Joining) {
        let state = Room::new(joining.group, joining.identity, joining.identity_key);
        self.rooms.insert(room.clone(), state);
    }

    pub(super) fn checked_key_package(
        &self,
        octets: &[u8],
        suite: Ciphersuite,
        user: &UserUri,
    ) -> Result<KeyPackage, MemberError> {
        let key_package = KeyPackageIn::tls_deserialize_exact_bytes(octets)
            .map_err(|_| MemberError::Malformed("a KeyPackage"))?
            .validate(self.identity.provider.crypto(), ProtocolVersion::Mls10)
            .map_err(|_| MemberError::Refused("a KeyPackage that does not verify"))?;
        if key_package.ciphersuite() != suite {
            return Err(MemberError::Refused("a KeyPackage of another cipher suite"));
        }
        if client_of(key_package.leaf_node().credential())?.user() != *user {
            return Err(MemberError::Refused("a KeyPackage of another user"));
        }
        Ok(key_package)
    }

    pub(super) fn commit(&mut self, room: &RoomUri, intention: Intention) -> Result<Bytes, MemberError> {
        let state = self.rooms.get_mut(room).ok_or(MemberError::NotInRoom)?;
        if state.pending.is_some() {
            return Err(MemberError::Unanswered);
        }
        if state.is_leaving() {
            return Err(MemberError::Leaving);
        }
        let followed = state.followed(&intention)?;
        let request = build(&state.identity, &mut state.group, intention, followed)?;
        state.pending = Some(Pending::Commit);
        Ok(request)
    }
}

fn build(
    identity: &Identity,
    group: &mut MlsGroup,
    intention: Intention,
    followed: Option<ParticipantListUpdate>,
) -> Result<Bytes, MemberError> {
    let (provider, signer) = (&identity.provider, &identity.signing(group.ciphersuite()).signer);
    let tree = group.export_ratchet_tree();
    let list = intention
        .list
        .into_iter()
        .chain(followed)
        .map(|list| AppDataUpdateProposal::update(ComponentId::PARTICIPANT_LIST.0, list.encode()));
    let mut builder = group
        .commit_builder()
        .force_self_update(intention.fresh_leaf)
        .propose_adds(intention.adds)
        .propose_removals(intention.removes)
        .add_proposals(list.map(|list| Proposal::AppDataUpdate(Box::new(list))))
        .load_psks(provider.storage())
        .map_err(MemberError::mls)?;
    let changes = dictionary::changes(
        builder.app_data_dictionary_updater(),
        builder.app_data_update_proposals(),
    )?;
    builder.with_app_data_dictionary_updates(changes);
    let bundle = builder
        .create_group_info(true)
        .use_ratchet_tree_extension(false)
        .build(provider.rand(), provider.crypto(), signer, |_| true)
        .map_err(MemberError::mls)?
        .stage_commit(provider)
        .map_err(MemberError::mls)?;
    let tree = group
        .pending_commit()
        .expect("the commit was staged in the line above")
        .export_ratchet_tree(provider.crypto(), tree)
        .map_err(MemberError::mls)?
        .ok_or(MemberError::Refused("a commit without a tree"))?;
    let (commit, welcome, group_info) = bundle.into_contents();
    wire::commit(
        &commit.to_bytes().map_err(MemberError::mls)?,
        welcome.map(|welcome| encoded(&welcome)).transpose()?.as_deref(),
        &encoded(&group_info.ok_or(MemberError::Refused("a commit without a GroupInfo"))?)?,
        &encoded(&tree)?,
    )
}

/// The group's GroupInfo, without its ratchet tree and with what external commits need.
fn encoded_group_info(group: &MlsGroup, identity: &Identity) -> Result<Vec<u8>, MemberError> {
    let message = group
        .export_group_info(
            identity.provider.crypto(),
            &identity.signing(group.ciphersuite()).signer,
            false,
        )
        .map_err(MemberError::mls)?;
    match message.body() {
        MlsMessageBodyOut::GroupInfo(group_info) => encoded(group_info),
        _ => Err(MemberError::Refused("an export that is no GroupInfo")),
    }
}

/// The leaves of a user's clients.
pub(super) fn leaves_of(group: &MlsGroup, user: &UserUri) -> Result<Vec<LeafNodeIndex>, MemberError> {
    let mut leaves = Vec::new();
    for member in group.members() {
        if client_of(&member.credential)?.user() == *user {
            leaves.push(member.index);
        }
    }
    Ok(leaves)
}

/// The octets of an MLS structure.
pub(super) fn encoded(value: &impl openmls::prelude::tls_codec::Serialize) -> Result<Vec<u8>, MemberError> {
    value.tls_serialize_detached().map_err(MemberError::mls)
}
