//! The follower's end of a fan-out stream. It reads on whatever the service does: what has arrived and is not yet
//! durable is bounded by the credit given, and a hub that sends beyond it is cut off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use proto::link::{Credit, Deliver, FollowerFrame, ItemRefusal, Position, Resume, Want, follower_frame, hub_frame};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::credit::Meter;
use crate::frame::{self, FrameError, FrameReader};
use crate::{Code, LedgerId, Limits, Peer, Service, Unavailable};

/// The smallest window: many small entries still fit.
pub(crate) const WINDOW_BYTES_MIN: usize = 16 << 10;

/// The least that a Deliver that passes [`frame::check_deliver`] takes: what waits is bounded in number, too.
const DELIVER_BYTES_MIN: usize = 54;

/// Resume and Want frames of one shard that may be waiting beside its Deliver frames.
const ASKED_MAX: usize = 16;

/// Frames on their way back to the hub.
const REPLIES: usize = 256;

/// Characters of the reason of a refusal.
pub(crate) const REASON_CHARS_MAX: usize = 200;

/// What a stream needs to be followed.
pub(crate) struct Context {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) peer: Peer,
    pub(crate) limits: Arc<Limits>,
    /// Finish what is under way, take nothing more.
    pub(crate) drain: CancellationToken,
}

/// Serves one stream to its end and says how it ended.
pub(crate) async fn follow(
    context: Arc<Context>,
    ledger: LedgerId,
    frames: &mut FrameReader,
    send: quinn::SendStream,
) -> Code {
    let drain_timeout = context.limits.drain_timeout;
    let (replies, outgoing) = mpsc::channel(REPLIES);
    let writer = tokio::spawn(write(send, outgoing));
    let mut reception = Reception {
        ledger,
        pool: Arc::new(Semaphore::new(2 * context.limits.deliver_bytes_max)),
        shards: HashMap::new(),
        workers: JoinSet::new(),
        replies,
        context,
    };
    let code = reception.run(frames).await;
    if matches!(code, Code::Done | Code::Draining) {
        // What has arrived is still stored and acknowledged.
        let _ = tokio::time::timeout(drain_timeout, reception.finish()).await;
    }
    drop(reception);
    let written = tokio::time::timeout(drain_timeout, writer).await;
    if let Ok(Ok(Some(mut send))) = written {
        match code {
            Code::Done | Code::Draining => {
                let _ = send.finish();
                let _ = tokio::time::timeout(drain_timeout, send.stopped()).await;
            }
            code => {
                let _ = send.reset(code.varint());
            }
        }
    }
    code
}

struct Reception {
    context: Arc<Context>,
    ledger: LedgerId,
    /// Octets for entries that exceed a window.
    pool: Arc<Semaphore>,
    shards: HashMap<u32, Shard>,
    workers: JoinSet<Code>,
    replies: mpsc::Sender<Bytes>,
}

/// The reader's end of one shard.
struct Shard {
    meter: Arc<Mutex<Meter>>,
    work: mpsc::Sender<Work>,
}

enum Work {
    Resume { resume: u64, window: u64 },
    Deliver { deliver: Deliver, bytes: u64 },
    Want { bytes_total: u64 },
}

impl Reception {
    async fn run(&mut self, frames: &mut FrameReader) -> Code {
        loop {
            let frame = tokio::select! {
                biased;
                () = self.context.drain.cancelled() => return Code::Draining,
                Some(ended) = self.workers.join_next() => return ended.unwrap_or(Code::Unavailable),
                frame = frames.next(self.context.limits.deliver_bytes_max) => frame,
            };
            let taken = match frame {
                Ok(None) => return Code::Done,
                Ok(Some(frame)) => self.take(frame),
                Err(error) => Err(error.into()),
            };
            if let Err(violation) = taken {
                tracing::warn!(peer = %self.context.peer, "fan-out stream closed: {violation}");
                return violation.code();
            }
        }
    }

    /// Nothing more will come: lets the workers finish what has.
    async fn finish(&mut self) {
        self.shards.clear();
        while self.workers.join_next().await.is_some() {}
    }

    fn take(&mut self, frame: Bytes) -> Result<(), Violation> {
        let bytes = frame.len() as u64;
        let (shard, work) = match frame::decode_hub_frame(frame)?.kind {
            Some(hub_frame::Kind::Resume(Resume { shard })) => {
                let resume = self.shard_or_new(shard)?.meter().suspend();
                let window = self.window();
                (shard, Work::Resume { resume, window })
            }
            Some(hub_frame::Kind::Deliver(deliver)) => {
                if !self.shard(deliver.shard)?.meter().charge(bytes) {
                    return Err(Violation::Credit);
                }
                frame::check_deliver(&deliver).map_err(FrameError::Malformed)?;
                (deliver.shard, Work::Deliver { deliver, bytes })
            }
            Some(hub_frame::Kind::Want(Want { shard, bytes_total })) => (shard, Work::Want { bytes_total }),
            None => return Err(FrameError::Malformed("a frame of no known kind").into()),
        };
        match self.shard(shard)?.work.try_send(work) {
            // A worker that ended says why itself.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Violation::TooMany),
        }
    }

    fn shard(&self, shard: u32) -> Result<&Shard, Violation> {
        let known = self.shards.get(&shard);
        known.ok_or(Violation::Frame(FrameError::Malformed(
            "a frame about a shard never resumed",
        )))
    }

