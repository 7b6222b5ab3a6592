//! Waiting before a call is repeated: as long as the provider says, else longer each time with jitter.

use std::future::Future;
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;

use crate::api::ApiError;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
/// No provider makes a client wait longer at a time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// Pauses of one series of attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait after this failure: what it asks for, or full jitter below a bound that doubles.
    pub(crate) fn pause(&mut self, failure: &ApiError) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(LONGEST);
        match failure {
            ApiError::Overloaded {
                retry_after: Some(after),
            } => (*after).min(RETRY_AFTER_MAX),
            _ => rand::rng().random_range(bound / 2..=bound),
        }
    }
}

/// Calls until there is an answer, a failure that repeating does not mend, or the deadline.
pub(crate) async fn persist<T, F>(deadline: Instant, mut call: impl FnMut() -> F) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut backoff = Backoff::new();
    loop {
        let failure = match call().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        let again = Instant::now() + backoff.pause(&failure);
        if !failure.is_retryable() || again > deadline {
            return Err(failure);
        }
        tokio::time::sleep_until(again).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::cell::Cell;

    use super::*;

    fn gone() -> ApiError {
        ApiError::Unreachable("gone".to_owned())
    }

    #[test]
    fn pauses_are_what_the_provider_asks_for_or_grow_to_a_bound() {
        let mut backoff = Backoff::new();
        let asked = |seconds| ApiError::Overloaded {
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(backoff.pause(&asked(7)), Duration::from_secs(7));
        assert_eq!(backoff.pause(&asked(7_000)), RETRY_AFTER_MAX);
        let mut bound = FIRST * 4;
        for _ in 0..20 {
            let pause = backoff.pause(&gone());
            assert!(pause >= bound / 2 && pause <= bound, "{pause:?} below {bound:?}");
            bound = (bound * 2).min(LONGEST);
        }
        assert_eq!(bound, LONGEST);
    }

    #[tokio::test]
    async fn a_call_is_repeated_until_it_is_answered() {
        let calls = Cell::new(0);
        let answer = persist(Instant::now() + Duration::from_secs(60), || {
            calls.set(calls.get() + 1);
            std::future::ready(match calls.get() {
                3 => Ok("answer"),
                _ => Err(ApiError::Overloaded {
                    retry_after: Some(Duration::from_millis(1)),
                }),
            })
        });
        assert_eq!(answer.await.unwrap(), "answer");
        assert_eq!(calls.get(), 3);
    }

    #[tokio::test]
    async fn a_refusal_is_not_repeated_and_a_deadline_ends_it() {
        let refused = ApiError::Refused {
            status: 403,
            reason: "no".to_owned(),
        };
        for (failure, patience) in [(refused, Duration::from_secs(60)), (gone(), Duration::ZERO)] {
            let calls = Cell::new(0);
            let answer: Result<(), _> = persist(Instant::now() + patience, || {
                calls.set(calls.get() + 1);
                std::future::ready(Err(failure.clone()))
            })
            .await;
            assert_eq!(answer.unwrap_err(), failure);
            assert_eq!(calls.get(), 1);
        }
    }
}
