//! The hub's end of a fan-out stream: the entries of one ledger's shards, to one follower. Nothing is sent beyond the
//! follower's credit; within a shard entries go out in the order in which they were given, and shards share the stream
//! without waiting for one another.

mod line;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use proto::link::{Acknowledge, FollowerFrame, HubFrame, Resume, Want, follower_frame, hub_frame};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connection::unwritten;
use crate::frame::{self, FOLLOWER_BYTES_MAX, FrameReader, ITEMS_MAX, MESSAGE_BYTES_MAX};
use crate::framed::{Frame, Framed};
use crate::{Code, LedgerId, Limits, LinkError};
use line::{Line, State, Turn};

/// Frames waiting for QUIC to take them, over all shards of a stream.
const OUTGOING_FRAMES: usize = 64;

/// Octets that a Deliver takes beside its items, at most: shard, trace context, and the fields around them.
const DELIVER_OVERHEAD: usize = 128;

/// A stream of entries to a follower. Clones share the stream; it ends when the last is dropped, or when the follower
/// or the connection ends it: every method fails from then on, with the reason.
#[derive(Debug, Clone)]
pub struct Fanout {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Frame>,
}

#[derive(Debug)]
struct Shared {
    ledger: LedgerId,
    deliver_bytes_max: usize,
    shards_max: usize,
    lines: Mutex<HashMap<u32, Arc<Line>>>,
    ended: CancellationToken,
    why: OnceLock<LinkError>,
}

impl Fanout {
    /// Takes over an open stream whose header has been written.
    pub(crate) fn start(ledger: LedgerId, send: quinn::SendStream, recv: quinn::RecvStream, limits: &Limits) -> Self {
        let (outgoing, queue) = mpsc::channel(OUTGOING_FRAMES);
        let shared = Arc::new(Shared {
            ledger,
            deliver_bytes_max: limits.deliver_bytes_max,
            shards_max: limits.shards_max,
            lines: Mutex::default(),
            ended: CancellationToken::new(),
            why: OnceLock::new(),
        });
        tokio::spawn(write(send, queue, shared.clone()));
        tokio::spawn(read(FrameReader::new(recv), shared.clone()));
        Self { shared, outgoing }
    }

    /// The ledger whose shards go out here.
    pub fn ledger(&self) -> LedgerId {
        self.shared.ledger
    }

    /// Whether the stream still goes on.
    pub fn is_open(&self) -> bool {
        !self.shared.ended.is_cancelled()
    }

    /// Completes when the stream has ended, with the reason.
    pub async fn ended(&self) -> LinkError {
        self.shared.ended.cancelled().await;
        self.shared.why()
    }

    /// Asks where the follower is with `shard`: the next offset that it lacks, or `None` when it knows nothing of this
    /// ledger and shard. Credit starts anew. A peer that answers nothing is the caller's to time out.
    pub async fn position(&self, shard: u32) -> Result<Option<u64>, LinkError> {
        let line = self.line(shard)?;
        let mut turn = line.turn.lock().await;
        self.resume(&line, &mut turn).await
    }

    /// Sends `items` of `shard`, in as many frames as the window asks for, each as soon as the credit allows. Returns
    /// when the last is handed to QUIC; whether they became durable is for the [`Delivery`] to say. Calls for one shard
    /// go out one after the other. `items` is not empty and ascends by offset.
    pub async fn send<I>(&self, shard: u32, items: I, traceparent: &str) -> Result<Delivery, LinkError>
    where
        I: IntoIterator<Item: Into<Framed>>,
    {
        let items: Vec<Framed> = items.into_iter().map(Into::into).collect();
        let (Some(first), Some(last)) = (items.first(), items.last()) else {
            return Err(LinkError::Violation("nothing to deliver"));
        };
        let (first, last) = (first.offset(), last.offset());
        if let Some(bytes) = items
            .iter()
            .map(Framed::len)
            .find(|bytes| *bytes > self.item_bytes_max())
        {
            let max = self.item_bytes_max();
            return Err(LinkError::TooLarge { bytes, max });
        }
        let line = self.line(shard)?;
        let mut turn = line.turn.lock().await;
        if turn.window == 0 {
            self.resume(&line, &mut turn).await?;
        }
        let mut items = items.into_iter().peekable();
        while let Some(item) = items.next() {
            let mut bytes = item.len();
            let mut batch = vec![item];
            while batch.len() < ITEMS_MAX
                && let Some(item) = items.next_if(|item| bytes + item.len() <= turn.frame_bytes())
            {
                bytes += item.len();
                batch.push(item);
            }
            let frame = Frame::deliver(shard, batch, traceparent);
            self.send_within_credit(&line, &mut turn, frame).await?;
        }
        drop(turn);
        Ok(Delivery {
            shared: self.shared.clone(),
            line,
            first,
            last,
        })
    }

    /// [`send`](Self::send), and waits until the follower has all of `items` durably or refuses some for good. A
    /// follower that is alive but does not acknowledge is the caller's to time out.
    pub async fn deliver<I>(&self, shard: u32, items: I, traceparent: &str) -> Result<Acknowledge, LinkError>
    where
        I: IntoIterator<Item: Into<Framed>>,
    {
        self.send(shard, items, traceparent).await?.acknowledged().await
    }

    /// Octets of the largest item that fits a frame, its own framing included.
    pub fn item_bytes_max(&self) -> usize {
        (self.shared.deliver_bytes_max - DELIVER_OVERHEAD).min(MESSAGE_BYTES_MAX)
    }

    fn line(&self, shard: u32) -> Result<Arc<Line>, LinkError> {
        let mut lines = self.shared.lines();
        if let Some(line) = lines.get(&shard) {
            return Ok(line.clone());
        }
        if lines.len() >= self.shared.shards_max {
            return Err(LinkError::TooManyShards);
        }
        let line = Arc::new(Line::new(shard));
        lines.insert(shard, line.clone());
        Ok(line)
    }

