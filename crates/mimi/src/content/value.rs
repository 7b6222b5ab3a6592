//! CBOR values as extensions hold them (mimi-content §4.3, §6.2): what decodes obeys the draft's data model and has one
//! spelling. What a tag means is not looked at, except that a bignum is not used for a number that needs none.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::cbor::{self, Item};
use crate::codec::{DecodeError, Reader, Writer};
use crate::limits;

/// The largest integer that is a map key: a double holds every integer up to it (mimi-content §6.2).
pub const KEY_INTEGER_MAX: u64 = (1 << 53) - 1;

const TAG_BIGNUM: u64 = 2;
const TAG_NEGATIVE_BIGNUM: u64 = 3;

/// Any CBOR value. One made by hand may break the data model (a number above [`KEY_INTEGER_MAX`] as a key, a simple
/// value from 24 to 31, too much depth); [`super::MimiContent::seal`] notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An unsigned integer.
    Unsigned(u64),
    /// The integer -1 - n.
    Negative(u64),
    /// A byte string.
    Bytes(Bytes),
    /// A text string.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// A map.
    Map(BTreeMap<Key, Self>),
    /// A tag and what it tags.
    Tag(u64, Box<Self>),
    /// A simple value: 20 and 21 are false and true, 22 is null, 23 undefined.
    Simple(u8),
    /// A floating-point number, which the draft strongly discourages.
    Float(Float),
}

/// A key of a map. Ordered as its encodings are (RFC 8949 §4.2.1), which is not the order of RFC 7049.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// An unsigned integer, at most [`KEY_INTEGER_MAX`].
    Unsigned(u64),
    /// The integer -1 - n, at least -[`KEY_INTEGER_MAX`].
    Negative(u64),
    /// A byte string. Never the key of an extension.
    Bytes(Bytes),
    /// A text string.
    Text(String),
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The octets, if it is a byte string.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(octets) => Some(octets),
            _ => None,
        }
    }

    /// The integer, if it is one that is not a bignum.
    pub fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Unsigned(number) => Some((*number).into()),
            Self::Negative(number) => Some(-1 - i128::from(*number)),
            _ => None,
        }
    }

    /// Reads a value inside `bounds`.
    pub(super) fn read(reader: &mut Reader<'_>, bounds: Bounds) -> Result<Self, DecodeError> {
        let item = cbor::item(reader)?;
        bounds.reached(reader)?;
        Ok(match item {
            Item::Unsigned(number) => Self::Unsigned(number),
            Item::Negative(number) => Self::Negative(number),
            Item::Bytes(octets) => Self::Bytes(reader.keep(octets)),
            Item::Text(text) => Self::Text(text.to_owned()),
            Item::Simple(value) => Self::Simple(value),
            Item::Float(float) => Self::Float(float),
            Item::Array(count) => {
                let inner = bounds.inner()?;
                let mut values = Vec::new();
                for _ in 0..count {
                    values.push(Self::read(reader, inner)?);
                }
                Self::Array(values)
            }
            Item::Map(count) => {
                let inner = bounds.inner()?;
                Self::Map(read_map(reader, count, |reader, _| Self::read(reader, inner))?)
            }
            Item::Tag(tag) => {
                let value = Self::read(reader, bounds.inner()?)?;
                if !is_proper(tag, &value) {
                    return Err(DecodeError::Invalid("bignum of a number that needs none"));
                }
                Self::Tag(tag, Box::new(value))
            }
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Unsigned(number) => cbor::write(writer, Item::Unsigned(*number)),
            Self::Negative(number) => cbor::write(writer, Item::Negative(*number)),
            Self::Bytes(octets) => cbor::write(writer, Item::Bytes(octets)),
            Self::Text(text) => cbor::write(writer, Item::Text(text)),
            Self::Simple(value) => cbor::write(writer, Item::Simple(*value)),
            Self::Float(float) => float.write(writer),
            Self::Array(values) => {
                cbor::write(writer, Item::Array(values.len()));
                values.iter().for_each(|value| value.write(writer));
            }
            Self::Map(pairs) => write_map(writer, pairs),
            Self::Tag(tag, value) => {
                cbor::write(writer, Item::Tag(*tag));
                value.write(writer);
            }
        }
    }
}

