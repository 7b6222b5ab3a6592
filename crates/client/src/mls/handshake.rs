//! Commits and proposals of one's own, from the intention to the hub's answer.

use bytes::Bytes;
use mimi::codec::Encode as _;
use mimi::{ComponentId, ParticipantListUpdate, RoomUri, UserUri};
use openmls::ciphersuite::hash_ref::ProposalRef;
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{
    AppDataUpdateProposal, KeyPackage, KeyPackageIn, LeafNodeIndex, MlsGroup, MlsMessageBodyOut, OpenMlsProvider as _,
    Proposal, ProposalOrRefType, Propose, ProtocolVersion,
};

use super::identity::{Identity, client_of};
use super::{CIPHERSUITE, Founding, Joining, Member, MemberError, Pending, Room, RoomProfile, dictionary, wire};

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
struct Intention {
    adds: Vec<KeyPackage>,
    removes: Vec<LeafNodeIndex>,
    list: Option<ParticipantListUpdate>,
    fresh_leaf: bool,
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
        let group = profile.found(&self.identity, room, hub_sender)?;
        let founding = Founding {
            group_info: encoded_group_info(&group, &self.identity)?.into(),
            ratchet_tree: wire::ratchet_tree_option(&encoded(&group.export_ratchet_tree())?)?,
        };
        self.rooms.insert(room.clone(), Room::new(group));
        Ok(founding)
    }

    /// UpdateRequest with a commit that adds `user` in `role`, unless it is a participant, and the clients of these
    /// KeyPackages, together with everything pending.
    pub fn add_user(
        &mut self,
        room: &RoomUri,
        user: &UserUri,
        role: u32,
        key_packages: &[Bytes],
    ) -> Result<Bytes, MemberError> {
        let adds = key_packages
            .iter()
            .map(|octets| self.checked_key_package(octets, user))
            .collect::<Result<Vec<_>, _>>()?;
        let participants = self.room(room)?.participants()?;
        let list = participants
            .position(user.as_str().as_bytes())
            .is_none()
            .then(|| ParticipantListUpdate {
                added: vec![wire::participant(user, role)],
                ..ParticipantListUpdate::default()
            });
        self.commit(
            room,
            Intention {
                adds,
                list,
                ..Intention::default()
            },
        )
    }

    /// UpdateRequest with a commit that takes `user` off the list and all its clients out of the group, together with
    /// everything pending.
    pub fn remove_user(&mut self, room: &RoomUri, user: &UserUri) -> Result<Bytes, MemberError> {
        let state = self.room(room)?;
        let index = state
            .participants()?
            .position(user.as_str().as_bytes())
            .ok_or_else(|| MemberError::NotAParticipant(user.clone()))?;
        let removes = leaves_of(&state.group, user)?;
        self.commit(
            room,
            Intention {
                removes,
                list: Some(removal(index)),
                ..Intention::default()
            },
        )
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

    /// UpdateRequest with the proposals by which this user leaves: a SelfRemove of this client, a Remove of each other
    /// client of the user, and the participant's removal (mimi-protocol §4.3.3). Somebody else commits them; when the
    /// epoch ends without that, leave again.
    pub fn leave(&mut self, room: &RoomUri) -> Result<Bytes, MemberError> {
        let user = self.user();
        let state = self.room(room)?;
        let own_leaf = state.group.own_leaf_index();
        let others: Vec<LeafNodeIndex> = leaves_of(&state.group, &user)?
            .into_iter()
            .filter(|leaf| *leaf != own_leaf)
            .collect();
        let list = state.participants()?.position(user.as_str().as_bytes()).map(removal);
        self.propose_departure(room, &others, list)
    }

    /// UpdateRequest with a SelfRemove of this client alone; the user stays a participant.
    pub fn retire(&mut self, room: &RoomUri) -> Result<Bytes, MemberError> {
        self.propose_departure(room, &[], None)
    }

    /// Takes the hub's answer to this client's last handshake in the room: an accepted commit takes effect (unless its
    /// fan-out came first), a refused handshake is undone.
    pub fn on_answer(&mut self, room: &RoomUri, response: &[u8]) -> Result<Answered, MemberError> {
        let answered = wire::answered(response)?;
        match answered {
            Answered::Accepted(_) => self.on_accepted(room)?,
            _ => self.on_refused(room)?,
        }
        Ok(answered)
    }

    /// The hub accepted this client's last handshake in the room.
    pub fn on_accepted(&mut self, room: &RoomUri) -> Result<(), MemberError> {
        if let Some(joining) = self.joining.remove(room) {
            self.enter(room, joining);
            return Ok(());
        }
        let Self { identity, rooms, .. } = self;
        let Some(state) = rooms.get_mut(room) else {
            return Ok(());
        };
        if let Some(Pending::Commit) = state.pending.take() {
            state
                .group
                .merge_pending_commit(&identity.provider)
                .map_err(MemberError::mls)?;
        }
        Ok(())
    }

    /// The hub refused it, or it was never sent.
    pub fn on_refused(&mut self, room: &RoomUri) -> Result<(), MemberError> {
        if self.joining.remove(room).is_some() {
            return Ok(());
        }
        let Self { identity, rooms, .. } = self;
        let Some(state) = rooms.get_mut(room) else {
            return Ok(());
        };
        let storage = identity.provider.storage();
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
        self.rooms.insert(room.clone(), Room::new(joining.group));
    }

    fn checked_key_package(&self, octets: &[u8], user: &UserUri) -> Result<KeyPackage, MemberError> {
        let key_package = KeyPackageIn::tls_deserialize_exact_bytes(octets)
            .map_err(|_| MemberError::Malformed("a KeyPackage"))?
            .validate(self.identity.provider.crypto(), ProtocolVersion::Mls10)
            .map_err(|_| MemberError::Refused("a KeyPackage that does not verify"))?;
        if key_package.ciphersuite() != CIPHERSUITE {
            return Err(MemberError::Refused("a KeyPackage of another cipher suite"));
        }
        if client_of(key_package.leaf_node().credential())?.user() != *user {
            return Err(MemberError::Refused("a KeyPackage of another user"));
        }
        Ok(key_package)
    }

    fn commit(&mut self, room: &RoomUri, intention: Intention) -> Result<Bytes, MemberError> {
        let Self { identity, rooms, .. } = self;
        let state = rooms.get_mut(room).ok_or(MemberError::NotInRoom)?;
        if state.pending.is_some() {
            return Err(MemberError::Unanswered);
        }
        if state.is_leaving() {
            return Err(MemberError::Leaving);
        }
        let request = build(identity, &mut state.group, intention)?;
        state.pending = Some(Pending::Commit);
        Ok(request)
    }

    fn propose_departure(
        &mut self,
        room: &RoomUri,
        others: &[LeafNodeIndex],
        list: Option<ParticipantListUpdate>,
    ) -> Result<Bytes, MemberError> {
        let Self { identity, rooms, .. } = self;
        let state = rooms.get_mut(room).ok_or(MemberError::NotInRoom)?;
        if state.pending.is_some() {
            return Err(MemberError::Unanswered);
        }
        if state.is_leaving() {
            return Err(MemberError::Leaving);
        }
        let before = state.proposal_refs();
        let made = |state: &Room| -> Vec<ProposalRef> {
            let mut refs = state.proposal_refs();
            refs.retain(|reference| !before.contains(reference));
            refs
        };
        let proposed = depart(identity, &mut state.group, others, list);
        state.pending = Some(Pending::Proposals(made(state)));
        if proposed.is_err() {
            self.on_refused(room)?;
        }
        wire::proposals(&proposed?)
    }
}

