//! Token buckets per provider and endpoint, and per local user. There are as many as there are configured providers and
//! users: strangers do not get this far.

use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use mimi::{Provider, UserUri};

use crate::federation::Endpoint;
use crate::limits::{Rate, RateLimits};
use crate::reply::Reply;

type Buckets<K> = DefaultKeyedRateLimiter<K>;

/// All token buckets of one edge.
pub(crate) struct Rates {
    key_material: Buckets<Provider>,
    update: Buckets<Provider>,
    submit_message: Buckets<Provider>,
    notify: Buckets<Provider>,
    group_info: Buckets<Provider>,
    request_consent: Buckets<Provider>,
    update_consent: Buckets<Provider>,
    user: Buckets<UserUri>,
    contact: Buckets<UserUri>,
    clock: DefaultClock,
}

impl Rates {
    pub(crate) fn new(limits: &RateLimits) -> Self {
        Self {
            key_material: buckets(limits.key_material),
            update: buckets(limits.update),
            submit_message: buckets(limits.submit_message),
            notify: buckets(limits.notify),
            group_info: buckets(limits.group_info),
            request_consent: buckets(limits.request_consent),
            update_consent: buckets(limits.update_consent),
            user: buckets(limits.user),
            contact: buckets(limits.contact),
            clock: DefaultClock::default(),
        }
    }

    /// Takes a token of `source` for `endpoint`, or says when there will be one.
    pub(crate) fn admit(&self, source: &Provider, endpoint: Endpoint) -> Result<(), Reply> {
        let buckets = match endpoint {
            Endpoint::KeyMaterial => &self.key_material,
            Endpoint::Update => &self.update,
            Endpoint::SubmitMessage => &self.submit_message,
            Endpoint::Notify => &self.notify,
            Endpoint::GroupInfo => &self.group_info,
            Endpoint::RequestConsent => &self.request_consent,
            Endpoint::UpdateConsent => &self.update_consent,
        };
        self.take(buckets, source)
    }

    /// Takes a token of a local user.
    pub(crate) fn admit_user(&self, user: &UserUri) -> Result<(), Reply> {
        self.take(&self.user, user)
    }

    /// Takes a token of a local user for asking something of another.
    pub(crate) fn admit_contact(&self, user: &UserUri) -> Result<(), Reply> {
        self.admit_user(user)?;
        self.take(&self.contact, user)
    }

    fn take<K: Clone + Eq + std::hash::Hash>(&self, buckets: &Buckets<K>, key: &K) -> Result<(), Reply> {
        buckets.check_key(key).map_err(|early| {
            let wait = early.wait_time_from(self.clock.now());
            Reply::later(429, "too many requests", wait.max(Duration::from_millis(1)))
        })
    }
}

fn buckets<K: Clone + Eq + std::hash::Hash>(rate: Rate) -> Buckets<K> {
    Buckets::keyed(Quota::per_second(rate.per_second).allow_burst(rate.burst))
}
