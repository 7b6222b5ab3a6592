//! A follower provider: an inbox that outlives its host, filled over the link's frames. It checks what any follower can
//! check by itself: order, chain, digests, and that a repeat is the same octets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use mimi::{Provider, RoomUri};
use proto::link::{
    Acknowledge, Credit, Deliver, FollowerFrame, HubFrame, Position, StreamHeader, Want, follower_frame, hub_frame,
    item, stream_header,
};
use rand::Rng;
use rand::rngs::StdRng;
use room::{Chain, Digest, Seq};

use crate::faults;
use crate::marks::Mark;
use crate::trace::{Body, Brought, Event, Item, Record};
use crate::wire;
use crate::world::{Ended, Listener, Stream};

/// Where a follower listens.
pub(crate) const PORT: u16 = 7_000;

/// What is always given again when everything is acknowledged. Small, so that larger deliveries must ask.
const CREDIT_BYTES: u64 = 4_000;

/// How long a write to the follower's own store takes.
const WRITE_MS: std::ops::Range<u64> = 1..15;

/// A stream on which nothing comes for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// What is durable at one provider: the inbox rows and the position that moved with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inbox {
    /// By ledger and shard: everything addressed to this follower below is stored.
    pub(crate) next: BTreeMap<(Bytes, u32), u64>,
    /// Each room's entries, by seq.
    pub(crate) rooms: BTreeMap<RoomUri, BTreeMap<u64, Item>>,
}

impl Inbox {
    /// Stores an item, if it may be. Returns whether it was there before.
    pub(crate) fn take(&mut self, ledger: &Bytes, shard: u32, item: &Item) -> Result<bool, String> {
        let entries = self.rooms.entry(item.room.clone()).or_default();
        let place = format!("{} {}", item.room, item.seq);
        if let Some(before) = entries.get(&item.seq) {
            return if before == item {
                Ok(true)
            } else {
                Err(format!("{place} is not what it was before"))
            };
        }
        let last = entries.last_key_value();
        match last {
            Some((last, _)) if *last > item.seq => return Err(format!("{place} comes after {last}")),
            Some((last, _)) if item.previous != 0 && item.previous != *last => {
                return Err(format!(
                    "{place} follows {}, not {last}, which was the last",
                    item.previous
                ));
            }
            None if item.previous != 0 => return Err(format!("{place} follows {}, which never came", item.previous)),
            _ => {}
        }
        let before = match last {
            Some((last, entry)) if last + 1 == item.seq => Some(entry.chain),
            None if item.seq == 1 => Some(Chain::default().0),
            _ => None,
        };
        if let Some(before) = before
            && Chain(before).then(Seq(item.seq), &item.shown.digest()) != Chain(item.chain)
        {
            return Err(format!("{place} does not fit into the chain"));
        }
        let next = self.next.entry((ledger.clone(), shard)).or_default();
        if item.offset < *next {
            return Err(format!("{place} is new and stands at {}, below {next}", item.offset));
        }
        *next = item.offset + 1;
        entries.insert(item.seq, item.clone());
        Ok(false)
    }
}

/// What all lives of a follower's host share.
pub(crate) struct Site {
    pub(crate) provider: Provider,
    pub(crate) inbox: Rc<RefCell<Inbox>>,
    pub(crate) record: Record,
    /// Chance that an acknowledgement is lost, and that only part of a delivery is taken.
    pub(crate) lost_answers: Rc<RefCell<f64>>,
    pub(crate) random: RefCell<StdRng>,
    /// First and last offset of each shard's last delivery.
    brought: RefCell<BTreeMap<(Bytes, u32), (u64, u64)>>,
}

impl Site {
    pub(crate) fn new(seed: u64, provider: Provider, record: Record, lost_answers: Rc<RefCell<f64>>) -> Self {
        let random = RefCell::new(faults::random(seed, provider.as_str()));
        Self {
            provider,
            inbox: Rc::default(),
            record,
            lost_answers,
            random,
            brought: RefCell::default(),
        }
    }
}

