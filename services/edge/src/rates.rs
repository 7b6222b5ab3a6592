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

/// The ways in which another provider comes to an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AssetWay {
    /// It is in our store.
    Store,
    /// We fetch it elsewhere (proxyDownload).
    Proxy,
    /// The same, through the oblivious gateway.
    Gateway,
}

impl AssetWay {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Store => "assets",
            Self::Proxy => "proxyDownload",
            Self::Gateway => "ohttpGateway",
        }
    }
}

/// All token buckets of one edge.
pub(crate) struct Rates {
    key_material: Buckets<Provider>,
    update: Buckets<Provider>,
    submit_message: Buckets<Provider>,
    notify: Buckets<Provider>,
    group_info: Buckets<Provider>,
    request_consent: Buckets<Provider>,
    update_consent: Buckets<Provider>,
    identifier_query: Buckets<Provider>,
    report_abuse: Buckets<Provider>,
    room_events: Buckets<Provider>,
    room_heads: Buckets<Provider>,
    entries_expired: Buckets<Provider>,
    asset: Buckets<Provider>,
    proxy_download: Buckets<Provider>,
    oblivious: Buckets<Provider>,
    user: Buckets<UserUri>,
    contact: Buckets<UserUri>,
    upload: Buckets<UserUri>,
    download: Buckets<UserUri>,
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
            identifier_query: buckets(limits.identifier_query),
            report_abuse: buckets(limits.report_abuse),
            room_events: buckets(limits.room_events),
            room_heads: buckets(limits.room_heads),
            entries_expired: buckets(limits.entries_expired),
            asset: buckets(limits.asset),
            proxy_download: buckets(limits.proxy_download),
            oblivious: buckets(limits.oblivious),
            user: buckets(limits.user),
            contact: buckets(limits.contact),
            upload: buckets(limits.upload),
            download: buckets(limits.download),
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
            Endpoint::IdentifierQuery => &self.identifier_query,
            Endpoint::ReportAbuse => &self.report_abuse,
            Endpoint::RoomEvents => &self.room_events,
            Endpoint::RoomHeads => &self.room_heads,
            Endpoint::EntriesExpired => &self.entries_expired,
        };
        self.take(buckets, source)
    }

    /// Takes a token of `source` for assets.
    pub(crate) fn admit_asset(&self, source: &Provider, way: AssetWay) -> Result<(), Reply> {
        let buckets = match way {
            AssetWay::Store => &self.asset,
            AssetWay::Proxy => &self.proxy_download,
            AssetWay::Gateway => &self.oblivious,
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

    /// Takes a token of a local user for storing an asset.
    pub(crate) fn admit_upload(&self, user: &UserUri) -> Result<(), Reply> {
        self.admit_user(user)?;
        self.take(&self.upload, user)
    }

    /// Takes a token of a local user for fetching an asset.
    pub(crate) fn admit_download(&self, user: &UserUri) -> Result<(), Reply> {
        self.admit_user(user)?;
        self.take(&self.download, user)
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
