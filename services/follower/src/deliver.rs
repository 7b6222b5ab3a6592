//! From hubs: a batch is stored in one transaction with the offset up to which the shard is stored, and acknowledged after.
//! A repeat has no second effect, on whichever transport it comes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ledger::follower::{InboxEntry, InboxHead, InboxPosition, Inboxes, KeyPackages, WelcomeFor};
use ledger::{Chain, Digest, LedgerId, Offset, Seq};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::{Decode as _, Provider, RoomUri};
use route::ShardId;
use store::Transaction;

use crate::findings::{Alarm, Findings};
use crate::limits::{DELIVERY_ITEMS_MAX, MESSAGE_BYTES_MAX, NOTIFY_MESSAGES_MAX, TRANSACTION_BYTES};
use crate::{Fault, Follower};

/// One entry as a hub's courier brings it.
#[derive(Debug, Clone)]
pub struct Item {
    /// In the shard's log.
    pub offset: Offset,
    /// The room.
    pub room: RoomUri,
    /// The entry's position in the room.
    pub seq: Seq,
    /// The seq before it that we were shown; 0: none.
    pub previous: Seq,
    /// The chain after it.
    pub chain: Chain,
    /// The entry, or its digest where it is not for us.
    pub body: Body,
}

/// What of an entry is brought.
#[derive(Debug, Clone)]
pub enum Body {
    /// FanoutMessage.
    Message(Bytes),
    /// The digest of an entry that is for others.
    Digest(Digest),
}

impl Body {
    /// The digest of the entry, which the chain is made of.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Message(octets) => Digest::of(octets),
            Self::Digest(digest) => *digest,
        }
    }

    /// Octets that it takes to store.
    pub(crate) fn octets(&self) -> usize {
        match self {
            Self::Message(octets) => octets.len(),
            Self::Digest(digest) => digest.0.len(),
        }
    }
}

/// An item that is refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which.
    pub offset: Offset,
    /// HTTP status, 4xx.
    pub status: u16,
    /// Why.
    pub reason: &'static str,
}

/// What is durable now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Every offset below is.
    pub next: Offset,
    /// But these, which never will be.
    pub refused: Vec<Refused>,
    /// What lacks entries, so that nothing from there on was stored.
    pub gap: Option<Gap>,
    /// In what the hub contradicted what it showed before, as metrics name it.
    pub alarms: Vec<&'static str>,
}

/// A room lacks entries before one that is brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The room.
    pub room: RoomUri,
    /// The last entry before the gap; 0: none is there whose number is known.
    pub have: Seq,
    /// The last entry in the gap.
    pub until: Seq,
}

/// Whose gaps are taken as they are: the entry behind one is stored, and what is lacking is not looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsIs {
    /// Any room's.
    All,
    /// Those of these rooms.
    Rooms(BTreeSet<RoomUri>),
}

impl AsIs {
    fn has(&self, room: &RoomUri) -> bool {
        match self {
            Self::All => true,
            Self::Rooms(rooms) => rooms.contains(room),
        }
    }
}

impl Follower {
    /// Stores a batch of one shard of a hub's ledger, a large one in several transactions, whatever is lacking. Offsets grow;
    /// what is stored already is passed over.
    ///
    /// # Errors
    /// The batch is too large, or the store does not serve.
    pub async fn deliver(
        &self,
        hub: &Provider,
        ledger: LedgerId,
        shard: ShardId,
        items: &[Item],
    ) -> Result<Stored, Fault> {
        self.deliver_up_to_a_gap(hub, ledger, shard, items, &AsIs::All).await
    }

