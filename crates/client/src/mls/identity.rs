//! What one client is: its URI, its signature keys and what its leaf says it can do. A private key never leaves here.

use bytes::Bytes;
use mimi::app_data::ComponentsList;
use mimi::codec::Encode as _;
use mimi::content::media_type;
use mimi::mls::{self, PseudonymousCredential, PseudonymousCredentialTbs};
use mimi::operational::{MediaType, MediaTypeParameter};
use mimi::{ClientUri, ComponentId};
use openmls::extensions::{AppDataDictionary, AppDataDictionaryExtension};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, Credential, CredentialType, CredentialWithKey, Extension,
    ExtensionType, Extensions, KeyPackage, LeafNode, LeafNodeParameters, OpenMlsCrypto, OpenMlsRand, ProposalType,
    ProtocolVersion, SignContent,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use openmls_traits::signatures::Signer;
use openmls_traits::types::{HpkeCiphertext, HpkeKeyPair, SignatureScheme};

use super::MemberError;
use super::storage::Provider;

/// The cipher suite of a room whose founder chooses no other (RFC 9420 §17.1, 0x0001).
pub const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// A cipher suite for rooms whose messages are to withstand quantum computers: ML-KEM-768 with X25519
/// (draft-ietf-mls-pq-ciphersuites; its number is provisional).
pub const POST_QUANTUM: Ciphersuite = Ciphersuite::MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519;

/// The cipher suites that these clients speak: 0x0001, 0x0002 and 0x0003, and the hybrids of ML-KEM-768 and X25519
/// (draft-ietf-mls-pq-ciphersuites).
pub const CIPHERSUITES: [Ciphersuite; 5] = [
    CIPHERSUITE,
    Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
    Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
    POST_QUANTUM,
    Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
];

/// Components that these clients understand.
const COMPONENTS: [ComponentId; 22] = [
    ComponentId::APP_COMPONENTS,
    ComponentId::SAFE_AAD,
    ComponentId::CONTENT_MEDIA_TYPES,
    ComponentId::LAST_RESORT_KEY_PACKAGE,
    ComponentId::APP_ACK,
    ComponentId::FRANK_AAD,
    ComponentId::FRANKING_AGENT,
    ComponentId::PARTICIPANT_LIST,
    ComponentId::ROOM_METADATA,
    ComponentId::OPERATIONAL_POLICY,
    ComponentId::ROLES_LIST,
    ComponentId::PREAUTH_LIST,
    ComponentId::BASE_ROOM_POLICY,
    ComponentId::STATUS_NOTIFICATION_POLICY,
    ComponentId::JOIN_LINK_POLICY,
    ComponentId::JOIN_LINKS,
    ComponentId::LINK_PREVIEW_POLICY,
    ComponentId::ASSET_POLICY,
    ComponentId::LOGGING_POLICY,
    ComponentId::CHAT_HISTORY_POLICY,
    ComponentId::BOT_POLICY,
    ComponentId::MESSAGE_EXPIRATION_POLICY,
];

/// A signature key and the credential that it is shown with.
pub(crate) struct Signing {
    pub(crate) signer: SignatureKeyPair,
    pub(crate) credential: CredentialWithKey,
}

impl Signing {
    /// A new key, and the credential that `credential` makes for its public half.
    fn new(
        scheme: SignatureScheme,
        credential: impl FnOnce(&[u8]) -> Result<Credential, MemberError>,
    ) -> Result<Self, MemberError> {
        let signer = SignatureKeyPair::new(scheme).map_err(MemberError::mls)?;
        let credential = CredentialWithKey {
            credential: credential(signer.public())?,
            signature_key: signer.public().into(),
        };
        Ok(Self { signer, credential })
    }

    fn basic(uri: &ClientUri, scheme: SignatureScheme) -> Result<Self, MemberError> {
        Self::new(scheme, |_| {
            Ok(BasicCredential::new(uri.as_str().as_bytes().to_vec()).into())
        })
    }
}

/// A name of a client, its keys, and the crypto provider that holds the secrets of its groups. A client has one for its
/// real name, and one for each pseudonym.
pub(crate) struct Identity {
    pub(crate) uri: ClientUri,
    pub(crate) provider: Provider,
    /// For the scheme of [`CIPHERSUITE`]; of a pseudonym, for that of its one room.
    signing: Signing,
    p256: Option<Signing>,
}

