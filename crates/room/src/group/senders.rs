//! Those outside the group who may send proposals to it (external_senders, RFC 9420 §12.1.8.1), and what the hub sends as
//! one of them.

use bytes::Bytes;
use mimi::ClientUri;
use mimi::ComponentId;
use mimi::codec::{Decode as _, Encode as _, Writer};
use mimi::mls::{self, ExternalSender, Message, wire_format};
use openmls::prelude::{Extension, ExtensionType, Extensions, GroupContext};
use tls_codec::{DeserializeBytes as _, Serialize as _};

use super::{Group, client_of};
use crate::Keys;

/// SenderType external.
const EXTERNAL: u8 = 2;
/// ContentType proposal.
const PROPOSAL: u8 = 2;
/// ProposalType remove.
const REMOVE: u16 = 3;
/// ProposalType group_context_extensions.
const GROUP_CONTEXT_EXTENSIONS: u16 = 7;

impl Group {
    /// The external senders, by their index.
    pub(crate) fn senders(&self) -> Vec<ExternalSender> {
        senders_of(self.mls.group_context().extensions())
    }

    /// Leaf of a client.
    pub(crate) fn leaf_of_client(&self, client: &ClientUri) -> Option<u32> {
        let mut leaves = self.mls.treesync().full_leaves();
        let found = leaves.find(|(_, leaf)| client_of(leaf.credential()).as_ref() == Some(client));
        found.map(|(index, _)| index.u32())
    }

    /// GroupContextExtensions that leave everything but the external senders as it is.
    pub(crate) fn propose_senders(&self, senders: &[ExternalSender]) -> Option<Vec<u8>> {
        let senders = senders
            .iter()
            .map(|sender| openmls::prelude::ExternalSender::tls_deserialize_exact_bytes(&sender.encode()))
            .collect::<Result<Vec<_>, _>>()
            .ok()?;
        let mut extensions = self.mls.group_context().extensions().clone();
        extensions.add_or_replace(Extension::ExternalSenders(senders)).ok()?;
        let mut proposal = GROUP_CONTEXT_EXTENSIONS.to_be_bytes().to_vec();
        proposal.extend(extensions.tls_serialize_detached().ok()?);
        Some(proposal)
    }

    /// Whether proposed extensions differ from those of the group in the external senders alone; gives these.
    pub(crate) fn only_senders(&self, extensions: &Extensions<GroupContext>) -> Option<Vec<ExternalSender>> {
        let apart = |extensions: &Extensions<GroupContext>| {
            let mut others: Vec<Extension> = extensions.iter().cloned().collect();
            others.retain(|each| each.extension_type() != ExtensionType::ExternalSenders);
            others
        };
        (apart(extensions) == apart(self.mls.group_context().extensions())).then(|| senders_of(extensions))
    }

    /// A proposal of the external sender at `index`, framed and signed as RFC 9420 §6.1 says.
    pub(crate) fn frame(&self, index: u32, proposal: &[u8], keys: &dyn Keys) -> Option<Message> {
        let mut writer = Writer::default();
        mls::MLS10.write(&mut writer);
        wire_format::PUBLIC_MESSAGE.write(&mut writer);
        writer.opaque(self.id());
        self.epoch().0.write(&mut writer);
        EXTERNAL.write(&mut writer);
        index.write(&mut writer);
        // Where components put items into it (mls-extensions §4.9), the authenticated data is a list: an empty one.
        let safe_aad = self.dictionary().component(ComponentId::SAFE_AAD).is_some();
        writer.opaque(if safe_aad { &[0] } else { &[] });
        PROPOSAL.write(&mut writer);
        writer.raw(proposal);
        let framed = writer.into_octets();
        let signature = keys.sign(self.suite(), "FramedContentTBS", &framed)?;
        let mut writer = Writer::default();
        writer.raw(&framed);
        writer.opaque(&signature);
        Message::decode_shared(&Bytes::from(writer.into_octets())).ok()
    }
}

/// Remove of the client at a leaf.
pub(crate) fn remove(leaf: u32) -> Vec<u8> {
    [&REMOVE.to_be_bytes()[..], &leaf.to_be_bytes()].concat()
}

fn senders_of(extensions: &Extensions<GroupContext>) -> Vec<ExternalSender> {
    let senders = extensions.external_senders().into_iter().flatten();
    senders
        .map(|sender| {
            let octets = sender.tls_serialize_detached();
            let octets = octets.expect("what was decoded can be encoded");
            ExternalSender::decode_exact(&octets).expect("a key and a credential, as in every structure of MLS")
        })
        .collect()
}
