//! Which keys a transaction has hidden from itself by versionstamps.

use bytes::Bytes;
use std::collections::{BTreeSet, HashSet};

/// The keys whose values were stamped and the prefixes of stamped keys.
///
/// FoundationDB's client keeps such a key unreadable even after the transaction sets it to a value that it knows; only a
/// clear makes it readable. So a clear has to precede the set, and this tells where. It may say yes too often, which costs
/// a needless clear, and never says no too often.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    names: HashSet<Bytes>,
    lengths: BTreeSet<usize>,
}

impl Hidden {
    /// Hides `name`, and every key that begins with it.
    pub(crate) fn add(&mut self, name: Bytes) {
        self.lengths.insert(name.len());
        self.names.insert(name);
    }

    /// Whether `key` may be hidden.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.lengths
            .range(..=key.len())
            .any(|length| self.names.contains(&key[..*length]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hidden_by_its_own_stamp_and_by_a_stamp_after_its_beginning() {
        let mut hidden = Hidden::default();
        assert!(!hidden.covers(b"value"));
        hidden.add(Bytes::from("value"));
        hidden.add(Bytes::from("log/"));
        assert!(hidden.covers(b"value"));
        assert!(hidden.covers(b"log/0123456789"));
        assert!(!hidden.covers(b"log"));
        assert!(!hidden.covers(b"other"));
    }
}
