//! Octets sealed at rest: whoever reads the store without the hub's key file reads nothing in them, and cannot put one
//! sealed value into the place of another.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use bytes::Bytes;

/// Seals and opens. AES-256-GCM with a random nonce in front: good for far more values than a hub writes.
pub(crate) struct Vault {
    key: RandomizedNonceKey,
}

impl Vault {
    /// The vault whose key is derived from these secrets.
    pub(crate) fn of<'a>(secrets: impl Iterator<Item = &'a [u8]>) -> Self {
        let secret = secrets.collect::<Vec<_>>().concat();
        let key = derive(&secret, &[b"nave hub at rest"]);
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).expect("32 octets are a key of AES-256");
        Self { key }
    }

    /// Seals `octets` for one place; `place` names it.
    pub(crate) fn seal(&self, place: &[u8], octets: &[u8]) -> Bytes {
        let mut sealed = octets.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place), &mut sealed)
            .expect("what fits into memory can be sealed");
        [&nonce.as_ref()[..], &sealed].concat().into()
    }

    /// Opens what was sealed for `place`; `None` for anything else.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut octets = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(place), &mut octets).ok()?.len();
        octets.truncate(opened);
        Some(octets)
    }
}

/// HKDF-SHA256 without salt, 32 octets.
pub(crate) fn derive(secret: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut derived = [0; 32];
    Salt::new(HKDF_SHA256, &[])
        .extract(secret)
        .expand(info, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut derived))
        .expect("one block of HKDF-SHA256 is 32 octets");
    derived
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn vault(secret: &[u8]) -> Vault {
        Vault::of([secret].into_iter())
    }

    #[test]
    fn r_5_what_is_sealed_opens_at_its_place_with_its_key_and_nowhere_else() {
        let sealed = vault(b"secret").seal(b"here", b"octets");
        assert!(!sealed.windows(6).any(|window| window == b"octets"));
        assert_eq!(vault(b"secret").open(b"here", &sealed).unwrap(), b"octets");
        assert_eq!(vault(b"secret").open(b"there", &sealed), None);
        assert_eq!(vault(b"another").open(b"here", &sealed), None);
        for at in 0..sealed.len() {
            let mut damaged = sealed.to_vec();
            damaged[at] ^= 1;
            assert_eq!(vault(b"secret").open(b"here", &damaged), None, "octet {at}");
            assert_eq!(vault(b"secret").open(b"here", &sealed[..at]), None);
        }
        assert_ne!(vault(b"secret").seal(b"here", b"octets"), sealed, "a nonce of its own");
    }
}