    fn shard_or_new(&mut self, shard: u32) -> Result<&Shard, Violation> {
        if !self.shards.contains_key(&shard) {
            if self.shards.len() >= self.context.limits.shards_max {
                return Err(Violation::TooMany);
            }
            let (work, queue) = mpsc::channel(self.context.limits.credit_bytes / DELIVER_BYTES_MIN + ASKED_MAX);
            let meter = Arc::default();
            let worker = Worker {
                shard,
                ledger: self.ledger,
                context: self.context.clone(),
                meter: Arc::clone(&meter),
                pool: self.pool.clone(),
                set_aside: None,
                replies: self.replies.clone(),
            };
            self.workers.spawn(worker.run(queue));
            self.shards.insert(shard, Shard { meter, work });
        }
        self.shard(shard)
    }

    /// The window of the shard resumed last: an equal share of what all shards may have together.
    fn window(&self) -> u64 {
        let limits = &self.context.limits;
        let share = limits.credit_total_bytes / self.shards.len().max(1);
        share.clamp(WINDOW_BYTES_MIN, limits.credit_bytes.max(WINDOW_BYTES_MIN)) as u64
    }
}

impl Shard {
    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a hub broke the protocol.
#[derive(Debug, thiserror::Error)]
enum Violation {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("more than the credit allows")]
    Credit,
    #[error("more shards or frames than allowed")]
    TooMany,
}

impl Violation {
    const fn code(&self) -> Code {
        match self {
            Self::Frame(error) => error.code(),
            Self::Credit => Code::Credit,
            Self::TooMany => Code::TooMany,
        }
    }
}

/// Brings what arrived for one shard to the service, one after the other.
struct Worker {
    shard: u32,
    ledger: LedgerId,
    context: Arc<Context>,
    meter: Arc<Mutex<Meter>>,
    pool: Arc<Semaphore>,
    /// What was taken from the pool for entries that exceed the window.
    set_aside: Option<OwnedSemaphorePermit>,
    replies: mpsc::Sender<Bytes>,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::Receiver<Work>) -> Code {
        while let Some(work) = queue.recv().await {
            let done = match work {
                Work::Resume { resume, window } => self.resume(resume, window).await,
                Work::Deliver { deliver, bytes } => self.deliver(deliver, bytes).await,
                Work::Want { bytes_total } => self.want(bytes_total).await,
            };
            if let Err(code) = done {
                return code;
            }
        }
        Code::Done
    }

    async fn resume(&mut self, resume: u64, window: u64) -> Result<(), Code> {
        let Context { service, peer, .. } = &*self.context;
        let known = service.position(peer, self.ledger, self.shard).await;
        let known = known.map_err(|Unavailable| Code::Unavailable)?;
        self.set_aside = None;
        let credit = self.meter().open(resume, window);
        let position = Position {
            shard: self.shard,
            known: known.is_some(),
            next_offset: known.unwrap_or(0),
        };
        self.reply(follower_frame::Kind::Position(position)).await?;
        self.announce(credit).await
    }

    async fn deliver(&mut self, deliver: Deliver, bytes: u64) -> Result<(), Code> {
        let Context { service, peer, .. } = &*self.context;
        let stored = service.deliver(peer, self.ledger, deliver).await;
        let mut acknowledge = stored.map_err(|Unavailable| Code::Unavailable)?;
        acknowledge.shard = self.shard;
        for ItemRefusal { reason, .. } in &mut acknowledge.refused {
            if let Some((end, _)) = reason.char_indices().nth(REASON_CHARS_MAX) {
                reason.truncate(end);
            }
        }
        let credit = self.meter().settle(bytes);
        if self.meter().is_at_rest() {
            self.set_aside = None;
        }
        self.reply(follower_frame::Kind::Acknowledge(acknowledge)).await?;
        self.announce(credit).await
    }

    async fn want(&mut self, bytes_total: u64) -> Result<(), Code> {
        let frame_bytes_max = self.context.limits.deliver_bytes_max as u64;
        let excess = self.meter().excess(bytes_total, frame_bytes_max).ok_or(Code::Credit)?;
        let held = self.set_aside.as_ref().map_or(0, OwnedSemaphorePermit::num_permits) as u64;
        if let Ok(lacking @ 1..) = u32::try_from(excess.saturating_sub(held)) {
            let more = self.pool.clone().acquire_many_owned(lacking).await;
            let more = more.expect("the pool is never closed");
            match &mut self.set_aside {
                Some(permit) => permit.merge(more),
                none => *none = Some(more),
            }
        }
        let credit = self.meter().grant(bytes_total);
        self.announce(credit).await
    }

    async fn announce(&self, credit: Option<u64>) -> Result<(), Code> {
        let Some(bytes_total) = credit else {
            return Ok(());
        };
        let shard = self.shard;
        self.reply(follower_frame::Kind::Credit(Credit { shard, bytes_total }))
            .await
    }

    async fn reply(&self, kind: follower_frame::Kind) -> Result<(), Code> {
        let frame = frame::encode(&FollowerFrame { kind: Some(kind) });
        // Nobody reads replies any more: the hub has gone.
        self.replies.send(frame).await.map_err(|_| Code::Done)
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes replies until the last sender is gone; the stream, unless the hub has stopped it.
async fn write(mut stream: quinn::SendStream, mut outgoing: mpsc::Receiver<Bytes>) -> Option<quinn::SendStream> {
    let mut frames = Vec::with_capacity(REPLIES);
    while outgoing.recv_many(&mut frames, REPLIES).await > 0 {
        stream.write_all_chunks(&mut frames).await.ok()?;
        frames.clear();
    }
    Some(stream)
}
