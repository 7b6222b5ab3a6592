//! A fan-out stream (docs/link.md, "Fan-out streams"), from its header to its end. Frames are taken one after the other,
//! each answered before the next is read: what waits in memory is one frame, and QUIC holds back the rest.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use proto::link::{
    Acknowledge, Credit as CreditFrame, Deliver, FollowerFrame, Item, Position, Resume, Want, follower_frame,
    hub_frame, item,
};

use crate::credit::Credit;
use crate::frame::{Code, Frames, ITEMS_MAX, write};
use crate::inbox::{Inbox, Ledger, Stored, Unavailable};

/// Shards that may be resumed on one stream.
const SHARDS_MAX: usize = 1_024;
/// Octets of a FanoutMessage.
const MESSAGE_BYTES_MAX: usize = 9 << 20;
/// Octets of a room's URI.
const ROOM_BYTES_MAX: usize = 1_024;
/// Octets of a trace context.
const TRACEPARENT_BYTES_MAX: usize = 64;

/// Serves one stream until the hub ends it. An error is for the hub: why its stream is closed.
pub(crate) async fn follow(
    inbox: &Arc<Mutex<Inbox>>,
    ledger: &[u8],
    frames: &mut Frames,
    send: &mut quinn::SendStream,
) -> Result<(), Code> {
    let ledger = Ledger::try_from(ledger).map_err(|_| Code::Malformed)?;
    let mut stream = Stream {
        inbox,
        ledger,
        shards: BTreeMap::new(),
        send,
    };
    while let Some((frame, bytes)) = frames.next_of_hub().await? {
        match frame.kind {
            Some(hub_frame::Kind::Resume(resume)) => stream.resume(resume).await?,
            Some(hub_frame::Kind::Want(want)) => stream.want(want).await?,
            Some(hub_frame::Kind::Deliver(deliver)) => stream.deliver(deliver, bytes).await?,
            None => return Err(Code::Malformed),
        }
    }
    Ok(())
}

struct Stream<'a> {
    inbox: &'a Arc<Mutex<Inbox>>,
    ledger: Ledger,
    shards: BTreeMap<u32, Credit>,
    send: &'a mut quinn::SendStream,
}

impl Stream<'_> {
    /// Where we are with the shard, and a new account.
    async fn resume(&mut self, Resume { shard }: Resume) -> Result<(), Code> {
        if self.shards.len() >= SHARDS_MAX && !self.shards.contains_key(&shard) {
            return Err(Code::TooMany);
        }
        self.shards.insert(shard, Credit::open());
        let position = locked(self.inbox).position(self.ledger, shard);
        let position = Position {
            shard,
            known: position.is_some(),
            next_offset: position.unwrap_or(0),
        };
        self.reply(follower_frame::Kind::Position(position)).await?;
        self.announce(shard).await
    }

    async fn want(&mut self, Want { shard, bytes_total }: Want) -> Result<(), Code> {
        self.credit(shard)?.want(bytes_total)?;
        self.announce(shard).await
    }

    /// Stores what came, and only then says so.
    async fn deliver(&mut self, deliver: Deliver, bytes: u64) -> Result<(), Code> {
        let shard = deliver.shard;
        self.credit(shard)?.charge(bytes)?;
        check(&deliver)?;
        let (inbox, ledger) = (self.inbox.clone(), self.ledger);
        let storing = tokio::task::spawn_blocking(move || store(&inbox, ledger, deliver));
        let acknowledge = storing.await.map_err(|_| Code::Unavailable)?;
        let acknowledge = acknowledge.map_err(|Unavailable| Code::Unavailable)?;
        self.reply(follower_frame::Kind::Acknowledge(acknowledge)).await?;
        self.credit(shard)?.settle();
        self.announce(shard).await
    }

    async fn announce(&mut self, shard: u32) -> Result<(), Code> {
        let bytes_total = self.credit(shard)?.total();
        self.reply(follower_frame::Kind::Credit(CreditFrame { shard, bytes_total }))
            .await
    }

    async fn reply(&mut self, kind: follower_frame::Kind) -> Result<(), Code> {
        write(self.send, &FollowerFrame { kind: Some(kind) }).await
    }

    /// The account of a shard, which only a Resume opens.
    fn credit(&mut self, shard: u32) -> Result<&mut Credit, Code> {
        self.shards.get_mut(&shard).ok_or(Code::Malformed)
    }
}

/// Stores a Deliver, durably, and shows what is new in it.
fn store(inbox: &Mutex<Inbox>, ledger: Ledger, deliver: Deliver) -> Result<Acknowledge, Unavailable> {
    let mut inbox = locked(inbox);
    let Stored {
        acknowledge,
        items,
        alarms,
    } = inbox.store(ledger, deliver)?;
    for alarm in alarms {
        eprintln!("ALARM {alarm}");
    }
    // Still with the lock, so that what is shown has the order of the inbox.
    show(&items);
    Ok(acknowledge)
}

/// Prints each entry of ours: room, seq, FanoutMessage.
pub(crate) fn show(items: &[Item]) {
    let mut output = std::io::stdout().lock();
    for Item { room, seq, body, .. } in items {
        if let Some(item::Body::Message(message)) = body {
            // Stored it is in any case, and printed again at the next start.
            let _ = writeln!(output, "entry {room} {seq} {}", hex::encode(message));
        }
    }
    let _ = output.flush();
}

/// Whether a Deliver has the shape that the document promises.
fn check(Deliver { items, traceparent, .. }: &Deliver) -> Result<(), Code> {
    let is_sound = (1..=ITEMS_MAX).contains(&items.len())
        && traceparent.len() <= TRACEPARENT_BYTES_MAX
        && items.is_sorted_by(|one, next| one.offset < next.offset)
        && items.iter().all(is_sound);
    is_sound.then_some(()).ok_or(Code::Malformed)
}

fn is_sound(item: &Item) -> bool {
    let has_body = match &item.body {
        Some(item::Body::Message(message)) => (1..=MESSAGE_BYTES_MAX).contains(&message.len()),
        Some(item::Body::Digest(digest)) => digest.len() == 32,
        None => false,
    };
    has_body
        && item.chain.len() == 32
        && item.recipient_set.len() == 16
        && (1..=ROOM_BYTES_MAX).contains(&item.room.len())
}

fn locked(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}
