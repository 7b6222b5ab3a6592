//! Which providers were heard from. The hub's nodes are told, where couriers may wait to try one of them again: whoever comes to
//! us is there.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mimi::Provider;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::hubs::Hubs;

/// A provider is told at most this often.
const AGAIN: Duration = Duration::from_secs(10);

/// Providers that wait to be told, and that are told at a time.
const TOLD_MAX: usize = 256;

/// The providers heard from lately. There are no more than are known here.
#[derive(Debug)]
pub(crate) struct Heard {
    last: Mutex<HashMap<Provider, Instant>>,
    news: mpsc::Sender<Provider>,
}

/// What is to be told.
#[derive(Debug)]
pub(crate) struct News(mpsc::Receiver<Provider>);

impl Heard {
    pub(crate) fn new() -> (Self, News) {
        let (news, receiver) = mpsc::channel(TOLD_MAX);
        let heard = Self {
            last: Mutex::default(),
            news,
        };
        (heard, News(receiver))
    }

    /// This provider has shown that it is there.
    pub(crate) fn of(&self, provider: &Provider) {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(provider).is_some_and(|at| now - *at < AGAIN) {
            return;
        }
        // Where too many wait it is told the next time.
        if self.news.try_send(provider.clone()).is_ok() {
            last.insert(provider.clone(), now);
        }
    }
}

impl News {
    /// Tells the hub's nodes, until `cancel`.
    pub(crate) async fn tell(mut self, hubs: &Hubs, cancel: CancellationToken) {
        let telling = async {
            let mut followers = Vec::new();
            while self.0.recv_many(&mut followers, TOLD_MAX).await > 0 {
                hubs.wake(&followers).await;
                followers.clear();
            }
        };
        cancel.run_until_cancelled(telling).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_provider_that_comes_often_is_told_once() {
        let (heard, mut news) = Heard::new();
        let [b, c] = ["b.example", "c.example"].map(|name| name.parse::<Provider>().unwrap());
        for provider in [&b, &b, &c, &b] {
            heard.of(provider);
        }
        assert_eq!([news.0.try_recv().unwrap(), news.0.try_recv().unwrap()], [b, c]);
        assert!(news.0.try_recv().is_err());
    }

    #[test]
    fn one_that_found_no_place_is_told_when_it_comes_again() {
        let (heard, mut news) = Heard::new();
        let provider = |n: usize| format!("p{n}.example").parse::<Provider>().unwrap();
        (0..=TOLD_MAX).for_each(|n| heard.of(&provider(n)));
        while news.0.try_recv().is_ok() {}
        heard.of(&provider(0));
        heard.of(&provider(TOLD_MAX));
        assert_eq!(news.0.try_recv().unwrap(), provider(TOLD_MAX));
    }
}
