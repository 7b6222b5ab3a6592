//! Identifiers (mimi-protocol §3): canonical `mimi:` URIs and the domains of providers. Only the canonical form is
//! accepted, so that comparing octets compares identifiers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Octets of the longest URI accepted.
pub const URI_BYTES_MAX: usize = 1_024;

/// Why a string is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Longer than [`URI_BYTES_MAX`] octets.
    #[error("longer than {URI_BYTES_MAX} octets")]
    TooLong,
    /// Not a domain name in lower case.
    #[error("not a domain name in lower case")]
    Domain,
    /// Not `mimi://DOMAIN/KIND/NAME` with the kind asked for.
    #[error("not mimi://DOMAIN/{kind}/NAME", kind = .0)]
    Shape(char),
    /// Holds a character or an escape that the canonical form does not.
    #[error("not in canonical form")]
    NotCanonical,
    /// Not the pseudonyms of a user and of one of its clients, by UUIDs (mimi-protocol §6.1).
    #[error("not the pseudonyms of a user's client")]
    Pseudonym,
}

/// A messaging service, named by its domain in lower case (`a.example`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provider(Arc<str>);

impl Provider {
    /// The domain.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Provider {
    type Err = UriError;

    fn from_str(domain: &str) -> Result<Self, UriError> {
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if domain.len() > 253 || !domain.split('.').all(label) {
            return Err(UriError::Domain);
        }
        Ok(Self(domain.into()))
    }
}

/// Octets that stand for themselves in a name: unreserved and sub-delims of RFC 3986 §2, `:` and `@`. Anything else
/// would need an escape, and an escape would make two spellings of one name.
fn is_name_octet(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b)
}

fn parse(text: &str, kind: char, segments: std::ops::RangeInclusive<usize>) -> Result<(Provider, Arc<str>), UriError> {
    if text.len() > URI_BYTES_MAX {
        return Err(UriError::TooLong);
    }
    let rest = text.strip_prefix("mimi://").ok_or(UriError::Shape(kind))?;
    let (domain, path) = rest.split_once('/').ok_or(UriError::Shape(kind))?;
    let provider = domain.parse()?;
    let mut parts = path.split('/');
    if parts.next() != Some(kind.encode_utf8(&mut [0; 4])) {
        return Err(UriError::Shape(kind));
    }
    let names: Vec<&str> = parts.collect();
    if !segments.contains(&names.len()) || names.iter().any(|name| name.is_empty()) {
        return Err(UriError::Shape(kind));
    }
    if names
        .iter()
        .any(|name| *name == "." || *name == ".." || !name.bytes().all(is_name_octet))
    {
        return Err(UriError::NotCanonical);
    }
    Ok((provider, text.into()))
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $segments:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            text: Arc<str>,
            provider: Provider,
        }

        impl $name {
            /// The canonical URI.
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// The provider of its authority.
            pub fn provider(&self) -> &Provider {
                &self.provider
            }

            /// Parses octets taken from outside.
            pub fn from_octets(octets: &[u8]) -> Result<Self, UriError> {
                std::str::from_utf8(octets).map_err(|_| UriError::NotCanonical)?.parse()
            }
        }

        impl FromStr for $name {
            type Err = UriError;

            fn from_str(text: &str) -> Result<Self, UriError> {
                let (provider, text) = parse(text, $kind, $segments)?;
                Ok(Self { text, provider })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}

identifier!(
    /// A room: `mimi://a.example/r/clubhouse`. Its authority is its hub.
    RoomUri, 'r', 1..=1
);
identifier!(
    /// A user: `mimi://a.example/u/alice`.
    UserUri, 'u', 1..=1
);
identifier!(
    /// One client of a user: `mimi://a.example/d/alice/phone`.
    ClientUri, 'd', 2..=2
);

impl ClientUri {
    /// The user whose client this is.
    pub fn user(&self) -> UserUri {
        let mut names = self.text.rsplitn(3, '/');
        let user = names.nth(1).expect("a client URI ends in /d/USER/CLIENT");
        let text = format!("mimi://{}/u/{user}", self.provider);
        UserUri {
            text: text.into(),
            provider: self.provider.clone(),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
