//! All hub nodes: found, asked, and what they say joined.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mimi::{Provider, RoomUri};
use proto::admin::admin_client::AdminClient;
use proto::admin::{
    FollowerRequest, FollowerSummary, FollowersRequest, NodesRequest, Outcome, PauseRequest, SetAsideRequest,
};
use tier::{Cluster, Tier};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::Config;
use crate::failure::{Failure, why};
use crate::report::{Changed, Entry, Follower, InShard};

/// No answer takes longer: a hub's own bound of an order is 20 seconds.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// Nodes that are asked.
const NODES_MAX: usize = 1_024;

/// Followers, shards or entries that are taken from one node: far more than there are.
const ROWS_MAX: usize = 1 << 20;

/// What to do with entries that are set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    List,
    Retry,
    Skip,
}

/// The nodes that answer.
pub(crate) struct Hubs {
    nodes: Vec<Node>,
    shards_total: u32,
    /// Who could not be asked, or what is not whole.
    notes: BTreeSet<String>,
    _stop: DropGuard,
}

struct Node {
    address: String,
    client: AdminClient<Channel>,
}

type Answered<T> = Result<T, Status>;

impl Hubs {
    /// Asks the nodes of the configuration for others, until there is none that is not known.
    pub(crate) async fn find(config: Config) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let cluster = Cluster::join(config.cluster, Tier::Ctl, stop.clone()).map_err(Failure::Config)?;
        let mut hubs = Self {
            nodes: Vec::new(),
            shards_total: 0,
            notes: BTreeSet::new(),
            _stop: stop.drop_guard(),
        };
        let mut known: BTreeSet<String> = config.hubs.iter().cloned().collect();
        let mut left: Vec<String> = known.iter().cloned().collect();
        // A node may have several addresses.
        let mut lives = BTreeSet::new();
        while let Some(address) = left.pop() {
            let client = AdminClient::new(cluster.channel(Tier::Hub, std::slice::from_ref(&address)));
            let asked = answer(client.clone().nodes(NodesRequest {})).await;
            let nodes = match asked {
                Ok(nodes) => nodes,
                Err(status) => {
                    hubs.notes.insert(why(&address, &status));
                    continue;
                }
            };
            hubs.shards_total = nodes.shards_total;
            if lives.insert(nodes.incarnation) {
                hubs.nodes.push(Node { address, client });
            }
            for node in nodes.nodes {
                if known.len() < NODES_MAX && known.insert(node.clone()) {
                    left.push(node);
                }
            }
        }
        if hubs.nodes.is_empty() {
            let notes: Vec<String> = hubs.notes.into_iter().collect();
            return Err(Failure::Unreachable(notes.join("\n")));
        }
        Ok(hubs)
    }

    /// Who could not be asked, a sentence each.
    pub(crate) fn notes(&self) -> &BTreeSet<String> {
        &self.notes
    }

    /// How all followers stand, by their domains.
    pub(crate) async fn followers(&mut self) -> Result<Vec<Follower>, Failure> {
        let mut found: BTreeMap<String, Follower> = BTreeMap::new();
        let mut served = 0;
        for node in &mut self.nodes {
            match node.followers().await {
                Ok((followers, shards)) => {
                    served += shards;
                    for follower in followers {
                        found.entry(follower.domain.clone()).or_default().add(follower);
                    }
                }
                Err(status) => note(&mut self.notes, node, &status)?,
            }
        }
        self.note_served(served);
        Ok(found.into_values().collect())
    }

    /// How one follower stands.
    pub(crate) async fn follower(&mut self, domain: &Provider) -> Result<Follower, Failure> {
        let mut all = self.followers().await?;
        all.retain(|follower| follower.domain == domain.as_str());
        all.pop().ok_or_else(|| {
            Failure::NotFound(format!(
                "{domain} is no follower: no user of it was ever in a room of this hub. `navectl follower list` says who is"
            ))
        })
    }

    /// The shards in which one follower is behind, is paused, or was refused something.
    pub(crate) async fn shards(&mut self, domain: &Provider) -> Result<Vec<InShard>, Failure> {
        let mut found = Vec::new();
        for node in &mut self.nodes {
            match node.shards(domain).await {
                Ok(shards) => found.extend(shards),
                Err(status) => note(&mut self.notes, node, &status)?,
            }
        }
        found.sort_by_key(|shard| shard.shard);
        Ok(found)
    }

    /// What is set aside for a follower, or what became of it.
    pub(crate) async fn set_aside(
        &mut self,
        domain: &Provider,
        one: Option<(RoomUri, u64)>,
        order: Order,
    ) -> Result<Vec<Entry>, Failure> {
        let mut found = Vec::new();
        for node in &mut self.nodes {
            if let Err(status) = node.set_aside(domain, one.as_ref(), order, &mut found).await {
                note(&mut self.notes, node, &status)?;
            }
        }
        if let (Some((room, seq)), true, true) = (&one, found.is_empty(), self.notes.is_empty()) {
            return Err(Failure::NotFound(format!(
                "entry {seq} of {room} is not set aside for {domain}: `navectl follower show {domain}` says what is"
            )));
        }
        found.sort_by_key(|entry| (entry.shard, entry.offset));
        Ok(found)
    }

    /// Pauses a follower, or ends that.
    pub(crate) async fn pause(&mut self, domain: &Provider, paused: bool) -> Result<Changed, Failure> {
        let mut changed = Changed {
            domain: domain.as_str().to_owned(),
            paused,
            shards: 0,
            full: 0,
            shards_total: self.shards_total,
        };
        let mut served = 0;
        for node in &mut self.nodes {
            let request = PauseRequest {
                domain: domain.as_str().to_owned(),
            };
            let answered = match paused {
                true => answer(node.client.pause(request)).await,
                false => answer(node.client.resume(request)).await,
            };
            match answered {
                Ok(answered) => {
                    served += answered.shards_served;
                    changed.shards += answered.shards_durable;
                    changed.full += answered.shards_full;
                }
                Err(status) => note(&mut self.notes, node, &status)?,
            }
        }
        self.note_served(served);
        Ok(changed)
    }

    fn note_served(&mut self, served: u32) {
        if served < self.shards_total {
            let missing = self.shards_total - served;
            self.notes.insert(format!(
                "{missing} of {} shards are served by no node that was asked: what is printed lacks them, and what was told \
                 was not told to them. Ask again when all nodes are up",
                self.shards_total
            ));
        }
    }
}

