//! What AppDataUpdates make of a room's components (mls-extensions §4.6, mimi-protocol §7, mimi-room-policy §10.1),
//! whoever may make them.

use std::collections::BTreeMap;

use bytes::Bytes;
use mimi::metadata::RoomMetaData;
use mimi::operational::OperationalParameters;
use mimi::role::PreAuthData;
use mimi::{
    AppDataDictionary, AppDataOperation, AppDataUpdate, BaseRoomPolicy, ComponentId, Decode, Encode, ParticipantList,
    ParticipantListUpdate, RoleData,
};

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
    let mut by_component: BTreeMap<ComponentId, Vec<&AppDataOperation>> = BTreeMap::new();
    for update in updates {
        by_component
            .entry(update.component)
            .or_default()
            .push(&update.operation);
    }
    let mut after = BTreeMap::new();
    for (component, operations) in by_component {
        after.insert(component, apply(dictionary, component, &operations)?);
    }
    Ok(after)
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
    let updates = operations
        .iter()
        .map(|operation| match operation {
            AppDataOperation::Update(octets) => Ok(octets),
            AppDataOperation::Remove => Err(Violation::Invalid("an operation beside a remove")),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if component == ComponentId::PARTICIPANT_LIST {
        let updates = updates
            .into_iter()
            .map(|octets| decode::<ParticipantListUpdate>(octets, "participant list update"))
            .collect::<Result<Vec<_>, _>>()?;
        let list = apply_participants(&participants_of(dictionary)?, &updates)?;
        return Ok(Some(list.encode().into()));
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

/// Refuses a value that does not decode, of the components that this crate reads.
pub(crate) fn check_value(component: ComponentId, value: &[u8]) -> Result<(), Violation> {
    match component {
        ComponentId::ROOM_METADATA => decode::<RoomMetaData>(value, "room metadata").map(drop),
        ComponentId::OPERATIONAL_POLICY => decode::<OperationalParameters>(value, "operational policy").map(drop),
        ComponentId::ROLES_LIST => decode::<RoleData>(value, "roles list").map(drop),
        ComponentId::PREAUTH_LIST => decode::<PreAuthData>(value, "preauth list").map(drop),
        ComponentId::BASE_ROOM_POLICY => decode::<BaseRoomPolicy>(value, "base room policy").map(drop),
        _ => Ok(()),
    }
}
