//! MLS structures (RFC 9420), carried as their octets: each is walked just far enough to find its end and its clear
//! fields, so that what is encoded is byte for byte what was decoded. No signature, hash or key is checked here.

pub mod credential;
pub mod group_info;
pub mod key_package;
pub mod label;
pub mod leaf;
pub mod message;
pub mod proposal;
pub mod pseudonym;
pub mod tree;
pub mod welcome;

pub use credential::{Credential, ExternalSender, HpkeCiphertext, RequiredCapabilities};
pub use group_info::{GroupContextView, GroupInfo, GroupInfoView};
pub use key_package::{KeyPackage, KeyPackageView};
pub use leaf::{Capabilities, CapabilitiesView, Extensions, ExtensionsView, LeafNode, LeafNodeView, LeafSource, U16s};
pub use message::{
    Body, Commit, Content, ContentType, Message, PrivateMessage, PublicMessage, SemiPrivateMessage, Sender,
};
pub use proposal::{Proposal, ProposalKind, ProposalOrRef, ProposalView};
pub use pseudonym::{IdentityLinkTbe, PseudonymousCredential, PseudonymousCredentialTbs};
pub use tree::{NodeView, RatchetTree};
pub use welcome::{Welcome, WelcomeView};

/// CipherSuite (RFC 9420 §17.1).
pub type CipherSuite = u16;

/// ProtocolVersion mls10.
pub const MLS10: u16 = 1;

/// ExtensionType (RFC 9420 §17.3, draft-ietf-mls-extensions).
pub mod extension_type {
    /// ratchet_tree.
    pub const RATCHET_TREE: u16 = 0x0002;
    /// required_capabilities.
    pub const REQUIRED_CAPABILITIES: u16 = 0x0003;
    /// external_pub.
    pub const EXTERNAL_PUB: u16 = 0x0004;
    /// external_senders.
    pub const EXTERNAL_SENDERS: u16 = 0x0005;
    /// app_data_dictionary.
    pub const APP_DATA_DICTIONARY: u16 = 0x0006;
    /// supported_wire_formats.
    pub const SUPPORTED_WIRE_FORMATS: u16 = 0x0007;
    /// required_wire_formats.
    pub const REQUIRED_WIRE_FORMATS: u16 = 0x0008;
    /// last_resort: the number it had before it became a component.
    pub const LAST_RESORT: u16 = 0x000a;
}

/// WireFormat (RFC 9420 §17.2).
pub mod wire_format {
    /// mls_public_message.
    pub const PUBLIC_MESSAGE: u16 = 1;
    /// mls_private_message.
    pub const PRIVATE_MESSAGE: u16 = 2;
    /// mls_welcome.
    pub const WELCOME: u16 = 3;
    /// mls_group_info.
    pub const GROUP_INFO: u16 = 4;
    /// mls_key_package.
    pub const KEY_PACKAGE: u16 = 5;
    /// mls_semiprivate_message: a private number until one is assigned.
    pub const SEMI_PRIVATE_MESSAGE: u16 = 0xfafe;
}

/// Defines a structure that keeps its octets, with a view that walks them.
macro_rules! kept {
    ($(#[$doc:meta])* $name:ident, $view:ident $(, at_most: $max:expr)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            octets: bytes::Bytes,
        }

        impl $name {
            /// The octets.
            pub fn octets(&self) -> &bytes::Bytes {
                &self.octets
            }

            /// The fields.
            pub fn view(&self) -> $view<'_> {
                $view::read(&mut $crate::codec::Reader::new(&self.octets)).expect("walked when it was decoded")
            }
        }

        impl $crate::codec::Encode for $name {
            fn write(&self, writer: &mut $crate::codec::Writer) {
                writer.raw(&self.octets);
            }
        }

        impl $crate::codec::Decode for $name {
            $(const LIST_MAX: usize = $max;)?

            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                let mark = reader.mark();
                $view::read(reader)?;
                Ok(Self { octets: reader.keep(reader.since(mark)) })
            }
        }
    };
}
pub(crate) use kept;