/// A node that gave no answer is remembered; a question that no node answers ends the run.
fn note(notes: &mut BTreeSet<String>, node: &Node, status: &Status) -> Result<(), Failure> {
    if status.code() == Code::InvalidArgument {
        return Err(Failure::Refused(status.message().to_owned()));
    }
    notes.insert(why(&node.address, status));
    Ok(())
}

async fn answer<T>(asked: impl Future<Output = Answered<Response<T>>>) -> Answered<T> {
    match timeout(ANSWER_MAX, asked).await {
        Ok(answered) => Ok(answered?.into_inner()),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

impl Node {
    /// All followers, and the shards that this is about.
    async fn followers(&mut self) -> Answered<(Vec<FollowerSummary>, u32)> {
        let mut found: Vec<FollowerSummary> = Vec::new();
        loop {
            let after = found.last().map(|last| last.domain.clone()).unwrap_or_default();
            let page = answer(self.client.followers(FollowersRequest { after, max: 0 })).await?;
            let is_last = !page.more || page.followers.is_empty() || found.len() > ROWS_MAX;
            found.extend(page.followers);
            if is_last {
                return Ok((found, page.shards_served));
            }
        }
    }

    async fn shards(&mut self, domain: &Provider) -> Answered<Vec<InShard>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let request = FollowerRequest {
                domain: domain.as_str().to_owned(),
                has_after: after.is_some(),
                after_shard: after.unwrap_or_default(),
                max: 0,
            };
            let page = answer(self.client.follower(request)).await?;
            let last = page.shards.last().map(|last| last.shard);
            let shards = page.shards.into_iter().map(InShard::from);
            found.extend(shards.filter(InShard::is_notable));
            if !page.more || last.is_none() || found.len() > ROWS_MAX {
                return Ok(found);
            }
            after = last;
        }
    }

    async fn set_aside(
        &mut self,
        domain: &Provider,
        one: Option<&(RoomUri, u64)>,
        order: Order,
        found: &mut Vec<Entry>,
    ) -> Answered<()> {
        let mut after = None;
        loop {
            let mut request = SetAsideRequest {
                domain: domain.as_str().to_owned(),
                ..SetAsideRequest::default()
            };
            if let Some((room, seq)) = one {
                (request.room, request.seq) = (room.as_str().to_owned(), *seq);
            } else if let Some((shard, offset)) = after {
                (request.has_after, request.after_shard, request.after_offset) = (true, shard, offset);
            }
            let page = match order {
                Order::List => answer(self.client.list_set_aside(request)).await?,
                Order::Retry => answer(self.client.retry(request)).await?,
                Order::Skip => answer(self.client.skip(request)).await?,
            };
            after = page.entries.last().map(|last| (last.shard, last.offset));
            // Where the follower cannot be reached, or may not be, the others would wait as long.
            let vain = |entry: &proto::admin::SetAside| {
                matches!(entry.outcome(), Outcome::Pending | Outcome::Paused | Outcome::Unreached)
            };
            let is_last = !page.more || after.is_none() || page.entries.iter().any(vain) || found.len() > ROWS_MAX;
            found.extend(page.entries.into_iter().map(Entry::from));
            if is_last {
                return Ok(());
            }
        }
    }
}
