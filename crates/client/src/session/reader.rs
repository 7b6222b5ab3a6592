//! The event stream: each event has its effect once, in the order of its room, and only then is it acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use mimi::RoomUri;
use mimi::codec::Decode as _;
use mimi::notify::FanoutMessage;
use proto::follower::Event;
use tokio::sync::mpsc;

use super::retry::Backoff;
use super::{Happening, Shared};
use crate::api::ApiError;
use crate::mls::Received;

/// Events taken before acknowledging, when that many wait.
const CHUNK: usize = 64;

/// The highest position of each room that had its effect here.
type Positions = BTreeMap<RoomUri, u64>;

/// Reads until nobody wants the happenings any more.
pub(super) async fn run(shared: Arc<Shared>, happenings: mpsc::Sender<Happening>) {
    let mut positions = Positions::new();
    let mut backoff = Backoff::new();
    loop {
        let failure = match shared.api.events(&shared.client).await {
            Ok((acks, stream)) => {
                let mut chunks = stream.ready_chunks(CHUNK);
                let mut failure = None;
                while let (None, Some(chunk)) = (&failure, chunks.next().await) {
                    let mut done = BTreeMap::new();
                    for event in chunk {
                        let event = match event {
                            Ok(event) => event,
                            Err(error) => {
                                failure = Some(error);
                                break;
                            }
                        };
                        done.insert(event.room.clone(), event.position);
                        for happening in take(&shared, &mut positions, event) {
                            if happenings.send(happening).await.is_err() {
                                return;
                            }
                        }
                        backoff = Backoff::new();
                    }
                    for (room, position) in done {
                        acks.ack(&room, position).await;
                    }
                }
                failure.unwrap_or_else(|| ApiError::Unreachable("the event stream ended".to_owned()))
            }
            Err(failure) => failure,
        };
        tracing::debug!(client = %shared.client, %failure, "opening the event stream again");
        tokio::select! {
            biased;
            () = happenings.closed() => return,
            () = tokio::time::sleep(backoff.pause(&failure)) => {}
        }
    }
}

/// Gives one event to the member, and then what waited for it. Nothing when it came before.
fn take(shared: &Arc<Shared>, positions: &mut Positions, event: Event) -> Vec<Happening> {
    let Ok(room) = event.room.parse::<RoomUri>() else {
        tracing::warn!(client = %shared.client, room = event.room, "an event of no room");
        return Vec::new();
    };
    if !is_next(shared, positions, &room, &event) || (event.message.is_empty() && !event.rejoin) {
        // Seen before, or for other clients of this provider.
        return Vec::new();
    }
    let mut happenings = Vec::new();
    let mut happened = |accepted, received| {
        happenings.push(Happening {
            room: room.clone(),
            position: event.position,
            seq: event.seq,
            accepted,
            received,
        });
    };
    match FanoutMessage::decode_shared(&event.message) {
        _ if event.rejoin => {
            happened(0, Received::Lost);
            rejoin(shared, &room);
        }
        Err(error) => happened(0, Received::Undecryptable(error.to_string())),
        Ok(fanout) => {
            let mut next = Some(fanout);
            while let Some(fanout) = next {
                happened(fanout.timestamp, receive(shared, &room, &fanout));
                next = shared.member().due(&room);
            }
        }
    }
    shared.progress.send_modify(|events| *events += 1);
    happenings
}

/// Whether an event is one that was not taken yet; counts what is missing before it.
fn is_next(shared: &Arc<Shared>, positions: &mut Positions, room: &RoomUri, event: &Event) -> bool {
    // A Welcome for this client begins the room anew: what came before it is not this client's. What is lost is told.
    let begins = !event.key_package_refs.is_empty() || event.rejoin;
    if let Some(last) = positions.get(room).filter(|last| !begins || event.position <= **last) {
        if event.position <= *last {
            return false;
        }
        let missing = event.position - last - 1;
        if missing > 0 {
            tracing::warn!(client = %shared.client, %room, missing, position = event.position, "a gap in the inbox");
            shared.gaps.fetch_add(missing, Ordering::Relaxed);
        }
    }
    positions.insert(room.clone(), event.position);
    true
}

/// Gives one message to the member, and does what follows of it by itself.
fn receive(shared: &Arc<Shared>, room: &RoomUri, fanout: &FanoutMessage) -> Received {
    let received = shared.member().receive(room, fanout);
    let received = received.unwrap_or_else(|error| Received::OutOfStep(error.to_string()));
    if matches!(received, Received::Proposals { .. }) && shared.options.commits_proposals {
        commit_proposals(shared, room);
    }
    if shared.member().must_leave_again(room) {
        leave_again(shared, room);
    }
    received
}

/// Joins a room again of which entries are lost, beside the reading.
fn rejoin(shared: &Arc<Shared>, room: &RoomUri) {
    let Some(lost) = shared.member().lose(room) else {
        return;
    };
    let (shared, room) = (shared.clone(), room.clone());
    tokio::spawn(async move {
        if let Err(error) = shared.rejoin(&room, &lost).await {
            tracing::warn!(client = %shared.client, %room, %error, "not in the room any more, of which entries are lost");
        }
    });
}

/// Commits what is pending, if that is for this client, beside the reading.
fn commit_proposals(shared: &Arc<Shared>, room: &RoomUri) {
    if !shared.member().is_first_to_commit(room) {
        return;
    }
    let (shared, room) = (shared.clone(), room.clone());
    tokio::spawn(async move {
        let committed = shared.handshake(&room, |member| member.commit_pending(&room)).await;
        if let Err(error) = committed {
            tracing::debug!(client = %shared.client, %room, %error, "pending proposals are left to others");
        }
    });
}

/// Proposes a departure anew that an epoch has voided, beside the reading.
fn leave_again(shared: &Arc<Shared>, room: &RoomUri) {
    let (shared, room) = (shared.clone(), room.clone());
    tokio::spawn(async move {
        let left = shared.handshake(&room, |member| member.leave_again(&room)).await;
        if let Err(error) = left {
            tracing::debug!(client = %shared.client, %room, %error, "not leaving again");
        }
    });
}
