//! Event streams on their way from the follower to one client. The edge holds a few acknowledgements and what HTTP/2
//! flow control lets through, however slow the client is.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use mimi::UserUri;
use proto::follower::{Event, EventsRequest, events_request};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, Streaming};

use super::{Actor, Api, status};
use crate::limits::EVENT_ACKS;

pub(crate) type EventStream = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

impl Api {
    /// Opens a stream of the client named by the first request, if it is `user`'s.
    pub(super) async fn open_events(
        &self,
        user: UserUri,
        mut requests: Streaming<EventsRequest>,
    ) -> Result<EventStream, Status> {
        let place = self.event_streams.clone().try_acquire_owned();
        let place = place.map_err(|_| Status::resource_exhausted("too many event streams"))?;
        let first = tokio::time::timeout(self.federation.limits.header(), requests.message());
        let first = first
            .await
            .map_err(|_| Status::deadline_exceeded("no first message"))??;
        let Some(events_request::Kind::Open(open)) = first.and_then(|first| first.kind) else {
            return Err(Status::invalid_argument("the first message must open the stream"));
        };
        Actor::new(user, &open.client)?;

        let (acks, forwarded) = mpsc::channel(EVENT_ACKS);
        let opened = EventsRequest {
            kind: Some(events_request::Kind::Open(open)),
        };
        acks.try_send(opened).expect("a new channel has room");
        let ended = CancellationToken::new();
        tokio::spawn(forward(requests, acks, ended.clone()));
        let guard = ended.clone().drop_guard();
        let mut follower = self.federation.follower.clone();
        let opening = self.federation.in_time(follower.events(ReceiverStream::new(forwarded)));
        let events = opening.await.map_err(status)?;
        let stop = self.cancel.clone().cancelled_owned();
        let last = futures::stream::once(async { Err(Status::unavailable("the edge is draining")) });
        let events = with(events.take_until(stop).chain(last), guard, place);
        Ok(Box::pin(events))
    }
}

/// Passes acknowledgements on until the client or the follower ends. A client cannot open a second time: it would
/// change who it is.
async fn forward(mut requests: Streaming<EventsRequest>, acks: mpsc::Sender<EventsRequest>, ended: CancellationToken) {
    let pass = async {
        while let Ok(Some(request)) = requests.message().await {
            let is_ack = matches!(request.kind, Some(events_request::Kind::Ack(_)));
            if !is_ack || acks.send(request).await.is_err() {
                break;
            }
        }
    };
    ended.run_until_cancelled(pass).await;
}

/// The stream, which keeps what it needs for as long as it lives.
fn with<S: Stream>(
    stream: S,
    guard: DropGuard,
    place: tokio::sync::OwnedSemaphorePermit,
) -> impl Stream<Item = S::Item> {
    stream.map(move |item| {
        let _kept = (&guard, &place);
        item
    })
}
