//! Nodes of one cluster reach each other; nobody else reaches them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;

use daemon::certificates::DevelopmentCa;
use proto::hub::hub_client::HubClient;
use proto::hub::hub_server::{Hub, HubServer};
use proto::hub::{
    CloseAbuseRequest, CloseAbuseResponse, ListAbuseRequest, ListAbuseResponse, NumberedRequest, NumberedResponse,
    RoomEventsCall, RoomEventsReply, RoomHeadsCall, RoomHeadsReply, RoomRequest, RoomResponse, ShardMap, ShardsRequest,
    WakeRequest, WakeResponse,
};
use tier::{Cluster, ClusterFiles, Tier};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

struct Idle;

#[tonic::async_trait]
impl Hub for Idle {
    async fn call(&self, _: Request<RoomRequest>) -> Result<Response<RoomResponse>, Status> {
        Ok(Response::new(RoomResponse::default()))
    }

    type CallsStream = futures::stream::Pending<Result<NumberedResponse, Status>>;

    /// Of an earlier release: each request comes in a call of its own.
    async fn calls(&self, _: Request<Streaming<NumberedRequest>>) -> Result<Response<Self::CallsStream>, Status> {
        Err(Status::unimplemented("calls"))
    }

    type ShardsStream = Pin<Box<dyn tonic::codegen::tokio_stream::Stream<Item = Result<ShardMap, Status>> + Send>>;

    async fn shards(&self, _: Request<ShardsRequest>) -> Result<Response<Self::ShardsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_abuse(&self, _: Request<ListAbuseRequest>) -> Result<Response<ListAbuseResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn wake(&self, _: Request<WakeRequest>) -> Result<Response<WakeResponse>, Status> {
        Ok(Response::new(WakeResponse {}))
    }

    async fn close_abuse(&self, _: Request<CloseAbuseRequest>) -> Result<Response<CloseAbuseResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn room_heads(&self, _: Request<RoomHeadsCall>) -> Result<Response<RoomHeadsReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn room_events(&self, _: Request<RoomEventsCall>) -> Result<Response<RoomEventsReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// The files of a node that has a certificate of `ca` for `names`, and trusts `ca`.
fn files(directory: &Path, node: &str, ca: &DevelopmentCa, names: &[&str]) -> ClusterFiles {
    let files = ClusterFiles {
        chain: directory.join(format!("{node}.pem")),
        key: directory.join(format!("{node}.key")),
        roots: directory.join(format!("{node}-ca.pem")),
    };
    ca.issue(names).unwrap().write(&files.chain, &files.key).unwrap();
    std::fs::write(&files.roots, ca.certificate_pem()).unwrap();
    files
}

struct World {
    directory: tempfile::TempDir,
    ca: DevelopmentCa,
    stop: CancellationToken,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            ca: DevelopmentCa::generate().unwrap(),
            stop: CancellationToken::new(),
        }
    }

    fn node(&self, name: &str, ca: &DevelopmentCa, tier: Tier) -> Cluster {
        let files = files(self.directory.path(), name, ca, &[tier.name()]);
        Cluster::join(files, tier, self.stop.clone()).unwrap()
    }

    /// Serves a hub's RPC as `cluster`, for edges.
    async fn serve(&self, cluster: &Cluster) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cluster, stop) = (cluster.clone(), self.stop.clone());
        tokio::spawn(async move {
            let routes = Routes::new(HubServer::new(Idle));
            cluster.serve(listener, routes, &[Tier::Edge], stop).await;
        });
        address
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn call(from: &Cluster, to: &[SocketAddr]) -> Result<(), Status> {
    let addresses: Vec<String> = to.iter().map(SocketAddr::to_string).collect();
    let mut hub = HubClient::new(from.channel(Tier::Hub, &addresses));
    hub.call(RoomRequest::default()).await.map(drop)
}

#[tokio::test]
async fn an_edge_reaches_a_hub() {
    let world = World::new();
    let hub = world.serve(&world.node("hub", &world.ca, Tier::Hub)).await;
    call(&world.node("edge", &world.ca, Tier::Edge), &[hub]).await.unwrap();
}

