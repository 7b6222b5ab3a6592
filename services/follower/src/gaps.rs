//! What a room lacks, filled with what its hub answered, and heads that hubs signed. Every entry is checked against the
//! chain before it is stored; nothing here asks anybody.

use ledger::follower::{InboxHead, Inboxes};
use ledger::{Chain, Seq};
use mimi::catch_up::RoomHead;
use mimi::limits::HEADS_MAX;
use mimi::notify::FanoutMessage;
use mimi::{Decode as _, Encode as _, Provider, RoomUri};
use store::Transaction;

use crate::deliver::{Entry, acceptable, fitting, store_entry, store_loss};
use crate::findings::Alarm;
use crate::limits::{DELIVERY_ITEMS_MAX, ROOMS_LISTED_MAX};
use crate::{Body, Fault, Follower, Item};

/// What filling came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Up to where the room is whole.
    pub seq: Seq,
    /// What was answered does not fit what is there: nothing from there on was stored.
    pub broken: bool,
}

/// A room that has an inbox here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedRoom {
    /// The room.
    pub room: RoomUri,
    /// The last entry whose number is known; 0: none.
    pub seq: Seq,
    /// The chain after it.
    pub chain: Chain,
    /// The last head that its hub signed and that was kept.
    pub head: Option<RoomHead>,
    /// Up to here entries are known to be lost; 0: none are.
    pub lost: Seq,
}

impl Follower {
    /// Stores the entries behind those that a room has, in their order, and keeps the head that came with them. What is
    /// there already is passed over, but the chain goes on with it; what can never be stored counts as one for others.
    ///
    /// # Errors
    /// There are too many items, the hub is not the room's, or the store does not serve.
    pub async fn fill(
        &self,
        hub: &Provider,
        room: &RoomUri,
        items: &[Item],
        head: Option<&RoomHead>,
    ) -> Result<Filled, Fault> {
        if items.len() > DELIVERY_ITEMS_MAX {
            return Err(Fault::TooMuch("items in an answer"));
        }
        if room.provider() != hub || items.iter().any(|item| item.room != *room) {
            return Err(Fault::Forbidden("the room has another hub"));
        }
        let mut rest = items;
        loop {
            let (batch, left) = rest.split_at(fitting(rest.iter().map(|item| item.body.octets())));
            let filled = self.fill_batch(hub, room, batch).await?;
            if left.is_empty() || filled.broken {
                if let Some(head) = head {
                    self.keep_head(room, head).await?;
                }
                return Ok(filled);
            }
            rest = left;
        }
    }

