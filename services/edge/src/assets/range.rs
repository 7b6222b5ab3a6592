//! `Range` (RFC 9110 §14): one range of octets. Several at once, and what cannot be read, is answered with the whole,
//! as a server may.

use http::HeaderValue;
use peer::Wanted;

/// Which part of an asset of known length is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// Both inclusive, within the asset.
    Octets(u64, u64),
    /// Nothing of it is there.
    Beyond,
}

impl Part {
    pub(super) fn of(wanted: &Wanted, length: u64) -> Self {
        // Of a HEAD the range counts for nothing (RFC 9110 §14.2).
        if wanted.head {
            return Self::Whole;
        }
        let parsed = wanted.range.as_ref().and_then(parse);
        let (first, last) = match parsed {
            None => return Self::Whole,
            Some(Asked::From(first)) => (first, u64::MAX),
            Some(Asked::Between(first, last)) => (first, last),
            Some(Asked::Last(0)) => return Self::Beyond,
            Some(Asked::Last(count)) => (length.saturating_sub(count), u64::MAX),
        };
        if first >= length {
            return Self::Beyond;
        }
        Self::Octets(first, last.min(length - 1))
    }
}

enum Asked {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

fn parse(range: &HeaderValue) -> Option<Asked> {
    let range = range.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = range.split_once('-')?;
    let number = |digits: &str| {
        digits
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    match (first, last) {
        ("", last) => Some(Asked::Last(number(last)?)),
        (first, "") => Some(Asked::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::Between(first, last))
        }
    }
}

/// The range as it may be passed on: what we would read ourselves, and nothing else.
pub(crate) fn passed_on(range: Option<&HeaderValue>) -> Option<HeaderValue> {
    range.filter(|range| parse(range).is_some()).cloned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn one_range_is_read_and_everything_else_is_the_whole() {
        let part = |range: &str, length| {
            let wanted = Wanted {
                head: false,
                range: Some(range.parse().unwrap()),
            };
            Part::of(&wanted, length)
        };
        for (range, length, expected) in [
            ("bytes=0-0", 10, Part::Octets(0, 0)),
            ("bytes=2-5", 10, Part::Octets(2, 5)),
            ("bytes=2-", 10, Part::Octets(2, 9)),
            ("bytes=2-99", 10, Part::Octets(2, 9)),
            ("bytes=-3", 10, Part::Octets(7, 9)),
            ("bytes=-99", 10, Part::Octets(0, 9)),
            ("bytes=10-", 10, Part::Beyond),
            ("bytes=-0", 10, Part::Beyond),
            ("bytes=0-", 0, Part::Beyond),
            ("bytes=5-2", 10, Part::Whole),
            ("bytes=0-1,3-4", 10, Part::Whole),
            ("bytes=-", 10, Part::Whole),
            ("bytes=+1-2", 10, Part::Whole),
            ("bytes=99999999999999999999-", 10, Part::Whole),
            ("lines=1-2", 10, Part::Whole),
            ("", 10, Part::Whole),
        ] {
            assert_eq!(part(range, length), expected, "{range}");
        }
    }

    #[test]
    fn of_a_head_the_range_counts_for_nothing() {
        let wanted = Wanted {
            head: true,
            range: Some(HeaderValue::from_static("bytes=1-2")),
        };
        assert_eq!(Part::of(&wanted, 10), Part::Whole);
    }
}