#[tokio::test]
async fn an_edges_certificate_cannot_serve_as_a_hub() {
    let world = World::new();
    let edge = world.node("edge", &world.ca, Tier::Edge);
    let impostor = world.serve(&edge).await;
    call(&edge, &[impostor]).await.unwrap_err();
}

#[tokio::test]
async fn a_tier_that_does_not_call_here_is_turned_away() {
    let world = World::new();
    let hub = world.serve(&world.node("hub", &world.ca, Tier::Hub)).await;
    let follower = world.node("follower", &world.ca, Tier::Follower);
    call(&follower, &[hub]).await.unwrap_err();
}

#[tokio::test]
async fn each_tier_is_served_its_own_routes_and_no_others() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cluster, stop) = (world.node("hub", &world.ca, Tier::Hub), world.stop.clone());
    tokio::spawn(async move {
        let faces: Vec<(&'static [Tier], Routes)> = vec![
            (&[Tier::Ctl], Routes::default()),
            (&[Tier::Edge], Routes::new(HubServer::new(Idle))),
        ];
        cluster.serve_faces(listener, faces, stop).await;
    });
    call(&world.node("edge", &world.ca, Tier::Edge), &[address])
        .await
        .unwrap();
    let refused = call(&world.node("ctl", &world.ca, Tier::Ctl), &[address]).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unimplemented);
    let follower = world.node("follower", &world.ca, Tier::Follower);
    let turned_away = call(&follower, &[address]).await.unwrap_err();
    assert_ne!(turned_away.code(), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_nobodys() {
    let world = World::new();
    let other = DevelopmentCa::generate().unwrap();
    let hub = world.serve(&world.node("hub", &world.ca, Tier::Hub)).await;

    // It trusts our cluster, but its own certificate is of another authority.
    let mut files = files(world.directory.path(), "stranger", &other, &[Tier::Edge.name()]);
    files.roots = world.directory.path().join("hub-ca.pem");
    let stranger = Cluster::join(files, Tier::Edge, world.stop.clone()).unwrap();
    call(&stranger, &[hub]).await.unwrap_err();

    // And the other way round: a server of another authority.
    let impostor = world.serve(&world.node("impostor", &other, Tier::Hub)).await;
    let edge = world.node("edge", &world.ca, Tier::Edge);
    call(&edge, &[impostor]).await.unwrap_err();
}

#[tokio::test]
async fn of_several_addresses_whichever_answers_is_taken() {
    let world = World::new();
    let hub = world.serve(&world.node("hub", &world.ca, Tier::Hub)).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = gone.local_addr().unwrap();
    drop(gone);
    let edge = world.node("edge", &world.ca, Tier::Edge);
    for _ in 0..4 {
        call(&edge, &[nobody, hub, nobody]).await.unwrap();
    }
}

#[tokio::test]
async fn replaced_certificates_count_from_the_next_handshake_on() {
    let world = World::new();
    let other = DevelopmentCa::generate().unwrap();
    let hub = world.node("hub", &world.ca, Tier::Hub);
    let address = world.serve(&hub).await;
    let edge = world.node("edge", &other, Tier::Edge);
    call(&edge, &[address]).await.unwrap_err();

    let renewed = files(world.directory.path(), "hub", &other, &[Tier::Hub.name()]);
    hub.reload(&renewed, Tier::Hub).unwrap();
    call(&edge, &[address]).await.unwrap();

    // What cannot be used changes nothing.
    std::fs::write(&renewed.chain, "nothing").unwrap();
    hub.reload(&renewed, Tier::Hub).unwrap_err();
    call(&edge, &[address]).await.unwrap();
}

#[tokio::test]
async fn a_certificate_without_the_name_of_its_tier_stops_the_start() {
    let world = World::new();
    let files = files(world.directory.path(), "edge", &world.ca, &["a.example"]);
    let error = Cluster::join(files, Tier::Edge, world.stop.clone())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("cluster.chain") && error.contains("`edge.nave.internal`"),
        "{error}"
    );
}
