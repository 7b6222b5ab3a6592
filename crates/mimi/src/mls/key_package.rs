//! KeyPackage (RFC 9420 §10).

use bytes::Bytes;

use crate::app_data::{AppDataDictionary, ComponentId};
use crate::codec::{Decode, DecodeError, Reader};
use crate::limits;
use crate::mls::extension_type::{APP_DATA_DICTIONARY, LAST_RESORT};
use crate::mls::label::{UnknownSuite, reference};
use crate::mls::{CipherSuite, Credential, ExtensionsView, LeafNodeView, LeafSource, kept};

/// Fields of a [`KeyPackage`], in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPackageView<'a> {
    /// ProtocolVersion.
    pub version: u16,
    /// The suite that the package is for.
    pub cipher_suite: CipherSuite,
    /// HPKEPublicKey for the Welcome.
    pub init_key: &'a [u8],
    /// The leaf.
    pub leaf: LeafNodeView<'a>,
    /// Its extensions.
    pub extensions: ExtensionsView<'a>,
    /// Its signature.
    pub signature: &'a [u8],
}

impl<'a> KeyPackageView<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            version: u16::decode(reader)?,
            cipher_suite: CipherSuite::decode(reader)?,
            init_key: reader.opaque()?,
            leaf: LeafNodeView::read(reader)?,
            extensions: ExtensionsView::read(reader)?,
            signature: reader.opaque()?,
        })
    }
}

kept!(
    /// KeyPackage, kept as its octets.
    KeyPackage,
    KeyPackageView,
    at_most: limits::GRANT_KEY_PACKAGES_MAX
);

impl KeyPackage {
    /// The suite that the package is for.
    pub fn cipher_suite(&self) -> CipherSuite {
        self.view().cipher_suite
    }

    /// The leaf's credential.
    pub fn credential(&self) -> Credential {
        self.view().leaf.credential()
    }

    /// Last second of its validity, since the UNIX epoch; none when the leaf is not of a KeyPackage.
    pub fn not_after(&self) -> Option<u64> {
        match self.view().leaf.source {
            LeafSource::KeyPackage { not_after, .. } => Some(not_after),
            LeafSource::Update | LeafSource::Commit { .. } => None,
        }
    }

    /// Whether it is meant for when there is no other: it has the extension last_resort, or the component
    /// last_resort_key_package in its dictionary (draft-ietf-mls-extensions). Given away once it is like any other.
    pub fn is_last_resort(&self) -> bool {
        let extensions = self.view().extensions;
        let dictionary = extensions
            .find(APP_DATA_DICTIONARY)
            .map(AppDataDictionary::decode_exact);
        let has_component =
            |dictionary: AppDataDictionary| dictionary.component(ComponentId::LAST_RESORT_KEY_PACKAGE).is_some();
        extensions.find(LAST_RESORT).is_some() || dictionary.and_then(Result::ok).is_some_and(has_component)
    }

    /// KeyPackageRef (RFC 9420 §5.2): the name that a Welcome uses.
    pub fn reference(&self) -> Result<Bytes, UnknownSuite> {
        reference(self.cipher_suite(), "MLS 1.0 KeyPackage Reference", &self.octets)
    }
}