/// The follower's software.
pub(crate) async fn run(site: Rc<Site>) -> Ended {
    let listener = Listener::bind(PORT).await?;
    loop {
        let stream = listener.accept().await?;
        let site = site.clone();
        // A stream that breaks is the hub's to open again.
        tokio::task::spawn_local(async move { drop(serve(&site, stream).await) });
    }
}

async fn serve(site: &Site, mut stream: Stream) -> io::Result<()> {
    let header: StreamHeader = wire::expect(&mut stream).await?;
    let Some(stream_header::Kind::Fanout(fanout)) = header.kind else {
        return Err(io::Error::other("not a fan-out stream"));
    };
    let mut taken_bytes = 0;
    loop {
        let frame = tokio::time::timeout(SILENCE_MAX, wire::read::<HubFrame>(&mut stream)).await;
        let Some((frame, bytes)) = frame.map_err(io::Error::other)?? else {
            return Ok(());
        };
        match frame.kind {
            Some(hub_frame::Kind::Resume(resume)) => {
                taken_bytes = 0;
                let next = site
                    .inbox
                    .borrow()
                    .next
                    .get(&(fanout.ledger.clone(), resume.shard))
                    .copied();
                if let Some(next) = next
                    && let Some((first, last)) =
                        site.brought.borrow_mut().remove(&(fanout.ledger.clone(), resume.shard))
                    && (first + 1..=last).contains(&next)
                {
                    site.record.mark(Mark::ResumedMidBatch);
                }
                let position = Position {
                    shard: resume.shard,
                    known: next.is_some(),
                    next_offset: next.unwrap_or_default(),
                };
                send(&mut stream, follower_frame::Kind::Position(position)).await?;
                grant(&mut stream, resume.shard, CREDIT_BYTES).await?;
            }
            Some(hub_frame::Kind::Want(Want { shard, bytes_total })) => {
                site.record.mark(Mark::CreditAwaited);
                grant(&mut stream, shard, bytes_total.max(taken_bytes + CREDIT_BYTES)).await?;
            }
            Some(hub_frame::Kind::Deliver(deliver)) => {
                taken_bytes += bytes as u64;
                let shard = deliver.shard;
                let acknowledge = take(site, &fanout.ledger, deliver).await?;
                if site.is_unlucky() {
                    return Err(io::Error::other("the acknowledgement is lost"));
                }
                send(&mut stream, follower_frame::Kind::Acknowledge(acknowledge)).await?;
                grant(&mut stream, shard, taken_bytes + CREDIT_BYTES).await?;
            }
            None => return Err(io::Error::other("an unknown frame")),
        }
    }
}

/// Stores a delivery entry by entry, or its first half; the stream may break in between.
async fn take(site: &Site, ledger: &Bytes, deliver: Deliver) -> io::Result<Acknowledge> {
    let Deliver { shard, items, .. } = deliver;
    let all = items.len();
    let taken = if all > 1 && site.is_unlucky() { all / 2 } else { all };
    let breaks = taken < all && site.random.borrow_mut().random_bool(0.5);
    if let (Some(first), Some(last)) = (items.first(), items.last()) {
        let place = (ledger.clone(), shard);
        site.brought.borrow_mut().insert(place, (first.offset, last.offset));
    }
    let mut next_offset = 0;
    for (index, item) in items.into_iter().enumerate() {
        let item = parse(item).map_err(io::Error::other)?;
        if index >= taken {
            if breaks {
                return Err(io::Error::other("the stream is cut"));
            }
            site.record.mark(Mark::DeliverySplit);
            next_offset = item.offset;
            break;
        }
        let wait = Duration::from_millis(site.random.borrow_mut().random_range(WRITE_MS));
        tokio::time::sleep(wait).await;
        next_offset = item.offset + 1;
        let repeat = site.inbox.borrow_mut().take(ledger, shard, &item);
        let follower = site.provider.clone();
        match repeat {
            Err(why) => site.record.note(Event::Alarm { follower, why }),
            Ok(repeat) => {
                if repeat {
                    site.record.mark(Mark::DeliveryRepeated);
                }
                if matches!(item.shown, Body::Digest(_)) {
                    site.record.mark(Mark::DigestShown);
                }
                site.record.note(Event::Brought(Brought {
                    follower,
                    shard,
                    item,
                    repeat,
                }));
            }
        }
    }
    Ok(Acknowledge {
        shard,
        next_offset,
        refused: Vec::new(),
    })
}

