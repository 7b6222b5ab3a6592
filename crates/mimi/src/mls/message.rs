//! MLSMessage (RFC 9420 §6): its octets, and the fields that are in the clear.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, codes};
use crate::limits;
use crate::mls::label::{UnknownSuite, reference};
use crate::mls::{CipherSuite, GroupInfo, KeyPackage, LeafNode, MLS10, Proposal, ProposalOrRef, Welcome, wire_format};

codes!(
    /// ContentType.
    ContentType, "content type" {
        /// application.
        Application = 1,
        /// proposal.
        Proposal = 2,
        /// commit.
        Commit = 3,
    }
);

/// Sender of a PublicMessage (RFC 9420 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The member at this leaf.
    Member(u32),
    /// The external sender at this index of `external_senders`.
    External(u32),
    /// A client that proposes to add itself.
    NewMemberProposal,
    /// A client that joins by external commit.
    NewMemberCommit,
}

impl Decode for Sender {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => u32::decode(reader).map(Self::Member),
            2 => u32::decode(reader).map(Self::External),
            3 => Ok(Self::NewMemberProposal),
            4 => Ok(Self::NewMemberCommit),
            value => Err(DecodeError::Unknown {
                what: "sender type",
                value: value.into(),
            }),
        }
    }
}

/// Commit (RFC 9420 §12.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The proposals, by value and by reference, in their order.
    pub proposals: Vec<ProposalOrRef>,
    /// The committer's new leaf, when the commit has an UpdatePath.
    pub leaf: Option<LeafNode>,
}

impl Commit {
    /// Proposals by value.
    pub fn values(&self) -> impl Iterator<Item = &Proposal> {
        self.proposals.iter().filter_map(|each| match each {
            ProposalOrRef::Proposal(proposal) => Some(proposal),
            ProposalOrRef::Reference(_) => None,
        })
    }

    /// ProposalRefs of the proposals by reference.
    pub fn references(&self) -> impl Iterator<Item = &Bytes> {
        self.proposals.iter().filter_map(|each| match each {
            ProposalOrRef::Proposal(_) => None,
            ProposalOrRef::Reference(reference) => Some(reference),
        })
    }
}

impl Decode for Commit {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let proposals = Vec::decode(reader)?;
        let leaf = reader.flag()?.then(|| read_path(reader)).transpose()?;
        Ok(Self { proposals, leaf })
    }
}

/// UpdatePath: gives its leaf.
fn read_path(reader: &mut Reader<'_>) -> Result<LeafNode, DecodeError> {
    let leaf = LeafNode::decode(reader)?;
    let mut nodes = reader.vector()?;
    while !nodes.is_empty() {
        nodes.opaque()?;
        let mut secrets = nodes.vector()?;
        while !secrets.is_empty() {
            secrets.opaque()?;
            secrets.opaque()?;
        }
    }
    Ok(leaf)
}

/// Content of a PublicMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Application data, which RFC 9420 forbids in the clear.
    Application(Bytes),
    /// A proposal.
    Proposal(Proposal),
    /// A commit.
    Commit(Commit),
}

/// PublicMessage (RFC 9420 §6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicMessage {
    /// The group.
    pub group_id: Bytes,
    /// The epoch in which it was sent.
    pub epoch: u64,
    /// Who sent it.
    pub sender: Sender,
    /// Authenticated data.
    pub authenticated_data: Bytes,
    /// What it says.
    pub content: Content,
    /// The sender's signature.
    pub signature: Bytes,
    /// Confirmation tag; of commits.
    pub confirmation_tag: Option<Bytes>,
    /// Membership tag; of members.
    pub membership_tag: Option<Bytes>,
    /// Octets of wire format, content and authentication: AuthenticatedContent (RFC 9420 §6).
    pub authenticated_content: Bytes,
}

impl PublicMessage {
    /// Reads what follows the wire format, which ended at `reader`.
    fn read<'a>(reader: &mut Reader<'a>, wire_format: crate::codec::Mark<'a>) -> Result<Self, DecodeError> {
        let group_id = Bytes::decode(reader)?;
        let epoch = u64::decode(reader)?;
        let sender = Sender::decode(reader)?;
        let authenticated_data = Bytes::decode(reader)?;
        let content = match ContentType::decode(reader)? {
            ContentType::Application => Content::Application(Bytes::decode(reader)?),
            ContentType::Proposal => Content::Proposal(Proposal::decode(reader)?),
            ContentType::Commit => Content::Commit(Commit::decode(reader)?),
        };
        let signature = Bytes::decode(reader)?;
        let confirmation_tag = matches!(content, Content::Commit(_))
            .then(|| Bytes::decode(reader))
            .transpose()?;
        let authenticated_content = reader.keep(reader.since(wire_format));
        let membership_tag = matches!(sender, Sender::Member(_))
            .then(|| Bytes::decode(reader))
            .transpose()?;
        Ok(Self {
            group_id,
            epoch,
            sender,
            authenticated_data,
            content,
            signature,
            confirmation_tag,
            membership_tag,
            authenticated_content,
        })
    }

    /// What kind of content it has.
    pub fn content_type(&self) -> ContentType {
        match self.content {
            Content::Application(_) => ContentType::Application,
            Content::Proposal(_) => ContentType::Proposal,
            Content::Commit(_) => ContentType::Commit,
        }
    }
}