impl Identity {
    pub(crate) fn new(uri: ClientUri) -> Result<Self, MemberError> {
        Ok(Self {
            signing: Signing::basic(&uri, SignatureScheme::ED25519)?,
            p256: Some(Signing::basic(&uri, SignatureScheme::ECDSA_SECP256R1_SHA256)?),
            uri,
            provider: Provider::default(),
        })
    }

    /// A pseudonym, for a room of this cipher suite; `link` makes its identity_link_ciphertext.
    pub(crate) fn pseudonymous(
        uri: ClientUri,
        suite: Ciphersuite,
        link: impl FnOnce(&PseudonymousCredentialTbs) -> Result<Vec<u8>, MemberError>,
    ) -> Result<Self, MemberError> {
        let signing = Signing::new(suite.signature_algorithm(), |key| {
            let mut fields = PseudonymousCredential {
                client_pseudonym: (&uri).into(),
                user_pseudonym: (&uri.user()).into(),
                signature_public_key: Bytes::copy_from_slice(key),
                identity_link_ciphertext: Bytes::new(),
            };
            fields.identity_link_ciphertext = link(&fields.tbs())?.into();
            let kind = CredentialType::Other(mls::Credential::PSEUDONYMOUS);
            Ok(Credential::new(kind, fields.encode()))
        })?;
        Ok(Self {
            signing,
            p256: None,
            uri,
            provider: Provider::default(),
        })
    }

    /// The key for groups and requests of a cipher suite.
    pub(crate) fn signing(&self, suite: Ciphersuite) -> &Signing {
        match (suite.signature_algorithm(), &self.p256) {
            (SignatureScheme::ECDSA_SECP256R1_SHA256, Some(p256)) => p256,
            _ => &self.signing,
        }
    }

    /// The credential for groups and requests of a cipher suite.
    pub(crate) fn credential(&self, suite: Ciphersuite) -> mls::Credential {
        credential_of(&self.signing(suite).credential.credential)
    }

    /// The type of its credentials.
    pub(crate) fn credential_type(&self) -> CredentialType {
        self.signing.credential.credential.credential_type()
    }

    /// Whether a public key is one of its own.
    pub(crate) fn has_key(&self, key: &[u8]) -> bool {
        let mut all = [Some(&self.signing), self.p256.as_ref()].into_iter().flatten();
        all.any(|signing| signing.signer.public() == key)
    }

