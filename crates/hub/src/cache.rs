//! Which rooms stay in memory: the ones used last, within a bound. A room with a request in flight is never evicted: what
//! it applied may not be durable yet, and a second copy would decide on the past.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mimi::RoomUri;

/// Rooms looked at, oldest first, before a search for an idle one gives up.
const EVICTION_SEARCH_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Cache<T> {
    rooms: HashMap<RoomUri, Slot<T>>,
    by_use: BTreeMap<u64, RoomUri>,
    uses: u64,
    rooms_max: usize,
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    used: u64,
    /// Cloned into every request in flight.
    flight: Arc<()>,
}

/// Every room that could go is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

impl<T> Cache<T> {
    pub(crate) fn new(rooms_max: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            rooms_max: rooms_max.max(1),
        }
    }

    /// The room, marked as used last, and a token that keeps it while it lives.
    pub(crate) fn touch(&mut self, room: &RoomUri) -> Option<(&T, Arc<()>)> {
        let slot = self.rooms.get_mut(room)?;
        self.uses += 1;
        let id = self
            .by_use
            .remove(&slot.used)
            .expect("each room is once in the order of use");
        slot.used = self.uses;
        self.by_use.insert(self.uses, id);
        Some((&slot.value, slot.flight.clone()))
    }

    /// Forgets the room if nothing of it is in flight. Returns whether it is gone.
    pub(crate) fn forget_idle(&mut self, room: &RoomUri) -> bool {
        match self.rooms.get(room) {
            Some(slot) if Arc::strong_count(&slot.flight) > 1 => false,
            Some(slot) => {
                self.by_use.remove(&slot.used);
                self.rooms.remove(room);
                true
            }
            None => true,
        }
    }

    /// Makes room for one more.
    pub(crate) fn make_room(&mut self) -> Result<(), Busy> {
        if self.rooms.len() < self.rooms_max {
            return Ok(());
        }
        let oldest: Vec<RoomUri> = self.by_use.values().take(EVICTION_SEARCH_MAX).cloned().collect();
        if oldest.iter().any(|room| self.forget_idle(room)) {
            Ok(())
        } else {
            Err(Busy)
        }
    }

    /// Puts in a room that is not there.
    pub(crate) fn insert(&mut self, room: RoomUri, value: T) {
        self.uses += 1;
        self.by_use.insert(self.uses, room.clone());
        let before = self.rooms.insert(
            room,
            Slot {
                value,
                used: self.uses,
                flight: Arc::new(()),
            },
        );
        assert!(before.is_none(), "a room is in memory once");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn room(n: u32) -> RoomUri {
        format!("mimi://a.example/r/{n}").parse().unwrap()
    }

    #[test]
    fn the_room_unused_for_longest_goes() {
        let mut cache = Cache::new(2);
        cache.insert(room(1), 1);
        cache.insert(room(2), 2);
        cache.touch(&room(1)).unwrap();
        cache.make_room().unwrap();
        assert!(cache.touch(&room(2)).is_none());
        assert!(cache.touch(&room(1)).is_some());
    }

    #[test]
    fn a_room_with_a_request_in_flight_stays() {
        let mut cache = Cache::new(2);
        cache.insert(room(1), 1);
        cache.insert(room(2), 2);
        let (_, flight) = cache.touch(&room(1)).unwrap();
        let (_, second) = cache.touch(&room(2)).unwrap();
        assert_eq!(cache.make_room(), Err(Busy));
        assert!(!cache.forget_idle(&room(2)));
        drop(second);
        assert_eq!(cache.make_room(), Ok(()));
        assert!(cache.touch(&room(1)).is_some());
        assert!(cache.touch(&room(2)).is_none());
        drop(flight);
        assert!(cache.forget_idle(&room(1)));
    }
}
