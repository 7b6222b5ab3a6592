//! Whether a node's wall clock agrees with those of the others. What a node sees of another's clock is what that one wrote
//! into a beat a while ago, so it knows two bounds; nothing is concluded that does not hold for both. Beside that no clock
//! value is used for anything: whether a node lives is watched on the watcher's monotonic clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The farthest that the wall clock of a node that takes shards is off the median, in milliseconds.
const OFF_MAX_MS: i64 = 5_000;

/// A node's wall clock. What it says is compared with what the other nodes' say, and used for nothing else.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// The clock that says `now`: milliseconds since the UNIX epoch.
    pub fn new(now: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").finish()
    }
}

/// By how many milliseconds another clock is ahead of ours (behind it, where negative), between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) least: i64,
    pub(crate) most: i64,
}

impl Ahead {
    /// Anything; small enough that sums do not overflow.
    const UNKNOWN: Self = Self {
        least: i64::MIN / 4,
        most: i64::MAX / 4,
    };

    /// Of a clock that said `theirs` at most `age` before ours said `ours`.
    pub(crate) fn of(theirs: u64, ours: u64, age: Duration) -> Self {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let difference = signed(theirs).saturating_sub(signed(ours));
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let bound = |ms: i64| ms.clamp(Self::UNKNOWN.least, Self::UNKNOWN.most);
        Self {
            least: bound(difference),
            most: bound(difference.saturating_add(age)),
        }
    }

    /// Of a clock whose beat is seen for the first time, and has not been seen to change. If its node lives, it is younger
    /// than `lease`; one that seems older may be a dead node's, whose clock says nothing.
    pub(crate) fn at_first_sight(theirs: u64, ours: u64, lease: Duration) -> Self {
        let ahead = Self::of(theirs, ours, lease);
        if ahead.most < 0 { Self::UNKNOWN } else { ahead }
    }

    /// How far the median of these clocks and of ours is ahead of ours. Where their number is even it is the mean of the two
    /// in the middle, so of two clocks each is off by half of what is between them.
    pub(crate) fn median(others: &[Self]) -> Self {
        let median_of = |end: fn(&Self) -> i64| median(others.iter().map(end).chain([0]).collect());
        Self {
            least: median_of(|ahead| ahead.least),
            most: median_of(|ahead| ahead.most),
        }
    }

    /// Whether our clock is too far off, if this is the median; `None` if that cannot be told.
    pub(crate) fn is_off(&self) -> Option<bool> {
        if self.least > OFF_MAX_MS || self.most < -OFF_MAX_MS {
            return Some(true);
        }
        let within = self.least >= -OFF_MAX_MS && self.most <= OFF_MAX_MS;
        within.then_some(false)
    }
}

/// The median of some numbers, each within [`Ahead::UNKNOWN`]; 0 if there are none.
fn median(mut numbers: Vec<i64>) -> i64 {
    numbers.sort_unstable();
    let upper = numbers.len() / 2;
    match (numbers.get(upper), upper.checked_sub(1)) {
        (None, _) => 0,
        (Some(middle), Some(lower)) if numbers.len().is_multiple_of(2) => (numbers[lower] + middle) / 2,
        (Some(middle), _) => *middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        let table: [(&[i64], i64); 7] = [
            (&[], 0),
            (&[7], 7),
            (&[0, 6_000], 3_000),
            (&[-60_000, 0], -30_000),
            (&[6_000, 0, 10], 10),
            (&[0, 60_000, -3, 59_000], 29_500),
            (&[5, 1, 4, 2, 3], 3),
        ];
        for (numbers, middle) in table {
            assert_eq!(median(numbers.to_vec()), middle, "{numbers:?}");
        }
        let Ahead { least, most } = Ahead::UNKNOWN;
        assert_eq!((median(vec![least, least]), median(vec![most, most])), (least, most));
    }

    #[test]
    fn our_clock_is_off_if_it_is_more_than_five_seconds_from_the_median() {
        let table: [(&[i64], bool); 12] = [
            (&[], false),
            // Nobody knows which of two is wrong: five seconds from the mean is ten from each other.
            (&[6_000], false),
            (&[10_000], false),
            (&[10_001], false),
            (&[10_002], true),
            (&[-10_002], true),
            (&[5_000, 5_000], false),
            (&[5_001, 5_001], true),
            (&[-6_000, -6_000], true),
            (&[0, 60_000], false),
            (&[0, 60_000, 60_000], true),
            (&[0, 0, 60_000, -60_000], false),
        ];
        for (others, off) in table {
            let others: Vec<Ahead> = others.iter().map(|ms| Ahead { least: *ms, most: *ms }).collect();
            assert_eq!(Ahead::median(&others).is_off(), Some(off), "{others:?}");
        }
    }

    #[test]
    fn nothing_is_concluded_that_hangs_on_how_old_a_beat_is() {
        let age = Duration::from_millis(500);
        let table = [
            (4_000, Some(false)),
            (4_500, Some(false)),
            (4_501, None),
            (5_000, None),
            (5_001, Some(true)),
            (-5_000, Some(false)),
            (-5_001, None),
            (-5_500, None),
            (-5_501, Some(true)),
        ];
        for (difference, off) in table {
            let theirs = 1_000_000_u64.saturating_add_signed(difference);
            let ahead = Ahead::of(theirs, 1_000_000, age);
            assert_eq!(Ahead::median(&[ahead, ahead]).is_off(), off, "{difference}");
        }
    }

    #[test]
    fn a_beat_that_may_be_a_dead_nodes_says_nothing_of_the_clocks() {
        let first = |theirs| Ahead::at_first_sight(theirs, 100_000, LEASE);
        assert_eq!(Ahead::median(&[first(99_000), first(99_500)]).is_off(), Some(false));
        assert_eq!(first(96_999), Ahead::UNKNOWN);
        assert_eq!(Ahead::median(&[first(1)]).is_off(), None);
        let ours = Ahead { least: 0, most: 0 };
        assert_eq!(Ahead::median(&[first(1), ours]).is_off(), Some(false), "two agree");
        assert_eq!(Ahead::median(&[first(1), first(2), ours]).is_off(), None);
    }

    #[test]
    fn clocks_that_make_no_sense_are_compared_all_the_same() {
        assert_eq!(Ahead::median(&[Ahead::of(u64::MAX, 0, LEASE); 2]).is_off(), Some(true));
        assert_eq!(Ahead::median(&[Ahead::of(0, u64::MAX, LEASE); 2]).is_off(), Some(true));
    }
}
