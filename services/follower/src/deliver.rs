//! From hubs: a batch is stored in one transaction with the offset up to which the shard is stored, and acknowledged after.
//! A repeat has no second effect, on whichever transport it comes.

use std::collections::BTreeMap;

use bytes::Bytes;
use ledger::follower::{InboxEntry, InboxHead, InboxPosition, Inboxes, KeyPackages, WelcomeFor};
use ledger::{Chain, Digest, LedgerId, Offset, Seq};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::{ClientUri, Decode as _, Provider, RoomUri};
use route::ShardId;
use store::Transaction;

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
    /// Octets that it takes to store.
    fn octets(&self) -> usize {
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
}

/// Rooms that grew, and the clients that follow each since now.
type Grown = BTreeMap<RoomUri, Vec<ClientUri>>;

/// What one transaction found; told only when it is durable.
#[derive(Default)]
struct Findings {
    grown: Grown,
    stored: u64,
    repeats: u64,
    alarms: Vec<&'static str>,
}

impl Follower {
    /// Stores a batch of one shard of a hub's ledger, a large one in several transactions. Offsets grow; what is stored
    /// already is passed over.
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
                Err((status, reason)) => refused.push(Refused {
                    offset: item.offset,
                    status,
                    reason,
                }),
            }
        }
        let past = items.last().map(|item| Offset(item.offset.0 + 1));
        let mut rest = &accepted[..];
        let next = loop {
            let (batch, left) = rest.split_at(fitting(rest.iter().map(|(item, _)| item.body.octets())));
            // What is refused in between is passed over with it.
            let until = left.first().map(|(item, _)| item.offset).or(past);
            let next = self.store_batch(hub, ledger, shard, batch, until).await?;
            if left.is_empty() {
                break next;
            }
            rest = left;
        };
        self.metrics.delivered("refused", refused.len() as u64);
        Ok(Stored { next, refused })
    }

    /// Stores items in one transaction, with the offset below which everything is stored then. Returns that.
    async fn store_batch(
        &self,
        hub: &Provider,
        ledger: LedgerId,
        shard: ShardId,
        batch: &[(&Item, Option<FanoutMessage>)],
        until: Option<Offset>,
    ) -> Result<Offset, Fault> {
        let (next, findings) = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut findings = Findings::default();
                let stored = Inboxes(open).position(hub, &ledger, shard).await?.unwrap_or(Offset(0));
                let mut heads = BTreeMap::new();
                for (item, message) in batch.iter().filter(|(item, _)| item.offset >= stored) {
                    store_item(open, &mut heads, item, message.as_ref(), &mut findings).await?;
                }
                let mut inboxes = Inboxes(open);
                for (room, head) in &heads {
                    inboxes.put_head(room, head);
                }
                let next = until.map_or(stored, |until| until.max(stored));
                if next > stored {
                    inboxes.put_position(hub, &ledger, shard, next);
                }
                Ok::<_, Fault>((transaction, (next, findings)))
            })
            .await?;
        self.tell(findings);
        Ok(next)
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
        if room.provider() != hub {
            return Err(Fault::Forbidden("the room has another hub"));
        }
        let messages = FanoutMessage::decode_all_shared(body, NOTIFY_MESSAGES_MAX);
        let messages = messages.map_err(|error| Fault::Malformed(error.reason()))?;
        let entries: Vec<(&FanoutMessage, Bytes)> = messages
            .iter()
            .map(|message| (message, Bytes::from(mimi::Encode::encode(message))))
            .collect();
        if entries.iter().any(|(_, octets)| octets.len() > MESSAGE_BYTES_MAX) {
            return Err(Fault::TooMuch("octets in a message"));
        }
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(fitting(rest.iter().map(|(_, octets)| octets.len())));
            self.store_notified(room, batch).await?;
            rest = left;
        }
        Ok(())
    }

    async fn store_notified(&self, room: &RoomUri, batch: &[(&FanoutMessage, Bytes)]) -> Result<(), Fault> {
        let findings = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut findings = Findings::default();
                let mut head = Inboxes(open).head(room).await?;
                for (message, octets) in batch {
                    let entry = Entry {
                        seq: Seq(0),
                        message,
                        octets: octets.clone(),
                    };
                    store_entry(open, room, &mut head, entry, &mut findings).await?;
                }
                Inboxes(open).put_head(room, &head);
                Ok::<_, Fault>((transaction, findings))
            })
            .await?;
        self.tell(findings);
        Ok(())
    }

    fn tell(&self, findings: Findings) {
        for (room, clients) in findings.grown {
            self.wake.all(room, clients);
        }
        self.metrics.delivered("stored", findings.stored);
        self.metrics.delivered("repeat", findings.repeats);
        for reason in findings.alarms {
            tracing::error!(reason, "a hub contradicts what it showed before");
            self.metrics.alarm(reason);
        }
    }
}

/// How many of these messages, by their octets, one transaction stores; one at least, if there is one.
fn fitting(octets: impl Iterator<Item = usize>) -> usize {
    let sums = octets.scan(0, |sum, octets| {
        *sum += octets;
        Some(*sum)
    });
    sums.enumerate()
        .take_while(|(n, sum)| *n == 0 || *sum <= TRANSACTION_BYTES)
        .count()
}

/// What can be said of an item without looking at anything else.
fn acceptable(hub: &Provider, item: &Item) -> Result<Option<FanoutMessage>, (u16, &'static str)> {
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

struct Entry<'a> {
    seq: Seq,
    message: &'a FanoutMessage,
    octets: Bytes,
}

async fn store_item(
    transaction: &mut Transaction,
    heads: &mut BTreeMap<RoomUri, InboxHead>,
    item: &Item,
    message: Option<&FanoutMessage>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    if !heads.contains_key(&item.room) {
        let head = Inboxes(transaction).head(&item.room).await?;
        heads.insert(item.room.clone(), head);
    }
    let head = heads.get_mut(&item.room).expect("inserted above");
    let digest = match &item.body {
        Body::Message(octets) => Digest::of(octets),
        Body::Digest(digest) => *digest,
    };
    if item.seq <= head.seq {
        // Shown before, over another shard's ledger or after a resume: it must be what we know.
        if message.is_some() && Inboxes(transaction).known(&item.room, &digest).await?.is_none() {
            findings.alarms.push("bytes");
        }
        findings.repeats += 1;
        return Ok(());
    }
    if head.seq > Seq(0) && item.previous > Seq(0) {
        if item.previous != head.seq {
            findings.alarms.push("gap");
        } else if item.seq.0 == head.seq.0 + 1 && head.chain.then(item.seq, &digest) != item.chain {
            findings.alarms.push("chain");
        }
    }
    head.seq = item.seq;
    head.chain = item.chain;
    if let (Some(message), Body::Message(octets)) = (message, &item.body) {
        let entry = Entry {
            seq: item.seq,
            message,
            octets: octets.clone(),
        };
        store_entry(transaction, &item.room, head, entry, findings).await?;
    }
    Ok(())
}

async fn store_entry(
    transaction: &mut Transaction,
    room: &RoomUri,
    head: &mut InboxHead,
    entry: Entry<'_>,
    findings: &mut Findings,
) -> Result<(), Fault> {
    let digest = Digest::of(&entry.octets);
    if Inboxes(transaction).known(room, &digest).await?.is_some() {
        findings.repeats += 1;
        return Ok(());
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
    Inboxes(transaction).put(room, position, &digest, &stored);
    Ok(())
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
