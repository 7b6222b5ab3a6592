//! One MLS client (a device of a user) and the rooms it is in. Pure: it turns intentions into the drafts' requests and
//! fan-out messages into what happened, and does no I/O.
//!
//! A handshake has two ends. What [`Member::add_user`] and its like return is sent to the hub; the hub's answer goes to
//! [`Member::on_answer`]. Whichever comes first, that answer or the commit's own fan-out, makes it take effect, and the
//! other then changes nothing. When another commit won the epoch, it arrives by fan-out and takes effect instead.

mod content;
mod dictionary;
mod early;
mod frank;
mod handshake;
mod identity;
mod join;
mod leave;
mod link;
mod participants;
mod profile;
mod pseudonym;
mod receive;
mod recent;
mod rules;
mod storage;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mimi::codec::Decode as _;
use mimi::{ClientUri, ComponentId, ParticipantList, ParticipantListUpdate, Provider, RoomUri, UserUri};
use openmls::ciphersuite::hash_ref::ProposalRef;
use openmls::prelude::{Ciphersuite, LeafNodeIndex, MlsGroup, OpenMlsProvider as _, Proposal, Sender};

pub use content::{Content, Outgoing, Said};
pub use frank::Franked;
pub use handshake::Answered;
pub use identity::{CIPHERSUITE, CIPHERSUITES, POST_QUANTUM};
pub use join::{JoinKeys, Lost};
pub use profile::{ADMIN, BANNED, MODERATOR, ORDINARY, RoomProfile};
pub use pseudonym::{Invitation, Linked};
pub use receive::{Message, Received};
pub use recent::IN_FLIGHT_MAX;

use early::Early;
use identity::{Identity, client_of};
use leave::Departure;
use link::IdentityKey;
use pseudonym::Mask;
use recent::Recent;

/// Why a [`Member`] does not do what it was asked. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// This client is not in the room.
    #[error("this client is not in the room")]
    NotInRoom,
    /// A handshake of this client waits for the hub's answer; one at a time.
    #[error("an earlier handshake is not answered yet")]
    Unanswered,
    /// Proposals wait to be committed, and a message must not overtake them (RFC 9420 §12.4).
    #[error("pending proposals must be committed first")]
    PendingProposals,
    /// This client is about to leave: it may not commit and need not speak.
    #[error("this client is leaving the room")]
    Leaving,
    /// There is nothing to commit.
    #[error("nothing is pending")]
    NothingPending,
    /// The user is not in the participant list.
    #[error("not a participant: {0}")]
    NotAParticipant(UserUri),
    /// The room has a cipher suite whose keys the request was not made with.
    #[error("the room has the cipher suite {0}")]
    OtherSuite(Ciphersuite),
    /// Octets from outside are not what the draft defines.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// What came from outside is well formed and must not be accepted.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// Against the room's rules.
    #[error("against the room's rules: {0}")]
    Policy(#[from] policy::Violation),
    /// OpenMLS refuses.
    #[error("MLS: {0}")]
    Mls(String),
}

impl MemberError {
    fn mls(error: impl fmt::Display) -> Self {
        Self::Mls(error.to_string())
    }
}

/// What a hub answered to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// Accepted, at this time (milliseconds since the UNIX epoch).
    Accepted(u64),
    /// Against the room's rules.
    NotAllowed,
    /// Encrypted in an epoch too long ago; the room is in this one.
    EpochTooOld(u64),
}

/// A handshake that was handed out and is not answered.
#[derive(Debug)]
enum Pending {
    Commit,
    Proposals(Vec<ProposalRef>),
}

/// One room as this client sees it.
struct Room {
    group: MlsGroup,
    /// As whom this client is in it.
    identity: Arc<Identity>,
    /// In a minimal-metadata room.
    identity_key: Option<IdentityKey>,
    /// Epoch in which this client came in: older messages are not for it.
    entered: u64,
    pending: Option<Pending>,
    /// Proposals that wait, together as the hub accepted them and in its order.
    bundles: Vec<Vec<ProposalRef>>,
    /// Asked for and not yet done.
    leaving: Option<Departure>,
    /// The first rule that the hub let somebody break.
    distrust: Option<String>,
    recent: Recent,
    early: Early,
}

