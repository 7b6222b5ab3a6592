//! URI templates of the directory (RFC 6570, level 1, with one variable): expanded by who calls, taken apart by who
//! serves. The value is a full identifier, every reserved character of it escaped, so that it stays one path segment.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Octets of the longest template accepted.
pub const TEMPLATE_BYTES_MAX: usize = 2_048;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a string is no template that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Longer than [`TEMPLATE_BYTES_MAX`].
    #[error("longer than {TEMPLATE_BYTES_MAX} octets")]
    TooLong,
    /// Not exactly one `{variable}` after the host, or one with an operator.
    #[error("not exactly one simple variable in path or query")]
    Variable,
    /// Not an absolute https URI without user information and fragment.
    #[error("not an https URI")]
    Uri,
}

/// `https://mimi.a.example/v1/update/{roomId}`, with any name for its variable.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: Arc<str>,
    /// Where the variable begins and ends in `text`, braces included.
    variable: (usize, usize),
    /// Where path and query begin in `text`.
    path: usize,
    authority: Arc<str>,
}

impl Template {
    /// The URI for one identifier.
    pub fn expand(&self, value: &str) -> String {
        let (before, after) = self.literals();
        format!("{before}{}{after}", utf8_percent_encode(value, RESERVED))
    }

    /// Host and, if given, port, as `Host` and `:authority` carry them.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host alone.
    pub fn host(&self) -> &str {
        let end = self.authority.rfind(':').filter(|_| !self.authority.ends_with(']'));
        end.map_or(&*self.authority, |end| &self.authority[..end])
    }

    /// Path and query before the variable and after it, for who serves it.
    pub fn path(&self) -> (&str, &str) {
        let (before, after) = self.literals();
        (&before[self.path..], after)
    }

    /// The identifier that a request for `path_and_query` is about, as [`target`] reads it; `None` when the template
    /// does not expand to it.
    pub fn target(&self, path_and_query: &str) -> Option<String> {
        target(self.raw(path_and_query)?)
    }

    /// The value that a request for `path_and_query` carries, unescaped once and otherwise as it is.
    pub fn value(&self, path_and_query: &str) -> Option<String> {
        let value = percent_decode_str(self.raw(path_and_query)?).decode_utf8().ok()?;
        (!value.is_empty()).then(|| value.into_owned())
    }

    fn raw<'a>(&self, path_and_query: &'a str) -> Option<&'a str> {
        let (before, after) = self.path();
        path_and_query.strip_prefix(before)?.strip_suffix(after)
    }

    fn literals(&self) -> (&str, &str) {
        (&self.text[..self.variable.0], &self.text[self.variable.1..])
    }
}