/// Whether a bignum is one: no leading zeros, and too large for an integer (RFC 8949 §3.4.3).
fn is_proper(tag: u64, value: &Value) -> bool {
    match (tag, value) {
        (TAG_BIGNUM | TAG_NEGATIVE_BIGNUM, Value::Bytes(octets)) => octets.len() > 8 && octets[0] != 0,
        (TAG_BIGNUM | TAG_NEGATIVE_BIGNUM, _) => false,
        _ => true,
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Bytes> for Value {
    fn from(octets: Bytes) -> Self {
        Self::Bytes(octets)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Unsigned(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Negative(!number as u64), Self::Unsigned)
    }
}

/// What one value may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Levels of arrays, maps and tags left.
    levels: usize,
    /// Octets that the reader keeps at least.
    floor: usize,
}

impl Bounds {
    /// Of a value that stands at the front of `reader` in a map that is the outermost level itself.
    pub(super) fn of_extension(reader: &Reader<'_>) -> Self {
        // The head of the longest string allowed takes three octets.
        let most = limits::EXTENSION_BYTES_MAX + 3;
        Self {
            levels: limits::CONTENT_DEPTH_MAX - 1,
            floor: reader.remaining().saturating_sub(most),
        }
    }

    fn reached(self, reader: &Reader<'_>) -> Result<(), DecodeError> {
        if reader.remaining() < self.floor {
            return Err(DecodeError::TooMuch {
                what: "octets of an extension",
                max: limits::EXTENSION_BYTES_MAX,
            });
        }
        Ok(())
    }

    fn inner(self) -> Result<Self, DecodeError> {
        let levels = self.levels.checked_sub(1).ok_or(DecodeError::TooMuch {
            what: "depth of an extension",
            max: limits::CONTENT_DEPTH_MAX,
        })?;
        Ok(Self { levels, ..self })
    }
}

impl Key {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match cbor::item(reader)? {
            Item::Unsigned(number @ 0..=KEY_INTEGER_MAX) => Ok(Self::Unsigned(number)),
            Item::Negative(number @ 0..KEY_INTEGER_MAX) => Ok(Self::Negative(number)),
            Item::Unsigned(_) | Item::Negative(_) => Err(DecodeError::Invalid("map key that a double cannot hold")),
            Item::Bytes(octets) => Ok(Self::Bytes(reader.keep(octets))),
            Item::Text(text) => Ok(Self::Text(text.to_owned())),
            _ => Err(DecodeError::Invalid("map key is neither integer nor string")),
        }
    }

    fn item(&self) -> Item<'_> {
        match self {
            Self::Unsigned(number) => Item::Unsigned(*number),
            Self::Negative(number) => Item::Negative(*number),
            Self::Bytes(octets) => Item::Bytes(octets),
            Self::Text(text) => Item::Text(text),
        }
    }

    /// Major type, argument and octets: compared in turn, as the encodings compare octet by octet.
    fn spelling(&self) -> (u8, u64, &[u8]) {
        match self {
            Self::Unsigned(number) => (0, *number, &[]),
            Self::Negative(number) => (1, *number, &[]),
            Self::Bytes(octets) => (2, octets.len() as u64, octets),
            Self::Text(text) => (3, text.len() as u64, text.as_bytes()),
        }
    }
}