impl Room {
    /// A room that this client comes into. It may break its rules already.
    fn new(group: MlsGroup, identity: Arc<Identity>, identity_key: Option<IdentityKey>) -> Self {
        let mut room = Self {
            entered: group.epoch().as_u64(),
            group,
            identity,
            identity_key,
            pending: None,
            bundles: Vec::new(),
            leaving: None,
            distrust: None,
            recent: Recent::default(),
            early: Early::default(),
        };
        room.distrust = room
            .view()
            .and_then(|view| {
                view.check()?;
                room.check_credentials(&view)
            })
            .err()
            .map(|violation| violation.to_string());
        room
    }

    fn suite(&self) -> Ciphersuite {
        self.group.ciphersuite()
    }

    fn participants(&self) -> Result<ParticipantList, MemberError> {
        dictionary::participants(self.group.extensions())
    }

    /// Leaves that pending proposals remove.
    fn departing(&self) -> impl Iterator<Item = LeafNodeIndex> + '_ {
        self.group
            .pending_proposals()
            .filter_map(|queued| match (queued.proposal(), queued.sender()) {
                (Proposal::Remove(remove), _) => Some(remove.removed()),
                (Proposal::SelfRemove, Sender::Member(leaf)) => Some(*leaf),
                _ => None,
            })
    }

    fn proposal_refs(&self) -> Vec<ProposalRef> {
        self.group
            .pending_proposals()
            .map(|queued| queued.proposal_reference_ref().clone())
            .collect()
    }

    fn is_leaving(&self) -> bool {
        self.departing().any(|leaf| leaf == self.group.own_leaf_index())
    }
}

/// A room that this client has asked to join from outside.
struct Joining {
    group: MlsGroup,
    commit: Vec<u8>,
    identity: Arc<Identity>,
    identity_key: Option<IdentityKey>,
}

/// What a new room's hub is given (mimi-protocol has no request for it: creation is local to a provider).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// GroupInfo (RFC 9420 §12.4.3), without a ratchet tree.
    pub group_info: Bytes,
    /// RatchetTreeOption, full.
    pub ratchet_tree: Bytes,
}

/// One client of a user.
pub struct Member {
    identity: Arc<Identity>,
    /// Pseudonyms for rooms that this client is not in yet.
    masks: Vec<Mask>,
    rooms: BTreeMap<RoomUri, Room>,
    joining: BTreeMap<RoomUri, Joining>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("client", &self.identity.uri)
            .field("rooms", &self.rooms.keys())
            .finish_non_exhaustive()
    }
}

impl Member {
    /// A client with a new signature key, in no room. Its credential is basic and holds its URI.
    pub fn new(client: ClientUri) -> Result<Self, MemberError> {
        Ok(Self {
            identity: Arc::new(Identity::new(client)?),
            masks: Vec::new(),
            rooms: BTreeMap::new(),
            joining: BTreeMap::new(),
        })
    }

    /// This client's URI.
    pub fn client(&self) -> &ClientUri {
        &self.identity.uri
    }

    /// The user whose client this is.
    pub fn user(&self) -> UserUri {
        self.identity.uri.user()
    }

    /// New KeyPackages (RFC 9420 §10) of cipher suite 0x0001, each good for one Welcome to this client.
    pub fn key_packages(&self, count: usize) -> Result<Vec<Bytes>, MemberError> {
        self.key_packages_in(CIPHERSUITE, count)
    }

    /// New KeyPackages of one of [`CIPHERSUITES`].
    pub fn key_packages_in(&self, suite: Ciphersuite, count: usize) -> Result<Vec<Bytes>, MemberError> {
        (0..count)
            .map(|_| self.identity.key_package(suite).map(Bytes::from))
            .collect()
    }

    /// A new KeyPackage of last resort of cipher suite 0x0001: the provider gives it when there is no other.
    pub fn last_resort_key_package(&self) -> Result<Bytes, MemberError> {
        Ok(self.identity.last_resort_key_package(CIPHERSUITE)?.into())
    }

