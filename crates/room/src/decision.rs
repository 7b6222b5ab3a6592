//! What a room decides, and what comes of it: [`crate::Room::decide`] gives a [`Decision`], [`crate::Room::apply`] an
//! [`Applied`]. Between the two nothing changes.

use bytes::Bytes;
use mimi::mls::{GroupInfo, Message, Welcome};
use mimi::{Provider, UserUri};
use openmls::prelude::StagedCommit;
use policy::RoomView;

use crate::command::GroupInfoGrant;
use crate::franking::FrankWanted;
use crate::group::codec::KeptDictionary;
use crate::joining::Grant;
use crate::own::Proposed;
use crate::{Answer, Digest, Entry, Millis, RowChange};

/// A new room as its creator hands it in (room creation is local to the hub's provider).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The creator's provider: the hub's own.
    pub from: Provider,
    /// GroupInfo (RFC 9420 §12.4.3), without ratchet_tree.
    pub group_info: Bytes,
    /// RatchetTreeOption, full.
    pub ratchet_tree: Bytes,
}

/// What a room makes of a command that it does not refuse.
#[derive(Debug)]
pub enum Decision {
    /// Something new: pass it to [`crate::Room::apply`] before any other command is decided.
    Append(Box<Append>),
    /// Nothing changes: a repeated answer or a read. It rides no batch, so the shell confirms its tenure first.
    Answer(Answer),
}

/// What a decision did: make `entries` and `rows` durable in one transaction, then release `answer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// In their order in the room. Two for a commit with a Welcome; none when only rows change.
    pub entries: Vec<Entry>,
    /// Rows written and deleted; at most one change for each row.
    pub rows: Vec<RowChange>,
    /// What the asker is told.
    pub answer: Answer,
}

/// A refusal as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The draft's response body (HTTP 200).
    Body(Bytes),
    /// An HTTP status and its reason.
    Status(u16, &'static str),
}

/// A change that was decided and not yet applied. Only the room that decided it can apply it, and only next.
#[derive(Debug)]
pub struct Append {
    pub(crate) now: Millis,
    pub(crate) what: Appended,
}

impl Append {
    /// The room after a handshake, with everything that is pending then; `None` of what changes neither policy nor
    /// membership.
    pub fn view(&self) -> Option<&RoomView> {
        self.what.view()
    }
}

#[derive(Debug)]
pub(crate) enum Appended {
    Commit(Box<CommitAppend>),
    Proposals(ProposalsAppend),
    Message(MessageAppend),
    KeyMaterial(KeyMaterialAppend),
    Grant(GrantAppend),
}

impl Appended {
    /// The room after a handshake.
    pub(crate) fn view(&self) -> Option<&RoomView> {
        match self {
            Self::Commit(commit) => Some(&commit.after),
            Self::Proposals(proposals) => Some(&proposals.proposed.effective),
            Self::Message(_) | Self::KeyMaterial(_) | Self::Grant(_) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct CommitAppend {
    pub(crate) request: Digest,
    pub(crate) commit: Message,
    pub(crate) group_info: GroupInfo,
    pub(crate) welcome: Option<Welcome>,
    /// KeyPackageRefs in the Welcome and the providers whose clients they are.
    pub(crate) welcomed: Vec<(Bytes, Provider)>,
    pub(crate) staged: StagedCommit,
    /// `staged` as it is kept.
    pub(crate) delta: Bytes,
    pub(crate) dictionary: KeptDictionary,
    pub(crate) after: RoomView,
    /// Who joins by this external commit.
    pub(crate) joiner: Option<UserUri>,
    /// Group id of the successor that a ReInit names.
    pub(crate) successor: Option<Bytes>,
}

#[derive(Debug)]
pub(crate) struct ProposalsAppend {
    pub(crate) request: Digest,
    pub(crate) proposed: Proposed,
}

#[derive(Debug)]
pub(crate) struct MessageAppend {
    pub(crate) request: Digest,
    pub(crate) message: Message,
    pub(crate) frank: Option<FrankWanted>,
}

#[derive(Debug)]
pub(crate) struct KeyMaterialAppend {
    /// KeyPackageRefs, who holds them, and until when they are good.
    pub(crate) routes: Vec<(Bytes, Provider, Millis)>,
    pub(crate) response: Bytes,
}

#[derive(Debug)]
pub(crate) struct GrantAppend {
    pub(crate) user: UserUri,
    pub(crate) grant: Grant,
    pub(crate) answer: GroupInfoGrant,
}
