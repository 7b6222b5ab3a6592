//! Against fake hub nodes in memory: what an edge does while nodes die, move shards and go.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;

use futures::{Stream, stream};
use hyper_util::rt::TokioIo;
use proto::hub::hub_server::{Hub, HubServer};
use proto::hub::{
    CloseAbuseRequest, CloseAbuseResponse, ListAbuseRequest, ListAbuseResponse, RoomEventsCall, RoomEventsReply,
    RoomHeadsCall, RoomHeadsReply, RoomResponse,
};
use proto::hub::{NumberedRequest, NumberedResponse, WakeResponse};
use tokio::sync::watch;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::*;

const ROOM: &str = "mimi://a.example/r/1";
const PATIENCE: Duration = Duration::from_secs(5);

/// What a node does with requests.
#[derive(Clone)]
enum Does {
    Answers,
    Says(Elsewhere),
    Fails(tonic::Code),
    /// Takes the request and never answers: the connection has to break.
    Hangs,
}

/// A node: what it does, what it was asked, its map, and the end of its life.
#[derive(Clone)]
struct Node {
    does: Arc<Mutex<Does>>,
    asked: watch::Sender<usize>,
    woken: Arc<Mutex<Vec<String>>>,
    map: watch::Sender<proto::hub::ShardMap>,
    life: CancellationToken,
}

#[tonic::async_trait]
impl Hub for Node {
    async fn call(&self, _: Request<RoomRequest>) -> Result<Response<RoomResponse>, Status> {
        self.asked.send_modify(|count| *count += 1);
        let does = self.does.lock().unwrap().clone();
        let outcome = match does {
            Does::Answers => Outcome::Answer(Bytes::from_static(b"hub")),
            Does::Says(elsewhere) => Outcome::Elsewhere(elsewhere),
            Does::Fails(code) => return Err(Status::new(code, "said so")),
            Does::Hangs => std::future::pending().await,
        };
        Ok(Response::new(RoomResponse { outcome: Some(outcome) }))
    }

    type CallsStream = futures::stream::Pending<Result<NumberedResponse, Status>>;

    /// Of an earlier release: each request comes in a call of its own.
    async fn calls(&self, _: Request<Streaming<NumberedRequest>>) -> Result<Response<Self::CallsStream>, Status> {
        Err(Status::unimplemented("calls"))
    }

    type ShardsStream = Pin<Box<dyn Stream<Item = Result<proto::hub::ShardMap, Status>> + Send>>;

    async fn shards(&self, _: Request<ShardsRequest>) -> Result<Response<Self::ShardsStream>, Status> {
        let mut maps = self.map.subscribe();
        maps.mark_changed();
        let maps = stream::unfold(maps, |mut maps| async move {
            maps.changed().await.ok()?;
            let map = maps.borrow_and_update().clone();
            Some((Ok(map), maps))
        });
        Ok(Response::new(Box::pin(maps)))
    }

    async fn wake(&self, request: Request<WakeRequest>) -> Result<Response<WakeResponse>, Status> {
        self.woken.lock().unwrap().extend(request.into_inner().followers);
        Ok(Response::new(WakeResponse {}))
    }

    async fn list_abuse(&self, _: Request<ListAbuseRequest>) -> Result<Response<ListAbuseResponse>, Status> {
        Ok(Response::new(ListAbuseResponse::default()))
    }

    async fn close_abuse(&self, _: Request<CloseAbuseRequest>) -> Result<Response<CloseAbuseResponse>, Status> {
        Ok(Response::new(CloseAbuseResponse {}))
    }

    async fn room_heads(&self, _: Request<RoomHeadsCall>) -> Result<Response<RoomHeadsReply>, Status> {
        Ok(Response::new(RoomHeadsReply::default()))
    }

    async fn room_events(&self, _: Request<RoomEventsCall>) -> Result<Response<RoomEventsReply>, Status> {
        Ok(Response::new(RoomEventsReply::default()))
    }
}

fn owned_by(node: &str, term: u64) -> proto::hub::ShardMap {
    proto::hub::ShardMap {
        version: term,
        shards: 1,
        hash_key: Bytes::from_static(&[7; 16]),
        owners: vec![ShardOwner {
            shard: 0,
            node: node.to_owned(),
            term,
        }],
    }
}

/// A cluster whose nodes are named `a:1`, `b:1`…, each of which says that the first owns the one shard.
struct World {
    nodes: BTreeMap<String, Node>,
    hubs: Arc<Hubs>,
    stop: CancellationToken,
}

impl World {
    /// `seeds` are what the edge knows at first.
    fn start(names: &[&str], seeds: &[&str]) -> Self {
        let node = |name: &&str| {
            let node = Node {
                does: Arc::new(Mutex::new(Does::Answers)),
                asked: watch::channel(0).0,
                woken: Arc::default(),
                map: watch::channel(owned_by(names[0], 1)).0,
                life: CancellationToken::new(),
            };
            ((*name).to_owned(), node)
        };
        let nodes: BTreeMap<String, Node> = names.iter().map(node).collect();
        let reachable = nodes.clone();
        let dial: Dialer = Arc::new(move |name: &str| HubClient::new(channel(reachable.get(name).cloned())));
        let hubs = Hubs::of_cluster(seeds.iter().map(|seed| (*seed).to_owned()).collect(), dial);
        let world = Self {
            nodes,
            hubs: Arc::new(hubs),
            stop: CancellationToken::new(),
        };
        let (hubs, stop) = (world.hubs.clone(), world.stop.clone());
        tokio::spawn(async move { hubs.follow_map(stop).await });
        world
    }

    fn does(&self, node: &str, does: Does) {
        *self.nodes[node].does.lock().unwrap() = does;
    }

    fn asked(&self, node: &str) -> usize {
        *self.nodes[node].asked.borrow()
    }

