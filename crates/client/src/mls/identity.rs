//! What one client is: its URI, its signature key and what its leaf says it can do. A private key never leaves here.

use mimi::ClientUri;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, Credential, CredentialType, CredentialWithKey, ExtensionType,
    KeyPackage, LeafNodeParameters, OpenMlsCrypto, OpenMlsRand, ProposalType, ProtocolVersion, SignContent,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use openmls_traits::signatures::Signer;
use openmls_traits::types::{HpkeCiphertext, HpkeKeyPair};

use super::MemberError;
use super::storage::Provider;

/// The one cipher suite these clients speak (RFC 9420 §17.1, 0x0001).
pub const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// A client's keys and the crypto provider that holds its groups' secrets.
pub(crate) struct Identity {
    pub(crate) uri: ClientUri,
    pub(crate) provider: Provider,
    pub(crate) signer: SignatureKeyPair,
    pub(crate) credential: CredentialWithKey,
}

impl Identity {
    pub(crate) fn new(uri: ClientUri) -> Result<Self, MemberError> {
        let signer = SignatureKeyPair::new(CIPHERSUITE.signature_algorithm()).map_err(MemberError::mls)?;
        let credential = CredentialWithKey {
            credential: BasicCredential::new(uri.as_str().as_bytes().to_vec()).into(),
            signature_key: signer.public().into(),
        };
        Ok(Self {
            uri,
            provider: Provider::default(),
            signer,
            credential,
        })
    }

    /// What every leaf of this client lists: the extensions and proposals that rooms of the M-5 profile require.
    pub(crate) fn capabilities() -> Capabilities {
        Capabilities::builder()
            .versions(vec![ProtocolVersion::Mls10])
            .ciphersuites(vec![CIPHERSUITE])
            .extensions(vec![ExtensionType::AppDataDictionary])
            .proposals(vec![
                ProposalType::AppDataUpdate,
                ProposalType::AppEphemeral,
                ProposalType::SelfRemove,
            ])
            .credentials(vec![CredentialType::Basic])
            .build()
    }

    pub(crate) fn leaf_parameters() -> LeafNodeParameters {
        LeafNodeParameters::builder()
            .with_capabilities(Self::capabilities())
            .build()
    }

    /// A new KeyPackage, encoded; its private keys stay in the provider until a Welcome uses them.
    pub(crate) fn key_package(&self) -> Result<Vec<u8>, MemberError> {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(Self::capabilities())
            .build(CIPHERSUITE, &self.provider, &self.signer, self.credential.clone())
            .map_err(MemberError::mls)?;
        bundle.key_package().tls_serialize_detached().map_err(MemberError::mls)
    }

    /// SignWithLabel (RFC 9420 §5.1.2).
    pub(crate) fn sign(&self, label: &str, content: &[u8]) -> Result<Vec<u8>, MemberError> {
        let octets = SignContent::new(label, content.to_vec().into())
            .tls_serialize_detached()
            .map_err(MemberError::mls)?;
        self.signer
            .sign(&octets)
            .map_err(|error| MemberError::Mls(format!("{error:?}")))
    }

    /// VerifyWithLabel (RFC 9420 §5.1.2) under the scheme of [`CIPHERSUITE`].
    pub(crate) fn verify(&self, label: &str, content: &[u8], key: &[u8], signature: &[u8]) -> Result<(), MemberError> {
        let octets = SignContent::new(label, content.to_vec().into())
            .tls_serialize_detached()
            .map_err(MemberError::mls)?;
        self.provider
            .crypto()
            .verify_signature(CIPHERSUITE.signature_algorithm(), &octets, key, signature)
            .map_err(|_| MemberError::Refused("the signature does not verify"))
    }

    /// A fresh HPKE key pair for one request.
    pub(crate) fn hpke_key_pair(&self) -> Result<HpkeKeyPair, MemberError> {
        let seed: [u8; 32] = self.provider.rand().random_array().map_err(MemberError::mls)?;
        self.provider
            .crypto()
            .derive_hpke_keypair(CIPHERSUITE.hpke_config(), &seed)
            .map_err(MemberError::mls)
    }

    /// DecryptWithLabel (RFC 9420 §5.1.3).
    pub(crate) fn open(
        &self,
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
            .hpke_open(CIPHERSUITE.hpke_config(), sealed, &keys.private, &info, b"")
            .map_err(|_| MemberError::Refused("the answer is not encrypted to this client"))
    }
}

/// The client URI that a credential names.
pub(crate) fn client_of(credential: &Credential) -> Result<ClientUri, MemberError> {
    let basic = BasicCredential::try_from(credential.clone())
        .map_err(|_| MemberError::Refused("a credential that is not basic"))?;
    ClientUri::from_octets(basic.identity()).map_err(|_| MemberError::Refused("a credential that is no client URI"))
}
