//! Application error codes: what a closed stream or connection says about why.

use std::fmt;

use quinn::VarInt;

/// Why a stream or a connection was closed, as its application error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Nothing is left to do.
    Done,
    /// A frame does not decode, came at the wrong time or was cut short.
    Malformed,
    /// A frame is longer than its kind allows.
    TooLarge,
    /// More was sent than the credit allowed.
    Credit,
    /// More shards, streams or connections than allowed.
    TooMany,
    /// The service behind cannot take it now. Try again later.
    Unavailable,
    /// This side is shutting down. Connect again.
    Draining,
    /// The other side took too long.
    TimedOut,
    /// The certificate names no provider known here.
    Unknown,
    /// A code of a later version.
    Other(u64),
}

impl Code {
    pub(crate) const fn varint(self) -> VarInt {
        let code = match self {
            Self::Done => 0,
            Self::Malformed => 1,
            Self::TooLarge => 2,
            Self::Credit => 3,
            Self::TooMany => 4,
            Self::Unavailable => 5,
            Self::Draining => 6,
            Self::TimedOut => 7,
            Self::Unknown => 8,
            Self::Other(_) => 9,
        };
        VarInt::from_u32(code)
    }
}

impl From<VarInt> for Code {
    fn from(code: VarInt) -> Self {
        match code.into_inner() {
            0 => Self::Done,
            1 => Self::Malformed,
            2 => Self::TooLarge,
            3 => Self::Credit,
            4 => Self::TooMany,
            5 => Self::Unavailable,
            6 => Self::Draining,
            7 => Self::TimedOut,
            8 => Self::Unknown,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Done => "done",
            Self::Malformed => "malformed frame",
            Self::TooLarge => "frame too large",
            Self::Credit => "credit exceeded",
            Self::TooMany => "too many",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
            Self::TimedOut => "timed out",
            Self::Unknown => "unknown provider",
            Self::Other(code) => return write!(f, "code {code}"),
        };
        f.write_str(text)
    }
}