/// The proposals of a departure, each an MLSMessage; they are pending in the group from now on.
fn depart(
    identity: &Identity,
    group: &mut MlsGroup,
    others: &[LeafNodeIndex],
    list: Option<ParticipantListUpdate>,
) -> Result<Vec<Vec<u8>>, MemberError> {
    let (provider, signer) = (&identity.provider, &identity.signer);
    let mut proposals = vec![
        group
            .leave_group_via_self_remove(provider, signer)
            .map_err(MemberError::mls)?,
    ];
    for leaf in others {
        let (proposal, _) = group
            .propose_remove_member(provider, signer, *leaf)
            .map_err(MemberError::mls)?;
        proposals.push(proposal);
    }
    if let Some(list) = list {
        let update = Propose::UpdateAppDataComponent {
            component_id: ComponentId::PARTICIPANT_LIST.0,
            update: list.encode(),
        };
        let (proposal, _) = group
            .propose(provider, signer, update, ProposalOrRefType::Reference)
            .map_err(MemberError::mls)?;
        proposals.push(proposal);
    }
    proposals
        .into_iter()
        .map(|proposal| proposal.to_bytes().map_err(MemberError::mls))
        .collect()
}

fn build(identity: &Identity, group: &mut MlsGroup, intention: Intention) -> Result<Bytes, MemberError> {
    let (provider, signer) = (&identity.provider, &identity.signer);
    let tree = group.export_ratchet_tree();
    let list = intention
        .list
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
        .export_group_info(identity.provider.crypto(), &identity.signer, false)
        .map_err(MemberError::mls)?;
    match message.body() {
        MlsMessageBodyOut::GroupInfo(group_info) => encoded(group_info),
        _ => Err(MemberError::Refused("an export that is no GroupInfo")),
    }
}

/// Removes the participant at `index`.
fn removal(index: usize) -> ParticipantListUpdate {
    ParticipantListUpdate {
        removed: vec![u32::try_from(index).expect("a participant list is bounded far below")],
        ..ParticipantListUpdate::default()
    }
}

fn leaves_of(group: &MlsGroup, user: &UserUri) -> Result<Vec<LeafNodeIndex>, MemberError> {
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
