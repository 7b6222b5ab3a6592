//! Frames (docs/link.md, "Frames"): a length of four octets, big-endian, and a protobuf message of that length.

use bytes::{Bytes, BytesMut};
use prost::Message;
use proto::link::HubFrame;

/// Octets of the frame that opens a stream.
pub(crate) const HEADER_BYTES_MAX: usize = 256;
/// Octets of a Call or Answer frame.
pub(crate) const CALL_BYTES_MAX: usize = (8 << 20) + (64 << 10);
/// Octets of a frame of the hub.
pub(crate) const HUB_BYTES_MAX: usize = (16 << 20) + (64 << 10);
/// Items of one Deliver.
pub(crate) const ITEMS_MAX: usize = 1_024;

/// Why a stream or connection is closed ("Codes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Done = 0,
    Malformed = 1,
    TooLarge = 2,
    Credit = 3,
    TooMany = 4,
    Unavailable = 5,
    Draining = 6,
    TimedOut = 7,
    Unknown = 8,
}

impl From<Code> for quinn::VarInt {
    fn from(code: Code) -> Self {
        Self::from_u32(code as u32)
    }
}

/// What is left to read of a stream, frame by frame.
pub(crate) struct Frames(pub(crate) quinn::RecvStream);

impl Frames {
    /// The octets of the next frame; `None` where the stream ends between two frames.
    pub(crate) async fn next(&mut self, max: usize) -> Result<Option<Bytes>, Code> {
        let mut prefix = [0; 4];
        match self.0.read_exact(&mut prefix).await {
            Ok(()) => {}
            Err(quinn::ReadExactError::FinishedEarly(0)) => return Ok(None),
            Err(quinn::ReadExactError::FinishedEarly(_)) => return Err(Code::Malformed),
            Err(quinn::ReadExactError::ReadError(_)) => return Err(Code::Done),
        }
        let length = usize::try_from(u32::from_be_bytes(prefix)).map_err(|_| Code::TooLarge)?;
        if length > max {
            return Err(Code::TooLarge);
        }
        // What is promised is not worth memory; what has arrived is.
        let mut frame = BytesMut::new();
        while frame.len() < length {
            match self.0.read_chunk(length - frame.len(), true).await {
                Ok(Some(chunk)) => frame.extend_from_slice(&chunk.bytes),
                Ok(None) => return Err(Code::Malformed),
                Err(_) => return Err(Code::Done),
            }
        }
        Ok(Some(frame.freeze()))
    }

    /// The next frame, where there must be one.
    pub(crate) async fn expect<M: Message + Default>(&mut self, max: usize) -> Result<M, Code> {
        let frame = self.next(max).await?.ok_or(Code::Malformed)?;
        M::decode(frame).map_err(|_| Code::Malformed)
    }

    /// The next frame of a hub, and its length, which counts against the credit.
    pub(crate) async fn next_of_hub(&mut self) -> Result<Option<(HubFrame, u64)>, Code> {
        let Some(frame) = self.next(HUB_BYTES_MAX).await? else {
            return Ok(None);
        };
        let bytes = frame.len() as u64;
        // An empty Item takes two octets here and a hundred times that in memory: count before decoding.
        match items(&frame) {
            Some(items) if items <= ITEMS_MAX => {}
            _ => return Err(Code::Malformed),
        }
        let frame = HubFrame::decode(frame).map_err(|_| Code::Malformed)?;
        Ok(Some((frame, bytes)))
    }
}

/// Writes one frame. A hub that has stopped reading has gone.
pub(crate) async fn write(stream: &mut quinn::SendStream, message: &impl Message) -> Result<(), Code> {
    let length = u32::try_from(message.encoded_len()).map_err(|_| Code::TooLarge)?;
    let mut frame = BytesMut::from(&length.to_be_bytes()[..]);
    message.encode(&mut frame).map_err(|_| Code::TooLarge)?;
    stream.write_chunk(frame.freeze()).await.map_err(|_| Code::Done)
}

/// How many items (field 2) the Deliver (field 2) of an encoded HubFrame has. protobuf merges a field that comes several
/// times, so all of them count together. `None`: not protobuf.
fn items(frame: &[u8]) -> Option<usize> {
    let mut items = 0;
    each_field(frame, &mut |number, deliver| {
        if number == 2 {
            each_field(deliver, &mut |number, _| {
                items += usize::from(number == 2);
                Some(())
            })?;
        }
        Some(())
    })?;
    Some(items)
}

/// Calls `found` with the number and the content of each length-delimited field.
fn each_field(mut message: &[u8], found: &mut dyn FnMut(usize, &[u8]) -> Option<()>) -> Option<()> {
    while !message.is_empty() {
        let key = prost::decode_length_delimiter(&mut message).ok()?;
        let length = match key & 7 {
            0 => {
                prost::decode_length_delimiter(&mut message).ok()?;
                continue;
            }
            1 => 8,
            2 => prost::decode_length_delimiter(&mut message).ok()?,
            5 => 4,
            _ => return None,
        };
        let (content, rest) = message.split_at_checked(length)?;
        if key & 7 == 2 {
            found(key >> 3, content)?;
        }
        message = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proto::link::{Deliver, Item, Resume, hub_frame};

    use super::*;

    #[test]
    fn items_are_counted_before_they_are_decoded() {
        let of = |count| {
            let deliver = Deliver {
                shard: 7,
                items: vec![Item::default(); count],
                traceparent: "x".into(),
            };
            let kind = Some(hub_frame::Kind::Deliver(deliver));
            HubFrame { kind }.encode_to_vec()
        };
        assert_eq!(items(&of(3)), Some(3));
        assert_eq!(items(&[of(1_000), of(1_000)].concat()), Some(2_000));
        let kind = Some(hub_frame::Kind::Resume(Resume { shard: 900 }));
        assert_eq!(items(&HubFrame { kind }.encode_to_vec()), Some(0));
        assert_eq!(items(&[0xff; 3]), None);
        assert_eq!(items(&[0x12, 200]), None);
    }
}
