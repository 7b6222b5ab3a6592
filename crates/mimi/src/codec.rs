//! The wire codec (TLS presentation language with the variable-size vectors of RFC 9420 §2.1): what decodes is the one
//! canonical spelling of its value, and no declared length makes room for octets that are not there. It knows no
//! structure of any draft.

use bytes::Bytes;

use crate::limits;

/// Octets of the longest vector that a variable-size length can declare (RFC 9420 §2.1.2: 30 bits).
pub const VECTOR_BYTES_MAX: usize = (1 << 30) - 1;

/// Why octets are not what the draft defines. Always the fault of whoever sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The octets end before the structure does.
    #[error("ends too early")]
    Truncated,
    /// A length that is not in its shortest form, or is in the invalid eight-octet form.
    #[error("length is not in its shortest form")]
    Length,
    /// Octets follow the outermost structure.
    #[error("octets follow the structure")]
    Trailing,
    /// An octet other than 0 and 1 where a bool or the presence of an optional stands.
    #[error("neither 0 nor 1")]
    Flag,
    /// A value that the draft does not define.
    #[error("unknown {what}: {value}")]
    Unknown {
        /// Of which enumeration.
        what: &'static str,
        /// The value.
        value: u32,
    },
    /// More octets or elements than a limit allows.
    #[error("too much {what}, at most {max}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A structure that the draft forbids.
    #[error("{0}")]
    Invalid(&'static str),
}

impl DecodeError {
    /// The reason without its numbers, for answers that carry a fixed text.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Truncated => "ends too early",
            Self::Length => "length is not in its shortest form",
            Self::Trailing => "octets follow the structure",
            Self::Flag => "neither 0 nor 1",
            Self::Unknown { what, .. } | Self::TooMuch { what, .. } | Self::Invalid(what) => what,
        }
    }
}

/// Octets being decoded, from the front.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    shared: Option<&'a Bytes>,
}

/// Where a [`Reader`] stood.
#[derive(Debug, Clone, Copy)]
pub struct Mark<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads `octets`; what is kept of them is copied.
    pub fn new(octets: &'a [u8]) -> Self {
        Self {
            rest: octets,
            shared: None,
        }
    }

    /// Reads `octets`; what is kept of them shares their memory, and keeps all of it alive.
    pub fn shared(octets: &'a Bytes) -> Self {
        Self {
            rest: octets,
            shared: Some(octets),
        }
    }

    /// Octets not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses octets not read yet.
    pub fn finish(&self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing)
        }
    }

    /// The next `count` octets.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` octets.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length in the shortest of its one-, two- and four-octet forms.
    pub fn length(&mut self) -> Result<usize, DecodeError> {
        let [first] = self.array()?;
        let (length, least) = match first >> 6 {
            0 => (u32::from(first), 0),
            1 => {
                let [second] = self.array()?;
                (u32::from(u16::from_be_bytes([first & 0x3f, second])), 1 << 6)
            }
            2 => {
                let [second, third, fourth] = self.array()?;
                (u32::from_be_bytes([first & 0x3f, second, third, fourth]), 1 << 14)
            }
            _ => return Err(DecodeError::Length),
        };
        if length < least {
            return Err(DecodeError::Length);
        }
        usize::try_from(length).map_err(|_| DecodeError::Length)
    }

    /// The octets of a vector, without its length.
    pub fn opaque(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// The octets of a vector of at most `max` octets.
    pub fn opaque_at_most(&mut self, max: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let octets = self.opaque()?;
        if octets.len() > max {
            return Err(DecodeError::TooMuch { what, max });
        }
        Ok(octets)
    }

    /// A reader of the octets of a vector.
    pub fn vector(&mut self) -> Result<Self, DecodeError> {
        let rest = self.opaque()?;
        Ok(Self {
            rest,
            shared: self.shared,
        })
    }

    /// A vector of at most `max` elements.
    pub fn list<T>(
        &mut self,
        max: usize,
        what: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let mut body = self.vector()?;
        let mut list = Vec::new();
        while !body.is_empty() {
            if list.len() == max {
                return Err(DecodeError::TooMuch { what, max });
            }
            list.push(element(&mut body)?);
        }
        Ok(list)
    }

    /// Presence of an optional, or a bool.
    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(DecodeError::Flag),
        }
    }

    /// Where the reader stands.
    pub fn mark(&self) -> Mark<'a> {
        Mark(self.rest)
    }

    /// The octets read since `mark`, which is a mark of this reader.
    pub fn since(&self, mark: Mark<'a>) -> &'a [u8] {
        &mark.0[..mark.0.len() - self.rest.len()]
    }

    /// Keeps octets that this reader gave out.
    pub fn keep(&self, octets: &'a [u8]) -> Bytes {
        match self.shared {
            Some(whole) => whole.slice_ref(octets),
            None => Bytes::copy_from_slice(octets),
        }
    }
}