    /// The same, but ends before the first item of a room that lacks entries before it, unless its gap is taken as it is.
    ///
    /// # Errors
    /// As [`Follower::deliver`].
    pub async fn deliver_up_to_a_gap(
        &self,
        hub: &Provider,
        ledger: LedgerId,
        shard: ShardId,
        items: &[Item],
        as_is: &AsIs,
    ) -> Result<Stored, Fault> {
        if items.len() > DELIVERY_ITEMS_MAX {
            return Err(Fault::TooMuch("items in a delivery"));
        }
        if !items.is_sorted_by(|one, next| one.offset < next.offset) {
            return Err(Fault::Malformed("offsets do not grow"));
        }
        let mut refused = Vec::new();
        let mut accepted = Vec::with_capacity(items.len());
        for item in items {
            match acceptable(hub, item) {
                Ok(message) => accepted.push((item, message)),
                Err((status, reason)) => {
                    refused.push(Refused {
                        offset: item.offset,
                        status,
                        reason,
                    });
                    // It is not stored, and yet no gap: the room's chain goes on over it.
                    if item.room.provider() == hub {
                        accepted.push((item, None));
                    }
                }
            }
        }
        let past = items.last().map(|item| Offset(item.offset.0 + 1));
        let mut rest = &accepted[..];
        let mut alarms = Vec::new();
        let (next, gap) = loop {
            let (batch, left) = rest.split_at(fitting(rest.iter().map(|(item, _)| item.body.octets())));
            // What is refused in between is passed over with it.
            let until = left.first().map(|(item, _)| item.offset).or(past);
            let (next, gap, found) = self.store_batch(hub, (ledger, shard), batch, until, as_is).await?;
            alarms.extend(found);
            if left.is_empty() || gap.is_some() {
                break (next, gap);
            }
            rest = left;
        };
        self.metrics.delivered("refused", refused.len() as u64);
        Ok(Stored {
            next,
            refused,
            gap,
            alarms,
        })
    }

    /// Stores items in one transaction, with the offset below which everything is stored then. Returns that, the gap before
    /// which it ends, and its alarms.
    async fn store_batch(
        &self,
        hub: &Provider,
        (ledger, shard): (LedgerId, ShardId),
        batch: &[(&Item, Option<FanoutMessage>)],
        until: Option<Offset>,
        as_is: &AsIs,
    ) -> Result<(Offset, Option<Gap>, Vec<&'static str>), Fault> {
        let (next, gap, findings) = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut findings = self.findings();
                let stored = Inboxes(open).position(hub, &ledger, shard).await?.unwrap_or(Offset(0));
                let (mut heads, mut until, mut gap) = (BTreeMap::new(), until, None);
                for (item, message) in batch.iter().filter(|(item, _)| item.offset >= stored) {
                    gap = store_item(open, &mut heads, item, message.as_ref(), as_is, &mut findings).await?;
                    if gap.is_some() {
                        until = Some(item.offset);
                        break;
                    }
                }
                let mut inboxes = Inboxes(open);
                for (room, head) in &heads {
                    inboxes.put_head(room, head);
                }
                let next = until.map_or(stored, |until| until.max(stored));
                if next > stored {
                    inboxes.put_position(hub, &ledger, shard, next);
                }
                self.ring(open, findings.grown());
                Ok::<_, Fault>((transaction, (next, gap, findings)))
            })
            .await?;
        let alarms = findings.alarms.iter().map(|alarm| alarm.reason).collect();
        self.tell(findings);
        Ok((next, gap, alarms))
    }

    /// Up to where a shard of a hub's ledger is stored; none: nothing of it ever was.
    ///
    /// # Errors
    /// The store does not serve.
    pub async fn position(&self, hub: &Provider, ledger: LedgerId, shard: ShardId) -> Result<Option<Offset>, Fault> {
        let mut transaction = self.database.begin();
        Ok(Inboxes(&mut transaction).position(hub, &ledger, shard).await?)
    }

    /// Stores a /notify body (mimi-protocol §5.5): FanoutMessages of one room. The hub must be the room's.
    ///
    /// # Errors
    /// The body is malformed, the hub not the room's, or the store does not serve.
    pub async fn notify(&self, hub: &Provider, room: &RoomUri, body: &Bytes) -> Result<(), Fault> {
        self.notify_numbered(hub, room, body, None).await
    }

    /// The same, of which the hub said the numbers of the first message and of the last. Numbers that do not fit the body
    /// say nothing.
    ///
    /// # Errors
    /// As [`Follower::notify`].
    pub async fn notify_numbered(
        &self,
        hub: &Provider,
        room: &RoomUri,
        body: &Bytes,
        numbers: Option<(Seq, Seq)>,
    ) -> Result<(), Fault> {
        if room.provider() != hub {
            return Err(Fault::Forbidden("the room has another hub"));
        }
        let messages = FanoutMessage::decode_all_shared(body, NOTIFY_MESSAGES_MAX);
        let messages = messages.map_err(|error| Fault::Malformed(error.reason()))?;
        let first = numbers.filter(|(first, last)| {
            let count = last.0.checked_sub(first.0).and_then(|count| count.checked_add(1));
            first.0 > 0 && count == Some(messages.len() as u64)
        });
        let number = |n: u64| first.map_or(Seq(0), |(first, _)| Seq(first.0.saturating_add(n)));
        let entries: Vec<Entry<'_>> = (0..)
            .zip(&messages)
            .map(|(n, message)| Entry {
                seq: number(n),
                message,
                octets: Bytes::from(mimi::Encode::encode(message)),
            })
            .collect();
        if entries.iter().any(|entry| entry.octets.len() > MESSAGE_BYTES_MAX) {
            return Err(Fault::TooMuch("octets in a message"));
        }
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(fitting(rest.iter().map(|entry| entry.octets.len())));
            self.store_notified(room, batch).await?;
            rest = left;
        }
        Ok(())
    }

    async fn store_notified(&self, room: &RoomUri, batch: &[Entry<'_>]) -> Result<(), Fault> {
        let findings = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut findings = self.findings();
                let mut head = Inboxes(open).head(room).await?;
                for entry in batch {
                    store_numbered(open, room, &mut head, entry, &mut findings).await?;
                }
                Inboxes(open).put_head(room, &head);
                self.ring(open, findings.grown());
                Ok::<_, Fault>((transaction, findings))
            })
            .await?;
        self.tell(findings);
        Ok(())
    }
}