/// PrivateMessage (RFC 9420 §6.3): what is in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateMessage {
    /// The group.
    pub group_id: Bytes,
    /// The epoch in which it was sent.
    pub epoch: u64,
    /// What kind of content is encrypted.
    pub content_type: ContentType,
    /// Authenticated data.
    pub authenticated_data: Bytes,
}

impl PrivateMessage {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let message = Self {
            group_id: Bytes::decode(reader)?,
            epoch: u64::decode(reader)?,
            content_type: ContentType::decode(reader)?,
            authenticated_data: Bytes::decode(reader)?,
        };
        reader.opaque()?; // encrypted_sender_data
        reader.opaque()?; // ciphertext
        Ok(message)
    }
}

/// SemiPrivateMessage (draft-ietf-mls-semiprivatemessage §4): what is in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemiPrivateMessage {
    /// The group.
    pub group_id: Bytes,
    /// The epoch in which it was sent.
    pub epoch: u64,
    /// What kind of content is encrypted.
    pub content_type: ContentType,
    /// Authenticated data.
    pub authenticated_data: Bytes,
    /// Hash of the sender's leaf index and nonce.
    pub partial_context_hash: Bytes,
}

impl SemiPrivateMessage {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let message = Self {
            group_id: Bytes::decode(reader)?,
            epoch: u64::decode(reader)?,
            content_type: ContentType::decode(reader)?,
            authenticated_data: Bytes::decode(reader)?,
            partial_context_hash: Bytes::decode(reader)?,
        };
        let mut keys = reader.vector()?;
        while !keys.is_empty() {
            keys.opaque()?; // external_receiver_ref
            keys.opaque()?; // kem_output
            keys.opaque()?; // ciphertext
        }
        reader.opaque()?; // framed_content_tbs_hash
        reader.opaque()?; // encrypted_sender_data
        reader.opaque()?; // ciphertext
        Ok(message)
    }
}

/// What an MLSMessage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// mls_public_message.
    Public(PublicMessage),
    /// mls_private_message.
    Private(PrivateMessage),
    /// mls_semiprivate_message.
    SemiPrivate(SemiPrivateMessage),
    /// mls_welcome.
    Welcome(Welcome),
    /// mls_group_info.
    GroupInfo(GroupInfo),
    /// mls_key_package.
    KeyPackage(KeyPackage),
}

/// MLSMessage, kept as its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    octets: Bytes,
    body: Body,
}

impl Message {
    /// A Welcome as a message of its own.
    pub fn from_welcome(welcome: Welcome) -> Self {
        Self::wrap(wire_format::WELCOME, Body::Welcome(welcome.clone()), &welcome)
    }

    /// A GroupInfo as a message of its own.
    pub fn from_group_info(group_info: GroupInfo) -> Self {
        Self::wrap(
            wire_format::GROUP_INFO,
            Body::GroupInfo(group_info.clone()),
            &group_info,
        )
    }

    /// A KeyPackage as a message of its own.
    pub fn from_key_package(key_package: KeyPackage) -> Self {
        Self::wrap(
            wire_format::KEY_PACKAGE,
            Body::KeyPackage(key_package.clone()),
            &key_package,
        )
    }

    fn wrap(wire_format: u16, body: Body, inner: &impl Encode) -> Self {
        let mut writer = Writer::default();
        MLS10.write(&mut writer);
        wire_format.write(&mut writer);
        inner.write(&mut writer);
        Self {
            octets: writer.into_octets().into(),
            body,
        }
    }

    /// The octets.
    pub fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// What the message is.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// WireFormat, see [`wire_format`].
    pub fn wire_format(&self) -> u16 {
        match self.body {
            Body::Public(_) => wire_format::PUBLIC_MESSAGE,
            Body::Private(_) => wire_format::PRIVATE_MESSAGE,
            Body::SemiPrivate(_) => wire_format::SEMI_PRIVATE_MESSAGE,
            Body::Welcome(_) => wire_format::WELCOME,
            Body::GroupInfo(_) => wire_format::GROUP_INFO,
            Body::KeyPackage(_) => wire_format::KEY_PACKAGE,
        }
    }

