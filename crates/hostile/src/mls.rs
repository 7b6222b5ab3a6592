//! What is read of MLS structures once they are decoded. OpenMLS decodes them too, since it is given what this accepts.

use mimi::Encode as _;
use mimi::mls::{Credential, GroupInfo, KeyPackage, Message, Proposal, PseudonymousCredential, RatchetTree, Welcome};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{KeyPackageIn, MlsMessageIn, RatchetTreeIn};

pub(crate) fn look_at_key_package(key_package: &KeyPackage) {
    let view = key_package.view();
    view.leaf.capabilities.capabilities();
    let _ = key_package.credential().client();
    let _ = key_package.reference();
    view.extensions.iter().for_each(drop);
    key_package.not_after();
    let _ = KeyPackageIn::tls_deserialize_exact_bytes(key_package.octets());
}

pub(crate) fn look_at_credential(credential: &Credential) {
    let _ = credential.client();
    if let Some(Ok(fields)) = credential.pseudonymous() {
        assert_eq!(&fields.credential(), credential);
    }
}

pub(crate) fn look_at_pseudonyms(fields: &PseudonymousCredential) {
    if let Ok(client) = fields.client() {
        assert_eq!(fields.user(), Ok(client.user()));
    }
}

pub(crate) fn look_at_proposal(proposal: &Proposal) {
    proposal.kind();
}

pub(crate) fn look_at_welcome(welcome: &Welcome) {
    welcome.key_package_refs().for_each(drop);
}

pub(crate) fn look_at_group_info(group_info: &GroupInfo) {
    group_info.view().group_context.extensions.find(6);
    let _ = VerifiableGroupInfo::tls_deserialize_exact_bytes(group_info.octets());
}

pub(crate) fn look_at_tree(tree: &RatchetTree) {
    assert!(tree.leaves().count() <= tree.nodes().count());
    let _ = RatchetTreeIn::tls_deserialize_exact_bytes(&tree.encode());
}

pub(crate) fn look_at_message(message: &Message) {
    let _ = message.proposal_ref(1);
    if let Some(commit) = message.commit() {
        commit.values().for_each(look_at_proposal);
        assert_eq!(
            commit.values().count() + commit.references().count(),
            commit.proposals.len()
        );
        assert!(message.confirmation_tag().is_some());
    }
    if let Some(key_package) = message.key_package() {
        look_at_key_package(key_package);
    }
    if let Some(welcome) = message.welcome() {
        look_at_welcome(welcome);
    }
    assert_eq!(message.group_id().is_some(), message.content_type().is_some());
    let _ = MlsMessageIn::tls_deserialize_exact_bytes(&message.encode());
}
