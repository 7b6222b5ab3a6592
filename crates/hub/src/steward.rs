//! The steward: has this hub serve the shards that placement gives it and no others, and knows who serves the rest.
//! It takes what is placed here as soon as nobody else has it, several shards beside each other, and hands over what is
//! placed elsewhere, one after the other, so that each waits for one flush and one acquisition only.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use futures::future::{join_all, try_join_all};
use route::{Owner, ShardId, ShardMap};
use shard::{AcquireError, Node, Owned, Ownership, View};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::actors::{Drain, ShardActor, Take, chain};
use crate::hub::StartError;
use crate::metrics::Metrics;
use crate::roster::Roster;

/// Shards taken beside each other.
const TAKES_MAX: usize = 64;

/// How long after a failure the shard is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest that a shard that somebody else has is waited for before it is looked at again.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a node that leaves hands shards over, if the store is slow or away. All of its leaving then takes less than the 30 s
/// after which Kubernetes, unless told otherwise, kills it.
const HANDOVER_MAX: Duration = Duration::from_secs(15);

/// How long changes are gathered before it is read again who owns which shard.
const GATHER: Duration = Duration::from_millis(50);

/// How often it is read who owns which shard.
const REFRESH: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Clone)]
pub(crate) struct Steward {
    node: Node,
    actors: Arc<[Addr<ShardActor>]>,
    roster: Roster,
    map: Arc<watch::Sender<ShardMap>>,
    takes: Arc<Semaphore>,
    metrics: Metrics,
}

impl Steward {
    pub(crate) fn new(node: Node, actors: Arc<[Addr<ShardActor>]>, roster: Roster, metrics: Metrics) -> Self {
        Self {
            node,
            actors,
            roster,
            map: Arc::default(),
            takes: Arc::new(Semaphore::new(TAKES_MAX)),
            metrics,
        }
    }

    /// The node that it works for.
    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Who serves what, as far as is known.
    pub(crate) fn map(&self) -> watch::Receiver<ShardMap> {
        self.map.subscribe()
    }

    /// The other node that serves the shard, as far as is known.
    pub(crate) fn elsewhere(&self, shard: ShardId) -> Option<Owner> {
        let map = self.map.borrow();
        let owner = map.owner(shard);
        owner.filter(|owner| owner.node != self.node.site().address()).cloned()
    }

    /// Takes every shard, or says why one cannot be had.
    pub(crate) async fn take_all(&self) -> Result<(), StartError> {
        let takes = self.shards().map(|shard| self.take(shard));
        try_join_all(takes).await?;
        self.refresh().await;
        Ok(())
    }

    /// Works until it is dropped. A node that is alone took everything when it started, and nobody else has it.
    pub(crate) async fn run(self) {
        if self.node.ownership() == Ownership::Sole {
            return;
        }
        tokio::join!(self.keep_taking(), self.keep_handing_over(), self.keep_map());
    }

    /// Hands every shard over, one after the other, for as long as [`HANDOVER_MAX`]; to be called when the node is known to
    /// leave.
    pub(crate) async fn hand_all_over(&self) {
        let handover = async {
            match self.node.ownership() {
                // Nobody waits for them, and they share the sync.
                Ownership::Sole => drop(join_all(self.shards().map(|shard| self.drain(shard, true))).await),
                Ownership::Leased { .. } => {
                    for shard in self.shards() {
                        self.drain(shard, true).await;
                    }
                }
            }
        };
        if tokio::time::timeout(HANDOVER_MAX, handover).await.is_err() {
            tracing::warn!("some shards were not handed over; others take them when this node's life has ended");
        }
    }

    fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..u32::try_from(self.actors.len()).expect("there are at most 65,536 shards")).map(ShardId)
    }

    fn is_ours(&self, view: &View, shard: ShardId) -> bool {
        let ours = self.node.incarnation();
        view.place(shard).is_some_and(|member| member.incarnation == ours)
    }

    async fn keep_taking(&self) {
        let mut views = self.node.views();
        let mut waited = BTreeSet::new();
        let mut waiting = JoinSet::new();
        loop {
            let ours = self.placed(&views.borrow_and_update(), true);
            let viewed = loop {
                let changed = self.roster.changed();
                for shard in &ours {
                    if !self.roster.has(*shard) && waited.insert(*shard) {
                        waiting.spawn(self.clone().take_when_free(*shard));
                    }
                }
                tokio::select! {
                    biased;
                    Some(done) = waiting.join_next() => match done {
                        Ok(shard) => {
                            waited.remove(&shard);
                        }
                        Err(error) => tracing::error!(%error, "take a shard"),
                    },
                    viewed = views.changed() => break viewed,
                    () = changed => {}
                }
            };
            if viewed.is_err() {
                return;
            }
        }
    }

    /// The shards that placement gives to this node, or to others.
    fn placed(&self, view: &View, ours: bool) -> Vec<ShardId> {
        let us = self.node.incarnation();
        let placed = self.shards().filter(|shard| {
            let node = view.place(*shard);
            node.is_some_and(|node| (node.incarnation == us) == ours)
        });
        placed.collect()
    }

    /// Takes the shard, however long it takes, unless it is placed elsewhere meanwhile.
    async fn take_when_free(self, shard: ShardId) -> ShardId {
        let views = self.node.views();
        while self.is_ours(&views.borrow(), shard) && !self.roster.has(shard) {
            match self.take(shard).await {
                Ok(true) => break,
                // It is still being handed over, or opened again; or it is about to be placed elsewhere.
                Ok(false)
                | Err(StartError::Acquire {
                    source: AcquireError::Unfit,
                    ..
                }) => tokio::time::sleep(PAUSE).await,
                Err(StartError::Acquire {
                    source: AcquireError::Held { by, retry_after },
                    ..
                }) => {
                    let patience = retry_after.min(PATIENCE);
                    if self.node.await_release(shard, by, patience).await.is_err() {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Err(StartError::Stopped) => break,
                Err(error) => {
                    tracing::warn!(shard = shard.0, error = %chain(&error), "take a shard");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        shard
    }

    /// Whether the shard was taken, or is served already.
    async fn take(&self, shard: ShardId) -> Result<bool, StartError> {
        let _permit = self.takes.acquire().await.map_err(|_| StartError::Stopped)?;
        let (done, taken) = oneshot::channel();
        let actor = &self.actors[shard.0 as usize];
        actor.send(Take { done }).await.map_err(|_| StartError::Stopped)?;
        let taken = taken.await.map_err(|_| StartError::Stopped)??;
        if let Some(term) = self.roster.term(shard) {
            self.note(shard, self.node.site().address(), term.0);
        }
        Ok(taken)
    }

    async fn keep_handing_over(&self) {
        let mut views = self.node.views();
        let mut withheld = None;
        loop {
            let view = views.borrow_and_update().clone();
            let ourselves = view.member(self.node.incarnation());
            self.metrics.unfit(ourselves.is_some_and(|member| member.unfit));
            withheld = self.withheld(&view, withheld);
            if let Some(until) = withheld {
                tokio::select! {
                    biased;
                    viewed = views.changed() => if viewed.is_err() { return } else { continue },
                    () = tokio::time::sleep_until(until) => {}
                }
            }
            let elsewhere = self.placed(&view, false);
            let viewed = loop {
                let changed = self.roster.changed();
                if let Some(shard) = elsewhere.iter().find(|shard| self.roster.has(**shard)) {
                    self.drain(*shard, false).await;
                    match views.has_changed() {
                        Ok(false) => continue,
                        Ok(true) => break Ok(()),
                        Err(gone) => break Err(gone),
                    }
                }
                tokio::select! {
                    biased;
                    viewed = views.changed() => break viewed,
                    () = changed => {}
                }
            };
            if viewed.is_err() {
                return;
            }
        }
    }

    /// Until when a node whose clock was found to be off keeps what it has: nothing is handed over before the others know
    /// and, where theirs are as far off, have said so too.
    fn withheld(&self, view: &View, before: Option<Instant>) -> Option<Instant> {
        let Ownership::Leased { beat, .. } = self.node.ownership() else {
            return None;
        };
        let withheld = view.is_withheld(self.node.incarnation());
        withheld.then(|| before.unwrap_or_else(|| Instant::now() + beat * 2))
    }

    async fn drain(&self, shard: ShardId, last: bool) {
        let (done, drained) = oneshot::channel();
        let served = self.roster.term(shard);
        if self.actors[shard.0 as usize].send(Drain { done, last }).await.is_ok() {
            // An actor that ends without a word has drained as far as it ever will.
            drop(drained.await);
        }
        let views = self.node.views();
        let view = views.borrow();
        if let (Some(term), Some(next)) = (served, view.place(shard)) {
            self.note(shard, next.site.address(), term.0);
        }
    }

    async fn keep_map(&self) {
        let mut views = self.node.views();
        loop {
            let changed = self.roster.changed();
            self.refresh().await;
            tokio::select! {
                biased;
                seen = views.changed() => if seen.is_err() { return },
                () = changed => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(REFRESH) => {}
            }
        }
    }

    /// Reads who owns what.
    async fn refresh(&self) {
        let owned = match self.node.owners().await {
            Ok(owned) => owned,
            Err(error) => return tracing::debug!(%error, "read who owns which shard"),
        };
        let view = self.node.views().borrow().clone();
        self.tell(&view, &owned);
        self.give_up(&view, &owned).await;
    }

    /// Puts owners into the map. A shard whose owner is gone is said to be with whoever should take it.
    fn tell(&self, view: &View, owned: &[Owned]) {
        let owners = owned.iter().filter_map(|owned| {
            let alive = owned.owner.and_then(|owner| view.member(owner));
            // One that leaves serves it until it has handed it over.
            let member = alive.or_else(|| view.place(owned.shard))?;
            let owner = Owner {
                node: member.site.address().to_owned(),
                term: owned.term.0,
            };
            Some((owned.shard, owner))
        });
        let owners = owners.collect();
        self.map.send_if_modified(|map| {
            let changed = map.owners != owners;
            if changed {
                map.version += 1;
                map.owners = owners;
            }
            changed
        });
    }

    /// Gives up what is ours by its fence, served by nobody, and placed elsewhere: an acquisition had effect that nobody
    /// heard of. As long as this node lives, no other could have it.
    async fn give_up(&self, view: &View, owned: &[Owned]) {
        let ours = Some(self.node.incarnation());
        for Owned { shard, term, owner } in owned {
            let unserved = *owner == ours && !self.roster.has(*shard) && !self.is_ours(view, *shard);
            if unserved && let Err(error) = self.node.give_up(*shard, *term).await {
                tracing::debug!(shard = shard.0, %error, "give up a shard");
            }
        }
    }

    /// Somebody has the shard now, or is about to have it.
    fn note(&self, shard: ShardId, node: &str, term: u64) {
        let node = node.to_owned();
        self.map.send_if_modified(|map| {
            let changed = map.note(shard, Owner { node, term });
            map.version += u64::from(changed);
            changed
        });
    }
}
