//! How long to wait after a failure: exponential with full jitter, so that couriers that failed together do not return
//! together; never shorter than what the follower asked for.

use std::time::Duration;

use rand::Rng;

use crate::Options;

/// The wait after the `failures`th failure in a row (from 1).
pub(crate) fn wait(failures: u32, retry_after: Option<Duration>, options: &Options, random: &mut impl Rng) -> Duration {
    let doubled = options
        .backoff_min
        .saturating_mul(1 << failures.saturating_sub(1).min(20));
    let ceiling = doubled.min(options.backoff_max);
    let jittered = ceiling.mul_f64(random.random::<f64>());
    jittered.max(retry_after.unwrap_or_default().min(options.retry_after_max))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_are_spread_over_the_whole_range() {
        let options = Options::default();
        let mut random = StdRng::seed_from_u64(7);
        for failures in 1..40 {
            let ceiling = Duration::from_secs(1 << (failures - 1).min(20)).min(options.backoff_max);
            let waits: Vec<_> = (0..64).map(|_| wait(failures, None, &options, &mut random)).collect();
            assert!(waits.iter().all(|wait| *wait <= ceiling));
            assert!(waits.iter().any(|wait| *wait < ceiling / 4));
            assert!(waits.iter().any(|wait| *wait > ceiling / 4 * 3));
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_an_hour() {
        let options = Options::default();
        let mut random = StdRng::seed_from_u64(7);
        assert!(wait(1, Some(Duration::from_secs(30)), &options, &mut random) >= Duration::from_secs(30));
        let day = Duration::from_secs(86_400);
        assert_eq!(wait(1, Some(day), &options, &mut random), options.retry_after_max);
    }
}
