//! Deterministic CBOR (RFC 8949 §4.2.1, mimi-content §6.1), one item at a time: an item has one spelling, and any other
//! is refused while it is read. It knows no structure; the order of map keys is judged by who reads the map.
//!
//! Its own, because CBOR crates read leniently: they accept lengths and numbers in longer forms and tell nobody, so that
//! the refusals would have to read every head again.

use bytes::Bytes;

use super::value::Float;
use crate::codec::{DecodeError, Reader, Writer};

/// The data item `null`.
const NULL: u8 = 22;

const FALSE: u8 = 20;
const TRUE: u8 = 21;

/// The head of a data item, and a string's octets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Item<'a> {
    Unsigned(u64),
    /// Of the number -1 - n.
    Negative(u64),
    Bytes(&'a [u8]),
    Text(&'a str),
    /// Count of the items that follow.
    Array(usize),
    /// Count of the pairs that follow.
    Map(usize),
    /// The item that follows is tagged.
    Tag(u64),
    Simple(u8),
    Float(Float),
}

/// The next item. A count never exceeds what the octets left can hold.
pub(super) fn item<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, DecodeError> {
    let [initial] = reader.array()?;
    let (major, info) = (initial >> 5, initial & 0x1f);
    if major == 7 {
        return simple_or_float(reader, info);
    }
    let argument = argument(reader, info)?;
    match major {
        0 => Ok(Item::Unsigned(argument)),
        1 => Ok(Item::Negative(argument)),
        2 => string(reader, argument).map(Item::Bytes),
        3 => std::str::from_utf8(string(reader, argument)?)
            .map(Item::Text)
            .map_err(|_| DecodeError::Invalid("text is not UTF-8")),
        4 => count(reader, argument, 1).map(Item::Array),
        5 => count(reader, argument, 2).map(Item::Map),
        _ => Ok(Item::Tag(argument)),
    }
}

fn argument(reader: &mut Reader<'_>, info: u8) -> Result<u64, DecodeError> {
    let (argument, least) = match info {
        0..24 => (info.into(), 0),
        24 => (reader.array().map(u8::from_be_bytes)?.into(), 24),
        25 => (reader.array().map(u16::from_be_bytes)?.into(), 1 << 8),
        26 => (reader.array().map(u32::from_be_bytes)?.into(), 1 << 16),
        27 => (reader.array().map(u64::from_be_bytes)?, 1 << 32),
        _ => return Err(DecodeError::Invalid("indefinite length or reserved head")),
    };
    if argument < least {
        return Err(DecodeError::Invalid("number or length is not in its shortest form"));
    }
    Ok(argument)
}

fn string<'a>(reader: &mut Reader<'a>, length: u64) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
    reader.take(length)
}

fn count(reader: &Reader<'_>, count: u64, octets_each: usize) -> Result<usize, DecodeError> {
    usize::try_from(count)
        .ok()
        .filter(|count| *count <= reader.remaining() / octets_each)
        .ok_or(DecodeError::Truncated)
}

fn simple_or_float<'a>(reader: &mut Reader<'a>, info: u8) -> Result<Item<'a>, DecodeError> {
    match info {
        0..24 => Ok(Item::Simple(info)),
        24 => match reader.array()? {
            [value] if value >= 32 => Ok(Item::Simple(value)),
            _ => Err(DecodeError::Invalid("simple value is not in its shortest form")),
        },
        25 => Float::from_half(reader.array().map(u16::from_be_bytes)?).map(Item::Float),
        26 => Float::from_single(reader.array().map(u32::from_be_bytes)?).map(Item::Float),
        27 => Float::from_double(reader.array().map(u64::from_be_bytes)?).map(Item::Float),
        _ => Err(DecodeError::Invalid("indefinite length or reserved head")),
    }
}

/// An array of exactly `count` items follows.
pub(super) fn array(reader: &mut Reader<'_>, count: usize, what: &'static str) -> Result<(), DecodeError> {
    match item(reader)? {
        Item::Array(found) if found == count => Ok(()),
        _ => Err(DecodeError::Invalid(what)),
    }
}

