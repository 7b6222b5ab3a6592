//! What operators call. The node answers for the shards that it serves.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use hub::Hub;
use hub::operator::{Aside, Asides, Operator, Retried, Standing, Summary, Which};
use ledger::{Offset, ReadError, Seq};
use mimi::Provider;
use proto::admin::admin_server::Admin;
use proto::admin::{
    FollowerInShard, FollowerRequest, FollowerResponse, FollowerSummary, FollowersRequest, FollowersResponse,
    NodesRequest, NodesResponse, Outcome, PauseRequest, PauseResponse, SetAside, SetAsideRequest, SetAsideResponse,
};
use route::ShardId;
use shard::Incarnation;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Request, Response, Status};

use crate::limits::{FOLLOWERS_LISTED_MAX, OPERATORS_MAX, SET_ASIDE_LISTED_MAX};

/// The gRPC face for operators. Clones share its bounds.
#[derive(Debug, Clone)]
pub struct AdminService {
    hub: Hub,
    incarnation: Incarnation,
    places: Arc<Semaphore>,
}

impl AdminService {
    pub(crate) fn of(hub: &Hub, incarnation: Incarnation) -> Self {
        Self {
            hub: hub.clone(),
            incarnation,
            places: Arc::new(Semaphore::new(OPERATORS_MAX)),
        }
    }

    /// A place for one question, unless this node has given itself up to others.
    fn operator(&self) -> Result<(Operator, SemaphorePermit<'_>), Status> {
        if self.hub.lapse().has_begun() {
            return Err(Status::unavailable(
                "this node's lease has lapsed: it cannot reach the store",
            ));
        }
        let place = self.places.try_acquire();
        let place = place.map_err(|_| Status::resource_exhausted("too many operators at once: ask again"))?;
        Ok((self.hub.operator(), place))
    }

    fn shards_total(&self) -> u32 {
        self.hub.shards().count()
    }

    async fn set_paused(&self, request: &PauseRequest, paused: bool) -> Result<Response<PauseResponse>, Status> {
        let follower = domain(&request.domain)?;
        let (operator, _place) = self.operator()?;
        let result = operator.pause(&follower, paused).await;
        tracing::info!(%follower, paused, shards = result.durable, "an operator's order");
        Ok(Response::new(PauseResponse {
            shards_served: result.served,
            shards_durable: result.durable,
            shards_full: result.full,
            shards_total: self.shards_total(),
        }))
    }
}

#[async_trait]
impl Admin for AdminService {
    async fn nodes(&self, _request: Request<NodesRequest>) -> Result<Response<NodesResponse>, Status> {
        let nodes: BTreeSet<String> = {
            let map = self.hub.map();
            let map = map.borrow();
            map.owners.values().map(|owner| owner.node.clone()).collect()
        };
        Ok(Response::new(NodesResponse {
            nodes: nodes.into_iter().filter(|node| !node.is_empty()).collect(),
            shards_total: self.shards_total(),
            incarnation: self.incarnation.0.to_vec().into(),
        }))
    }

    async fn followers(&self, request: Request<FollowersRequest>) -> Result<Response<FollowersResponse>, Status> {
        let FollowersRequest { after, max } = request.into_inner();
        let after = match &after[..] {
            "" => None,
            after => Some(domain(after)?),
        };
        let (operator, _place) = self.operator()?;
        let page = operator
            .followers(after.as_ref(), bounded(max, FOLLOWERS_LISTED_MAX))
            .await;
        Ok(Response::new(FollowersResponse {
            followers: page.followers.into_iter().map(summary).collect(),
            more: page.more,
            shards_served: page.served,
            shards_total: self.shards_total(),
        }))
    }

    async fn follower(&self, request: Request<FollowerRequest>) -> Result<Response<FollowerResponse>, Status> {
        let request = request.into_inner();
        let follower = domain(&request.domain)?;
        let after = request.has_after.then_some(ShardId(request.after_shard));
        let (operator, _place) = self.operator()?;
        let max = bounded(request.max, FOLLOWERS_LISTED_MAX);
        let page = operator.follower(&follower, after, max).await;
        let shards = page.shards.into_iter();
        Ok(Response::new(FollowerResponse {
            shards: shards.map(|(shard, standing)| in_shard(shard, standing)).collect(),
            more: page.more,
        }))
    }

    async fn list_set_aside(&self, request: Request<SetAsideRequest>) -> Result<Response<SetAsideResponse>, Status> {
        let (follower, which) = which(request.get_ref())?;
        let (operator, _place) = self.operator()?;
        let page = operator.set_aside(&follower, &which).await.map_err(unread)?;
        Ok(Response::new(told(page, |entry, ()| SetAside {
            outcome: Outcome::SetAside.into(),
            ..entry
        })))
    }

