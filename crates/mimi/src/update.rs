//! update (mimi-protocol §5.3): commits and proposals on their way to the hub, and its answer.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, codes, wire};
use crate::limits;
use crate::mls::{ContentType, Extensions, GroupInfo, Message, RatchetTree, Welcome};

codes!(
    /// RatchetTreePresence (draft-ietf-mls-ratchet-tree-options §4).
    RatchetTreePresence, "ratchet tree presence" {
        /// Neither in this epoch's GroupInfo nor in the former.
        NoRatchetTree = 0,
        /// In both.
        Present = 1,
        /// Only in the former.
        Removed = 2,
        /// Only in this epoch's.
        Added = 3,
    }
);

/// PartialGroupInfo: what the hub cannot compute of a GroupInfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialGroupInfo {
    /// Whether the ratchet tree is an extension.
    pub ratchet_tree_presence: RatchetTreePresence,
    /// The other extensions of the GroupInfo.
    pub group_info_extensions: Extensions,
    /// Signature of the whole GroupInfo.
    pub signature: Bytes,
}
wire!(PartialGroupInfo {
    ratchet_tree_presence,
    group_info_extensions,
    signature
});

/// GroupInfoOption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupInfoOption {
    /// The whole.
    Full(GroupInfo),
    /// What the hub cannot compute.
    Partial(PartialGroupInfo),
}

impl Encode for GroupInfoOption {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Full(group_info) => {
                1u8.write(writer);
                group_info.write(writer);
            }
            Self::Partial(partial) => {
                2u8.write(writer);
                partial.write(writer);
            }
        }
    }
}

impl Decode for GroupInfoOption {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => GroupInfo::decode(reader).map(Self::Full),
            2 => PartialGroupInfo::decode(reader).map(Self::Partial),
            value => Err(DecodeError::Unknown {
                what: "group info representation",
                value: value.into(),
            }),
        }
    }
}

/// RatchetTreeOption (draft-ietf-mls-ratchet-tree-options §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RatchetTreeOption {
    /// The tree.
    Full(RatchetTree),
    /// Where the tree is.
    HttpsUri(Bytes),
    /// The application knows.
    OutOfBand,
    /// The delivery service builds it from the handshake messages.
    DistributionService,
}

impl Encode for RatchetTreeOption {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Full(tree) => {
                1u8.write(writer);
                tree.write(writer);
            }
            Self::HttpsUri(uri) => {
                2u8.write(writer);
                uri.write(writer);
            }
            Self::OutOfBand => 3u8.write(writer),
            Self::DistributionService => 4u8.write(writer),
        }
    }
}

impl Decode for RatchetTreeOption {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => RatchetTree::decode(reader).map(Self::Full),
            2 => {
                let uri = reader.opaque_at_most(crate::uri::URI_BYTES_MAX, "octets of a URI")?;
                Ok(Self::HttpsUri(reader.keep(uri)))
            }
            3 => Ok(Self::OutOfBand),
            4 => Ok(Self::DistributionService),
            value => Err(DecodeError::Unknown {
                what: "ratchet tree representation",
                value: value.into(),
            }),
        }
    }
}

/// HandshakeBundle. Each message is in the clear (PublicMessage) or not; which are allowed is the room's.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one in a request, and most are commits"
)]
pub enum HandshakeBundle {
    /// A commit and what its epoch needs.
    Commit {
        /// The commit.
        commit: Message,
        /// The Welcome of the clients it adds.
        welcome: Option<Welcome>,
        /// GroupInfo of the new epoch, without the ratchet tree.
        group_info: GroupInfoOption,
        /// The ratchet tree of the new epoch.
        ratchet_tree: RatchetTreeOption,
    },
    /// Proposals that are accepted together or not at all; at least one.
    Proposals {
        /// The proposals.
        proposals: Vec<Message>,
    },
}

impl HandshakeBundle {
    /// The messages: the commit, or every proposal.
    pub fn messages(&self) -> &[Message] {
        match self {
            Self::Commit { commit, .. } => std::slice::from_ref(commit),
            Self::Proposals { proposals } => proposals,
        }
    }
}

/// Writes the messages of a list whose first element stands before the vector of the others.
pub(crate) fn write_first_and_more(messages: &[Message], writer: &mut Writer) {
    let (first, more) = messages.split_first().expect("a bundle of proposals has one at least");
    first.write(writer);
    writer.vector(|body| more.iter().for_each(|message| message.write(body)));
}

