//! Bearer tokens are kept as digests only: reading the configuration does not let anybody act.

use std::fmt;
use std::str::FromStr;

use rand::RngCore;
use sha2::{Digest, Sha256};

/// SHA-256 of a token; 64 hexadecimal digits in configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest([u8; 32]);

/// Not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the SHA-256 of a token as 64 hexadecimal digits")]
pub struct NotADigest;

impl TokenDigest {
    /// The digest of a token as a client presents it.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl FromStr for TokenDigest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| NotADigest)?;
        Ok(Self(digest))
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A new token: 32 random octets, hexadecimal. Digests need no salt, as no dictionary holds such tokens.
pub fn random() -> String {
    let mut octets = [0; 32];
    rand::rng().fill_bytes(&mut octets);
    hex::encode(octets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_digest_survives_its_text() {
        let digest = TokenDigest::of(&random());
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn a_digest_is_the_sha_256_of_the_token() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenDigest::of("abc"), digest.parse().unwrap());
        assert_eq!("ba78".parse::<TokenDigest>(), Err(NotADigest));
    }

    #[test]
    fn tokens_do_not_repeat() {
        assert_ne!(random(), random());
    }
}
