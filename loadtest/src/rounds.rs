//! Rounds: Nave and its limits are measured in turn, again and again, so that their ratio holds on a machine whose speed
//! drifts. Before and after each round a fixed amount of arithmetic is timed. A round during which that moved says nothing
//! and is repeated; when too many do, the result is invalid, and says so.

use std::time::Duration;

use anyhow::ensure;

use crate::report::Sample;

/// How far the calibration may move within a round, as a share of the shorter.
const MOVED_MAX: f64 = 0.2;

/// How many rounds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rounds {
    /// Rounds that count.
    pub(crate) wanted: usize,
    /// Rounds played at most, those that are repeated included.
    pub(crate) max: usize,
}

/// What the rounds brought.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Played {
    /// The samples of each round that counts, in the order of the rounds; of the last one where none does.
    pub(crate) kept: Vec<Vec<Sample>>,
    /// Rounds that count.
    pub(crate) counted: usize,
    /// Rounds that were repeated because the machine's speed moved.
    pub(crate) repeated: usize,
    /// Whether as many count as were wanted.
    pub(crate) valid: bool,
}

impl Rounds {
    /// Plays `round`, which is told its number, until enough rounds count.
    ///
    /// # Errors
    /// That of the first round that fails.
    pub(crate) async fn play(
        self,
        mut calibrate: impl FnMut() -> Duration,
        mut round: impl AsyncFnMut(usize) -> anyhow::Result<Vec<Sample>>,
    ) -> anyhow::Result<Played> {
        ensure!(self.wanted > 0, "no rounds");
        let (mut kept, mut repeated) = (Vec::new(), 0);
        // What a round leaves to be done (compaction, say) does not count against the next one.
        let mut last = Vec::new();
        for number in 0..self.max.max(self.wanted) {
            let before = calibrate();
            last = round(number).await?;
            if has_moved(before, calibrate()) {
                repeated += 1;
                continue;
            }
            kept.push(std::mem::take(&mut last));
            if kept.len() == self.wanted {
                break;
            }
        }
        let counted = kept.len();
        if kept.is_empty() {
            // Something is shown nonetheless, and marked as invalid.
            kept.push(last);
        }
        Ok(Played {
            kept,
            counted,
            repeated,
            valid: counted == self.wanted,
        })
    }
}

fn has_moved(before: Duration, after: Duration) -> bool {
    let (short, long) = (before.min(after), before.max(after));
    long.as_secs_f64() > (1.0 + MOVED_MAX) * short.as_secs_f64()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const ROUNDS: Rounds = Rounds { wanted: 5, max: 15 };

    async fn played(milliseconds: impl IntoIterator<Item = u64>) -> Played {
        let mut times = milliseconds.into_iter().map(Duration::from_millis);
        let round = async |number: usize| Ok(vec![Sample::new("number", "", number as f64)]);
        ROUNDS.play(|| times.next().unwrap(), round).await.unwrap()
    }

    #[tokio::test]
    async fn on_a_steady_machine_no_round_is_repeated() {
        let played = played(std::iter::repeat_n(100, 10)).await;
        assert_eq!((played.counted, played.repeated, played.valid), (5, 0, true));
    }

    #[tokio::test]
    async fn a_round_in_which_the_machine_moved_is_repeated() {
        let times = [100, 100, 100, 125].into_iter().chain(std::iter::repeat_n(125, 8));
        let played = played(times).await;
        assert_eq!((played.counted, played.repeated, played.valid), (5, 1, true));
        let numbers: Vec<f64> = played.kept.iter().map(|samples| samples[0].nave).collect();
        assert_eq!(numbers, [0.0, 2.0, 3.0, 4.0, 5.0]);
    }

    #[tokio::test]
    async fn a_machine_that_never_rests_makes_the_result_invalid() {
        let played = played([100, 200].into_iter().cycle()).await;
        assert_eq!((played.counted, played.repeated, played.valid), (0, 15, false));
        assert_eq!(played.kept.len(), 1);
    }
}