impl From<i64> for Key {
    fn from(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Negative(!number as u64), Self::Unsigned)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.spelling().cmp(&other.spelling())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Reads `count` pairs in the one order of their keys; `value` reads what stands behind a key.
pub(super) fn read_map(
    reader: &mut Reader<'_>,
    count: usize,
    mut value: impl FnMut(&mut Reader<'_>, &Key) -> Result<Value, DecodeError>,
) -> Result<BTreeMap<Key, Value>, DecodeError> {
    let mut pairs = BTreeMap::new();
    for _ in 0..count {
        let key = Key::read(reader)?;
        match pairs.last_key_value().map(|(last, _)| key.cmp(last)) {
            Some(Ordering::Equal) => return Err(DecodeError::Invalid("map key twice")),
            Some(Ordering::Less) => return Err(DecodeError::Invalid("map keys are not in order")),
            Some(Ordering::Greater) | None => {}
        }
        let value = value(reader, &key)?;
        pairs.insert(key, value);
    }
    Ok(pairs)
}

pub(super) fn write_map(writer: &mut Writer, pairs: &BTreeMap<Key, Value>) {
    cbor::write(writer, Item::Map(pairs.len()));
    for (key, value) in pairs {
        cbor::write(writer, key.item());
        value.write(writer);
    }
}

/// A floating-point number. There is one NaN, and 0.0 is not -0.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Float(u64);

/// A number in the narrowest of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Half(u16),
    Single(u32),
    Double(u64),
}

const HALF_NAN: u16 = 0x7e00;

impl From<f64> for Float {
    fn from(number: f64) -> Self {
        let number = if number.is_nan() { f64::NAN } else { number };
        Self(number.to_bits())
    }
}

impl Float {
    /// The number.
    pub fn number(self) -> f64 {
        f64::from_bits(self.0)
    }

    pub(super) fn from_half(bits: u16) -> Result<Self, DecodeError> {
        Self::from_form(widened(bits), Form::Half(bits))
    }

    pub(super) fn from_single(bits: u32) -> Result<Self, DecodeError> {
        Self::from_form(f32::from_bits(bits).into(), Form::Single(bits))
    }

    pub(super) fn from_double(bits: u64) -> Result<Self, DecodeError> {
        Self::from_form(f64::from_bits(bits), Form::Double(bits))
    }

    fn from_form(number: f64, form: Form) -> Result<Self, DecodeError> {
        let float = Self::from(number);
        if float.form() != form {
            return Err(DecodeError::Invalid("float is not in its shortest form"));
        }
        Ok(float)
    }

    fn form(self) -> Form {
        let number = self.number();
        if number.is_nan() {
            return Form::Half(HALF_NAN);
        }
        let single = number as f32;
        if f64::from(single).to_bits() != self.0 {
            return Form::Double(self.0);
        }
        match narrowed(single) {
            Some(half) => Form::Half(half),
            None => Form::Single(single.to_bits()),
        }
    }

    pub(super) fn write(self, writer: &mut Writer) {
        match self.form() {
            Form::Half(bits) => {
                writer.raw(&[0xf9]);
                writer.raw(&bits.to_be_bytes());
            }
            Form::Single(bits) => {
                writer.raw(&[0xfa]);
                writer.raw(&bits.to_be_bytes());
            }
            Form::Double(bits) => {
                writer.raw(&[0xfb]);
                writer.raw(&bits.to_be_bytes());
            }
        }
    }
}

/// The number that half-precision `bits` are.
fn widened(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff);
    match bits >> 10 & 0x1f {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        exponent => sign * (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    }
}

/// Half-precision bits of `number`, if it has some. It is no NaN.
fn narrowed(number: f32) -> Option<u16> {
    let bits = number.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let fraction = bits & 0x7f_ffff;
    let (kept, dropped) = match (bits >> 23 & 0xff) as i32 - 127 {
        128 => (0x7c00, fraction),
        exponent @ -14..=15 => (((exponent + 15) as u32) << 10 | fraction >> 13, fraction & 0x1fff),
        exponent @ -24..=-15 => {
            let (whole, shift) = (fraction | 0x80_0000, (-1 - exponent) as u32);
            (whole >> shift, whole & ((1 << shift) - 1))
        }
        -127 => (0, fraction),
        _ => return None,
    };
    (dropped == 0).then_some(sign | kept as u16)
}
