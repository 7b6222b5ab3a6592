//! Who serves which shard, as the hubs say themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mimi::RoomUri;
use proto::hub::hub_client::HubClient;
use proto::hub::{ShardMap, ShardsRequest};
use tier::{Cluster, Tier};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::site::{HUBS, Site};

/// A takeover is over by then.
const DEADLINE: Duration = Duration::from_secs(60);
/// Before a hub that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// Asks hubs, as an edge does.
pub(crate) struct Shards {
    cluster: Cluster,
    hubs: [String; HUBS],
    _asking: DropGuard,
}

impl Shards {
    pub(crate) fn new(site: &Site) -> Self {
        let stop = CancellationToken::new();
        Self {
            cluster: Cluster::join(site.asker.clone(), Tier::Edge, stop.clone()).unwrap(),
            hubs: site.hub_addresses.map(|address| address.to_string()),
            _asking: stop.drop_guard(),
        }
    }

    /// Waits until the first of `hubs` says that exactly these hubs serve all shards, each of them some.
    pub(crate) async fn served_by(&self, hubs: &[usize]) -> ShardMap {
        let wanted: BTreeSet<&str> = hubs.iter().map(|hub| self.hubs[*hub].as_str()).collect();
        let holds = |map: &ShardMap| {
            let owners: BTreeSet<&str> = map.owners.iter().map(|owner| owner.node.as_str()).collect();
            map.shards > 0 && map.owners.len() == map.shards as usize && owners == wanted
        };
        let mut last = ShardMap::default();
        let waiting = async {
            loop {
                let asked = self.ask(hubs[0], &mut last, holds).await;
                if let Ok(true) = asked {
                    return;
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        if timeout(DEADLINE, waiting).await.is_err() {
            let mut counts = BTreeMap::<&str, usize>::new();
            for owner in &last.owners {
                *counts.entry(&owner.node).or_default() += 1;
            }
            panic!("the shards are not served by {wanted:?} but by {counts:?}");
        }
        last
    }

    /// Follows a hub's map until it `holds`, or the hub ends it.
    async fn ask(
        &self,
        hub: usize,
        last: &mut ShardMap,
        holds: impl Fn(&ShardMap) -> bool,
    ) -> Result<bool, tonic::Status> {
        let channel = self.cluster.channel(Tier::Hub, &[self.hubs[hub].clone()]);
        let mut maps = HubClient::new(channel).shards(ShardsRequest {}).await?.into_inner();
        while let Some(map) = maps.message().await? {
            *last = map;
            if holds(last) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A name of a room for each hub that it would serve now.
    pub(crate) async fn a_room_at_each(&self) -> [RoomUri; HUBS] {
        let map = self.served_by(&[0, 1, 2]).await;
        std::array::from_fn(|hub| {
            let names = (0_u32..).map(|n| format!("mimi://a.example/r/clubhouse-{n}").parse().unwrap());
            let mut here = names.filter(|room| self.server_in(&map, room) == hub);
            here.next().unwrap()
        })
    }

    /// The hub that serves the room now, while all of them live, and the others.
    pub(crate) async fn server_of(&self, room: &RoomUri) -> (usize, [usize; HUBS - 1]) {
        let map = self.served_by(&[0, 1, 2]).await;
        let server = self.server_in(&map, room);
        (server, std::array::from_fn(|other| (server + 1 + other) % HUBS))
    }

    fn server_in(&self, map: &ShardMap, room: &RoomUri) -> usize {
        let key = <[u8; 16]>::try_from(&*map.hash_key).unwrap();
        let shard = route::Shards::new(map.shards, key).unwrap().of(room.as_str());
        let mut owners = map.owners.iter();
        let owner = owners.find(|owner| owner.shard == shard.0).unwrap();
        self.hubs.iter().position(|hub| *hub == owner.node).unwrap()
    }
}