    /// The rooms this client is in.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomUri> {
        self.rooms.keys()
    }

    /// The room's epoch; `None` when this client is not in it.
    pub fn epoch(&self, room: &RoomUri) -> Option<u64> {
        self.rooms.get(room).map(|room| room.group.epoch().as_u64())
    }

    /// The epoch authenticator (RFC 9420 §8.7): equal at all members of one epoch, and nowhere else.
    pub fn epoch_authenticator(&self, room: &RoomUri) -> Option<Bytes> {
        self.rooms
            .get(room)
            .map(|room| Bytes::copy_from_slice(room.group.epoch_authenticator().as_slice()))
    }

    /// The clients in the room, by leaf.
    pub fn members(&self, room: &RoomUri) -> Result<Vec<ClientUri>, MemberError> {
        self.room(room)?
            .group
            .members()
            .map(|member| client_of(&member.credential))
            .collect()
    }

    /// The room's participant list (mimi-protocol §7.5).
    pub fn participants(&self, room: &RoomUri) -> Result<ParticipantList, MemberError> {
        self.room(room)?.participants()
    }

    /// A component of the room (draft-ietf-mls-extensions §4.6), as it is encoded.
    pub fn component(&self, room: &RoomUri, component: ComponentId) -> Option<&[u8]> {
        dictionary::component(self.rooms.get(room)?.group.extensions(), component)
    }

    /// The providers whose proposals the room takes: its external senders (RFC 9420 §12.1.8.1), in their order.
    pub fn external_senders(&self, room: &RoomUri) -> Result<Vec<Provider>, MemberError> {
        Ok(self.room(room)?.senders())
    }

    /// The room's cipher suite.
    pub fn suite(&self, room: &RoomUri) -> Option<Ciphersuite> {
        self.rooms.get(room).map(Room::suite)
    }

    /// Why the room is not to be trusted: the first of its rules that somebody broke with the hub's consent
    /// ([`Received::AgainstRules`]). What follows of that is the user's to decide: this client goes on.
    pub fn distrust(&self, room: &RoomUri) -> Option<&str> {
        self.rooms.get(room)?.distrust.as_deref()
    }

    /// How many proposals wait to be committed.
    pub fn pending_proposals(&self, room: &RoomUri) -> usize {
        self.rooms
            .get(room)
            .map_or(0, |room| room.group.pending_proposals().count())
    }

    /// Whether a handshake of this client waits for the hub's answer.
    pub fn is_unanswered(&self, room: &RoomUri) -> bool {
        self.joining.contains_key(room) || self.rooms.get(room).is_some_and(|room| room.pending.is_some())
    }

    /// Whether pending proposals, when committed, take this client out of the room.
    pub fn is_leaving(&self, room: &RoomUri) -> bool {
        self.rooms.get(room).is_some_and(Room::is_leaving)
    }

    /// Whether it is for this client to commit what is pending, so that not everybody tries: the remaining client with
    /// the lowest leaf does. Anybody may.
    pub fn is_first_to_commit(&self, room: &RoomUri) -> bool {
        self.rooms.get(room).is_some_and(|room| {
            let departing: Vec<LeafNodeIndex> = room.departing().collect();
            let first = room
                .group
                .members()
                .map(|member| member.index)
                .find(|leaf| !departing.contains(leaf));
            first == Some(room.group.own_leaf_index())
        })
    }

    /// What the hub answered to a message (SubmitMessageResponse, mimi-protocol §5.4).
    pub fn submitted(response: &[u8]) -> Result<Submitted, MemberError> {
        wire::submitted(response)
    }

    fn room(&self, room: &RoomUri) -> Result<&Room, MemberError> {
        self.rooms.get(room).ok_or(MemberError::NotInRoom)
    }

    /// As whom this client is in the room, or would come into it from outside.
    fn identity_in(&self, room: &RoomUri) -> &Arc<Identity> {
        self.rooms.get(room).map_or(&self.identity, |state| &state.identity)
    }

    /// Forgets a room and its secrets: this client is not in it any more, or never was.
    pub fn forget(&mut self, room: &RoomUri) {
        if let Some(mut state) = self.rooms.remove(room) {
            // Memory only: nothing can fail, and nothing else could be done about it.
            let _ = state.group.delete(state.identity.provider.storage());
        }
    }
}

/// The update of the participant list that a proposal is.
fn list_update(proposal: &Proposal) -> Option<ParticipantListUpdate> {
    let Proposal::AppDataUpdate(update) = proposal else {
        return None;
    };
    let update = dictionary::update(update);
    match update.operation {
        mimi::AppDataOperation::Update(octets) if update.component == ComponentId::PARTICIPANT_LIST => {
            ParticipantListUpdate::decode_exact(&octets).ok()
        }
        _ => None,
    }
}

/// An index of the participant list as updates name it.
fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a participant list is bounded far below")
}
