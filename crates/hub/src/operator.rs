//! What the operator of a hub asks and decides about followers, over all shards that this node serves. Shards that other
//! nodes serve are theirs to answer for.

use std::collections::BTreeMap;
use std::time::Duration;

use fanout::{Couriers, TooManyPaused};
/// Words of the couriers that operators are told in.
pub use fanout::{Retried, Standing};
use futures::future::join_all;
use ledger::{Offset, ReadError, Seq, SetAside};
use mimi::{Provider, RoomUri};
use route::ShardId;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::Hub;
use crate::actors::Consult;

/// An order that is not carried out by then is answered as one of which nothing is known yet.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// How a follower stands over all shards of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Who.
    pub follower: Provider,
    /// Shards in which it is known.
    pub shards: u32,
    /// Those of them in which it is due something.
    pub behind: u32,
    /// Log entries between the first that it may be due and the head, over all shards.
    pub lag: u64,
    /// The same in the shard where that is most.
    pub lag_max: u64,
    /// Shards in which nothing is brought to it, as an operator wished.
    pub paused: u32,
    /// Shards whose courier waits to try again.
    pub resting: u32,
    /// Attempts that failed in a row, in the shard where that is most.
    pub failures: u32,
    /// Why the last of those failed.
    pub failure: String,
    /// Entries set aside for it.
    pub set_aside: u64,
}

/// A page of followers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followers {
    /// By name.
    pub followers: Vec<Summary>,
    /// Shards that this is about: those that this node serves.
    pub served: u32,
    /// There may be others behind the last.
    pub more: bool,
}

/// A page of the shards that this node serves, as one follower stands in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InShards {
    /// Those in which it is known.
    pub shards: Vec<(ShardId, Standing)>,
    /// There may be others behind the last.
    pub more: bool,
}

/// An entry that was set aside, by its place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// In whose log it lies.
    pub shard: ShardId,
    /// What is known of it.
    pub entry: SetAside,
}

/// Which of the entries that were set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This one.
    One {
        /// Its room.
        room: RoomUri,
        /// Its place in the room.
        seq: Seq,
    },
    /// All, a page at a time.
    Page {
        /// Behind this one; `None`: from the first.
        after: Option<(ShardId, Offset)>,
        /// So many at most.
        max: usize,
    },
}

/// Entries that were set aside, and what `T` became of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asides<T> {
    /// By shard and offset.
    pub entries: Vec<(Aside, T)>,
    /// There may be others behind the last.
    pub more: bool,
}

/// In how many shards a follower was paused, or is no longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paused {
    /// Shards that this node serves.
    pub served: u32,
    /// Those in which it is durable.
    pub durable: u32,
    /// Those in which too many followers are paused already.
    pub full: u32,
}

/// What an operator may do. See the module.
#[derive(Debug, Clone)]
pub struct Operator {
    hub: Hub,
}

impl Operator {
    pub(crate) fn of(hub: Hub) -> Self {
        Self { hub }
    }

    /// How followers stand, those behind `after` by their names, `max` of them at most.
    pub async fn followers(&self, after: Option<&Provider>, max: usize) -> Followers {
        let max = max.max(1);
        let mut found: BTreeMap<Provider, Summary> = BTreeMap::new();
        let (mut served, mut more) = (0, false);
        for shard in self.hub.shards().all() {
            let after = after.cloned();
            let asked = self.consult(shard, move |couriers| couriers.standings(after.as_ref(), max));
            let Some(standings) = asked.await else { continue };
            served += 1;
            more |= standings.len() >= max;
            for standing in standings {
                let summary = found.entry(standing.follower.clone());
                summary.or_insert_with(|| Summary::of(&standing.follower)).add(standing);
            }
            // Whoever is among the first of all is among the first so far.
            while found.len() > max {
                found.pop_last();
                more = true;
            }
        }
        Followers {
            followers: found.into_values().collect(),
            served,
            more,
        }
    }

    /// How one follower stands in each shard behind `after`, in `max` of them at most.
    pub async fn follower(&self, follower: &Provider, after: Option<ShardId>, max: usize) -> InShards {
        let mut shards = Vec::new();
        for shard in self.from(after.map(|shard| shard.0 + 1)) {
            if shards.len() >= max.max(1) {
                return InShards { shards, more: true };
            }
            shards.extend(self.standing(shard, follower).await.map(|standing| (shard, standing)));
        }
        InShards { shards, more: false }
    }