    /// What every leaf of this client lists: the extensions and proposals that rooms of the M-5 profile require.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities::builder()
            .versions(vec![ProtocolVersion::Mls10])
            .ciphersuites(CIPHERSUITES.to_vec())
            .extensions(vec![ExtensionType::AppDataDictionary])
            .proposals(vec![
                ProposalType::AppDataUpdate,
                ProposalType::AppEphemeral,
                ProposalType::SelfRemove,
            ])
            .credentials(vec![self.credential_type()])
            .build()
    }

    /// What every leaf of this client says of components, authenticated data and media types
    /// (draft-ietf-mls-extensions §4.7, §4.9 and §6.2).
    pub(crate) fn leaf_extensions() -> Result<Extensions<LeafNode>, MemberError> {
        let mut dictionary = AppDataDictionary::new();
        let components = ComponentsList {
            ids: COMPONENTS.to_vec(),
        };
        let safe_aad = ComponentsList {
            ids: vec![ComponentId::FRANK_AAD],
        };
        dictionary.insert(ComponentId::APP_COMPONENTS.0, components.encode());
        dictionary.insert(ComponentId::SAFE_AAD.0, safe_aad.encode());
        dictionary.insert(ComponentId::CONTENT_MEDIA_TYPES.0, content_media_types().encode());
        let extension = Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary));
        Extensions::single(extension).map_err(MemberError::mls)
    }

    pub(crate) fn leaf_parameters(&self) -> Result<LeafNodeParameters, MemberError> {
        Ok(LeafNodeParameters::builder()
            .with_capabilities(self.capabilities())
            .with_extensions(Self::leaf_extensions()?)
            .build())
    }

    /// A new KeyPackage, encoded; its private keys stay in the provider until a Welcome uses them.
    pub(crate) fn key_package(&self, suite: Ciphersuite) -> Result<Vec<u8>, MemberError> {
        let signing = self.signing(suite);
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(self.capabilities())
            .leaf_node_extensions(Self::leaf_extensions()?)
            .build(suite, &self.provider, &signing.signer, signing.credential.clone())
            .map_err(MemberError::mls)?;
        bundle.key_package().tls_serialize_detached().map_err(MemberError::mls)
    }

    /// A KeyPackage that says that it is of last resort (draft-ietf-mls-extensions §8).
    pub(crate) fn last_resort_key_package(&self, suite: Ciphersuite) -> Result<Vec<u8>, MemberError> {
        let mut dictionary = AppDataDictionary::new();
        dictionary.insert(ComponentId::LAST_RESORT_KEY_PACKAGE.0, Vec::new());
        let extension = Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary));
        let signing = self.signing(suite);
        let bundle = KeyPackage::builder()
            .key_package_extensions(Extensions::single(extension).map_err(MemberError::mls)?)
            .leaf_node_capabilities(self.capabilities())
            .leaf_node_extensions(Self::leaf_extensions()?)
            .build(suite, &self.provider, &signing.signer, signing.credential.clone())
            .map_err(MemberError::mls)?;
        bundle.key_package().tls_serialize_detached().map_err(MemberError::mls)
    }

    /// SignWithLabel (RFC 9420 §5.1.2).
    pub(crate) fn sign(&self, suite: Ciphersuite, label: &str, content: &[u8]) -> Result<Vec<u8>, MemberError> {
        let octets = SignContent::new(label, content.to_vec().into())
            .tls_serialize_detached()
            .map_err(MemberError::mls)?;
        self.signing(suite)
            .signer
            .sign(&octets)
            .map_err(|error| MemberError::Mls(format!("{error:?}")))
    }

    /// VerifyWithLabel (RFC 9420 §5.1.2).
    pub(crate) fn verify(
        &self,
        suite: Ciphersuite,
        label: &str,
        content: &[u8],
        key: &[u8],
        signature: &[u8],
    ) -> Result<(), MemberError> {
        let octets = SignContent::new(label, content.to_vec().into())
            .tls_serialize_detached()
            .map_err(MemberError::mls)?;
        self.provider
            .crypto()
            .verify_signature(suite.signature_algorithm(), &octets, key, signature)
            .map_err(|_| MemberError::Refused("the signature does not verify"))
    }

    /// A fresh HPKE key pair for one request.
    pub(crate) fn hpke_key_pair(&self, suite: Ciphersuite) -> Result<HpkeKeyPair, MemberError> {
        let seed: [u8; 32] = self.provider.rand().random_array().map_err(MemberError::mls)?;
        self.provider
            .crypto()
            .derive_hpke_keypair(suite.hpke_config(), &seed)
            .map_err(MemberError::mls)
    }

    /// DecryptWithLabel (RFC 9420 §5.1.3).
    pub(crate) fn open(
        &self,
        suite: Ciphersuite,
        keys: &HpkeKeyPair,
        label: &str,
        context: &[u8],
        sealed: &HpkeCiphertext,
    ) -> Result<Vec<u8>, MemberError> {
        // EncryptContext has the shape of SignContent: the labelled string, then the octets, each as a vector.
        let info = SignContent::new(label, context.to_vec().into())
            .tls_serialize_detached()
            .map_err(MemberError::mls)?;
        self.provider
            .crypto()
            .hpke_open(suite.hpke_config(), sealed, &keys.private, &info, b"")
            .map_err(|_| MemberError::Refused("the answer is not encrypted to this client"))
    }
}

/// The media types that these clients receive, the content of messages first: what their leaves and their rooms list.
pub(crate) fn content_media_types() -> Vec<MediaType> {
    let named = |media_type: &'static str, parameter: Option<(&'static str, &'static str)>| MediaType {
        media_type: Bytes::from_static(media_type.as_bytes()),
        parameters: parameter
            .map(|(name, value)| MediaTypeParameter {
                name: Bytes::from_static(name.as_bytes()),
                value: Bytes::from_static(value.as_bytes()),
            })
            .into_iter()
            .collect(),
    };
    vec![
        named(media_type::MIMI_CONTENT, None),
        named("text/plain", Some(("charset", "utf-8"))),
        named("text/markdown", Some(("variant", "GFM-MIMI"))),
    ]
}

/// The client that a credential names: by its URI, or by its pseudonym.
pub(crate) fn client_of(credential: &Credential) -> Result<ClientUri, MemberError> {
    let client = credential_of(credential).client();
    client.map_err(|_| MemberError::Refused("a credential that names no client"))
}

/// A credential as the drafts' structures hold it.
pub(crate) fn credential_of(credential: &Credential) -> mls::Credential {
    mls::Credential {
        credential_type: credential.credential_type().into(),
        content: Bytes::copy_from_slice(credential.serialized_content()),
    }
}