    async fn resume(&self, line: &Line, turn: &mut Turn) -> Result<Option<u64>, LinkError> {
        *turn = Turn::default();
        let shard = line.shard;
        let slot = self.slot().await?;
        let awaited = line.resume();
        slot.send(hub_frame(hub_frame::Kind::Resume(Resume { shard })));
        self.shared
            .wait(line, |state| state.positions == awaited && state.credit > 0)
            .await?;
        let state = line.state.borrow();
        turn.window = state.credit;
        Ok(state.position)
    }

    async fn send_within_credit(&self, line: &Line, turn: &mut Turn, frame: Frame) -> Result<(), LinkError> {
        let bytes = (frame.len() - frame::PREFIX) as u64;
        let bytes_total = turn.sent + bytes;
        if bytes > turn.window {
            let shard = line.shard;
            let want = Want { shard, bytes_total };
            self.slot().await?.send(hub_frame(hub_frame::Kind::Want(want)));
        }
        self.shared.wait(line, |state| state.credit >= bytes_total).await?;
        let slot = self.slot().await?;
        turn.sent = bytes_total;
        slot.send(frame);
        Ok(())
    }

    /// Room for one frame. Nothing awaits between it and what is then accounted and sent, so that a caller that is
    /// cancelled has either sent a frame and accounted for it, or neither.
    async fn slot(&self) -> Result<mpsc::Permit<'_, Frame>, LinkError> {
        tokio::select! {
            biased;
            () = self.shared.ended.cancelled() => Err(self.shared.why()),
            slot = self.outgoing.reserve() => slot.map_err(|_| self.shared.why()),
        }
    }
}

/// Entries on their way. Dropping it recalls nothing.
#[derive(Debug)]
#[must_use = "sent is not delivered"]
pub struct Delivery {
    shared: Arc<Shared>,
    line: Arc<Line>,
    first: u64,
    last: u64,
}

impl Delivery {
    /// Waits until the follower's durable watermark has passed all of them. Those that it refuses for good are named.
    pub async fn acknowledged(self) -> Result<Acknowledge, LinkError> {
        let last = self.last;
        self.shared.wait(&self.line, |state| state.next_offset > last).await?;
        Ok(self.line.collect(self.first, last))
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, HashMap<u32, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait(&self, line: &Line, until: impl FnMut(&State) -> bool) -> Result<(), LinkError> {
        let mut state = line.state.subscribe();
        tokio::select! {
            biased;
            reached = state.wait_for(until) => reached.map(drop).map_err(|_| self.why()),
            () = self.ended.cancelled() => Err(self.why()),
        }
    }

    fn end(&self, why: LinkError) {
        // The first reason is the true one; what follows is its consequence.
        let _ = self.why.set(why);
        self.ended.cancel();
    }

    fn why(&self) -> LinkError {
        self.why.get().cloned().unwrap_or(LinkError::Closed(Code::Done))
    }

    fn take(&self, frame: FollowerFrame) -> Result<(), &'static str> {
        let line = |shard: u32| {
            let line = self.lines().get(&shard).cloned();
            line.ok_or("a frame about a shard never resumed")
        };
        match frame.kind {
            Some(follower_frame::Kind::Position(position)) => line(position.shard)?.position(&position),
            Some(follower_frame::Kind::Credit(credit)) => {
                line(credit.shard)?.credit(&credit);
                Ok(())
            }
            Some(follower_frame::Kind::Acknowledge(acknowledge)) => line(acknowledge.shard)?.acknowledge(acknowledge),
            None => Err("a frame of no known kind"),
        }
    }
}

fn hub_frame(kind: hub_frame::Kind) -> Frame {
    frame::encode(&HubFrame { kind: Some(kind) }).into()
}

async fn write(mut stream: quinn::SendStream, mut queue: mpsc::Receiver<Frame>, shared: Arc<Shared>) {
    let mut frames = Vec::with_capacity(OUTGOING_FRAMES);
    let mut chunks: Vec<Bytes> = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = shared.ended.cancelled() => {
                // Already reset, finished or lost when this fails.
                let _ = stream.reset(Code::Done.varint());
                return;
            }
            taken = queue.recv_many(&mut frames, OUTGOING_FRAMES) => if taken == 0 {
                let _ = stream.finish();
                return;
            },
        }
        chunks.extend(frames.drain(..).flat_map(|frame| frame.chunks));
        let written = tokio::select! {
            biased;
            () = shared.ended.cancelled() => continue,
            written = stream.write_all_chunks(&mut chunks) => written,
        };
        if let Err(error) = written {
            // Why the follower stopped the stream is known to the reading half, too, but only this half gets the code.
            return shared.end(unwritten(error));
        }
        chunks.clear();
    }
}

async fn read(mut frames: FrameReader, shared: Arc<Shared>) {
    let why = loop {
        let frame = tokio::select! {
            biased;
            () = shared.ended.cancelled() => break shared.why(),
            frame = frames.next(FOLLOWER_BYTES_MAX) => frame,
        };
        let taken = match frame {
            Ok(None) => break LinkError::Closed(Code::Done),
            Ok(Some(frame)) => frame::decode(frame),
            Err(error) => Err(error),
        };
        match taken.map(|frame| shared.take(frame)) {
            Ok(Ok(())) => {}
            Ok(Err(violation)) => {
                frames.stop(Code::Malformed);
                break LinkError::Violation(violation);
            }
            Err(error) => {
                frames.stop(error.code());
                break error.into();
            }
        }
    };
    shared.end(why);
}
