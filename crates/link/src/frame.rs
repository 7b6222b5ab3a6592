//! Length-prefixed protobuf frames. A frame is held only as far as it has arrived, a length above the bound is refused
//! before a single octet of it is kept, and nothing decodes into much more memory than it took on the wire.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use proto::link::{Deliver, HubFrame, Item, RoomEvents, item};

use crate::connection::lost;
use crate::{Code, LinkError};

/// Octets of the length before each frame.
pub(crate) const PREFIX: usize = 4;

/// Items of one Deliver.
pub(crate) const ITEMS_MAX: usize = 1_024;

/// Octets of the frame that opens a stream.
pub(crate) const HEADER_BYTES_MAX: usize = 256;

/// Octets of a frame from the follower: an Acknowledge may refuse each item of a Deliver, with a reason.
pub(crate) const FOLLOWER_BYTES_MAX: usize = 512 << 10;

/// Octets of a room's URI in an item.
pub(crate) const ROOM_BYTES_MAX: usize = 1_024;

/// Octets of a FanoutMessage: the largest body that a hub takes, and what the hub adds. A follower's store takes one at a
/// time, and not much more.
pub(crate) const MESSAGE_BYTES_MAX: usize = 9 << 20;

/// Octets of a trace context: more than any version of it has.
pub(crate) const TRACEPARENT_BYTES_MAX: usize = 64;

/// Octets read from the stream at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Why no frame can be read any more.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {bytes} octets where {max} are the most")]
    TooLarge { bytes: usize, max: usize },
    #[error("{0}")]
    Malformed(&'static str),
    #[error("reset by the peer: {0}")]
    Reset(Code),
    #[error(transparent)]
    Lost(LinkError),
}

impl FrameError {
    /// What to tell the peer.
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TooLarge,
            Self::Malformed(_) => Code::Malformed,
            Self::Reset(_) | Self::Lost(_) => Code::Done,
        }
    }
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge { .. } => Self::Violation("frame too large"),
            FrameError::Malformed(what) => Self::Violation(what),
            FrameError::Reset(code) => Self::Closed(code),
            FrameError::Lost(error) => error,
        }
    }
}

/// The frame of `message`, prefix included.
pub(crate) fn encode(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + length);
    frame.put_u32(u32::try_from(length).expect("frames are bounded far below 4 GiB"));
    message.encode(&mut frame).expect("the buffer grows");
    frame.freeze()
}

/// Decodes a frame of any kind but [`HubFrame`], whose lists want [`decode_hub_frame`].
pub(crate) fn decode<M: Message + Default>(frame: Bytes) -> Result<M, FrameError> {
    M::decode(frame).map_err(|_| FrameError::Malformed("a frame does not decode"))
}

/// Decodes a frame from a hub. Items are counted before one is made, since an empty one takes two octets on the wire
/// and a hundred times that in memory.
pub(crate) fn decode_hub_frame(frame: Bytes) -> Result<HubFrame, FrameError> {
    match items_in(&frame) {
        Some(items) if items <= ITEMS_MAX => decode(frame),
        Some(_) => Err(FrameError::Malformed("more items than a Deliver may have")),
        None => Err(FrameError::Malformed("a frame does not decode")),
    }
}

/// Decodes the answer to the endpoint `x-roomEvents` in the form of items: at most as many as a Deliver has, each of the
/// shape that it has there, of `room`, in a row by seq. `None`: it is something else.
pub fn decode_room_events(octets: Bytes, room: &str) -> Option<RoomEvents> {
    let mut items = 0;
    for field in Fields(&octets) {
        items += usize::from(field?.0 == 1);
    }
    if items > ITEMS_MAX {
        return None;
    }
    let events = RoomEvents::decode(octets).ok()?;
    let fits = |item: &Item| item.room == room && check_item(item).is_ok();
    let in_a_row = |one: &Item, next: &Item| one.seq.checked_add(1) == Some(next.seq);
    (events.items.iter().all(fits) && events.items.is_sorted_by(in_a_row)).then_some(events)
}

/// How many `items` the `deliver` fields of a [`HubFrame`] hold together; `None` when it is not protobuf.
fn items_in(frame: &[u8]) -> Option<usize> {
    let mut items = 0;
    for field in Fields(frame) {
        if let (2, Some(deliver)) = field? {
            for field in Fields(deliver) {
                items += usize::from(field?.0 == 2);
            }
        }
    }
    Some(items)
}

/// The fields of an encoded message: number, and the content of a length-delimited one.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Option<&'a [u8]>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Option<&'a [u8]>)> {
        let key = self.varint()?;
        let content = match key & 7 {
            0 => {
                self.varint()?;
                None
            }
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Some(self.take(length)?)
            }
            5 => self.take(4).map(|_| None)?,
            _ => return None,
        };
        Some((key >> 3, content))
    }

    fn varint(&mut self) -> Option<u64> {
        let value = prost::decode_length_delimiter(&mut self.0).ok()?;
        u64::try_from(value).ok()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (content, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }
}

