//! The cooperative room with other components.

use mimi::{AppDataDictionary, BaseRoomPolicy, ClientUri, ComponentId, Decode, Encode};
use policy::{Preset, RoomView};

use super::world::World;

pub fn clients(view: &RoomView) -> Vec<ClientUri> {
    let users: Vec<_> = view.active_users().cloned().collect();
    users.iter().flat_map(|user| view.clients(user).cloned()).collect()
}

/// The cooperative room with other components; the base policy names what there is.
pub fn room(components: &[(ComponentId, Vec<u8>)]) -> RoomView {
    room_with(components, |_| {})
}

pub fn room_with(components: &[(ComponentId, Vec<u8>)], base: impl FnOnce(&mut BaseRoomPolicy)) -> RoomView {
    let view = World::new(Preset::Cooperative).view;
    let mut dictionary = view.dictionary().clone();
    for (component, value) in components {
        dictionary.0.insert(*component, value.clone().into());
    }
    let mut policy = read_base(&dictionary);
    let ids = dictionary.0.keys().copied();
    policy.policy_component_ids = ids
        .filter(|id| id.0 >= 0x24 && *id != ComponentId::BASE_ROOM_POLICY)
        .collect();
    base(&mut policy);
    dictionary
        .0
        .insert(ComponentId::BASE_ROOM_POLICY, policy.encode().into());
    RoomView::new(dictionary, clients(&view)).unwrap()
}

pub fn read_base(dictionary: &AppDataDictionary) -> BaseRoomPolicy {
    BaseRoomPolicy::decode_exact(dictionary.component(ComponentId::BASE_ROOM_POLICY).unwrap()).unwrap()
}
