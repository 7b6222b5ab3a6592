//! What a node tells the others of itself.

/// Longest address, in octets.
const ADDRESS_MAX: usize = 255;
/// Longest name of a zone, in octets.
const ZONE_MAX: usize = 63;
/// Largest weight.
const WEIGHT_MAX: u32 = 1_000_000;

/// Where a node is, where it can be reached, and how much of the work it takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    address: String,
    zone: String,
    weight: u32,
}

/// What cannot be a [`Site`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSite {
    /// An address is too long.
    #[error("an address has at most {ADDRESS_MAX} octets")]
    Address,
    /// A zone's name is too long.
    #[error("the name of a zone has at most {ZONE_MAX} octets")]
    Zone,
    /// A weight is none.
    #[error("a weight is 1 to {WEIGHT_MAX}")]
    Weight,
}

impl Site {
    /// A node whose RPC answers at `address` (at most 255 octets), which is its name in the cluster as well. Shards are
    /// spread over zones (at most 63 octets; where all are in one, any name will do) by the weights of their nodes, and
    /// over a zone's nodes by weight (1 to 1,000,000).
    pub fn new(address: impl Into<String>, zone: impl Into<String>, weight: u32) -> Result<Self, BadSite> {
        let (address, zone) = (address.into(), zone.into());
        if address.len() > ADDRESS_MAX {
            return Err(BadSite::Address);
        }
        if zone.len() > ZONE_MAX {
            return Err(BadSite::Zone);
        }
        if !(1..=WEIGHT_MAX).contains(&weight) {
            return Err(BadSite::Weight);
        }
        Ok(Self { address, zone, weight })
    }

    /// Where its RPC answers.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The zone that it is in.
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// How much of the work it takes.
    pub fn weight(&self) -> u32 {
        self.weight
    }
}

/// A node that nobody has to find.
impl Default for Site {
    fn default() -> Self {
        Self {
            address: String::new(),
            zone: String::new(),
            weight: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_site_may_be_has_bounds() {
        assert_eq!(Site::new("a".repeat(256), "", 1), Err(BadSite::Address));
        assert_eq!(Site::new("", "z".repeat(64), 1), Err(BadSite::Zone));
        assert_eq!(Site::new("", "", 0), Err(BadSite::Weight));
        assert_eq!(Site::new("", "", WEIGHT_MAX + 1), Err(BadSite::Weight));
        assert!(Site::new("a".repeat(255), "z".repeat(63), WEIGHT_MAX).is_ok());
    }
}
