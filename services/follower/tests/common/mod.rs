//! What tests of the follower share: its world, and devices that make KeyPackages and requests as no honest client would.
#![allow(clippy::unwrap_used, dead_code, reason = "tests, of which each uses a part")]

pub(crate) mod counting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mimi::identifier::IdentifierUri;
use mimi::key_material::{KeyMaterialRequest, KeyMaterialResponse};
use mimi::mls::{Credential, PseudonymousCredential, RequiredCapabilities, label};
use mimi::{ClientUri, Decode as _, Encode as _, Protocol, Provider, UserUri};
use nave_follower::Follower;
use openmls::extensions::{AppDataDictionary, AppDataDictionaryExtension};
use openmls::prelude::{
    Capabilities, Ciphersuite, CredentialType, CredentialWithKey, Extension, ExtensionType, Extensions, KeyPackage,
    Lifetime,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::Signer as _;
use openmls_traits::types::SignatureScheme;
use store::Database;
use tls_codec::Serialize as _;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

pub(crate) fn provider(name: &str) -> Provider {
    format!("{name}.example").parse().unwrap()
}

pub(crate) fn user(name: &str) -> UserUri {
    format!("mimi://b.example/u/{name}").parse().unwrap()
}

pub(crate) fn client(name: &str, device: &str) -> ClientUri {
    format!("mimi://b.example/d/{name}/{device}").parse().unwrap()
}

/// The follower of b.example, whose clock is ahead of the system's by what a test says.
pub(crate) struct World {
    pub(crate) follower: Follower,
    pub(crate) database: Database,
    ahead: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(Database::memory())
    }

    pub(crate) fn over(database: Database) -> Self {
        let (system, ahead) = (Follower::system_clock(), Arc::new(AtomicU64::new(0)));
        let later = ahead.clone();
        let clock = Arc::new(move || system() + later.load(Ordering::Relaxed));
        Self {
            follower: Follower::new(provider("b"), database.clone(), clock).with_minimal_metadata(true),
            database,
            ahead,
        }
    }

    pub(crate) fn wait(&self, ms: u64) {
        self.ahead.fetch_add(ms, Ordering::Relaxed);
    }

    /// What a.example is answered.
    pub(crate) async fn claim(&self, request: &Bytes) -> KeyMaterialResponse {
        let octets = self.follower.claim(&provider("a"), request).await.unwrap();
        KeyMaterialResponse::decode_exact(&octets).unwrap()
    }
}

/// How a KeyPackage says that it is of last resort.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Last {
    No,
    Extension,
    Component,
}

/// A client's keys, under some credential.
pub(crate) struct Device {
    crypto: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: Credential,
}

impl Device {
    pub(crate) fn new(client: &ClientUri) -> Self {
        let credential = Credential::basic(Bytes::copy_from_slice(client.as_str().as_bytes()));
        Self::with(|_| credential)
    }

    /// Under pseudonyms, by the last digits of their UUIDs.
    pub(crate) fn pseudonymous(user: u64, client: u64) -> Self {
        let uuid = |number| format!("00000000-0000-4000-8000-{number:012x}");
        let (user, client) = (uuid(user), uuid(client));
        Self::with(|key| {
            let fields = PseudonymousCredential {
                client_pseudonym: IdentifierUri(format!("mimi://b.example/d/{user}/{client}").into()),
                user_pseudonym: IdentifierUri(format!("mimi://b.example/u/{user}").into()),
                signature_public_key: Bytes::copy_from_slice(key),
                identity_link_ciphertext: Bytes::from_static(b"link"),
            };
            fields.credential()
        })
    }

    pub(crate) fn with(credential: impl FnOnce(&[u8]) -> Credential) -> Self {
        let signer = SignatureKeyPair::new(SignatureScheme::ED25519).unwrap();
        let credential = credential(signer.public());
        Self {
            crypto: OpenMlsRustCrypto::default(),
            signer,
            credential,
        }
    }

    pub(crate) fn key_package(&self, last: Last, seconds: u64) -> Bytes {
        let credential_type = CredentialType::from(self.credential.credential_type);
        let credential = CredentialWithKey {
            credential: openmls::prelude::Credential::new(credential_type, self.credential.content.to_vec()),
            signature_key: self.signer.public().into(),
        };
        let capabilities = Capabilities::builder()
            .ciphersuites(vec![SUITE])
            .extensions(vec![ExtensionType::AppDataDictionary, ExtensionType::LastResort])
            .credentials(vec![credential_type])
            .build();
        let mut builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities)
            .key_package_lifetime(Lifetime::new(seconds));
        builder = match last {
            Last::No => builder,
            Last::Extension => builder.mark_as_last_resort(),
            Last::Component => {
                let mut dictionary = AppDataDictionary::new();
                dictionary.insert(4, Vec::new());
                let extension = Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary));
                builder.key_package_extensions(Extensions::single(extension).unwrap())
            }
        };
        let bundle = builder.build(SUITE, &self.crypto, &self.signer, credential).unwrap();
        bundle.key_package().tls_serialize_detached().unwrap().into()
    }

    /// A request for KeyPackages with this type of credential, for a room of a.example.
    pub(crate) fn request(&self, target: &UserUri, credential_type: u16) -> KeyMaterialRequest {
        let mut request = KeyMaterialRequest {
            protocol: Protocol::Mls10,
            requesting_user: (&self.credential.client().unwrap().user()).into(),
            target_user: target.into(),
            room_id: IdentifierUri(Bytes::from_static(b"mimi://a.example/r/club")),
            acceptable_ciphersuites: vec![SUITE.into()],
            required_capabilities: RequiredCapabilities {
                credential_types: vec![credential_type],
                ..RequiredCapabilities::default()
            },
            requester_signature_key: Bytes::copy_from_slice(self.signer.public()),
            requester_credential: self.credential.clone(),
            signature: Bytes::new(),
        };
        self.sign(&mut request);
        request
    }

    pub(crate) fn sign(&self, request: &mut KeyMaterialRequest) {
        let content = label::sign_content(KeyMaterialRequest::LABEL, &request.tbs());
        request.signature = self.signer.sign(&content).unwrap().into();
    }

    /// As octets, of basic credentials.
    pub(crate) fn asks_for(&self, target: &UserUri) -> Bytes {
        self.request(target, Credential::BASIC).encode().into()
    }
}

/// A user of a.example.
pub(crate) fn inviter(name: &str) -> Device {
    Device::new(&format!("mimi://a.example/d/{name}/phone").parse().unwrap())
}
