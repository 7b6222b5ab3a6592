//! Bare OpenMLS: a public group that processes and merges the commits that a hub accepts, and does nothing else with them.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use client::mls::Founding;
use mimi::codec::Encode as _;
use mimi::update::{HandshakeBundle, RatchetTreeOption, UpdateRequest};
use mimi::{AppDataDictionary, AppDataOperation, AppDataUpdate, ComponentId, Decode as _};
use openmls::component::ComponentData;
use openmls::group::{ProposalStore, PublicGroup};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::DeserializeBytes as _;
use openmls::prelude::{
    AppDataUpdateOperation, AppDataUpdateProposal, MlsMessageIn, OpenMlsProvider as _, ProcessedMessageContent,
    RatchetTreeIn,
};
use openmls_rust_crypto::OpenMlsRustCrypto;

use super::nowhere::Nowhere;

/// A group as OpenMLS alone sees it.
pub(crate) struct Bare {
    crypto: OpenMlsRustCrypto,
    group: PublicGroup,
}

impl Bare {
    /// The group at its foundation.
    ///
    /// # Errors
    /// It does not decode or verify.
    pub(crate) fn found(founding: &Founding) -> anyhow::Result<Self> {
        let RatchetTreeOption::Full(tree) = RatchetTreeOption::decode_exact(&founding.ratchet_tree)? else {
            bail!("a founding without its tree");
        };
        let tree = RatchetTreeIn::tls_deserialize_exact_bytes(&tree.encode())?;
        let info = VerifiableGroupInfo::tls_deserialize_exact_bytes(&founding.group_info)?;
        let crypto = OpenMlsRustCrypto::default();
        let (group, _) = PublicGroup::from_external(crypto.crypto(), &Nowhere, tree, info, ProposalStore::new())?;
        Ok(Self { crypto, group })
    }

    /// Takes the commit of an UpdateRequest; how long that took.
    ///
    /// # Errors
    /// It is none, or is not valid.
    pub(crate) fn take(&mut self, request: &Bytes) -> anyhow::Result<Duration> {
        let UpdateRequest { bundle } = UpdateRequest::decode_shared(request)?;
        let HandshakeBundle::Commit { commit, .. } = bundle else {
            bail!("not a commit");
        };
        let commit = commit.encode();
        let began = Instant::now();
        let message = MlsMessageIn::tls_deserialize_exact_bytes(&commit)?.try_into_protocol_message()?;
        let processed = self.group.process_message(self.crypto.crypto(), message)?;
        let staged = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let updates: Vec<_> = unresolved.app_data_update_proposals().map(read).collect();
                let mut updater = self.group.app_data_dictionary_updater();
                let mut before = AppDataDictionary::default();
                for update in &updates {
                    let value = updater.old_value(update.component.0);
                    let value = value.context("a component that is not there")?;
                    before.0.insert(update.component, value.to_vec().into());
                }
                for (component, value) in policy::apply_components(&before, &updates)? {
                    let value = value.context("a component that is taken away")?;
                    updater.set(ComponentData::from_parts(component.0, value.to_vec().into()));
                }
                let changes = updater.changes();
                self.group
                    .stage_app_data_commit(self.crypto.crypto(), *unresolved, changes)?
            }
            _ => bail!("not a commit"),
        };
        self.group.merge_commit(&Nowhere, staged)?;
        Ok(began.elapsed())
    }
}

fn read(proposal: &AppDataUpdateProposal) -> AppDataUpdate {
    AppDataUpdate {
        component: ComponentId(proposal.component_id()),
        operation: match proposal.operation() {
            AppDataUpdateOperation::Update(octets) => AppDataOperation::Update(octets.as_slice().to_vec().into()),
            AppDataUpdateOperation::Remove => AppDataOperation::Remove,
        },
    }
}