    /// What is set aside for a follower.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn set_aside(&self, follower: &Provider, which: &Which) -> Result<Asides<()>, ReadError> {
        let (found, more) = self.find(follower, which).await?;
        Ok(Asides {
            entries: found.into_iter().map(|aside| (aside, ())).collect(),
            more,
        })
    }

    /// Brings entries once more that were set aside for a follower, each by itself. `None`: nothing is known of it yet; the
    /// follower is slow, or the shard is served elsewhere by now. It stays set aside meanwhile.
    ///
    /// # Errors
    /// The ledger cannot be read; nothing was brought then.
    pub async fn retry(&self, follower: &Provider, which: &Which) -> Result<Asides<Option<Retried>>, ReadError> {
        let (found, more) = self.find(follower, which).await?;
        let until = Instant::now() + ANSWER_MAX;
        let mut waiting = Vec::new();
        for aside in found {
            let (to, offset) = (follower.clone(), aside.entry.offset);
            let ordered = self.consult(aside.shard, move |couriers| couriers.retry(&to, offset));
            let ordered = ordered.await;
            waiting.push(async move {
                let retried = match ordered {
                    Some(retried) => timeout_at(until, retried).await.ok().and_then(Result::ok),
                    None => None,
                };
                (aside, retried)
            });
        }
        let entries = join_all(waiting).await;
        Ok(Asides { entries, more })
    }

    /// Gives entries up that were set aside for a follower. `false`: it is not known to be durable; ask again.
    ///
    /// # Errors
    /// The ledger cannot be read; nothing was given up then.
    pub async fn skip(&self, follower: &Provider, which: &Which) -> Result<Asides<bool>, ReadError> {
        let (found, more) = self.find(follower, which).await?;
        let until = Instant::now() + ANSWER_MAX;
        let mut waiting = Vec::new();
        for aside in found {
            let (to, offset) = (follower.clone(), aside.entry.offset);
            let ordered = self.consult(aside.shard, move |couriers| couriers.skip(&to, &[offset]).1);
            let ordered = ordered.await;
            waiting.push(async move { (aside, is_durable(ordered, until).await) });
        }
        let entries = join_all(waiting).await;
        Ok(Asides { entries, more })
    }

    /// From now on nothing is brought to the follower (`paused`), or again what is due to it, from any shard of this node.
    pub async fn pause(&self, follower: &Provider, paused: bool) -> Paused {
        let until = Instant::now() + ANSWER_MAX;
        let (mut result, mut waiting) = (Paused::default(), Vec::new());
        for shard in self.hub.shards().all() {
            let to = follower.clone();
            let Some(ordered) = self.consult(shard, move |couriers| couriers.pause(&to, paused)).await else {
                continue;
            };
            result.served += 1;
            match ordered {
                Ok(durable) => waiting.push(is_durable(Some(durable), until)),
                Err(TooManyPaused) => result.full += 1,
            }
        }
        for durable in join_all(waiting).await {
            result.durable += u32::from(durable);
        }
        result
    }

    async fn find(&self, follower: &Provider, which: &Which) -> Result<(Vec<Aside>, bool), ReadError> {
        match which {
            Which::One { room, seq } => {
                let shard = self.hub.shards().of(room.as_str());
                if self.standing(shard, follower).await.is_none() {
                    return Ok((Vec::new(), false));
                }
                let found = self.hub.ledger().set_aside(shard, follower).await?;
                let one = found.into_iter().find(|aside| aside.room == *room && aside.seq == *seq);
                Ok((one.into_iter().map(|entry| Aside { shard, entry }).collect(), false))
            }
            Which::Page { after, max } => self.page(follower, *after, *max).await,
        }
    }

    async fn page(
        &self,
        follower: &Provider,
        after: Option<(ShardId, Offset)>,
        max: usize,
    ) -> Result<(Vec<Aside>, bool), ReadError> {
        let mut found = Vec::new();
        for shard in self.from(after.map(|(shard, _)| shard.0)) {
            let left = max.max(1) - found.len();
            let standing = self.standing(shard, follower).await;
            if standing.is_none_or(|standing| standing.set_aside == 0) {
                continue;
            }
            let behind = after.filter(|(first, _)| *first == shard);
            let from = behind.map_or(Offset(0), |(_, offset)| offset.plus(1));
            let rows = self.hub.ledger().set_aside_from(shard, follower, from, left).await?;
            found.extend(rows.into_iter().map(|entry| Aside { shard, entry }));
            if found.len() >= max.max(1) {
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }

    /// The shards from this one on.
    fn from(&self, first: Option<u32>) -> impl Iterator<Item = ShardId> + use<> {
        let first = first.unwrap_or(0);
        self.hub.shards().all().filter(move |shard| shard.0 >= first)
    }

    async fn standing(&self, shard: ShardId, follower: &Provider) -> Option<Standing> {
        let follower = follower.clone();
        let asked = self.consult(shard, move |couriers| couriers.standing(&follower));
        asked.await.flatten()
    }

    /// What the couriers of a shard say; `None`: this node does not serve it.
    async fn consult<T: Send + 'static>(
        &self,
        shard: ShardId,
        ask: impl FnOnce(&Couriers) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let consult = Consult(Box::new(move |couriers| {
            // Whoever asked may have gone.
            drop(sender.send(ask(couriers)));
        }));
        self.hub.actor(shard).send(consult).await.ok()?;
        answer.await.ok()
    }
}

/// Whether the receiver is told in time.
async fn is_durable(durable: Option<oneshot::Receiver<()>>, until: Instant) -> bool {
    match durable {
        Some(durable) => matches!(timeout_at(until, durable).await, Ok(Ok(()))),
        None => false,
    }
}

impl Summary {
    fn of(follower: &Provider) -> Self {
        Self {
            follower: follower.clone(),
            shards: 0,
            behind: 0,
            lag: 0,
            lag_max: 0,
            paused: 0,
            resting: 0,
            failures: 0,
            failure: String::new(),
            set_aside: 0,
        }
    }

    fn add(&mut self, standing: Standing) {
        let lag = standing
            .oldest_due
            .map(|oldest| standing.head.0.saturating_sub(oldest.0));
        self.shards += 1;
        self.behind += u32::from(lag.is_some());
        self.lag = self.lag.saturating_add(lag.unwrap_or(0));
        self.lag_max = self.lag_max.max(lag.unwrap_or(0));
        self.paused += u32::from(standing.is_paused);
        self.resting += u32::from(standing.is_resting);
        if standing.failures > self.failures {
            self.failures = standing.failures;
            self.failure = standing.failure;
        }
        self.set_aside += standing.set_aside as u64;
    }
}
