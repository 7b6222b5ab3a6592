//! What AppDataUpdates make of a room's components (mls-extensions §4.6, mimi-protocol §7, mimi-room-policy §10.1),
//! whoever may make them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mimi::limits::JOIN_LINKS_MAX;
use mimi::policy::{JoinLinks, JoinLinksUpdate};
use mimi::{
    AppDataDictionary, AppDataOperation, AppDataUpdate, ComponentId, Decode, Encode, ParticipantList,
    ParticipantListUpdate,
};

use crate::values::check_value;
use crate::{Violation, apply_participants};

/// Components whose update is the whole new value.
const REPLACED: [ComponentId; 14] = [
    ComponentId::FRANKING_AGENT,
    ComponentId::ROOM_METADATA,
    ComponentId::OPERATIONAL_POLICY,
    ComponentId::ROLES_LIST,
    ComponentId::PREAUTH_LIST,
    ComponentId::BASE_ROOM_POLICY,
    ComponentId::STATUS_NOTIFICATION_POLICY,
    ComponentId::JOIN_LINK_POLICY,
    ComponentId::LINK_PREVIEW_POLICY,
    ComponentId::ASSET_POLICY,
    ComponentId::LOGGING_POLICY,
    ComponentId::CHAT_HISTORY_POLICY,
    ComponentId::BOT_POLICY,
    ComponentId::MESSAGE_EXPIRATION_POLICY,
];

/// Components without which a room is none.
const FIXED: [ComponentId; 3] = [
    ComponentId::PARTICIPANT_LIST,
    ComponentId::ROLES_LIST,
    ComponentId::BASE_ROOM_POLICY,
];

/// Decodes a component; `what` names it.
pub(crate) fn decode<T: Decode>(octets: &[u8], what: &'static str) -> Result<T, Violation> {
    T::decode_exact(octets).map_err(|_| Violation::Malformed(what))
}

/// The participant list of `dictionary`.
///
/// # Errors
/// There is none, or it does not decode.
pub fn participants_of(dictionary: &AppDataDictionary) -> Result<ParticipantList, Violation> {
    let octets = dictionary
        .component(ComponentId::PARTICIPANT_LIST)
        .ok_or(Violation::Invalid("no participant list"))?;
    decode(octets, "participant list")
}

/// The components that `updates`, in the order of one commit, change: their new values, `None` for those taken away.
///
/// # Errors
/// A component has an update beside a remove, or more than one of what there may be one of; a remove of what is not there
/// or must stay; a component that nobody knows; octets that do not decode; a participant list against its rules.
pub fn apply_components<'a>(
    dictionary: &AppDataDictionary,
    updates: impl IntoIterator<Item = &'a AppDataUpdate>,
) -> Result<BTreeMap<ComponentId, Option<Bytes>>, Violation> {
    Ok(apply_to(dictionary, || participants_of(dictionary), updates)?.components)
}

/// What updates change.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// New values, `None` of components that are taken away.
    pub(crate) components: BTreeMap<ComponentId, Option<Bytes>>,
    /// The new participant list, where it is among them.
    pub(crate) participants: Option<ParticipantList>,
}

/// [`apply_components`] for whoever has the participant list at hand, or wants what becomes of it.
pub(crate) fn apply_to<'a>(
    dictionary: &AppDataDictionary,
    participants: impl FnOnce() -> Result<ParticipantList, Violation>,
    updates: impl IntoIterator<Item = &'a AppDataUpdate>,
) -> Result<Changed, Violation> {
    let mut by_component: BTreeMap<ComponentId, Vec<&AppDataOperation>> = BTreeMap::new();
    for update in updates {
        by_component
            .entry(update.component)
            .or_default()
            .push(&update.operation);
    }
    let mut changed = Changed::default();
    if let Some(operations) = by_component.remove(&ComponentId::PARTICIPANT_LIST) {
        let list = apply_list(participants, &operations)?;
        let octets = Bytes::from(list.encode());
        changed.components.insert(ComponentId::PARTICIPANT_LIST, Some(octets));
        changed.participants = Some(list);
    }
    for (component, operations) in by_component {
        let value = apply(dictionary, component, &operations)?;
        changed.components.insert(component, value);
    }
    Ok(changed)
}

fn updates_in<'a>(operations: &[&'a AppDataOperation]) -> Result<Vec<&'a Bytes>, Violation> {
    let update = |operation: &&'a AppDataOperation| match operation {
        AppDataOperation::Update(octets) => Ok(octets),
        AppDataOperation::Remove => Err(Violation::Invalid("an operation beside a remove")),
    };
    operations.iter().map(update).collect()
}

fn apply_list(
    participants: impl FnOnce() -> Result<ParticipantList, Violation>,
    operations: &[&AppDataOperation],
) -> Result<ParticipantList, Violation> {
    if let [AppDataOperation::Remove] = operations {
        return Err(Violation::Invalid("a component that stays"));
    }
    let updates = updates_in(operations)?
        .into_iter()
        .map(|octets| decode::<ParticipantListUpdate>(octets, "participant list update"))
        .collect::<Result<Vec<_>, _>>()?;
    apply_participants(&participants()?, &updates)
}

fn apply(
    dictionary: &AppDataDictionary,
    component: ComponentId,
    operations: &[&AppDataOperation],
) -> Result<Option<Bytes>, Violation> {
    if let [AppDataOperation::Remove] = operations {
        if FIXED.contains(&component) {
            return Err(Violation::Invalid("a component that stays"));
        }
        if dictionary.component(component).is_none() {
            return Err(Violation::Invalid("removes a component that is not there"));
        }
        return Ok(None);
    }
    let updates = updates_in(operations)?;
    if component == ComponentId::JOIN_LINKS {
        let updates = updates
            .into_iter()
            .map(|octets| decode::<JoinLinksUpdate>(octets, "join links update"))
            .collect::<Result<Vec<_>, _>>()?;
        let before = dictionary.component(component);
        let before = before
            .map(|octets| decode::<JoinLinks>(octets, "join links"))
            .transpose()?;
        let links = apply_join_links(before.unwrap_or_default(), &updates)?;
        return Ok(Some(links.encode().into()));
    }
    match updates[..] {
        [value] if REPLACED.contains(&component) => {
            check_value(component, value)?;
            Ok(Some(value.clone()))
        }
        _ if REPLACED.contains(&component) => Err(Violation::Invalid("two updates of one component")),
        _ => Err(Violation::Invalid("a component that is not known")),
    }
}

/// The links after all `updates` of one commit: every removal, by index in `list`, then every addition.
fn apply_join_links(list: JoinLinks, updates: &[JoinLinksUpdate]) -> Result<JoinLinks, Violation> {
    let mut links: Vec<_> = list.links.into_iter().map(Some).collect();
    for index in updates.iter().flat_map(|update| &update.removed) {
        let link = usize::try_from(*index).ok().and_then(|index| links.get_mut(index));
        if link.and_then(Option::take).is_none() {
            return Err(Violation::Invalid("no join link at this index"));
        }
    }
    let mut links: Vec<_> = links.into_iter().flatten().collect();
    let mut known: BTreeSet<_> = links.iter().cloned().collect();
    for link in updates.iter().flat_map(|update| &update.added) {
        if !known.insert(link.clone()) {
            return Err(Violation::Invalid("a join link that is there already"));
        }
        links.push(link.clone());
    }
    if links.len() > JOIN_LINKS_MAX {
        return Err(Violation::Limit("too many join links"));
    }
    Ok(JoinLinks { links })
}
