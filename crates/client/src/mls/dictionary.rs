//! Between OpenMLS' dictionary of a group and the rules for it, which are the policy's: what a commit's AppDataUpdates make
//! of the dictionary must be the same octets at the hub and at every member, or their epochs part.

use bytes::Bytes;
use mimi::codec::Decode as _;
use mimi::{AppDataDictionary, AppDataOperation, AppDataUpdate, ComponentId, ParticipantList};
use openmls::component::ComponentData;
use openmls::group::{AppDataDictionaryUpdater, AppDataUpdates, GroupContext};
use openmls::prelude::{AppDataUpdateOperation, AppDataUpdateProposal, Extensions};

use super::MemberError;

/// A component of a group.
pub(super) fn component(extensions: &Extensions<GroupContext>, id: ComponentId) -> Option<&[u8]> {
    extensions.app_data_dictionary()?.dictionary().get(&id.0)
}

/// The participant list of a group; without one nobody participates.
pub(super) fn participants(extensions: &Extensions<GroupContext>) -> Result<ParticipantList, MemberError> {
    component(extensions, ComponentId::PARTICIPANT_LIST).map_or_else(
        || Ok(ParticipantList::default()),
        |octets| ParticipantList::decode_exact(octets).map_err(|_| MemberError::Malformed("the participant list")),
    )
}

/// The whole dictionary of a group.
pub(super) fn dictionary(extensions: &Extensions<GroupContext>) -> AppDataDictionary {
    let entries = extensions
        .app_data_dictionary()
        .into_iter()
        .flat_map(|extension| extension.dictionary().entries());
    AppDataDictionary(
        entries
            .map(|entry| (ComponentId(entry.id()), Bytes::copy_from_slice(entry.data())))
            .collect(),
    )
}

/// The changes that `proposals`, in the order of their commit, make to the dictionary of `updater`. `None` when there are
/// none.
///
/// # Errors
/// [`MemberError::Policy`].
pub(super) fn changes<'a>(
    mut updater: AppDataDictionaryUpdater<'_>,
    proposals: impl IntoIterator<Item = &'a AppDataUpdateProposal>,
) -> Result<Option<AppDataUpdates>, MemberError> {
    let mut before = AppDataDictionary::default();
    let mut updates = Vec::new();
    for proposal in proposals {
        let update = update(proposal);
        if let Some(value) = updater.old_value(update.component.0) {
            before.0.insert(update.component, Bytes::copy_from_slice(value));
        }
        updates.push(update);
    }
    for (component, value) in policy::apply_components(&before, &updates)? {
        match value {
            Some(value) => updater.set(ComponentData::from_parts(component.0, value.to_vec().into())),
            None => updater.remove(&component.0),
        }
    }
    Ok(updater.changes())
}

/// What a proposal does with a component.
pub(super) fn update(proposal: &AppDataUpdateProposal) -> AppDataUpdate {
    AppDataUpdate {
        component: ComponentId(proposal.component_id()),
        operation: match proposal.operation() {
            AppDataUpdateOperation::Update(octets) => {
                AppDataOperation::Update(Bytes::copy_from_slice(octets.as_slice()))
            }
            AppDataUpdateOperation::Remove => AppDataOperation::Remove,
        },
    }
}
