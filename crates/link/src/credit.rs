//! The follower's account of one shard on one stream. What has been granted and not yet settled bounds what may be
//! waiting in memory; plain numbers, no I/O.

/// Counts octets since the last Position.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Resumes read: only the Position of the last one opens the account.
    resumes: u64,
    /// Given again whenever everything is settled; 0: no Position is out.
    window: u64,
    granted: u64,
    used: u64,
    settled: u64,
}

impl Meter {
    /// A Resume was read, the one of this number: until its Position is written nothing may come.
    pub(crate) fn suspend(&mut self) -> u64 {
        *self = Self {
            resumes: self.resumes + 1,
            ..Self::default()
        };
        self.resumes
    }

    /// The Position of Resume number `resume` is about to be written. The credit to announce after it, unless another
    /// Resume has been read meanwhile.
    pub(crate) fn open(&mut self, resume: u64, window: u64) -> Option<u64> {
        if resume != self.resumes {
            return None;
        }
        *self = Self {
            resumes: self.resumes,
            window,
            granted: window,
            ..Self::default()
        };
        Some(window)
    }

    /// A Deliver of `bytes` arrived. `false`: it exceeds what was granted.
    #[must_use]
    pub(crate) fn charge(&mut self, bytes: u64) -> bool {
        let within = self.granted - self.used >= bytes;
        if within {
            self.used += bytes;
        }
        within
    }

    /// A Deliver of `bytes` is durable. The credit to announce, when there is more than before.
    pub(crate) fn settle(&mut self, bytes: u64) -> Option<u64> {
        // A Deliver from before the last Resume is none of this account.
        self.settled = (self.settled + bytes).min(self.used);
        let total = self.settled + self.window;
        let more = total > self.granted;
        self.granted = self.granted.max(total);
        more.then_some(total)
    }

    /// Octets to be set aside beyond the window for a credit of `total`. `None`: more than any one frame may need.
    pub(crate) fn excess(&self, total: u64, frame_bytes_max: u64) -> Option<u64> {
        if self.window == 0 {
            return Some(0);
        }
        let within = total <= self.used.saturating_add(frame_bytes_max);
        within.then(|| total.saturating_sub(self.settled + self.window))
    }

    /// Grants `total`, for which the octets of [`excess`](Self::excess) were set aside. The credit to announce.
    pub(crate) fn grant(&mut self, total: u64) -> Option<u64> {
        if self.window == 0 {
            return None;
        }
        self.granted = self.granted.max(total);
        Some(self.granted)
    }

    /// Whether the window alone covers what is granted, so that nothing set aside is needed any more.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.settled + self.window >= self.granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(window: u64) -> Meter {
        let mut meter = Meter::default();
        let resume = meter.suspend();
        meter.open(resume, window);
        meter
    }

    #[test]
    fn nothing_is_let_in_before_the_position_nor_beyond_the_credit() {
        let mut meter = Meter::default();
        assert!(!meter.charge(1));
        let resume = meter.suspend();
        assert!(!meter.charge(1));
        assert_eq!(meter.open(resume, 100), Some(100));
        assert!(meter.charge(60));
        assert!(!meter.charge(41));
        assert!(meter.charge(40));
        assert!(!meter.charge(1));
        assert_eq!(meter.settle(60), Some(160));
        assert!(meter.charge(60));
        meter.suspend();
        assert!(!meter.charge(1));
    }

    #[test]
    fn an_entry_beyond_the_window_is_let_in_once_memory_was_set_aside_for_it() {
        let mut meter = opened(100);
        assert!(meter.charge(30));
        assert_eq!(meter.excess(30 + 500, 400), None, "larger than any frame");
        assert_eq!(meter.excess(30 + 400, 400), Some(330));
        assert_eq!(meter.grant(430), Some(430));
        assert!(!meter.is_at_rest());
        assert_eq!(meter.settle(30), None, "the window alone gives 130 so far");
        assert!(meter.charge(400));
        assert_eq!(meter.settle(400), Some(530));
        assert!(meter.is_at_rest());
    }

    #[test]
    fn what_waits_never_exceeds_the_window_and_what_was_set_aside() {
        let mut meter = opened(64);
        let (mut waiting, mut sizes) = (0, std::collections::VecDeque::new());
        for step in 1..10_000_u64 {
            let bytes = step * 7_919 % 61 + 1;
            if meter.charge(bytes) {
                waiting += bytes;
                sizes.push_back(bytes);
            } else {
                let bytes = sizes.pop_front().expect("a full window has something in it");
                meter.settle(bytes);
                waiting -= bytes;
            }
            assert!(waiting <= 64, "{waiting} at step {step}");
        }
    }

    #[test]
    fn a_deliver_from_before_a_resume_does_not_count_after_it() {
        let mut meter = opened(100);
        assert!(meter.charge(80));
        let resume = meter.suspend();
        assert_eq!(meter.settle(80), None);
        meter.open(resume, 100);
        assert!(meter.charge(100));
        assert!(!meter.charge(1));
    }

    #[test]
    fn only_the_last_of_several_resumes_opens_the_account() {
        let mut meter = Meter::default();
        let (first, second) = (meter.suspend(), meter.suspend());
        assert_eq!(meter.open(first, 100), None);
        assert!(!meter.charge(1));
        assert_eq!(meter.excess(1_000, 10), Some(0));
        assert_eq!(meter.grant(1_000), None);
        assert_eq!(meter.open(second, 100), Some(100));
        assert!(meter.charge(100));
    }
}