/// Octets being written.
#[derive(Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// Room for what stands behind the longest part of a value.
    const BEHIND: usize = 64;

    /// Writes octets as they are.
    pub fn raw(&mut self, octets: &[u8]) {
        // What is longer than all before it is most of the value, which would else be copied when the few octets behind it
        // are written, into a buffer twice as long.
        if octets.len() > self.octets.len() {
            self.octets.reserve_exact(octets.len() + Self::BEHIND);
        }
        self.octets.extend_from_slice(octets);
    }

    /// Writes a length in its shortest form.
    ///
    /// # Panics
    /// Above [`VECTOR_BYTES_MAX`]: no such value can be decoded, and every limit lies far below.
    pub fn length(&mut self, length: usize) {
        match length {
            0..0x40 => self.octets.push(length as u8),
            0x40..0x4000 => self.raw(&(length as u16 | 0x4000).to_be_bytes()),
            0x4000..=VECTOR_BYTES_MAX => self.raw(&(length as u32 | 0x8000_0000).to_be_bytes()),
            _ => panic!("a vector of {length} octets has no encoding"),
        }
    }

    /// Writes a vector of octets.
    pub fn opaque(&mut self, octets: &[u8]) {
        self.length(octets.len());
        self.raw(octets);
    }

    /// Writes a vector whose octets `body` writes.
    pub fn vector(&mut self, body: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        body(&mut inner);
        self.opaque(&inner.octets);
    }

    /// What was written.
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}

/// A value with one spelling on the wire.
pub trait Encode {
    /// Writes the value.
    fn write(&self, writer: &mut Writer);

    /// The value's octets.
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        self.write(&mut writer);
        writer.into_octets()
    }
}

/// A value that can be decoded from octets from outside. Never panics; what it allocates is bounded by the octets
/// present.
pub trait Decode: Sized {
    /// How many of these one vector holds at most.
    const LIST_MAX: usize = limits::LIST_MAX;

    /// Decodes the value at the front of `reader`.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Decodes the value that `octets` are; octets after it are an error.
    fn decode_exact(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }

    /// As [`Decode::decode_exact`], with what is kept sharing the memory of `octets` (and keeping it alive).
    fn decode_shared(octets: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::shared(octets);
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

macro_rules! integer {
    ($($integer:ty),+) => {$(
        impl Encode for $integer {
            fn write(&self, writer: &mut Writer) {
                writer.raw(&self.to_be_bytes());
            }
        }

        impl Decode for $integer {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self::from_be_bytes)
            }
        }
    )+};
}
integer!(u8, u16, u32, u64);

impl Encode for bool {
    fn write(&self, writer: &mut Writer) {
        writer.raw(&[u8::from(*self)]);
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.flag()
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn write(&self, writer: &mut Writer) {
        writer.raw(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl Encode for Bytes {
    fn write(&self, writer: &mut Writer) {
        writer.opaque(self);
    }
}

impl Decode for Bytes {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let octets = reader.opaque()?;
        Ok(reader.keep(octets))
    }
}

impl Encode for String {
    fn write(&self, writer: &mut Writer) {
        writer.opaque(self.as_bytes());
    }
}

impl Decode for String {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let octets = reader.opaque_at_most(limits::TEXT_BYTES_MAX, "text")?;
        std::str::from_utf8(octets)
            .map(Self::from)
            .map_err(|_| DecodeError::Invalid("text is not UTF-8"))
    }
}

impl<T: Encode> Encode for Option<T> {
    fn write(&self, writer: &mut Writer) {
        self.is_some().write(writer);
        if let Some(value) = self {
            value.write(writer);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.flag()?.then(|| T::decode(reader)).transpose()
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        writer.vector(|body| self.iter().for_each(|element| element.write(body)));
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.list(T::LIST_MAX, "elements of a list", T::decode)
    }
}

/// Implements the codec of a struct whose fields stand on the wire in the order given.
macro_rules! wire {
    ($name:ident { $($field:ident),+ $(,)? } $(, at_most: $max:expr)?) => {
        impl $crate::codec::Encode for $name {
            fn write(&self, writer: &mut $crate::codec::Writer) {
                $(self.$field.write(writer);)+
            }
        }

        impl $crate::codec::Decode for $name {
            $(const LIST_MAX: usize = $max;)?

            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                $(let $field = $crate::codec::Decode::decode(reader)?;)+
                Ok(Self { $($field),+ })
            }
        }
    };
}
pub(crate) use wire;

/// Defines an enumeration of one octet, of which other values do not decode.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$code_doc:meta])* $code:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$code_doc])* $code = $value),+
        }

        impl $crate::codec::Encode for $name {
            fn write(&self, writer: &mut $crate::codec::Writer) {
                writer.raw(&[*self as u8]);
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                match reader.array()? {
                    $([$value] => Ok(Self::$code),)+
                    [value] => Err($crate::codec::DecodeError::Unknown { what: $what, value: value.into() }),
                }
            }
        }
    };
}
pub(crate) use codes;
