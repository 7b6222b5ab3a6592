//! Wakes event streams when an inbox they read grows: those that follow the room, and no other, for there may be tens of
//! thousands that wait for something else. A wake-up is a hint: a stream that missed some looks at everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mimi::{ClientUri, RoomUri};
use tokio::sync::Notify;

use crate::limits::WAKES_MAX;

/// Rooms that changed, and of each whether the client follows it since now, or does not any more.
type Changed = BTreeMap<RoomUri, bool>;

/// What a stream is woken for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// These.
    For(Changed),
    /// Anything, or too much to remember.
    ForAll,
}

/// Whom to wake. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wake(Arc<Mutex<Listeners>>);

#[derive(Debug, Default)]
struct Listeners {
    /// Streams that were ever opened.
    opened: u64,
    by_client: Bells<ClientUri>,
    by_room: Bells<RoomUri>,
}

type Bells<K> = HashMap<K, BTreeMap<u64, Arc<Bell>>>;

#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<Rung>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Rung {
    changed: Changed,
    all: bool,
}

impl Wake {
    /// The room's inbox grew, and `clients` follow it since now, or do not any more.
    pub(crate) fn all(&self, room: &RoomUri, clients: &[ClientUri]) {
        let listeners = lock(&self.0);
        for bell in listeners.by_room.get(room).into_iter().flat_map(BTreeMap::values) {
            bell.ring(room, false);
        }
        for client in clients {
            for bell in listeners.by_client.get(client).into_iter().flat_map(BTreeMap::values) {
                bell.ring(room, true);
            }
        }
    }

    /// Anything may have changed.
    pub(crate) fn everybody(&self) {
        let listeners = lock(&self.0);
        for bell in listeners.by_client.values().flat_map(BTreeMap::values) {
            lock(&bell.rung).all = true;
            bell.notify.notify_one();
        }
    }

    /// Begins to listen for a stream of `client`: to what it follows and does not any more, and to no room yet.
    pub(crate) fn listen(&self, client: &ClientUri) -> Listener {
        let mut listeners = lock(&self.0);
        listeners.opened += 1;
        let listener = Listener {
            wake: self.clone(),
            number: listeners.opened,
            client: client.clone(),
            rooms: BTreeSet::new(),
            bell: Arc::default(),
        };
        hang(&mut listeners.by_client, client, &listener);
        listener
    }
}

impl Bell {
    fn ring(&self, room: &RoomUri, of_client: bool) {
        let mut rung = lock(&self.rung);
        if rung.changed.len() >= WAKES_MAX && !rung.changed.contains_key(room) {
            rung.changed.clear();
            rung.all = true;
        }
        if !rung.all {
            *rung.changed.entry(room.clone()).or_default() |= of_client;
        }
        drop(rung);
        self.notify.notify_one();
    }
}

/// One stream's. Dropping it ends the listening.
#[derive(Debug)]
pub(crate) struct Listener {
    wake: Wake,
    number: u64,
    client: ClientUri,
    rooms: BTreeSet<RoomUri>,
    bell: Arc<Bell>,
}

impl Listener {
    /// From now on the stream is woken when the room's inbox grows.
    pub(crate) fn follow(&mut self, room: &RoomUri) {
        if self.rooms.insert(room.clone()) {
            hang(&mut lock(&self.wake.0).by_room, room, self);
        }
    }

    /// It is not any more.
    pub(crate) fn leave(&mut self, room: &RoomUri) {
        if self.rooms.remove(room) {
            take_down(&mut lock(&self.wake.0).by_room, room, self.number);
        }
    }

    /// Waits until something changed since this was last asked. Dropping the future loses nothing.
    pub(crate) async fn woken(&self) -> Woken {
        loop {
            let rung = std::mem::take(&mut *lock(&self.bell.rung));
            if rung.all {
                return Woken::ForAll;
            }
            if !rung.changed.is_empty() {
                return Woken::For(rung.changed);
            }
            self.bell.notify.notified().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = lock(&self.wake.0);
        take_down(&mut listeners.by_client, &self.client, self.number);
        for room in &self.rooms {
            take_down(&mut listeners.by_room, room, self.number);
        }
    }
}

fn hang<K: Clone + Eq + Hash>(bells: &mut Bells<K>, key: &K, listener: &Listener) {
    let there = bells.entry(key.clone()).or_default();
    there.insert(listener.number, listener.bell.clone());
}

fn take_down<K: Eq + Hash>(bells: &mut Bells<K>, key: &K, number: u64) {
    if let Some(there) = bells.get_mut(key) {
        there.remove(&number);
        if there.is_empty() {
            bells.remove(key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use futures::FutureExt as _;

    use super::*;

    fn client(name: &str) -> ClientUri {
        format!("mimi://a.example/d/{name}/1").parse().unwrap()
    }

    fn room(number: usize) -> RoomUri {
        format!("mimi://a.example/r/{number}").parse().unwrap()
    }

    fn now(listener: &Listener) -> Option<Woken> {
        listener.woken().now_or_never()
    }

    #[test]
    fn a_stream_is_woken_for_what_it_follows_and_for_nothing_else() {
        let wake = Wake::default();
        let (mut anna, mut bert) = (wake.listen(&client("anna")), wake.listen(&client("bert")));
        anna.follow(&room(1));
        bert.follow(&room(2));
        wake.all(&room(1), &[]);
        assert_eq!(now(&anna), Some(Woken::For([(room(1), false)].into())));
        assert_eq!(now(&anna), None, "once");
        assert_eq!(now(&bert), None);
        wake.all(&room(3), &[client("bert")]);
        assert_eq!(now(&bert), Some(Woken::For([(room(3), true)].into())));
        bert.leave(&room(2));
        wake.all(&room(2), &[]);
        assert_eq!((now(&anna), now(&bert)), (None, None));
    }

    #[test]
    fn what_rings_while_nobody_waits_is_told_together() {
        let wake = Wake::default();
        let mut anna = wake.listen(&client("anna"));
        anna.follow(&room(1));
        wake.all(&room(1), &[client("anna")]);
        wake.all(&room(1), &[]);
        wake.all(&room(2), &[client("anna")]);
        assert_eq!(now(&anna), Some(Woken::For([(room(1), true), (room(2), true)].into())));
    }

    #[test]
    fn one_that_does_not_listen_for_long_is_told_to_look_at_everything() {
        let wake = Wake::default();
        let anna = wake.listen(&client("anna"));
        for number in 0..=WAKES_MAX {
            wake.all(&room(number), &[client("anna")]);
        }
        assert_eq!(now(&anna), Some(Woken::ForAll));
        wake.all(&room(1), &[client("anna")]);
        assert_eq!(now(&anna), Some(Woken::For([(room(1), true)].into())));
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let wake = Wake::default();
        let (mut first, mut second) = (wake.listen(&client("anna")), wake.listen(&client("anna")));
        first.follow(&room(1));
        second.follow(&room(1));
        drop(first);
        wake.all(&room(1), &[]);
        assert!(now(&second).is_some());
        drop(second);
        let listeners = lock(&wake.0);
        assert!(listeners.by_client.is_empty() && listeners.by_room.is_empty());
    }
}
