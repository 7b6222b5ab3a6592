//! An edge's host: brings clients' requests to the hubs by the production code's map and courses. It keeps nothing: each life
//! learns the map anew, from whichever hub it reaches, and, where the plan says so, late.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use proto::hub::{Elsewhere, Refused, RoomRequest, RoomResponse, ShardOwner, room_response::Outcome};
use route::{Course, Nodes, Owner, ShardId, ShardMap, Shards};

use crate::marks::Mark;
use crate::trace::Record;
use crate::world::{self, Ended, Listener, Stream};
use crate::{hubs, wire};

/// Where an edge listens.
pub(crate) const PORT: u16 = 9_000;

/// How long a request is brought again before its client is told to come back.
const PATIENCE: Duration = Duration::from_secs(3);

/// A map broken off is asked for again, from another hub, after this long.
const RESUBSCRIBE: Duration = Duration::from_millis(200);

/// A map that does not change for so long is asked for anew: its hub may be cut off.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What all lives of an edge's host share.
pub(crate) struct Site {
    pub(crate) number: usize,
    pub(crate) hubs: Vec<String>,
    pub(crate) record: Record,
    /// How late it learns a map.
    pub(crate) lag: Duration,
    pub(crate) lives: Cell<usize>,
}

/// The edge's software.
pub(crate) async fn run(site: Rc<Site>) -> Ended {
    let listener = Listener::bind(PORT).await?;
    site.lives.set(site.lives.get() + 1);
    let nodes = Nodes::found_at(site.hubs.clone(), site.number + site.lives.get());
    let nodes = Rc::new(RefCell::new(nodes));
    tokio::task::spawn_local(follow_map(site.clone(), nodes.clone()));
    loop {
        let stream = listener.accept().await?;
        let (site, nodes) = (site.clone(), nodes.clone());
        // A client that goes away asks again.
        tokio::task::spawn_local(async move { drop(serve(&site, &nodes, stream).await) });
    }
}

async fn follow_map(site: Rc<Site>, nodes: Rc<RefCell<Nodes>>) {
    let mut node = nodes.borrow().other_than("");
    loop {
        // Whatever ends a map, the next one comes from another hub.
        drop(read_map(&site, &nodes, &node).await);
        node = nodes.borrow().other_than(&node);
        tokio::time::sleep(RESUBSCRIBE).await;
    }
}

async fn read_map(site: &Site, nodes: &RefCell<Nodes>, node: &str) -> io::Result<()> {
    let mut stream = world::connect(node, hubs::MAP_PORT).await?;
    loop {
        let map = wire::expect::<proto::hub::ShardMap>(&mut stream);
        let map = tokio::time::timeout(SILENCE_MAX, map).await??;
        tokio::time::sleep(site.lag).await;
        let key = <[u8; 16]>::try_from(&*map.hash_key).map_err(io::Error::other)?;
        let shards = Shards::new(map.shards, key).map_err(io::Error::other)?;
        let owner = |ShardOwner { shard, node, term }| (ShardId(shard), Owner { node, term });
        let told = ShardMap {
            version: map.version,
            owners: map.owners.into_iter().map(owner).collect(),
        };
        nodes.borrow_mut().learn(Some(shards), told);
    }
}

/// Answers a client's requests one after the other.
async fn serve(site: &Site, nodes: &RefCell<Nodes>, mut client: Stream) -> io::Result<()> {
    let mut streams = BTreeMap::new();
    while let Some((request, _)) = wire::read::<RoomRequest>(&mut client).await? {
        let brought = tokio::time::timeout(PATIENCE, bring(site, nodes, &mut streams, &request)).await;
        let response = brought.unwrap_or_else(|_| RoomResponse {
            outcome: Some(Outcome::Refused(Refused {
                status: 503,
                reason: "the room is changing its owner".to_owned(),
                retry_after_ms: 100,
            })),
        });
        wire::write(&mut client, &response).await?;
    }
    Ok(())
}

/// Brings a request to whichever hub answers it.
async fn bring(
    site: &Site,
    nodes: &RefCell<Nodes>,
    streams: &mut BTreeMap<String, Stream>,
    request: &RoomRequest,
) -> RoomResponse {
    let mut course = Course::to(&request.room, &nodes.borrow());
    let mut lost = false;
    loop {
        match exchange(streams, course.node(), request)
            .await
            .map(|response| response.outcome)
        {
            Ok(Some(Outcome::Elsewhere(Elsewhere { node, term }))) => {
                if term > 0 {
                    site.record.mark(Mark::SentElsewhere);
                }
                nodes.borrow_mut().note(&request.room, Owner { node, term });
            }
            Ok(outcome) => {
                if lost && matches!(outcome, Some(Outcome::Answer(_))) {
                    site.record.mark(Mark::BroughtAgain);
                }
                return RoomResponse { outcome };
            }
            Err(_) => lost = true,
        }
        tokio::time::sleep(course.leave()).await;
        course.turn(&request.room, &nodes.borrow());
    }
}

async fn exchange(
    streams: &mut BTreeMap<String, Stream>,
    node: &str,
    request: &RoomRequest,
) -> io::Result<RoomResponse> {
    // Whoever is interrupted leaves no stream behind.
    let mut stream = match streams.remove(node) {
        Some(stream) => stream,
        None => world::connect(node, hubs::PORT).await?,
    };
    wire::write(&mut stream, request).await?;
    let response = wire::expect(&mut stream).await?;
    streams.insert(node.to_owned(), stream);
    Ok(response)
}
