//! LeafNode (RFC 9420 §7.2), its capabilities and its extensions.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, wire};
use crate::mls::{Credential, kept};

/// A walked vector of 16-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct U16s<'a>(&'a [u8]);

impl<'a> U16s<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let octets = reader.opaque()?;
        if octets.len() % 2 != 0 {
            return Err(DecodeError::Truncated);
        }
        Ok(Self(octets))
    }

    /// The numbers.
    pub fn iter(self) -> impl Iterator<Item = u16> + 'a {
        self.0
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// Whether `number` is among them.
    pub fn contains(self, number: u16) -> bool {
        self.iter().any(|each| each == number)
    }
}

/// Capabilities of a leaf, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilitiesView<'a> {
    /// ProtocolVersions.
    pub versions: U16s<'a>,
    /// CipherSuites.
    pub cipher_suites: U16s<'a>,
    /// ExtensionTypes.
    pub extensions: U16s<'a>,
    /// ProposalTypes.
    pub proposals: U16s<'a>,
    /// CredentialTypes.
    pub credentials: U16s<'a>,
}

impl<'a> CapabilitiesView<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            versions: U16s::read(reader)?,
            cipher_suites: U16s::read(reader)?,
            extensions: U16s::read(reader)?,
            proposals: U16s::read(reader)?,
            credentials: U16s::read(reader)?,
        })
    }

    /// A copy.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            versions: self.versions.iter().collect(),
            cipher_suites: self.cipher_suites.iter().collect(),
            extensions: self.extensions.iter().collect(),
            proposals: self.proposals.iter().collect(),
            credentials: self.credentials.iter().collect(),
        }
    }
}

/// Capabilities (RFC 9420 §7.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// ProtocolVersions.
    pub versions: Vec<u16>,
    /// CipherSuites.
    pub cipher_suites: Vec<u16>,
    /// ExtensionTypes.
    pub extensions: Vec<u16>,
    /// ProposalTypes.
    pub proposals: Vec<u16>,
    /// CredentialTypes.
    pub credentials: Vec<u16>,
}
wire!(Capabilities {
    versions,
    cipher_suites,
    extensions,
    proposals,
    credentials
});

/// A walked vector of extensions (RFC 9420 §13), in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionsView<'a> {
    body: &'a [u8],
}

impl<'a> ExtensionsView<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let body = reader.opaque()?;
        let mut extensions = Reader::new(body);
        while !extensions.is_empty() {
            u16::decode(&mut extensions)?;
            extensions.opaque()?;
        }
        Ok(Self { body })
    }

    /// Each extension's type and data.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut reader = Reader::new(self.body);
        std::iter::from_fn(move || {
            let extension_type = u16::decode(&mut reader).ok()?;
            Some((extension_type, reader.opaque().ok()?))
        })
    }

    /// Data of the first extension of this type.
    pub fn find(self, extension_type: u16) -> Option<&'a [u8]> {
        self.iter()
            .find(|(each, _)| *each == extension_type)
            .map(|(_, data)| data)
    }
}

/// `Extension extensions<V>`, kept as its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extensions {
    body: Bytes,
}

impl Extensions {
    /// No extensions.
    pub fn none() -> Self {
        Self { body: Bytes::new() }
    }

    /// The extensions.
    pub fn view(&self) -> ExtensionsView<'_> {
        ExtensionsView { body: &self.body }
    }
}

impl Encode for Extensions {
    fn write(&self, writer: &mut Writer) {
        writer.opaque(&self.body);
    }
}

impl Decode for Extensions {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let view = ExtensionsView::read(reader)?;
        Ok(Self {
            body: reader.keep(view.body),
        })
    }
}

/// Where a leaf comes from (LeafNodeSource).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafSource<'a> {
    /// A KeyPackage, valid for a time (seconds since the UNIX epoch).
    KeyPackage {
        /// Not valid before.
        not_before: u64,
        /// Not valid after.
        not_after: u64,
    },
    /// An Update proposal.
    Update,
    /// A commit.
    Commit {
        /// The parent hash.
        parent_hash: &'a [u8],
    },
}

impl<'a> LeafSource<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::KeyPackage {
                not_before: u64::decode(reader)?,
                not_after: u64::decode(reader)?,
            }),
            2 => Ok(Self::Update),
            3 => Ok(Self::Commit {
                parent_hash: reader.opaque()?,
            }),
            value => Err(DecodeError::Unknown {
                what: "leaf node source",
                value: value.into(),
            }),
        }
    }
}

/// Fields of a [`LeafNode`], in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafNodeView<'a> {
    /// HPKEPublicKey.
    pub encryption_key: &'a [u8],
    /// SignaturePublicKey.
    pub signature_key: &'a [u8],
    /// CredentialType.
    pub credential_type: u16,
    /// The credential's vector: the identity of a basic credential.
    pub credential_content: &'a [u8],
    /// What the client can do.
    pub capabilities: CapabilitiesView<'a>,
    /// Where the leaf comes from.
    pub source: LeafSource<'a>,
    /// Its extensions.
    pub extensions: ExtensionsView<'a>,
    /// Its signature.
    pub signature: &'a [u8],
}

impl<'a> LeafNodeView<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            encryption_key: reader.opaque()?,
            signature_key: reader.opaque()?,
            credential_type: u16::decode(reader)?,
            credential_content: reader.opaque()?,
            capabilities: CapabilitiesView::read(reader)?,
            source: LeafSource::read(reader)?,
            extensions: ExtensionsView::read(reader)?,
            signature: reader.opaque()?,
        })
    }

    /// A copy of the credential.
    pub fn credential(&self) -> Credential {
        Credential {
            credential_type: self.credential_type,
            content: Bytes::copy_from_slice(self.credential_content),
        }
    }
}

kept!(
    /// LeafNode, kept as its octets.
    LeafNode,
    LeafNodeView
);