    /// The group of a framed message.
    pub fn group_id(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Public(message) => Some(&message.group_id),
            Body::Private(message) => Some(&message.group_id),
            Body::SemiPrivate(message) => Some(&message.group_id),
            Body::Welcome(_) | Body::GroupInfo(_) | Body::KeyPackage(_) => None,
        }
    }

    /// The epoch of a framed message.
    pub fn epoch(&self) -> Option<u64> {
        match &self.body {
            Body::Public(message) => Some(message.epoch),
            Body::Private(message) => Some(message.epoch),
            Body::SemiPrivate(message) => Some(message.epoch),
            Body::Welcome(_) | Body::GroupInfo(_) | Body::KeyPackage(_) => None,
        }
    }

    /// What kind of content a framed message has.
    pub fn content_type(&self) -> Option<ContentType> {
        match &self.body {
            Body::Public(message) => Some(message.content_type()),
            Body::Private(message) => Some(message.content_type),
            Body::SemiPrivate(message) => Some(message.content_type),
            Body::Welcome(_) | Body::GroupInfo(_) | Body::KeyPackage(_) => None,
        }
    }

    /// Authenticated data of a framed message.
    pub fn authenticated_data(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Public(message) => Some(&message.authenticated_data),
            Body::Private(message) => Some(&message.authenticated_data),
            Body::SemiPrivate(message) => Some(&message.authenticated_data),
            Body::Welcome(_) | Body::GroupInfo(_) | Body::KeyPackage(_) => None,
        }
    }

    /// The PublicMessage.
    pub fn public(&self) -> Option<&PublicMessage> {
        match &self.body {
            Body::Public(message) => Some(message),
            _ => None,
        }
    }

    /// Sender of a PublicMessage.
    pub fn sender(&self) -> Option<Sender> {
        self.public().map(|message| message.sender)
    }

    /// The commit in a PublicMessage.
    pub fn commit(&self) -> Option<&Commit> {
        match &self.public()?.content {
            Content::Commit(commit) => Some(commit),
            Content::Application(_) | Content::Proposal(_) => None,
        }
    }

    /// The proposal in a PublicMessage.
    pub fn proposal(&self) -> Option<&Proposal> {
        match &self.public()?.content {
            Content::Proposal(proposal) => Some(proposal),
            Content::Application(_) | Content::Commit(_) => None,
        }
    }

    /// Confirmation tag of a commit in a PublicMessage.
    pub fn confirmation_tag(&self) -> Option<&Bytes> {
        self.public()?.confirmation_tag.as_ref()
    }

    /// ProposalRef (RFC 9420 §5.2) of a proposal in a PublicMessage: the name that a commit uses.
    pub fn proposal_ref(&self, suite: CipherSuite) -> Option<Result<Bytes, UnknownSuite>> {
        self.proposal()?;
        let content = &self.public()?.authenticated_content;
        Some(reference(suite, "MLS 1.0 Proposal Reference", content))
    }

    /// The Welcome.
    pub fn welcome(&self) -> Option<&Welcome> {
        match &self.body {
            Body::Welcome(welcome) => Some(welcome),
            _ => None,
        }
    }

    /// The GroupInfo.
    pub fn group_info(&self) -> Option<&GroupInfo> {
        match &self.body {
            Body::GroupInfo(group_info) => Some(group_info),
            _ => None,
        }
    }

    /// The KeyPackage.
    pub fn key_package(&self) -> Option<&KeyPackage> {
        match &self.body {
            Body::KeyPackage(key_package) => Some(key_package),
            _ => None,
        }
    }
}

impl Encode for Message {
    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.octets);
    }
}

impl Decode for Message {
    const LIST_MAX: usize = limits::PROPOSALS_MAX;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.mark();
        match u16::decode(reader)? {
            MLS10 => {}
            value => {
                return Err(DecodeError::Unknown {
                    what: "version of MLS",
                    value: value.into(),
                });
            }
        }
        let content = reader.mark();
        let body = match u16::decode(reader)? {
            wire_format::PUBLIC_MESSAGE => Body::Public(PublicMessage::read(reader, content)?),
            wire_format::PRIVATE_MESSAGE => Body::Private(PrivateMessage::read(reader)?),
            wire_format::SEMI_PRIVATE_MESSAGE => Body::SemiPrivate(SemiPrivateMessage::read(reader)?),
            wire_format::WELCOME => Body::Welcome(Welcome::decode(reader)?),
            wire_format::GROUP_INFO => Body::GroupInfo(GroupInfo::decode(reader)?),
            wire_format::KEY_PACKAGE => Body::KeyPackage(KeyPackage::decode(reader)?),
            value => {
                return Err(DecodeError::Unknown {
                    what: "wire format",
                    value: value.into(),
                });
            }
        };
        Ok(Self {
            octets: reader.keep(reader.since(start)),
            body,
        })
    }
}
