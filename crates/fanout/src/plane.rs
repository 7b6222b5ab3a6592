//! Where couriers run.

use std::sync::Arc;

use mimi::Provider;
use tokio::runtime::Handle;

/// The runtimes of the couriers. Each follower has one of them, always the same, so that its link can be there, too.
#[derive(Debug, Clone)]
pub struct Plane {
    couriers: Arc<[Handle]>,
    /// Where the log is read for followers that are behind the memory tail.
    readers: Option<Handle>,
}

impl Plane {
    /// Which of the runtimes is the follower's.
    pub fn number(&self, follower: &Provider) -> usize {
        // FNV-1a: it has to be the same everywhere in a process, and nobody gains by choosing a name.
        let hash = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        let name = follower.as_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, hash);
        // What is left of the remainder is less than the number of runtimes.
        usize::try_from(name % self.couriers.len() as u64).unwrap_or_default()
    }

    /// The follower's runtime.
    pub fn of(&self, follower: &Provider) -> &Handle {
        &self.couriers[self.number(follower)]
    }

    /// All of them.
    pub fn all(&self) -> &[Handle] {
        &self.couriers
    }

    /// Has the log be read on `runtime` for followers that are behind, instead of where their couriers are: those of others
    /// that are there do not wait for it.
    #[must_use]
    pub fn reading_on(self, runtime: Handle) -> Self {
        Self {
            readers: Some(runtime),
            ..self
        }
    }

    /// Where the log is read for `follower`.
    pub(crate) fn readers(&self, follower: &Provider) -> &Handle {
        self.readers.as_ref().unwrap_or_else(|| self.of(follower))
    }
}

impl From<Handle> for Plane {
    /// One runtime for all.
    fn from(only: Handle) -> Self {
        vec![only].into()
    }
}

impl From<Vec<Handle>> for Plane {
    /// # Panics
    /// Without a runtime.
    fn from(runtimes: Vec<Handle>) -> Self {
        assert!(!runtimes.is_empty(), "couriers run somewhere");
        Self {
            couriers: runtimes.into(),
            readers: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn followers_are_spread_and_each_keeps_its_runtime() {
        let plane = Plane::from(vec![Handle::current(); 4]);
        let mut counts = [0; 4];
        for number in 0..400 {
            let follower: Provider = format!("p{number}.example").parse().unwrap();
            assert_eq!(plane.number(&follower), plane.clone().number(&follower));
            counts[plane.number(&follower)] += 1;
        }
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
    }
}