/// Reads a vector of proposals, without or with some before it.
pub(crate) fn read_proposals(mut before: Vec<Message>, reader: &mut Reader<'_>) -> Result<Vec<Message>, DecodeError> {
    let max = limits::PROPOSALS_MAX - before.len();
    let more = reader.list(max, "proposals", Message::decode)?;
    if more
        .iter()
        .any(|message| message.content_type() != Some(ContentType::Proposal))
    {
        return Err(DecodeError::Invalid("not a proposal among proposals"));
    }
    before.extend(more);
    Ok(before)
}

impl Encode for HandshakeBundle {
    /// # Panics
    /// Without any proposal.
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Commit {
                commit,
                welcome,
                group_info,
                ratchet_tree,
            } => {
                commit.write(writer);
                welcome.write(writer);
                group_info.write(writer);
                ratchet_tree.write(writer);
            }
            Self::Proposals { proposals } => write_first_and_more(proposals, writer),
        }
    }
}

impl Decode for HandshakeBundle {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let message = Message::decode(reader)?;
        match message.content_type() {
            Some(ContentType::Commit) => Ok(Self::Commit {
                commit: message,
                welcome: Decode::decode(reader)?,
                group_info: Decode::decode(reader)?,
                ratchet_tree: Decode::decode(reader)?,
            }),
            Some(ContentType::Proposal) => Ok(Self::Proposals {
                proposals: read_proposals(vec![message], reader)?,
            }),
            Some(ContentType::Application) | None => Err(DecodeError::Invalid("neither commit nor proposal")),
        }
    }
}

/// UpdateRequest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRequest {
    /// What is asked for.
    pub bundle: HandshakeBundle,
}
wire!(UpdateRequest { bundle });

/// Fields of an UpdateRoomResponse that depend on its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// Accepted, and will be distributed.
    Success {
        /// Milliseconds since the UNIX epoch.
        accepted_timestamp: u64,
    },
    /// The room is at another epoch.
    WrongEpoch {
        /// The room's epoch.
        current_epoch: u64,
    },
    /// Against the room's rules.
    NotAllowed,
    /// These proposals are against the room's rules.
    InvalidProposal {
        /// ProposalRefs.
        invalid_proposals: Vec<Bytes>,
    },
}

/// UpdateRoomResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRoomResponse {
    /// How it ended.
    pub outcome: UpdateOutcome,
    /// For people, may be empty.
    pub error_description: String,
}

impl UpdateRoomResponse {
    /// Accepted at this time (milliseconds since the UNIX epoch).
    pub fn success(accepted_timestamp: u64) -> Self {
        Self {
            outcome: UpdateOutcome::Success { accepted_timestamp },
            error_description: String::new(),
        }
    }
}

impl Encode for UpdateRoomResponse {
    fn write(&self, writer: &mut Writer) {
        let code: u8 = match self.outcome {
            UpdateOutcome::Success { .. } => 0,
            UpdateOutcome::WrongEpoch { .. } => 1,
            UpdateOutcome::NotAllowed => 2,
            UpdateOutcome::InvalidProposal { .. } => 3,
        };
        code.write(writer);
        self.error_description.write(writer);
        match &self.outcome {
            UpdateOutcome::Success { accepted_timestamp } => accepted_timestamp.write(writer),
            UpdateOutcome::WrongEpoch { current_epoch } => current_epoch.write(writer),
            UpdateOutcome::NotAllowed => {}
            UpdateOutcome::InvalidProposal { invalid_proposals } => invalid_proposals.write(writer),
        }
    }
}

impl Decode for UpdateRoomResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = u8::decode(reader)?;
        let error_description = String::decode(reader)?;
        let outcome = match code {
            0 => UpdateOutcome::Success {
                accepted_timestamp: u64::decode(reader)?,
            },
            1 => UpdateOutcome::WrongEpoch {
                current_epoch: u64::decode(reader)?,
            },
            2 => UpdateOutcome::NotAllowed,
            3 => UpdateOutcome::InvalidProposal {
                invalid_proposals: reader.list(limits::PROPOSALS_MAX, "proposals", Bytes::decode)?,
            },
            value => {
                return Err(DecodeError::Unknown {
                    what: "update response code",
                    value: value.into(),
                });
            }
        };
        Ok(Self {
            outcome,
            error_description,
        })
    }
}