/// An unsigned integer that fits.
pub(super) fn unsigned<T: TryFrom<u64>>(reader: &mut Reader<'_>, what: &'static str) -> Result<T, DecodeError> {
    match item(reader)? {
        Item::Unsigned(number) => T::try_from(number).map_err(|_| DecodeError::Invalid(what)),
        _ => Err(DecodeError::Invalid(what)),
    }
}

/// A byte string.
pub(super) fn bytes<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], DecodeError> {
    match item(reader)? {
        Item::Bytes(octets) => Ok(octets),
        _ => Err(DecodeError::Invalid(what)),
    }
}

/// A byte string, kept.
pub(super) fn kept(reader: &mut Reader<'_>, what: &'static str) -> Result<Bytes, DecodeError> {
    let octets = bytes(reader, what)?;
    Ok(reader.keep(octets))
}

/// A byte string of `N` octets.
pub(super) fn octets<const N: usize>(reader: &mut Reader<'_>, what: &'static str) -> Result<[u8; N], DecodeError> {
    bytes(reader, what)?.try_into().map_err(|_| DecodeError::Invalid(what))
}

/// A text string.
pub(super) fn text(reader: &mut Reader<'_>, what: &'static str) -> Result<String, DecodeError> {
    match item(reader)? {
        Item::Text(text) => Ok(text.to_owned()),
        _ => Err(DecodeError::Invalid(what)),
    }
}

/// False or true.
pub(super) fn bool(reader: &mut Reader<'_>, what: &'static str) -> Result<bool, DecodeError> {
    match item(reader)? {
        Item::Simple(FALSE) => Ok(false),
        Item::Simple(TRUE) => Ok(true),
        _ => Err(DecodeError::Invalid(what)),
    }
}

/// Null, or what `value` reads.
pub(super) fn nullable<'a, T>(
    reader: &mut Reader<'a>,
    value: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    let mut ahead = reader.clone();
    if item(&mut ahead) == Ok(Item::Simple(NULL)) {
        *reader = ahead;
        return Ok(None);
    }
    value(reader).map(Some)
}

/// Writes an item in its one spelling.
pub(super) fn write(writer: &mut Writer, item: Item<'_>) {
    match item {
        Item::Unsigned(number) => head(writer, 0, number),
        Item::Negative(number) => head(writer, 1, number),
        Item::Bytes(octets) => {
            head(writer, 2, octets.len() as u64);
            writer.raw(octets);
        }
        Item::Text(text) => {
            head(writer, 3, text.len() as u64);
            writer.raw(text.as_bytes());
        }
        Item::Array(count) => head(writer, 4, count as u64),
        Item::Map(count) => head(writer, 5, count as u64),
        Item::Tag(tag) => head(writer, 6, tag),
        Item::Simple(value) => head(writer, 7, value.into()),
        Item::Float(float) => float.write(writer),
    }
}

fn head(writer: &mut Writer, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..24 => writer.raw(&[major | argument as u8]),
        24..0x100 => writer.raw(&[major | 24, argument as u8]),
        0x100..0x1_0000 => {
            writer.raw(&[major | 25]);
            writer.raw(&(argument as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            writer.raw(&[major | 26]);
            writer.raw(&(argument as u32).to_be_bytes());
        }
        _ => {
            writer.raw(&[major | 27]);
            writer.raw(&argument.to_be_bytes());
        }
    }
}

/// Writes false or true.
pub(super) fn write_bool(writer: &mut Writer, value: bool) {
    write(writer, Item::Simple(if value { TRUE } else { FALSE }));
}

/// Writes null, or `value` as `write_value` does.
pub(super) fn write_nullable<T>(writer: &mut Writer, value: Option<&T>, write_value: impl FnOnce(&T, &mut Writer)) {
    match value {
        Some(value) => write_value(value, writer),
        None => write(writer, Item::Simple(NULL)),
    }
}
