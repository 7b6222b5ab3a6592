//! Rooms that depend on others (mimi-room-policy §5): what one loses, those that depend on it lose. A room that loses a
//! participant, or begins to depend on another, is marked in the same transaction; the marks are worked off here, once
//! they are durable, one after the other. A mark goes when everything that it stands for is durable, so that whoever
//! starts after a crash works it off again; twice does no harm.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Due, Ledger, ReadError};
use mimi::RoomUri;
use tokio::sync::Notify;

use crate::{Hub, Outcome, Request};

/// Works off marks until the hub ends: what there is when it starts, whenever `changed`, and now and then, for what could
/// not be done before.
pub(crate) async fn run(hub: impl Fn() -> Option<Hub> + Send, ledger: Ledger, changed: Arc<Notify>, every: Duration) {
    loop {
        if let Err(error) = work_off(&hub, &ledger, &changed).await {
            tracing::warn!(%error, "look for rooms that depend on others");
        }
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = tokio::time::sleep(every) => {}
        }
        if hub().is_none() {
            return;
        }
    }
}

/// Each room that is marked, once.
async fn work_off(hub: &(impl Fn() -> Option<Hub> + Send), ledger: &Ledger, changed: &Notify) -> Result<(), ReadError> {
    let mut last: Option<RoomUri> = None;
    loop {
        let marked = ledger.due(last.as_ref()).await?;
        let Some((end, _)) = marked.last() else { return Ok(()) };
        last = Some(end.clone());
        for (room, due) in marked {
            if ledger.pass_on(&room, &due).await? {
                changed.notify_one();
            }
            let Some(hub) = hub() else { return Ok(()) };
            look(&hub, ledger, &room, &due).await?;
        }
    }
}

/// Has the room look at its own parent, if it has one. A room that cannot be asked now stays marked.
async fn look(hub: &Hub, ledger: &Ledger, room: &RoomUri, due: &Due) -> Result<(), ReadError> {
    if due.parent.is_some() {
        match hub.call(room.clone(), Request::Follow).await {
            Outcome::Answer(_) | Outcome::UnknownRoom => {}
            other => {
                tracing::debug!(%room, ?other, "a room does not look at its parent yet");
                return Ok(());
            }
        }
    }
    Ok(ledger.done(room, due).await?)
}