/// How many of these messages, by their octets, one transaction stores; one at least, if there is one.
pub(crate) fn fitting(octets: impl Iterator<Item = usize>) -> usize {
    let sums = octets.scan(0, |sum, octets| {
        *sum += octets;
        Some(*sum)
    });
    sums.enumerate()
        .take_while(|(n, sum)| *n == 0 || *sum <= TRANSACTION_BYTES)
        .count()
}

/// What can be said of an item without looking at anything else.
pub(crate) fn acceptable(hub: &Provider, item: &Item) -> Result<Option<FanoutMessage>, (u16, &'static str)> {
    if item.room.provider() != hub {
        return Err((403, "the room has another hub"));
    }
    match &item.body {
        Body::Digest(_) => Ok(None),
        Body::Message(octets) if octets.len() > MESSAGE_BYTES_MAX => Err((413, "the message is too large")),
        Body::Message(octets) => FanoutMessage::decode_exact(octets)
            .map(Some)
            .map_err(|error| (400, error.reason())),
    }
}

#[derive(Clone)]
pub(crate) struct Entry<'a> {
    /// 0: not known.
    pub(crate) seq: Seq,
    pub(crate) message: &'a FanoutMessage,
    pub(crate) octets: Bytes,
}

async fn store_item(
    transaction: &mut Transaction,
    heads: &mut BTreeMap<RoomUri, InboxHead>,
    item: &Item,
    message: Option<&FanoutMessage>,
    as_is: &AsIs,
    findings: &mut Findings,
) -> Result<Option<Gap>, Fault> {
    if !heads.contains_key(&item.room) {
        let head = Inboxes(transaction).head(&item.room).await?;
        heads.insert(item.room.clone(), head);
    }
    let head = heads.get_mut(&item.room).expect("inserted above");
    let digest = item.body.digest();
    let alarm = |reason, head: &InboxHead| Alarm {
        reason,
        room: item.room.clone(),
        had: (head.seq, head.chain),
        shown: (item.seq, item.chain),
    };
    if item.seq <= head.seq {
        // Shown before, over another shard's ledger or after a resume: it must be what we know, unless it was forgotten.
        if item.seq > head.forgotten
            && message.is_some()
            && Inboxes(transaction).known(&item.room, &digest).await?.is_none()
        {
            findings.alarms.push(alarm("bytes", head));
        }
        findings.repeats += 1;
        return Ok(None);
    }
    let is_told = item.previous <= head.lost;
    if item.previous > head.seq && !is_told && !as_is.has(&item.room) {
        return Ok(Some(Gap {
            room: item.room.clone(),
            have: head.seq,
            until: item.previous,
        }));
    }
    if item.seq == Seq(1) && Chain::default().then(item.seq, &digest) != item.chain {
        findings.alarms.push(alarm("chain", head));
    } else if head.seq > Seq(0) && item.previous > Seq(0) {
        if item.previous != head.seq && head.unnumbered > 0 {
            findings.unverified += 1;
        } else if item.previous != head.seq {
            if !is_told {
                findings.alarms.push(alarm("gap", head));
                store_loss(transaction, &item.room, head, item.previous, findings);
            }
        } else if item.seq.0 == head.seq.0 + 1 && head.chain.then(item.seq, &digest) != item.chain {
            findings.alarms.push(alarm("chain", head));
        }
    }
    head.seq = item.seq;
    head.chain = item.chain;
    head.unnumbered = 0;
    if let (Some(message), Body::Message(octets)) = (message, &item.body) {
        let entry = Entry {
            seq: item.seq,
            message,
            octets: octets.clone(),
        };
        store_entry(transaction, &item.room, head, entry, findings).await?;
    }
    Ok(None)
}

