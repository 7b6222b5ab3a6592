//! GroupInfo (RFC 9420 §12.4.3) and the GroupContext (§8.1) in it.

use crate::codec::{Decode, DecodeError, Reader};
use crate::mls::{CipherSuite, ExtensionsView, kept};

/// Fields of a GroupContext, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupContextView<'a> {
    /// ProtocolVersion.
    pub version: u16,
    /// The group's suite.
    pub cipher_suite: CipherSuite,
    /// The group.
    pub group_id: &'a [u8],
    /// The epoch.
    pub epoch: u64,
    /// Hash of the ratchet tree.
    pub tree_hash: &'a [u8],
    /// Hash of what was confirmed so far.
    pub confirmed_transcript_hash: &'a [u8],
    /// The group's extensions.
    pub extensions: ExtensionsView<'a>,
}

impl<'a> GroupContextView<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: u16::decode(reader)?,
            cipher_suite: CipherSuite::decode(reader)?,
            group_id: reader.opaque()?,
            epoch: u64::decode(reader)?,
            tree_hash: reader.opaque()?,
            confirmed_transcript_hash: reader.opaque()?,
            extensions: ExtensionsView::read(reader)?,
        })
    }
}

/// Fields of a [`GroupInfo`], in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupInfoView<'a> {
    /// The group.
    pub group_context: GroupContextView<'a>,
    /// Extensions of the GroupInfo itself.
    pub extensions: ExtensionsView<'a>,
    /// MAC.
    pub confirmation_tag: &'a [u8],
    /// Leaf of the signer.
    pub signer: u32,
    /// Its signature.
    pub signature: &'a [u8],
}

impl<'a> GroupInfoView<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            group_context: GroupContextView::read(reader)?,
            extensions: ExtensionsView::read(reader)?,
            confirmation_tag: reader.opaque()?,
            signer: u32::decode(reader)?,
            signature: reader.opaque()?,
        })
    }
}

kept!(
    /// GroupInfo, kept as its octets.
    GroupInfo,
    GroupInfoView
);
