//! Many requests share one stream, and none waits for another; what is lost is known to be lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use proto::hub::hub_client::HubClient;
use proto::hub::hub_server::{Hub, HubServer};
use proto::hub::room_request::Body;
use proto::hub::room_response::Outcome;
use proto::hub::{
    CloseAbuseRequest, CloseAbuseResponse, ListAbuseRequest, ListAbuseResponse, NumberedRequest, NumberedResponse,
    RoomEventsCall, RoomEventsReply, RoomHeadsCall, RoomHeadsReply, RoomRequest, RoomResponse, ShardMap, ShardsRequest,
    WakeRequest, WakeResponse,
};
use tier::Calls;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

/// Answers each request with its room, those for the room `held` when the test says so.
#[derive(Clone, Default)]
struct Node {
    old: bool,
    held: Arc<Mutex<VecDeque<oneshot::Sender<()>>>>,
    came: Arc<Notify>,
    alone: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    ends: CancellationToken,
}

impl Node {
    async fn answer(self, request: RoomRequest, traceparent: String) -> RoomResponse {
        if request.room == "held" {
            let (release, released) = oneshot::channel();
            self.held.lock().unwrap().push_back(release);
            self.came.notify_one();
            let _ = released.await;
        }
        let answer = format!("{} {traceparent}", request.room);
        RoomResponse {
            outcome: Some(Outcome::Answer(answer.into())),
        }
    }

    fn release(&self) {
        let held = self.held.lock().unwrap().pop_front();
        held.unwrap().send(()).unwrap();
    }
}

#[tonic::async_trait]
impl Hub for Node {
    async fn call(&self, request: Request<RoomRequest>) -> Result<Response<RoomResponse>, Status> {
        self.alone.fetch_add(1, Ordering::Relaxed);
        let traceparent = request.metadata().get("traceparent");
        let traceparent = traceparent.map_or_else(String::new, |text| text.to_str().unwrap().to_owned());
        Ok(Response::new(
            self.clone().answer(request.into_inner(), traceparent).await,
        ))
    }

    type CallsStream = Pin<Box<dyn Stream<Item = Result<NumberedResponse, Status>> + Send>>;

    async fn calls(&self, request: Request<Streaming<NumberedRequest>>) -> Result<Response<Self::CallsStream>, Status> {
        if self.old {
            return Err(Status::unimplemented("no such method"));
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        let node = self.clone();
        let answers = tier::calls::answered(request.into_inner(), move |request, traceparent| {
            node.clone().answer(request, traceparent)
        });
        Ok(Response::new(Box::pin(
            answers.take_until(self.ends.clone().cancelled_owned()),
        )))
    }

    type ShardsStream = futures::stream::Pending<Result<ShardMap, Status>>;

    async fn shards(&self, _: Request<ShardsRequest>) -> Result<Response<Self::ShardsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_abuse(&self, _: Request<ListAbuseRequest>) -> Result<Response<ListAbuseResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn wake(&self, _: Request<WakeRequest>) -> Result<Response<WakeResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn room_heads(&self, _: Request<RoomHeadsCall>) -> Result<Response<RoomHeadsReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn room_events(&self, _: Request<RoomEventsCall>) -> Result<Response<RoomEventsReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn close_abuse(&self, _: Request<CloseAbuseRequest>) -> Result<Response<CloseAbuseResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn serve(node: &Node) -> Calls {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder().add_service(HubServer::new(node.clone()));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    HubClient::new(channel).into()
}

fn about(room: &str) -> RoomRequest {
    RoomRequest {
        room: room.to_owned(),
        ..RoomRequest::default()
    }
}

fn says(answer: &str) -> Result<RoomResponse, Code> {
    Ok(RoomResponse {
        outcome: Some(Outcome::Answer(Bytes::copy_from_slice(answer.as_bytes()))),
    })
}

async fn ask(calls: &Calls, room: &str) -> Result<RoomResponse, Code> {
    let answer = calls.call(about(room), Some("trace".to_owned())).await;
    answer.map_err(|status| status.code())
}

#[tokio::test]
async fn each_is_answered_when_its_answer_is_there() {
    let node = Node::default();
    let calls = serve(&node).await;
    let held = tokio::spawn({
        let calls = calls.clone();
        async move { ask(&calls, "held").await }
    });
    node.came.notified().await;
    for room in ["one", "two", "three"] {
        assert_eq!(ask(&calls, room).await, says(&format!("{room} trace")));
    }
    node.release();
    assert_eq!(held.await.unwrap(), says("held trace"));
    let counts = (node.streams.load(Ordering::Relaxed), node.alone.load(Ordering::Relaxed));
    assert_eq!(counts, (1, 0), "one stream for all of them");
}

#[tokio::test]
async fn who_gives_up_takes_no_answer_from_another() {
    let node = Node::default();
    let calls = serve(&node).await;
    let given_up = tokio::time::timeout(Duration::from_millis(50), ask(&calls, "held")).await;
    assert!(given_up.is_err());
    node.came.notified().await;
    node.release();
    for _ in 0..10 {
        assert_eq!(ask(&calls, "one").await, says("one trace"));
    }
}

#[tokio::test]
async fn a_stream_that_ends_is_told_to_all_who_wait_and_opened_again() {
    let mut node = Node::default();
    let calls = serve(&node).await;
    let waiting = tokio::spawn({
        let calls = calls.clone();
        async move { ask(&calls, "held").await }
    });
    node.came.notified().await;
    node.ends.cancel();
    assert_eq!(waiting.await.unwrap(), Err(Code::Unavailable));
    assert_eq!(
        ask(&calls, "one").await,
        Err(Code::Unavailable),
        "this node ends each stream"
    );
    assert_eq!(node.streams.load(Ordering::Relaxed), 2);
    node.ends = CancellationToken::new();
    let calls = serve(&node).await;
    assert_eq!(ask(&calls, "one").await, says("one trace"));
}

#[tokio::test]
async fn what_is_large_holds_up_no_other() {
    let node = Node::default();
    let calls = serve(&node).await;
    let large = RoomRequest {
        body: Some(Body::Update(vec![0; 1 << 20].into())),
        ..about("one")
    };
    let answer = calls.call(large, None).await;
    assert_eq!(answer.map_err(|status| status.code()), says("one "));
    let counts = (node.streams.load(Ordering::Relaxed), node.alone.load(Ordering::Relaxed));
    assert_eq!(counts, (0, 1));
}

#[tokio::test]
async fn a_node_that_knows_no_such_stream_is_asked_one_by_one() {
    let node = Node {
        old: true,
        ..Node::default()
    };
    let calls = serve(&node).await;
    for _ in 0..3 {
        assert_eq!(ask(&calls, "one").await, says("one trace"));
    }
    assert_eq!(node.alone.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_node_that_is_away_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
    let calls = Calls::from(HubClient::new(channel));
    assert_eq!(ask(&calls, "one").await, Err(Code::Unavailable));
}
