//! Does things one after the other at a pace. At a given rate each has a time at which it is due, fixed beforehand: it is
//! begun then whatever became of those before it, and its latency counts from then, also when it could not be begun in time.
//! So whoever stands still for a second is seen to, by all who had to wait.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::measure::now_ns;

/// When things are begun.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// So many are under way all the time: as many as are taken.
    InFlight(usize),
    /// So many a second, whatever becomes of them.
    PerSecond(f64),
}

/// Does each of `jobs` with `begin`, which is told when it was due, in nanoseconds since the UNIX epoch. `told` hears of
/// each that ended. What they brought comes in the order in which they ended.
///
/// # Errors
/// That of the first that fails.
pub(crate) async fn drive<J, T, F>(
    jobs: Vec<J>,
    pace: Pace,
    begin: impl Fn(J, u64) -> F + Send + 'static,
    told: impl Fn(),
) -> anyhow::Result<Vec<T>>
where
    J: Send + 'static,
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    match pace {
        Pace::InFlight(count) => saturate(jobs, count, begin, told).await,
        Pace::PerSecond(rate) => paced(jobs, rate, begin, told).await,
    }
}

async fn saturate<J, T, F>(
    jobs: Vec<J>,
    in_flight: usize,
    begin: impl Fn(J, u64) -> F,
    told: impl Fn(),
) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut done = Vec::with_capacity(jobs.len());
    let (mut waiting, mut under_way) = (jobs.into_iter(), JoinSet::new());
    loop {
        while under_way.len() < in_flight
            && let Some(job) = waiting.next()
        {
            under_way.spawn(begin(job, now_ns()));
        }
        let Some(ended) = under_way.join_next().await else {
            return Ok(done);
        };
        done.push(ended??);
        told();
    }
}

async fn paced<J, T, F>(
    jobs: Vec<J>,
    rate: f64,
    begin: impl Fn(J, u64) -> F + Send + 'static,
    told: impl Fn(),
) -> anyhow::Result<Vec<T>>
where
    J: Send + 'static,
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let count = jobs.len();
    let (ended, mut all_ended) = mpsc::channel(count.max(1));
    let runtime = tokio::runtime::Handle::current();
    // A thread of its own: it sleeps more exactly than the runtime does, and nothing there holds it up.
    let pacer = std::thread::spawn(move || {
        let (began, began_ns) = (Instant::now(), now_ns());
        for (number, job) in jobs.into_iter().enumerate() {
            let due = Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            if ended.is_closed() {
                return;
            }
            let due_ns = began_ns + u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
            let (job, ended) = (begin(job, due_ns), ended.clone());
            runtime.spawn(async move {
                // Nobody listens after the first failure.
                let _ = ended.send(job.await).await;
            });
        }
    });
    let mut done = Vec::with_capacity(count);
    while let Some(one) = all_ended.recv().await {
        done.push(one?);
        told();
    }
    pacer.join().ok().context("the pacer ended")?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn never_more_are_under_way_than_may_be() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = most.clone();
        let begin = move |job: usize, _| {
            let (now, most) = (now.clone(), most.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(job)
            }
        };
        let mut done = drive((0..20).collect(), Pace::InFlight(3), begin, || {}).await.unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
        assert_eq!(seen.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_is_due_is_begun_though_nothing_before_it_has_ended() {
        let begun = Arc::new(tokio::sync::Barrier::new(5));
        let begin = move |_: usize, due_ns: u64| {
            let begun = begun.clone();
            async move {
                begun.wait().await;
                Ok(due_ns)
            }
        };
        let mut due = drive((0..5).collect(), Pace::PerSecond(1_000.0), begin, || {})
            .await
            .unwrap();
        due.sort_unstable();
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
    }

    #[tokio::test]
    async fn the_first_failure_ends_it() {
        for pace in [Pace::InFlight(1), Pace::PerSecond(1_000.0)] {
            let begin = |job: usize, _| async move { if job < 3 { Ok(job) } else { anyhow::bail!("enough") } };
            assert!(drive((0..100).collect(), pace, begin, || {}).await.is_err());
        }
    }
}
