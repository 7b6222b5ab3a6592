//! Leaving a room: what takes out a user, or one client of it, is proposed and for others to commit. An epoch that ends
//! without that voids the proposals, so they are remembered and made again until they had their effect.

use bytes::Bytes;
use mimi::codec::Encode as _;
use mimi::{ComponentId, ParticipantListUpdate, RoomUri};
use openmls::ciphersuite::hash_ref::ProposalRef;
use openmls::group::QueuedProposal;
use openmls::prelude::{LeafNodeIndex, Proposal, ProposalOrRefType, Propose, Sender};

use super::handshake::leaves_of;
use super::identity::{Identity, client_of};
use super::{Member, MemberError, Pending, Room, wire};

/// Who is on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// The user, with every client.
    User,
    /// This client alone.
    Client,
}

impl Member {
    /// UpdateRequest with the proposals by which this user leaves: a SelfRemove of this client, a Remove of each other
    /// client of the user, and the participant's removal (mimi-protocol §4.3.3). Somebody else commits them.
    pub fn leave(&mut self, room: &RoomUri) -> Result<Bytes, MemberError> {
        self.depart(room, Departure::User)
    }

    /// UpdateRequest with a SelfRemove of this client alone; the user stays a participant.
    pub fn retire(&mut self, room: &RoomUri) -> Result<Bytes, MemberError> {
        self.depart(room, Departure::Client)
    }

    /// Whether this client is on the way out and nothing that is pending takes it there: an epoch ended that voided its
    /// proposals. Then call [`Member::leave_again`].
    pub fn must_leave_again(&self, room: &RoomUri) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|room| room.leaving.is_some() && room.pending.is_none() && !room.is_leaving())
    }

    /// UpdateRequest with the proposals of [`Member::leave`] or [`Member::retire`], whichever was asked for, for the epoch
    /// that the room is in. Those that are pending already are left out.
    pub fn leave_again(&mut self, room: &RoomUri) -> Result<Bytes, MemberError> {
        let departure = self.room(room)?.leaving.ok_or(MemberError::NothingPending)?;
        self.depart(room, departure)
    }

    fn depart(&mut self, room: &RoomUri, departure: Departure) -> Result<Bytes, MemberError> {
        let state = self.rooms.get_mut(room).ok_or(MemberError::NotInRoom)?;
        let user = state.identity.uri.user();
        if state.pending.is_some() {
            return Err(MemberError::Unanswered);
        }
        if state.is_leaving() {
            return Err(MemberError::Leaving);
        }
        let (mut others, mut list) = (Vec::new(), None);
        if departure == Departure::User {
            let own = state.group.own_leaf_index();
            let departing: Vec<LeafNodeIndex> = state.departing().collect();
            others = leaves_of(&state.group, &user)?;
            others.retain(|leaf| *leaf != own && !departing.contains(leaf));
            let position = state.participants()?.position(user.as_str().as_bytes());
            list = position.filter(|position| !state.operated_on().contains(position));
        }
        let before = state.proposal_refs();
        let proposed = propose(state, &others, list.map(removal));
        let mut made: Vec<ProposalRef> = state.proposal_refs();
        made.retain(|reference| !before.contains(reference));
        state.pending = Some(Pending::Proposals(made));
        state.leaving = Some(departure);
        if proposed.is_err() {
            self.on_refused(room)?;
        }
        wire::proposals(&proposed?)
    }
}

impl Room {
    /// Whether these proposals are another client's of this user, and take the user out: then this client goes, too.
    pub(super) fn takes_out_own_user(&self, identity: &Identity, proposals: &[ProposalRef]) -> bool {
        let user = identity.uri.user();
        let list = self.participants().unwrap_or_default();
        let Some(own) = list.position(user.as_str().as_bytes()) else {
            return false;
        };
        let is_own = |queued: &&QueuedProposal| match queued.sender() {
            Sender::Member(leaf) => {
                let leaf = self.group.public_group().leaf(*leaf);
                leaf.and_then(|leaf| client_of(leaf.credential()).ok())
                    .is_some_and(|client| client.user() == user)
            }
            _ => false,
        };
        self.group
            .pending_proposals()
            .filter(|queued| proposals.contains(queued.proposal_reference_ref()))
            .filter(is_own)
            .filter_map(|queued| super::list_update(queued.proposal()))
            .any(|update| update.removed.iter().any(|index| usize::try_from(*index) == Ok(own)))
    }
}

/// The proposals of a departure, each an MLSMessage; they are pending in the group from now on.
fn propose(
    state: &mut Room,
    others: &[LeafNodeIndex],
    list: Option<ParticipantListUpdate>,
) -> Result<Vec<Vec<u8>>, MemberError> {
    let identity = state.identity.clone();
    let (provider, signer) = (&identity.provider, &identity.signing(state.suite()).signer);
    let group = &mut state.group;
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

/// Whether a proposal takes a client out at the word of somebody outside the group.
pub(super) fn is_removal_from_outside(queued: &QueuedProposal) -> bool {
    matches!(
        (queued.proposal(), queued.sender()),
        (Proposal::Remove(_), Sender::External(_))
    )
}

/// Removes the participant at `index`.
pub(super) fn removal(index: usize) -> ParticipantListUpdate {
    ParticipantListUpdate {
        removed: vec![super::index(index)],
        ..ParticipantListUpdate::default()
    }
}
