//! Wakes event streams when an inbox they read grows. A wake-up is a hint: a stream that missed some looks at everything.

use std::sync::Arc;

use mimi::{ClientUri, RoomUri};
use tokio::sync::broadcast;

use crate::limits::WAKES_MAX;

/// Something changed in a room's inbox.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    pub(crate) room: RoomUri,
    /// Clients that follow the room since now, or do not any more.
    pub(crate) clients: Arc<[ClientUri]>,
}

#[derive(Clone)]
pub(crate) struct Wake(broadcast::Sender<Changed>);

impl Wake {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(WAKES_MAX))
    }

    pub(crate) fn all(&self, room: RoomUri, clients: impl Into<Arc<[ClientUri]>>) {
        // No receiver: no stream is open.
        let _ = self.0.send(Changed {
            room,
            clients: clients.into(),
        });
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.0.subscribe()
    }
}
