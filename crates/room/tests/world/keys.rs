//! The hub's keys, those of other providers, and proposals signed by them.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use client::mls::CIPHERSUITE;
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::franking::{ServerFrankingContext, TAG_BYTES};
use mimi::mls::label::sign_content;
use mimi::mls::{CipherSuite, Credential, ExternalSender, GroupInfo, Message};
use mimi::submit::Frank;
use mimi::update::{HandshakeBundle, UpdateRequest};
use mimi::{ComponentId, Provider};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::signatures::Signer as _;
use room::Keys;

use super::{World, provider};

/// A hub that signs, and the keys of others that it knows.
pub struct Signers {
    hub: Rc<SignatureKeyPair>,
    followers: BTreeMap<Provider, ExternalSender>,
}

impl Signers {
    /// A hub that knows nobody else.
    pub fn of(hub: &Rc<SignatureKeyPair>) -> Self {
        Self {
            hub: hub.clone(),
            followers: BTreeMap::new(),
        }
    }
}

pub fn sender(domain: &str, key: &SignatureKeyPair) -> ExternalSender {
    ExternalSender {
        signature_key: Bytes::copy_from_slice(key.public()),
        credential: Credential::basic(format!("mimi://{domain}")),
    }
}

pub fn key() -> SignatureKeyPair {
    SignatureKeyPair::new(CIPHERSUITE.signature_algorithm()).unwrap()
}

impl Keys for Signers {
    fn hub(&self, suite: CipherSuite) -> Option<ExternalSender> {
        (suite == CipherSuite::from(CIPHERSUITE)).then(|| sender("a.example", &self.hub))
    }

    fn follower(&self, provider: &Provider, _: CipherSuite) -> Option<ExternalSender> {
        self.followers.get(provider).cloned()
    }

    fn sign(&self, _: CipherSuite, label: &str, content: &[u8]) -> Option<Bytes> {
        Some(self.hub.sign(&sign_content(label, content)).unwrap().into())
    }

    fn frank(&self, _: CipherSuite, _: &[u8; TAG_BYTES], _: &ServerFrankingContext) -> Option<Frank> {
        None
    }
}

impl World {
    /// The key by which the room names its hub.
    pub fn hub_key(&self) -> Rc<SignatureKeyPair> {
        self.signer.clone()
    }

    /// From now on the hub signs, and knows these keys of others.
    pub fn sign(&mut self, followers: &[(&str, &SignatureKeyPair)]) {
        let followers = followers.iter();
        self.keys = Rc::new(Signers {
            hub: self.signer.clone(),
            followers: followers
                .map(|(domain, key)| (provider(domain), sender(domain, key)))
                .collect(),
        });
    }

    /// The room's external senders.
    pub fn senders(&self) -> Vec<ExternalSender> {
        let info = self.kept_group_info();
        let context = info.view().group_context;
        Vec::decode_exact(context.extensions.find(5).unwrap()).unwrap()
    }

    /// The last accepted GroupInfo.
    pub fn kept_group_info(&self) -> GroupInfo {
        self.room.group_info().clone()
    }

    /// GroupContextExtensions with other external senders.
    pub fn extensions(&self, senders: &[ExternalSender]) -> Vec<u8> {
        self.extensions_with(|kind, data| {
            if kind == 5 {
                senders.to_vec().encode()
            } else {
                data.to_vec()
            }
        })
    }

    /// GroupContextExtensions with each extension as `edit` makes it.
    pub fn extensions_with(&self, edit: impl Fn(u16, &[u8]) -> Vec<u8>) -> Vec<u8> {
        let info = self.kept_group_info();
        let mut writer = Writer::default();
        7u16.write(&mut writer);
        writer.vector(|list| {
            for (kind, data) in info.view().group_context.extensions.iter() {
                kind.write(list);
                list.opaque(&edit(kind, data));
            }
        });
        writer.into_octets()
    }

    /// A proposal of the external sender at `index`, for the room's epoch.
    pub fn external(&self, index: u32, proposal: &[u8], key: &SignatureKeyPair) -> Message {
        let info = self.kept_group_info();
        let mut writer = Writer::default();
        writer.raw(&[0, 1, 0, 1]);
        writer.opaque(info.view().group_context.group_id);
        self.room.epoch().0.write(&mut writer);
        2u8.write(&mut writer);
        index.write(&mut writer);
        // No component puts an item in, but some may (mls-extensions §4.9).
        writer.opaque(&[0]);
        2u8.write(&mut writer);
        writer.raw(proposal);
        let framed = writer.into_octets();
        let mut writer = Writer::default();
        writer.raw(&framed);
        writer.opaque(&key.sign(&sign_content("FramedContentTBS", &framed)).unwrap());
        Message::decode_exact(&writer.into_octets()).unwrap()
    }
}

/// UpdateRequest with these proposals.
pub fn bundle(proposals: &[Message]) -> Bytes {
    let proposals = proposals.to_vec();
    UpdateRequest {
        bundle: HandshakeBundle::Proposals { proposals },
    }
    .encode()
    .into()
}

/// Remove of the client at a leaf.
pub fn remove(leaf: u32) -> Vec<u8> {
    [&[0, 3][..], &leaf.to_be_bytes()].concat()
}

/// AppDataUpdate that replaces a component.
pub fn app_data_update(component: ComponentId, value: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    8u16.write(&mut writer);
    component.write(&mut writer);
    1u8.write(&mut writer);
    writer.opaque(value);
    writer.into_octets()
}