    async fn retry(&self, request: Request<SetAsideRequest>) -> Result<Response<SetAsideResponse>, Status> {
        let (follower, which) = which(request.get_ref())?;
        let (operator, _place) = self.operator()?;
        let page = operator.retry(&follower, &which).await.map_err(unread)?;
        tracing::info!(%follower, entries = page.entries.len(), "an operator has entries brought once more");
        Ok(Response::new(told(page, retried)))
    }

    async fn skip(&self, request: Request<SetAsideRequest>) -> Result<Response<SetAsideResponse>, Status> {
        let (follower, which) = which(request.get_ref())?;
        let (operator, _place) = self.operator()?;
        let page = operator.skip(&follower, &which).await.map_err(unread)?;
        tracing::info!(%follower, entries = page.entries.len(), "an operator gives entries up");
        Ok(Response::new(told(page, |entry, durable| SetAside {
            outcome: if durable { Outcome::Skipped } else { Outcome::Pending }.into(),
            ..entry
        })))
    }

    async fn pause(&self, request: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        self.set_paused(request.get_ref(), true).await
    }

    async fn resume(&self, request: Request<PauseRequest>) -> Result<Response<PauseResponse>, Status> {
        self.set_paused(request.get_ref(), false).await
    }
}

fn domain(text: &str) -> Result<Provider, Status> {
    text.parse()
        .map_err(|_| Status::invalid_argument(format!("`{}` is not a domain", text.escape_default())))
}

/// What is asked for, where that is allowed and not nothing.
fn bounded(asked: u32, max: usize) -> usize {
    match usize::try_from(asked) {
        Ok(asked) if (1..=max).contains(&asked) => asked,
        _ => max,
    }
}

fn which(request: &SetAsideRequest) -> Result<(Provider, Which), Status> {
    let follower = domain(&request.domain)?;
    if !request.room.is_empty() {
        let room = request.room.parse();
        let room = room.map_err(|_| Status::invalid_argument("not the URI of a room"))?;
        let seq = Seq(request.seq);
        return Ok((follower, Which::One { room, seq }));
    }
    let place = (ShardId(request.after_shard), Offset(request.after_offset));
    let after = request.has_after.then_some(place);
    let max = bounded(request.max, SET_ASIDE_LISTED_MAX);
    Ok((follower, Which::Page { after, max }))
}

fn unread(error: ReadError) -> Status {
    tracing::error!(%error, "read what is set aside");
    Status::unavailable("what is set aside cannot be read")
}

fn summary(summary: Summary) -> FollowerSummary {
    FollowerSummary {
        domain: summary.follower.as_str().to_owned(),
        shards: summary.shards,
        shards_behind: summary.behind,
        lag: summary.lag,
        lag_max: summary.lag_max,
        shards_paused: summary.paused,
        shards_resting: summary.resting,
        failures: summary.failures,
        failure: summary.failure,
        set_aside: summary.set_aside,
    }
}

fn in_shard(shard: ShardId, standing: Standing) -> FollowerInShard {
    FollowerInShard {
        shard: shard.0,
        behind: standing.oldest_due.is_some(),
        oldest_due: standing.oldest_due.unwrap_or_default().0,
        head: standing.head.0,
        paused: standing.is_paused,
        resting: standing.is_resting,
        failures: standing.failures,
        failure: standing.failure,
        set_aside: standing.set_aside as u64,
    }
}

/// A page, each entry with what `tell` says became of it.
fn told<T>(page: Asides<T>, tell: impl Fn(SetAside, T) -> SetAside) -> SetAsideResponse {
    let entries = page.entries.into_iter();
    let entry = |Aside { shard, entry }| SetAside {
        shard: shard.0,
        offset: entry.offset.0,
        room: entry.room.as_str().to_owned(),
        seq: entry.seq.0,
        status: entry.status.into(),
        reason: entry.reason,
        tries: entry.tries,
        outcome: Outcome::SetAside.into(),
    };
    SetAsideResponse {
        entries: entries.map(|(aside, became)| tell(entry(aside), became)).collect(),
        more: page.more,
    }
}

fn retried(entry: SetAside, retried: Option<Retried>) -> SetAside {
    let outcome = match retried {
        Some(Retried::Brought) => Outcome::Brought,
        Some(Retried::Refused { status, reason }) => {
            return SetAside {
                status: status.into(),
                reason,
                tries: 1,
                outcome: Outcome::Refused.into(),
                ..entry
            };
        }
        Some(Retried::Unreached(reason)) => {
            return SetAside {
                reason,
                outcome: Outcome::Unreached.into(),
                ..entry
            };
        }
        Some(Retried::CatchUp) => Outcome::CatchUp,
        Some(Retried::Trimmed) => Outcome::Trimmed,
        Some(Retried::Unknown) => Outcome::Settled,
        Some(Retried::Paused) => Outcome::Paused,
        None => Outcome::Pending,
    };
    SetAside {
        outcome: outcome.into(),
        ..entry
    }
}
