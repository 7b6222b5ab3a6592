//! Proposal (RFC 9420 §12.1, draft-ietf-mls-extensions): a type that is not known has no end that can be found, and
//! does not decode.

use bytes::Bytes;

use crate::app_data::{AppDataUpdate, ComponentId};
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;
use crate::mls::{ExtensionsView, KeyPackageView, LeafNodeView, kept};

/// ProposalType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum ProposalKind {
    /// add.
    Add = 1,
    /// update.
    Update = 2,
    /// remove.
    Remove = 3,
    /// psk.
    PreSharedKey = 4,
    /// reinit.
    ReInit = 5,
    /// external_init.
    ExternalInit = 6,
    /// group_context_extensions.
    GroupContextExtensions = 7,
    /// app_data_update.
    AppDataUpdate = 8,
    /// app_ephemeral.
    AppEphemeral = 9,
    /// self_remove.
    SelfRemove = 10,
}

/// Fields of a [`Proposal`], in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalView<'a> {
    /// Adds a client.
    Add(KeyPackageView<'a>),
    /// Replaces the sender's leaf.
    Update(LeafNodeView<'a>),
    /// Removes the client at this leaf.
    Remove(u32),
    /// Brings a pre-shared key in.
    PreSharedKey,
    /// Closes the group for a successor.
    ReInit {
        /// The successor's group id.
        group_id: &'a [u8],
    },
    /// Brings the key of an external commit in.
    ExternalInit,
    /// Replaces the extensions of the group.
    GroupContextExtensions(ExtensionsView<'a>),
    /// Changes a component.
    AppDataUpdate(AppDataUpdate),
    /// Tells a component something for this epoch.
    AppEphemeral {
        /// The component.
        component: ComponentId,
        /// What it is told.
        data: &'a [u8],
    },
    /// Removes the sender.
    SelfRemove,
}

impl<'a> ProposalView<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match u16::decode(reader)? {
            1 => Self::Add(KeyPackageView::read(reader)?),
            2 => Self::Update(LeafNodeView::read(reader)?),
            3 => Self::Remove(u32::decode(reader)?),
            4 => {
                walk_psk(reader)?;
                Self::PreSharedKey
            }
            5 => {
                let group_id = reader.opaque()?;
                u32::decode(reader)?;
                ExtensionsView::read(reader)?;
                Self::ReInit { group_id }
            }
            6 => {
                reader.opaque()?;
                Self::ExternalInit
            }
            7 => Self::GroupContextExtensions(ExtensionsView::read(reader)?),
            8 => Self::AppDataUpdate(AppDataUpdate::decode(reader)?),
            9 => Self::AppEphemeral {
                component: ComponentId::decode(reader)?,
                data: reader.opaque()?,
            },
            10 => Self::SelfRemove,
            value => {
                return Err(DecodeError::Unknown {
                    what: "proposal type",
                    value: value.into(),
                });
            }
        })
    }

    /// Which proposal it is.
    pub fn kind(&self) -> ProposalKind {
        match self {
            Self::Add(_) => ProposalKind::Add,
            Self::Update(_) => ProposalKind::Update,
            Self::Remove(_) => ProposalKind::Remove,
            Self::PreSharedKey => ProposalKind::PreSharedKey,
            Self::ReInit { .. } => ProposalKind::ReInit,
            Self::ExternalInit => ProposalKind::ExternalInit,
            Self::GroupContextExtensions(_) => ProposalKind::GroupContextExtensions,
            Self::AppDataUpdate(_) => ProposalKind::AppDataUpdate,
            Self::AppEphemeral { .. } => ProposalKind::AppEphemeral,
            Self::SelfRemove => ProposalKind::SelfRemove,
        }
    }
}

/// PreSharedKeyID (RFC 9420 §8.4, with the application type of draft-ietf-mls-extensions).
fn walk_psk(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    match u8::decode(reader)? {
        1 => {
            reader.opaque()?;
        }
        2 => {
            u8::decode(reader)?;
            reader.opaque()?;
            u64::decode(reader)?;
        }
        3 => {
            ComponentId::decode(reader)?;
            reader.opaque()?;
        }
        value => {
            return Err(DecodeError::Unknown {
                what: "psk type",
                value: value.into(),
            });
        }
    }
    reader.opaque()?;
    Ok(())
}

kept!(
    /// Proposal, kept as its octets.
    Proposal,
    ProposalView,
    at_most: limits::PROPOSALS_MAX
);

impl Proposal {
    /// Which proposal it is.
    pub fn kind(&self) -> ProposalKind {
        self.view().kind()
    }
}

/// An element of a commit: a proposal, or the name of one that was sent before (ProposalRef).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalOrRef {
    /// By value.
    Proposal(Proposal),
    /// By reference.
    Reference(Bytes),
}

impl Encode for ProposalOrRef {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Proposal(proposal) => {
                1u8.write(writer);
                proposal.write(writer);
            }
            Self::Reference(reference) => {
                2u8.write(writer);
                reference.write(writer);
            }
        }
    }
}

impl Decode for ProposalOrRef {
    const LIST_MAX: usize = limits::PROPOSALS_MAX;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Proposal::decode(reader).map(Self::Proposal),
            2 => Bytes::decode(reader).map(Self::Reference),
            value => Err(DecodeError::Unknown {
                what: "proposal or reference",
                value: value.into(),
            }),
        }
    }
}