/// Stores what came by /notify. Where its number follows, the room's number and chain go on with it; else they are behind
/// from now on.
async fn store_numbered(
    transaction: &mut Transaction,
    room: &RoomUri,
    head: &mut InboxHead,
    entry: &Entry<'_>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let (seq, digest) = (entry.seq, Digest::of(&entry.octets));
    if seq > Seq(0) && seq <= head.seq {
        if seq > head.forgotten && Inboxes(transaction).known(room, &digest).await?.is_none() {
            findings.alarms.push(Alarm {
                reason: "bytes",
                room: room.clone(),
                had: (head.seq, head.chain),
                shown: (seq, Chain::default()),
            });
        }
        findings.repeats += 1;
        return Ok(());
    }
    let follows = seq.0 == head.seq.0 + 1;
    if follows {
        head.chain = head.chain.then(seq, &digest);
        head.seq = seq;
    }
    let is_new = store_entry(transaction, room, head, entry.clone(), findings).await?;
    if is_new && !follows {
        head.unnumbered += 1;
    }
    Ok(())
}

/// Stores an entry unless its octets are known; says whether they were not.
pub(crate) async fn store_entry(
    transaction: &mut Transaction,
    room: &RoomUri,
    head: &mut InboxHead,
    entry: Entry<'_>,
    findings: &mut Findings,
) -> Result<bool, Fault> {
    let digest = Digest::of(&entry.octets);
    if Inboxes(transaction).known(room, &digest).await?.is_some() {
        findings.repeats += 1;
        return Ok(false);
    }
    let position = head.next;
    let welcome = match &entry.message.content {
        FanoutContent::Welcome { .. } => Some(welcomed(transaction, room, position, entry.message).await?),
        _ => None,
    };
    let joined = welcome.iter().flatten().map(|to| to.client.clone());
    findings.grown.entry(room.clone()).or_default().extend(joined);
    findings.stored += 1;
    head.next = position.next();
    let stored = InboxEntry {
        seq: entry.seq,
        message: entry.octets,
        welcome,
    };
    Inboxes(transaction).put(room, position, &digest, findings.at, &stored);
    Ok(true)
}

/// Writes into the inbox that the room's entries up to `until` are lost: whoever reads on has to join it again.
pub(crate) fn store_loss(
    transaction: &mut Transaction,
    room: &RoomUri,
    head: &mut InboxHead,
    until: Seq,
    findings: &mut Findings,
) {
    let position = head.next;
    head.next = position.next();
    head.lost = head.lost.max(until);
    findings.grown.entry(room.clone()).or_default();
    findings.losses += 1;
    Inboxes(transaction).put_loss(room, position, findings.at);
}

/// Our clients for whom a Welcome is: their KeyPackages are used up, and they follow the room from here.
async fn welcomed(
    transaction: &mut Transaction,
    room: &RoomUri,
    position: InboxPosition,
    message: &FanoutMessage,
) -> Result<Vec<WelcomeFor>, Fault> {
    let mut to = Vec::new();
    let Some(welcome) = message.message().welcome() else {
        return Ok(to);
    };
    for reference in welcome.key_package_refs() {
        let Some(client) = KeyPackages(transaction).owner(reference).await? else {
            continue;
        };
        KeyPackages(transaction).forget(&client, reference);
        if Inboxes(transaction).subscription(&client, room).await?.is_none() {
            Inboxes(transaction).put_subscription(&client, room, position);
        }
        to.push(WelcomeFor {
            client,
            reference: Bytes::copy_from_slice(reference),
        });
    }
    Ok(to)
}