    async fn fill_batch(&self, hub: &Provider, room: &RoomUri, batch: &[Item]) -> Result<Filled, Fault> {
        let batch: Vec<(&Item, Option<FanoutMessage>)> = batch
            .iter()
            .map(|item| (item, acceptable(hub, item).ok().flatten()))
            .collect();
        let batch = &batch;
        let (filled, findings) = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut findings = self.findings();
                let mut head = Inboxes(open).head(room).await?;
                let mut broken = false;
                for (item, message) in batch.iter().filter(|(item, _)| item.seq > Seq(0)) {
                    if item.seq <= head.seq {
                        findings.repeats += 1;
                        continue;
                    }
                    let follows =
                        item.seq.0 == head.seq.0 + 1 && head.chain.then(item.seq, &item.body.digest()) == item.chain;
                    // Where the view begins there is nothing to compare with, unless it begins with the room.
                    let begins = item.previous == Seq(0) && item.seq > Seq(1);
                    if !follows && !begins {
                        findings.alarms.push(Alarm {
                            reason: if item.seq.0 == head.seq.0 + 1 { "chain" } else { "gap" },
                            room: room.clone(),
                            had: (head.seq, head.chain),
                            shown: (item.seq, item.chain),
                        });
                        broken = true;
                        break;
                    }
                    head.seq = item.seq;
                    head.chain = item.chain;
                    if let (Some(message), Body::Message(octets)) = (message, &item.body) {
                        let entry = Entry {
                            seq: item.seq,
                            message,
                            octets: octets.clone(),
                        };
                        let is_new = store_entry(open, room, &mut head, entry, &mut findings).await?;
                        // One that came before without its number has it now.
                        head.unnumbered = head.unnumbered.saturating_sub(u64::from(!is_new));
                    }
                }
                Inboxes(open).put_head(room, &head);
                self.ring(open, findings.grown());
                let filled = Filled { seq: head.seq, broken };
                Ok::<_, Fault>((transaction, (filled, findings)))
            })
            .await?;
        self.tell(findings);
        Ok(filled)
    }

    /// The hub does not have the room's entries up to `until` any more that are lacking here: whoever follows the room is
    /// told, in its place among the entries, to join again. Once for each loss.
    ///
    /// # Errors
    /// The hub is not the room's, or the store does not serve.
    pub async fn lose(&self, hub: &Provider, room: &RoomUri, until: Seq) -> Result<(), Fault> {
        if room.provider() != hub {
            return Err(Fault::Forbidden("the room has another hub"));
        }
        let findings = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut findings = self.findings();
                let mut head = Inboxes(open).head(room).await?;
                let is_followed = head != InboxHead::default();
                if is_followed && until > head.seq && until > head.lost {
                    store_loss(open, room, &mut head, until, &mut findings);
                    Inboxes(open).put_head(room, &head);
                    self.ring(open, findings.grown());
                }
                Ok::<_, Fault>((transaction, findings))
            })
            .await?;
        self.tell(findings);
        Ok(())
    }

    /// Keeps heads that hubs signed, whoever verified them: the last one of each room that has an inbox here. One that
    /// contradicts what the room has, or the one kept before, is an alarm, and does not take its place.
    ///
    /// # Errors
    /// There are too many, or the store does not serve.
    pub async fn keep_heads(&self, heads: &[RoomHead]) -> Result<(), Fault> {
        if heads.len() > HEADS_MAX {
            return Err(Fault::TooMuch("heads"));
        }
        for head in heads {
            let room = head.room.room().map_err(|_| Fault::Malformed("the room of a head"))?;
            self.keep_head(&room, head).await?;
        }
        Ok(())
    }

    async fn keep_head(&self, room: &RoomUri, head: &RoomHead) -> Result<(), Fault> {
        if head.room.octets() != room.as_str().as_bytes() {
            return Err(Fault::Malformed("the head of another room"));
        }
        let findings = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let mut findings = self.findings();
                let inbox = Inboxes(open).head(room).await?;
                let kept = kept_head(open, room).await?;
                let signed = (Seq(head.seq), Chain(head.chain));
                let same = |had: (Seq, Chain)| had.0 != signed.0 || had.1 == signed.1;
                let before = kept.as_ref().filter(|kept| kept.ledger == head.ledger);
                let before = before.map(|kept| (Seq(kept.seq), Chain(kept.chain)));
                let ours = (inbox.seq > Seq(0)).then_some((inbox.seq, inbox.chain));
                match [ours, before].into_iter().flatten().find(|had| !same(*had)) {
                    Some(had) => findings.alarms.push(Alarm {
                        reason: "head",
                        room: room.clone(),
                        had,
                        shown: signed,
                    }),
                    None if before.is_none_or(|(seq, _)| seq <= signed.0) => {
                        Inboxes(open).put_signed_head(room, head.encode().into());
                    }
                    None => {}
                }
                Ok::<_, Fault>((transaction, findings))
            })
            .await?;
        self.tell(findings);
        Ok(())
    }

    /// The rooms that have inboxes here, of `hub` or of all, those after `after`, up to `max` and to [`ROOMS_LISTED_MAX`]; and whether there may
    /// be more.
    ///
    /// # Errors
    /// The store does not serve.
    pub async fn rooms(
        &self,
        hub: Option<&Provider>,
        after: Option<&RoomUri>,
        max: usize,
    ) -> Result<(Vec<FollowedRoom>, bool), Fault> {
        let max = max.clamp(1, ROOMS_LISTED_MAX);
        let mut transaction = self.database.begin();
        let found = Inboxes(&mut transaction).rooms(hub, after, max).await?;
        let more = found.len() == max;
        let mut rooms = Vec::with_capacity(found.len());
        for (room, inbox) in found {
            let head = kept_head(&mut transaction, &room).await?;
            rooms.push(FollowedRoom {
                room,
                seq: inbox.seq,
                chain: inbox.chain,
                head,
                lost: inbox.lost,
            });
        }
        Ok((rooms, more))
    }
}

async fn kept_head(transaction: &mut Transaction, room: &RoomUri) -> Result<Option<RoomHead>, Fault> {
    let kept = Inboxes(transaction).signed_head(room).await?;
    // One that another release wrote counts as none.
    Ok(kept.and_then(|octets| RoomHead::decode_exact(&octets).ok()))
}
