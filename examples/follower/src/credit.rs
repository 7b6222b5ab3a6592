//! Credit (docs/link.md, "Credit"): how many octets of one shard the hub may send. Plain numbers.

use crate::frame::{Code, HUB_BYTES_MAX};

/// What the hub may always have on its way for one shard.
pub(crate) const WINDOW: u64 = 64 << 10;

/// The account of one shard, from the Position on. Frames are taken one after the other here, so what was used has also
/// been stored by the time that anybody looks.
#[derive(Debug)]
pub(crate) struct Credit {
    granted: u64,
    used: u64,
}

impl Credit {
    /// The account that a Position opens.
    pub(crate) fn open() -> Self {
        Self {
            granted: WINDOW,
            used: 0,
        }
    }

    /// The `bytes_total` to announce.
    pub(crate) fn total(&self) -> u64 {
        self.granted
    }

    /// A Deliver of so many octets came.
    pub(crate) fn charge(&mut self, bytes: u64) -> Result<(), Code> {
        if bytes > self.granted - self.used {
            return Err(Code::Credit);
        }
        self.used += bytes;
        Ok(())
    }

    /// All that came is stored: the whole window is free again.
    pub(crate) fn settle(&mut self) {
        self.granted = self.granted.max(self.used + WINDOW);
    }

    /// The hub wants more than the window, for one large frame. One frame at a time is in memory: so it may.
    pub(crate) fn want(&mut self, bytes_total: u64) -> Result<(), Code> {
        if bytes_total > self.used.saturating_add(HUB_BYTES_MAX as u64) {
            return Err(Code::Credit);
        }
        self.granted = self.granted.max(bytes_total);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_kept_as_the_document_says() {
        let mut credit = Credit::open();
        assert_eq!(credit.total(), WINDOW);
        assert_eq!(credit.charge(1_000), Ok(()));
        assert_eq!(credit.charge(WINDOW), Err(Code::Credit));
        credit.settle();
        assert_eq!(credit.total(), 1_000 + WINDOW);
        assert_eq!(credit.want(1_000 + 100_000), Ok(()));
        assert_eq!(credit.total(), 101_000);
        assert_eq!(credit.charge(100_000), Ok(()));
        assert_eq!(credit.charge(1), Err(Code::Credit));
        credit.settle();
        assert_eq!(credit.total(), 101_000 + WINDOW);
        assert_eq!(credit.want(u64::MAX), Err(Code::Credit));
        // A Want for what is given already takes nothing away.
        assert_eq!(credit.want(1), Ok(()));
        assert_eq!(credit.total(), 101_000 + WINDOW);
    }
}
