//! Codes by which users join by themselves. The drafts leave open what is in one.

use std::fmt;

/// Fewest octets of a code's secret.
const SECRET_MIN: usize = 16;

/// A join code (mimi-protocol §5.6): a link of the room (component join_links) that ends in `#role.until.secret`. Other
/// links may be in the list, and are no codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinCode {
    /// What a browser opens; empty, or with whatever else it needs.
    pub link: String,
    /// Index of the role to which it leads.
    pub role: u32,
    /// When it ends, in seconds since the UNIX epoch.
    pub until: u64,
    /// 16 octets or more that nobody can guess.
    pub secret: String,
}

impl JoinCode {
    /// The code that a link is, octet for octet; `None` for other links.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(octets).ok()?;
        let (link, code) = text.rsplit_once('#')?;
        let mut parts = code.splitn(3, '.');
        let code = Self {
            link: link.to_owned(),
            role: parts.next()?.parse().ok()?,
            until: parts.next()?.parse().ok()?,
            secret: parts.next().filter(|secret| secret.len() >= SECRET_MIN)?.to_owned(),
        };
        // One spelling: no sign, no leading zeros.
        (code.to_string() == text).then_some(code)
    }
}

/// The link, as it stands in the list of links.
impl fmt::Display for JoinCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            link,
            role,
            until,
            secret,
        } = self;
        write!(out, "{link}#{role}.{until}.{secret}")
    }
}
