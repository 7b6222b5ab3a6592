//! What nobody is waited for any more: whoever was due it goes on behind it, and is told.

use ledger::{Offset, ReadError};
use mimi::Provider;

use super::{Couriers, Shared, State};

impl Couriers {
    /// Nobody is brought anything below `until` any more. Whoever was due something there goes on behind it and is told;
    /// [`Couriers::floor`] passes it once the cursor that says so is durable. Returns how many lost something.
    ///
    /// # Errors
    /// When an index cannot be read. Calling again is harmless, and goes on with the others.
    pub async fn expire(&self, until: Offset) -> Result<usize, ReadError> {
        let shared = &self.shared;
        let behind: Vec<(Provider, u64, u64)> = {
            let state = shared.lock();
            let followers = state
                .followers
                .iter()
                .map(|(provider, lane)| (provider, &lane.follower));
            let behind = followers.filter(|(_, follower)| follower.may_expire(until.0));
            behind
                .map(|(provider, follower)| (provider.clone(), follower.next(), follower.evictions()))
                .collect()
        };
        let mut count = 0;
        for (provider, from, evictions) in behind {
            let named = shared.is_named(&provider, from, until.0).await?;
            let mut state = shared.lock();
            let (start, head) = (state.tail.start(), state.tail.head());
            let lane = state.lane(&provider);
            // What left memory while the index was read may be named by rows that were not seen.
            if lane.follower.evictions() != evictions || !lane.follower.may_expire(until.0) {
                continue;
            }
            let is_new = lane.follower.expired().is_none();
            let lost = lane.follower.expire(until.0, named, start, head);
            count += usize::from(lost);
            if lost && is_new {
                shared.metrics.expired();
                tracing::error!(
                    follower = %provider,
                    shard = shared.shard.0,
                    from,
                    until = until.0,
                    "entries go that a follower did not take for too long: its clients have to join their rooms again"
                );
            }
            shared.mark(&mut state, &provider);
            let behind = state.behind();
            drop(state);
            shared.start(behind);
        }
        Ok(count)
    }
}

impl State {
    /// Followers that were not told yet that they lost something.
    pub(super) fn untold(&self) -> usize {
        let expired = self.followers.values().filter(|lane| lane.follower.expired().is_some());
        expired.count()
    }
}

impl Shared {
    /// The follower was told what it lost below `until`, or could not be.
    pub(crate) fn told(&self, provider: &Provider, until: u64, is_told: bool) {
        let mut state = self.lock();
        let lane = state.lane(provider);
        lane.untold = !is_told;
        if is_told {
            lane.follower.told(until);
        }
        self.mark(&mut state, provider);
    }

    /// Whether an index row names something due to the follower from `from` on and below `until`.
    async fn is_named(&self, provider: &Provider, mut from: u64, until: u64) -> Result<bool, ReadError> {
        while from < until {
            let named = self.ledger.read_index(self.shard, provider, Offset(from), 1).await?;
            let Some(Offset(last)) = named.last().copied() else {
                break;
            };
            let mut due = named.iter().filter(|offset| offset.0 < until);
            if due.any(|offset| !self.is_acknowledged(provider, offset.0)) {
                return Ok(true);
            }
            from = last + 1;
        }
        Ok(false)
    }
}
