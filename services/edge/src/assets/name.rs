//! Names of assets: 24 random octets, so that only those who were given one have it, and the media type if it is of
//! interest. A name is all that there is to know about an asset.

use rand::RngCore as _;

/// Octets that make a name unique and unknown.
const RANDOM_BYTES: usize = 24;

/// Octets of a media type (RFC 6838 §4.2 allows 127 for each half; nobody needs them).
const MEDIA_TYPE_BYTES_MAX: usize = 100;

/// What is said of an asset of which nothing is known.
const OCTETS: &str = "application/octet-stream";

/// `6b1f…` or `6b1f….696d6167652f706e67`: random octets and a media type, both in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// A new one. `None`: that is no media type.
    pub(super) fn random(media_type: &str) -> Option<Self> {
        let mut octets = [0; RANDOM_BYTES];
        rand::rng().fill_bytes(&mut octets);
        let random = hex::encode(octets);
        match media_type {
            "" | OCTETS => Some(Self(random)),
            media_type if is_media_type(media_type) => Some(Self(format!("{random}.{}", hex::encode(media_type)))),
            _ => None,
        }
    }

    /// A name as it stands in a URL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (random, kind) = text
            .split_once('.')
            .map_or((text, None), |(random, kind)| (random, Some(kind)));
        let is_hex = |text: &str| text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let is_name = random.len() == 2 * RANDOM_BYTES && is_hex(text.replace('.', "").as_str());
        let is_typed = kind.is_none_or(|kind| media_type(kind).is_some());
        (is_name && is_typed).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn media_type(&self) -> String {
        let kind = self.0.split_once('.').and_then(|(_, kind)| media_type(kind));
        kind.unwrap_or_else(|| OCTETS.to_owned())
    }
}

fn media_type(digits: &str) -> Option<String> {
    let text = String::from_utf8(hex::decode(digits).ok()?).ok()?;
    is_media_type(&text).then_some(text)
}

/// `type/subtype` of RFC 6838 §4.2, without parameters.
fn is_media_type(text: &str) -> bool {
    let is_half = |half: &str| {
        half.starts_with(|first: char| first.is_ascii_alphanumeric())
            && half
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    text.len() <= MEDIA_TYPE_BYTES_MAX
        && text
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_half(kind) && is_half(subtype))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn as_6_names_are_long_random_and_carry_their_type() {
        for (given, kept) in [("", OCTETS), (OCTETS, OCTETS), ("image/svg+xml", "image/svg+xml")] {
            let (one, two) = (Name::random(given).unwrap(), Name::random(given).unwrap());
            assert_ne!(one, two);
            assert!(one.as_str().len() >= 48);
            assert_eq!(one.media_type(), kept);
            assert_eq!(Name::parse(one.as_str()), Some(one));
        }
    }

    #[test]
    fn what_is_no_name_or_media_type_is_refused() {
        for text in [
            "image",
            "image/",
            "/png",
            "a/b/c",
            "text/html; charset=utf-8",
            "a b/c",
            "a/b\r\nx: y",
        ] {
            assert_eq!(Name::random(text), None, "{text}");
        }
        let name = "0".repeat(48);
        for text in [
            "",
            "..",
            &name[1..],
            &format!("{name}0"),
            &name.replace('0', "A"),
            &format!("{name}."),
            &format!("{name}.00"),
            &format!("{name}/../x"),
            &format!("{name}.6.1"),
            &format!("../{name}"),
        ] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }
}