    async fn knows_owner(&self, node: &str) {
        while self.hubs.read(|known| known.nodes.owner(ROOM) != Some(node)) {
            tokio::task::yield_now().await;
        }
    }

    async fn call(&self, patience: Duration) -> Result<Bytes, Reply> {
        let request = RoomRequest {
            room: ROOM.to_owned(),
            source: "b.example".to_owned(),
            body: None,
        };
        self.hubs.call(request, patience, &Metrics::new()).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// To a node that is there, or to an address where nothing is. A node that dies drops its connections unanswered.
fn channel(node: Option<Node>) -> Channel {
    let connect = tower::service_fn(move |_| {
        let node = node.clone();
        async move {
            let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            let node = node.filter(|node| !node.life.is_cancelled()).ok_or_else(refused)?;
            let (near, mut here) = tokio::io::duplex(1 << 16);
            let (mut there, far) = tokio::io::duplex(1 << 16);
            let life = node.life.clone();
            let cable = async move { tokio::io::copy_bidirectional(&mut here, &mut there).await };
            tokio::spawn(life.run_until_cancelled_owned(cable));
            let incoming = stream::iter([Ok::<_, std::io::Error>(far)]);
            tokio::spawn(
                Server::builder()
                    .add_service(HubServer::new(node))
                    .serve_with_incoming(incoming),
            );
            Ok::<_, std::io::Error>(TokioIo::new(near))
        }
    });
    Endpoint::from_static("http://in.memory").connect_with_connector_lazy(connect)
}

#[tokio::test]
async fn the_map_is_learned_from_the_seed_that_can_be_reached() {
    let world = World::start(&["a:1", "b:1"], &["gone:1", "b:1"]);
    world.knows_owner("a:1").await;
    assert_eq!(world.call(PATIENCE).await.unwrap(), "hub");
    assert_eq!((world.asked("a:1"), world.asked("b:1")), (1, 0));
}

#[tokio::test]
async fn a_node_that_says_elsewhere_is_followed_and_remembered() {
    let world = World::start(&["a:1", "b:1"], &["a:1"]);
    world.knows_owner("a:1").await;
    let elsewhere = Elsewhere {
        node: "b:1".to_owned(),
        term: 2,
    };
    world.does("a:1", Does::Says(elsewhere));
    for _ in 0..2 {
        assert_eq!(world.call(PATIENCE).await.unwrap(), "hub");
    }
    assert_eq!((world.asked("a:1"), world.asked("b:1")), (1, 2));

    // A map that is older than what the node said does not lead back.
    world.nodes["a:1"].map.send_replace(owned_by("a:1", 1));
    assert_eq!(world.call(PATIENCE).await.unwrap(), "hub");
    assert_eq!(world.asked("b:1"), 3);
}

#[tokio::test]
async fn a_request_that_a_dying_node_took_with_it_is_answered_by_another() {
    let world = World::start(&["a:1", "b:1"], &["a:1", "b:1"]);
    world.knows_owner("a:1").await;
    world.does("a:1", Does::Hangs);
    let dies = async {
        let mut asked = world.nodes["a:1"].asked.subscribe();
        asked.wait_for(|count| *count == 1).await.unwrap();
        world.nodes["a:1"].life.cancel();
    };
    let (answer, ()) = tokio::join!(world.call(PATIENCE), dies);
    assert_eq!(answer.unwrap(), "hub");
}

#[tokio::test]
async fn whoever_was_heard_from_is_told_to_every_node_whether_all_are_there_or_not() {
    let world = World::start(&["a:1", "b:1", "c:1"], &["a:1", "b:1", "c:1"]);
    world.knows_owner("a:1").await;
    world.nodes["b:1"].life.cancel();
    let heard: Provider = "d.example".parse().unwrap();
    world.hubs.wake(&[heard]).await;
    let woken = |node: &str| world.nodes[node].woken.lock().unwrap().clone();
    assert_eq!([woken("a:1"), woken("c:1")], [["d.example"]; 2]);
    assert!(woken("b:1").is_empty());
}

#[tokio::test]
async fn a_node_that_is_gone_from_the_map_is_asked_no_more() {
    let world = World::start(&["a:1", "b:1"], &["b:1"]);
    world.knows_owner("a:1").await;
    assert_eq!(world.call(PATIENCE).await.unwrap(), "hub");
    world.nodes["b:1"].map.send_replace(owned_by("b:1", 2));
    world.knows_owner("b:1").await;
    assert_eq!(world.call(PATIENCE).await.unwrap(), "hub");
    assert_eq!((world.asked("a:1"), world.asked("b:1")), (1, 1));
    assert!(world.hubs.read(|known| !known.ways.contains_key("a:1")));
}

#[tokio::test]
async fn e_9_when_no_node_answers_within_the_patience_the_caller_is_told_when_to_come_back() {
    let world = World::start(&["a:1"], &["a:1"]);
    world.nodes["a:1"].life.cancel();
    let reply = world.call(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((reply.status, reply.retry_after), (503, Some(RETRY_AFTER)));
}

#[tokio::test]
async fn a_node_that_takes_no_requests_is_not_the_last_word_but_a_failure_is() {
    let world = World::start(&["a:1", "b:1"], &["a:1", "b:1"]);
    world.knows_owner("a:1").await;
    world.does("a:1", Does::Fails(tonic::Code::Unavailable));
    assert_eq!(world.call(PATIENCE).await.unwrap(), "hub");
    assert_eq!(world.asked("b:1"), 1);
    world.does("a:1", Does::Fails(tonic::Code::Internal));
    assert_eq!(world.call(PATIENCE).await.unwrap_err().status, 500);
    assert_eq!(world.asked("b:1"), 1, "what a node says is not asked again");
}