/// The identifier in the variable part of a request's path, as it was received: `mimi%3A%2F%2Fa.example%2Fr%2Fx`, and
/// also what the drafts' figures show, with the scheme or without, escaped or not (`a.example/r/x`). A bare domain is
/// itself. `None`: empty, or not UTF-8.
pub fn target(raw: &str) -> Option<String> {
    let decoded = percent_decode_str(raw).decode_utf8().ok()?;
    if decoded.is_empty() {
        return None;
    }
    if decoded.contains('/') && !decoded.starts_with("mimi://") {
        return Some(format!("mimi://{decoded}"));
    }
    Some(decoded.into_owned())
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
        let open = text.find('{').ok_or(TemplateError::Variable)?;
        let close = open + text[open..].find('}').ok_or(TemplateError::Variable)?;
        let name = &text[open + 1..close];
        let simple = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || b == b'%';
        if name.is_empty() || !name.bytes().all(simple) || text[close + 1..].contains(['{', '}']) {
            return Err(TemplateError::Variable);
        }
        let rest = text.strip_prefix("https://").ok_or(TemplateError::Uri)?;
        let path = "https://".len() + rest.find('/').ok_or(TemplateError::Uri)?;
        if open < path {
            return Err(TemplateError::Variable);
        }
        let authority = &text["https://".len()..path];
        let expanded = format!("{}x{}", &text[..open], &text[close + 1..]);
        let uri: Uri = expanded.parse().map_err(|_| TemplateError::Uri)?;
        let host = uri.host().filter(|host| !host.is_empty());
        // What follows a host is a port, or the parser has taken something else along.
        let whole = host.is_some_and(|host| host == authority || uri.port().is_some());
        if text.contains('#') || authority.contains('@') || !whole {
            return Err(TemplateError::Uri);
        }
        Ok(Self {
            text: text.into(),
            variable: (open, close + 1),
            path,
            authority: authority.into(),
        })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const ROOM: &str = "mimi://a.example/r/clubhouse";

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    #[test]
    fn the_value_stays_one_path_segment() {
        let update = template("https://mimi.a.example/v1/update/{roomId}");
        assert_eq!(
            update.expand(ROOM),
            "https://mimi.a.example/v1/update/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse"
        );
        assert_eq!(update.expand("~-._"), "https://mimi.a.example/v1/update/~-._");
    }

    #[test]
    fn templates_are_taken_as_peers_publish_them() {
        let slashless = template("https://mimi.example.com:8443/v1/update{anything}");
        assert_eq!(slashless.host(), "mimi.example.com");
        assert_eq!(slashless.authority(), "mimi.example.com:8443");
        assert_eq!(
            slashless
                .target("/v1/updatemimi%3A%2F%2Fa.example%2Fr%2Fclubhouse")
                .unwrap(),
            ROOM
        );
        let query = template("https://a.example/q?room={room}&v=1");
        assert_eq!(
            query
                .target("/q?room=mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse&v=1")
                .unwrap(),
            ROOM
        );
        assert_eq!(query.target("/q?room=x"), None);
        assert_eq!(template("https://[::1]/{x}").host(), "[::1]");
    }

    #[test]
    fn every_spelling_of_a_target_in_the_drafts_is_read() {
        for raw in [
            "mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse",
            "mimi://a.example/r/clubhouse",
            "a.example/r/clubhouse",
            "a.example%2Fr%2Fclubhouse",
        ] {
            assert_eq!(target(raw).as_deref(), Some(ROOM), "{raw}");
        }
        assert_eq!(target("b.example").as_deref(), Some("b.example"));
        assert_eq!(target(""), None);
        assert_eq!(target("%ff%fe"), None);
    }

    #[test]
    fn expanding_and_taking_apart_are_inverse() {
        let notify = template("https://mimi.a.example/v1/notify/{roomId}");
        for room in [
            ROOM,
            "mimi://a.example/r/a@b;c=d,e+f(g)!*'&$~",
            "mimi://b.example/r/100%25",
        ] {
            let uri = notify.expand(room);
            assert_eq!(
                notify.target(&uri["https://mimi.a.example".len()..]).as_deref(),
                Some(room)
            );
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        use TemplateError::{TooLong, Uri, Variable};
        let long = format!("https://a.example/{}/{{x}}", "a".repeat(TEMPLATE_BYTES_MAX));
        for (text, error) in [
            ("https://a.example/update", Variable),
            ("https://a.example/{x}/{y}", Variable),
            ("https://a.example/{+x}", Variable),
            ("https://a.example/{x", Variable),
            ("https://a.example/{}", Variable),
            ("https://{x}/update", Variable),
            ("https://a.example/{x}}", Variable),
            ("http://a.example/{x}", Uri),
            ("https:///{x}", Uri),
            ("https://a.example:8443v1/{x}", Uri),
            ("https://a.example:65536/{x}", Uri),
            ("https://u:p@a.example/{x}", Uri),
            ("https://a.example/{x}#f", Uri),
            ("https://a.example/{x} y", Uri),
            (&long, TooLong),
        ] {
            assert_eq!(text.parse::<Template>().unwrap_err(), error, "{text}");
        }
    }
}