impl Site {
    fn is_unlucky(&self) -> bool {
        self.random.borrow_mut().random_bool(*self.lost_answers.borrow())
    }
}

fn parse(item: proto::link::Item) -> Result<Item, &'static str> {
    let shown = match item.body.ok_or("an item without a body")? {
        item::Body::Message(message) => Body::Message(message),
        item::Body::Digest(digest) => Body::Digest(Digest(digest[..].try_into().map_err(|_| "not a digest")?)),
    };
    Ok(Item {
        offset: item.offset,
        room: item.room.parse().map_err(|_| "not a room")?,
        seq: item.seq,
        previous: item.previous_seq,
        epoch: item.epoch,
        chain: item.chain[..].try_into().map_err(|_| "not a chain")?,
        set: item.recipient_set,
        shown,
    })
}

async fn grant(stream: &mut Stream, shard: u32, bytes_total: u64) -> io::Result<()> {
    send(stream, follower_frame::Kind::Credit(Credit { shard, bytes_total })).await
}

async fn send(stream: &mut Stream, kind: follower_frame::Kind) -> io::Result<()> {
    wire::write(stream, &FollowerFrame { kind: Some(kind) })
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(offset: u64, seq: u64, previous: u64, before: &Chain, text: &'static str) -> Item {
        let shown = Body::Message(Bytes::from_static(text.as_bytes()));
        let chain = before.then(Seq(seq), &shown.digest()).0;
        let room: RoomUri = "mimi://a.example/r/lobby".parse().unwrap();
        Item {
            offset,
            room,
            seq,
            previous,
            epoch: 0,
            chain,
            set: Bytes::new(),
            shown,
        }
    }

    #[test]
    fn an_inbox_takes_entries_once_in_order_and_whole() {
        let ledger = Bytes::from_static(b"ledger");
        let mut inbox = Inbox::default();
        let first = item(3, 1, 0, &Chain::default(), "first");
        let second = item(5, 2, 1, &Chain(first.chain), "second");
        let third = item(6, 3, 2, &Chain(second.chain), "third");
        assert_eq!(inbox.take(&ledger, 0, &first), Ok(false));
        assert_eq!(inbox.take(&ledger, 0, &first), Ok(true));
        assert_eq!(inbox.next[&(ledger.clone(), 0)], 4);
        let wrong = [
            // A gap, another chain, a seq that was used, an offset that was passed, a repeat with other octets.
            third.clone(),
            item(5, 2, 1, &Chain::default(), "second"),
            Item {
                seq: 1,
                ..second.clone()
            },
            Item {
                offset: 2,
                ..second.clone()
            },
            Item {
                shown: Body::Message(Bytes::from_static(b"other")),
                ..first.clone()
            },
        ];
        for wrong in wrong {
            let before = inbox.clone();
            assert!(inbox.take(&ledger, 0, &wrong).is_err(), "{wrong:?}");
            assert_eq!(inbox.next, before.next);
            assert_eq!(inbox.rooms, before.rooms);
        }
        assert_eq!(inbox.take(&ledger, 0, &second), Ok(false));
        assert_eq!(inbox.take(&ledger, 0, &third), Ok(false));
        assert!(
            inbox
                .take(&ledger, 0, &item(9, 5, 3, &Chain(third.chain), "fifth"))
                .is_ok(),
            "it left in between"
        );
    }
}
