//! Frames as on a link: each behind its length, four octets, big-endian.

use std::io;

use bytes::{BufMut, BytesMut};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::Stream;

/// As on a link.
const FRAME_BYTES_MAX: usize = 4 << 20;

/// Writes one frame and returns its length.
pub(crate) async fn write(stream: &mut Stream, frame: &impl Message) -> io::Result<usize> {
    let length = frame.encoded_len();
    let mut octets = BytesMut::with_capacity(4 + length);
    octets.put_u32(u32::try_from(length).map_err(io::Error::other)?);
    frame.encode(&mut octets).map_err(io::Error::other)?;
    stream.write_all(&octets).await?;
    Ok(length)
}

/// Reads one frame and its length; `None` where the stream ends between frames.
pub(crate) async fn read<M: Message + Default>(stream: &mut Stream) -> io::Result<Option<(M, usize)>> {
    let length = match stream.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("a frame above the limit"));
    }
    let mut octets = vec![0; length];
    stream.read_exact(&mut octets).await?;
    let frame = M::decode(octets.as_slice()).map_err(io::Error::other)?;
    Ok(Some((frame, length)))
}

/// Reads one frame of a conversation that is not over.
pub(crate) async fn expect<M: Message + Default>(stream: &mut Stream) -> io::Result<M> {
    let frame = read(stream).await?;
    frame
        .map(|(frame, _)| frame)
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
