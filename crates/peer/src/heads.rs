//! Whether a head was signed by the hub that it names. Whether the head is true nobody can tell from it alone.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use mimi::catch_up::RoomHead;
use mimi::mls::{CipherSuite, ExternalSender};

/// Whether `sender` signed the head: its credential names the provider of the head's room, and its key verifies the
/// signature under the scheme of the head's cipher suite.
pub fn verifies(head: &RoomHead, sender: &ExternalSender) -> bool {
    let Ok(room) = head.room.room() else { return false };
    let Some(algorithm) = algorithm(head.cipher_suite) else {
        return false;
    };
    sender.credential.provider().as_ref() == Some(room.provider())
        && UnparsedPublicKey::new(algorithm, &sender.signature_key)
            .verify(&head.tbs(), &head.signature)
            .is_ok()
}

/// The signature scheme of a cipher suite, if hubs sign with it.
fn algorithm(suite: CipherSuite) -> Option<&'static dyn VerificationAlgorithm> {
    match suite {
        0x0001 | 0x0003 => Some(&ED25519),
        0x0002 => Some(&ECDSA_P256_SHA256_ASN1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use bytes::Bytes;
    use mimi::identifier::IdentifierUri;
    use mimi::mls::Credential;

    use super::*;

    #[test]
    fn b_1_only_the_hub_of_the_room_signs_its_head() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let sender = |domain: &str| ExternalSender {
            signature_key: Bytes::copy_from_slice(pair.public_key().as_ref()),
            credential: Credential::basic(format!("mimi://{domain}")),
        };
        let mut head = RoomHead {
            room: IdentifierUri(Bytes::from_static(b"mimi://a.example/r/x")),
            ledger: [1; 16],
            seq: 7,
            chain: [2; 32],
            epoch: 3,
            cipher_suite: 1,
            signature: Bytes::new(),
        };
        head.signature = Bytes::copy_from_slice(pair.sign(&head.tbs()).as_ref());
        assert!(verifies(&head, &sender("a.example")));
        assert!(!verifies(&head, &sender("b.example")));
        for suite in [2, 7] {
            let mut other = head.clone();
            other.cipher_suite = suite;
            assert!(!verifies(&other, &sender("a.example")));
        }
        head.seq += 1;
        assert!(!verifies(&head, &sender("a.example")));
    }
}
