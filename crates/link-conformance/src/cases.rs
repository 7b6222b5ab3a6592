//! The cases. Each is a sentence about what a follower does, and plays it.

mod credit;
mod doors;
mod malice;
mod order;

use anyhow::ensure;
use futures::future::BoxFuture;

use crate::entries::Room;
use crate::hub::{Hub, Link, Stream};
use crate::{Outcome, Subject};

type Case = for<'a, 'b> fn(&'a mut Bench<'b>) -> BoxFuture<'a, anyhow::Result<Outcome>>;

macro_rules! cases {
    ($($module:ident: $($name:ident)*;)*) => {
        const CASES: &[(&str, Case)] = &[$($((stringify!($name), |bench| Box::pin($module::$name(bench)))),*),*];
    };
}

cases! {
    doors:
        another_protocol_is_refused
        a_stranger_is_refused
        nobody_gets_in_without_a_certificate
        a_call_of_no_endpoint_is_answered;
    order:
        an_unknown_ledger_has_no_position
        what_is_delivered_is_acknowledged
        after_a_reconnect_the_position_is_what_was_acknowledged
        another_ledger_starts_from_nothing
        a_repeat_is_acknowledged_and_has_one_effect
        shards_share_a_stream
        a_digest_takes_the_place_of_an_entry
        entries_of_others_rooms_are_refused_one_by_one
        what_arrived_before_the_end_of_a_stream_is_acknowledged
        nothing_acknowledged_is_lost_in_a_crash;
    credit:
        the_window_is_given_again
        a_want_is_answered
        more_than_the_credit_ends_the_stream
        a_want_beyond_any_frame_ends_the_stream
        a_resume_begins_a_new_account;
    malice:
        unknown_fields_are_passed_over
        a_frame_over_the_limit_ends_the_stream
        a_frame_cut_short_ends_the_stream
        a_frame_of_no_kind_ends_the_stream
        offsets_that_do_not_ascend_end_the_stream
        a_shard_that_was_not_resumed_ends_the_stream
        items_of_the_wrong_shape_end_the_stream
        too_many_items_end_the_stream
        a_bad_header_ends_the_stream;
}

pub(crate) fn all() -> impl Iterator<Item = (&'static str, Case)> {
    CASES.iter().copied()
}

/// What a case has: the hub, the follower, a ledger and a room that nobody had before.
pub(crate) struct Bench<'a> {
    pub(crate) hub: &'a Hub,
    pub(crate) subject: &'a mut dyn Subject,
    pub(crate) ledger: [u8; 16],
    pub(crate) room: Room,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(hub: &'a Hub, subject: &'a mut dyn Subject) -> Self {
        Self {
            hub,
            subject,
            ledger: rand::random(),
            room: Room::new(&hub.domain),
        }
    }

    pub(crate) async fn dial(&self) -> anyhow::Result<Link> {
        self.hub.dial(self.subject.address()).await
    }

    /// A link, and a fan-out stream of this case's ledger on it.
    pub(crate) async fn fanout(&self) -> anyhow::Result<(Link, Stream)> {
        let link = self.dial().await?;
        let stream = link.fanout(self.ledger).await?;
        Ok((link, stream))
    }

    /// The connection outlives what happened on one of its streams.
    pub(crate) async fn still_works(&self, link: &Link) -> anyhow::Result<()> {
        let mut other = link.fanout(rand::random()).await?;
        ensure!(other.resume(0).await?.position.is_none());
        Ok(())
    }
}