/// Whether a Deliver holds what the protocol promises of each; the entries themselves are the service's to judge.
pub(crate) fn check_deliver(deliver: &Deliver) -> Result<(), &'static str> {
    if deliver.items.is_empty() || deliver.items.len() > ITEMS_MAX {
        return Err("a Deliver holds 1 to 1,024 items");
    }
    if deliver.traceparent.len() > TRACEPARENT_BYTES_MAX {
        return Err("a trace context is longer than any version of it");
    }
    if !deliver.items.is_sorted_by(|a, b| a.offset < b.offset) {
        return Err("offsets of a Deliver do not ascend");
    }
    deliver.items.iter().try_for_each(check_item)
}

fn check_item(item: &Item) -> Result<(), &'static str> {
    if item.chain.len() != 32 || item.recipient_set.len() != 16 {
        return Err("a chain digest or recipient set has the wrong length");
    }
    if item.room.is_empty() || item.room.len() > ROOM_BYTES_MAX {
        return Err("an item names no room");
    }
    match &item.body {
        Some(item::Body::Message(message)) if message.len() > MESSAGE_BYTES_MAX => Err("a message is too large"),
        Some(item::Body::Message(message)) if !message.is_empty() => Ok(()),
        Some(item::Body::Digest(digest)) if digest.len() == 32 => Ok(()),
        _ => Err("an item has no body"),
    }
}

/// Octets as they arrive, cut into frames.
#[derive(Debug, Default)]
pub(crate) struct Cutter(BytesMut);

impl Cutter {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.0.extend_from_slice(chunk);
    }

    /// The next frame of at most `max` octets, if all of it has arrived.
    pub(crate) fn take(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.0.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_be_bytes(*prefix)).expect("usize has 32 bits or more");
        if bytes > max {
            return Err(FrameError::TooLarge { bytes, max });
        }
        if self.0.len() < PREFIX + bytes {
            return Ok(None);
        }
        self.0.advance(PREFIX);
        Ok(Some(self.0.split_to(bytes).freeze()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads octets as each kind of frame that a peer may send, and forgets them: the door of tests and fuzzing to the
/// decoders of this crate.
///
/// # Panics
/// When a decoder breaks its promise.
pub fn read_frames(octets: &[u8]) {
    use proto::link::{Answer, Call, FollowerFrame, StreamHeader, hub_frame};
    let frame = Bytes::copy_from_slice(octets);
    let _ = decode::<StreamHeader>(frame.clone());
    let _ = decode::<FollowerFrame>(frame.clone());
    let _ = decode::<Call>(frame.clone());
    let _ = decode::<Answer>(frame.clone());
    if let Ok(frame) = decode_hub_frame(frame)
        && let Some(hub_frame::Kind::Deliver(deliver)) = frame.kind
    {
        assert!(
            deliver.items.len() <= ITEMS_MAX,
            "items were counted before one was made"
        );
        let _ = check_deliver(&deliver);
    }
    if let Some(events) = decode_room_events(Bytes::copy_from_slice(octets), "mimi://a.example/r/x") {
        assert!(
            events.items.len() <= ITEMS_MAX,
            "items were counted before one was made"
        );
    }
    let mut cutter = Cutter::default();
    cutter.push(octets);
    while let Ok(Some(frame)) = cutter.take(octets.len()) {
        assert!(frame.len() < octets.len());
    }
}

/// Reads the frames of one stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    stream: quinn::RecvStream,
    cutter: Cutter,
}

impl FrameReader {
    pub(crate) fn new(stream: quinn::RecvStream) -> Self {
        Self {
            stream,
            cutter: Cutter::default(),
        }
    }

    /// The next frame, `None` at the proper end of the stream. Loses nothing when cancelled.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.cutter.take(max)? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(CHUNK_BYTES, true).await {
                Ok(Some(chunk)) => self.cutter.push(&chunk.bytes),
                Ok(None) if self.cutter.is_empty() => return Ok(None),
                Ok(None) => return Err(FrameError::Malformed("a frame was cut short")),
                Err(quinn::ReadError::Reset(code)) => return Err(FrameError::Reset(code.into())),
                Err(quinn::ReadError::ConnectionLost(error)) => return Err(FrameError::Lost(lost(error))),
                Err(error) => return Err(FrameError::Lost(LinkError::Lost(error.to_string()))),
            }
        }
    }

    /// As [`next`](Self::next) where the stream may not end yet.
    pub(crate) async fn expect(&mut self, max: usize) -> Result<Bytes, FrameError> {
        let frame = self.next(max).await?;
        frame.ok_or(FrameError::Malformed("the stream ended early"))
    }

    /// Tells the peer to send no more, and why.
    pub(crate) fn stop(&mut self, code: Code) {
        // The stream may have ended meanwhile: then nothing is left to stop.
        let _ = self.stream.stop(code.varint());
    }
}

#[cfg(test)]
mod tests;
