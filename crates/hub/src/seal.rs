//! What the hub encrypts to others: a GroupInfoResponse (mimi-protocol §5.6) is readable by the asking client alone and
//! names the hub that gave it. Nothing is decided here.

use bytes::Bytes;
use mimi::RoomUri;
use mimi::codec::Encode as _;
use mimi::group_info::{GroupInfoRatchetTreeTbe, GroupInfoResponse, GroupInfoSuccess};
use mimi::identifier::IdentifierUri;
use mimi::key_material::Protocol;
use mimi::mls::HpkeCiphertext;
use mimi::mls::label::{encrypt_context, sign_content};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto as _;
use room::command::GroupInfoGrant;

use crate::keys::{HubKeys, UnsupportedSuite};

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The hub has no key for this cipher suite, or cannot encrypt with it.
    #[error(transparent)]
    UnsupportedSuite(#[from] UnsupportedSuite),
    /// The asking client's HPKE key is none.
    #[error("the public key to encrypt to is no key of its cipher suite")]
    BadPublicKey,
}

impl HubKeys {
    /// The GroupInfoResponse that lets the asking client, and nobody else, join `room` by itself.
    ///
    /// # Errors
    /// The client asks with a suite or key with which nothing can be sealed.
    pub fn seal_group_info(&self, room: &RoomUri, grant: &GroupInfoGrant) -> Result<Bytes, SealError> {
        let (suite, key) = self.key(grant.cipher_suite)?;
        let info = encrypt_context(GroupInfoRatchetTreeTbe::LABEL, room.as_str().as_bytes());
        let crypto = RustCrypto::default();
        let sealed = crypto.hpke_seal(suite.hpke_config(), &grant.public_key, &info, &[], &grant.sealed);
        let sealed = sealed.map_err(|_| SealError::BadPublicKey)?;
        let mut response = GroupInfoResponse {
            version: Protocol::Mls10,
            room_id: IdentifierUri::from(room),
            outcome: Ok(GroupInfoSuccess {
                cipher_suite: grant.cipher_suite,
                hub_sender: self.sender(key),
                encrypted_groupinfo_and_tree: HpkeCiphertext {
                    kem_output: sealed.kem_output.as_slice().to_vec().into(),
                    ciphertext: sealed.ciphertext.as_slice().to_vec().into(),
                },
                signature: Bytes::new(),
            }),
        };
        let signature = key.sign(&sign_content(GroupInfoResponse::LABEL, &response.tbs()));
        if let Ok(success) = &mut response.outcome {
            success.signature = signature;
        }
        Ok(response.encode().into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use mimi::codec::Decode as _;
    use openmls_traits::types::Ciphersuite;

    use super::*;

    fn keys() -> HubKeys {
        HubKeys::generate("a.example".parse().unwrap()).unwrap()
    }

    fn room() -> RoomUri {
        "mimi://a.example/r/clubhouse".parse().unwrap()
    }

    #[test]
    fn h_54_the_asking_client_reads_what_was_sealed_and_sees_who_sealed_it() {
        let (keys, room, crypto) = (keys(), room(), RustCrypto::default());
        for suite in [1u16, 2, 3] {
            let known = Ciphersuite::try_from(suite).unwrap();
            let pair = crypto.derive_hpke_keypair(known.hpke_config(), &[7; 32]).unwrap();
            let grant = GroupInfoGrant {
                cipher_suite: suite,
                public_key: pair.public.clone().into(),
                sealed: Bytes::from_static(b"group info and tree"),
            };
            let response = GroupInfoResponse::decode_exact(&keys.seal_group_info(&room, &grant).unwrap()).unwrap();
            let success = response.outcome.clone().unwrap();
            assert_eq!(success.hub_sender, keys.external_sender(suite).unwrap());

            let content = sign_content(GroupInfoResponse::LABEL, &response.tbs());
            let scheme = known.signature_algorithm();
            crypto
                .verify_signature(scheme, &content, &success.hub_sender.signature_key, &success.signature)
                .unwrap();

            let ciphertext = openmls_traits::types::HpkeCiphertext {
                kem_output: success.encrypted_groupinfo_and_tree.kem_output.to_vec().into(),
                ciphertext: success.encrypted_groupinfo_and_tree.ciphertext.to_vec().into(),
            };
            let info = encrypt_context(GroupInfoRatchetTreeTbe::LABEL, room.as_str().as_bytes());
            let opened = crypto
                .hpke_open(known.hpke_config(), &ciphertext, &pair.private, &info, &[])
                .unwrap();
            assert_eq!(opened, b"group info and tree");
        }
    }

    #[test]
    fn h_54_a_key_that_is_none_and_an_unknown_suite_seal_nothing() {
        let grant = |cipher_suite, public_key: &[u8]| GroupInfoGrant {
            cipher_suite,
            public_key: Bytes::copy_from_slice(public_key),
            sealed: Bytes::from_static(b"secret"),
        };
        let keys = keys();
        for bad in [&[][..], &[1; 31], &[1; 33], &[0; 65]] {
            for suite in [1, 2] {
                assert_eq!(
                    keys.seal_group_info(&room(), &grant(suite, bad)),
                    Err(SealError::BadPublicKey)
                );
            }
        }
        let unknown = keys.seal_group_info(&room(), &grant(0x7777, &[1; 32]));
        assert_eq!(unknown, Err(SealError::UnsupportedSuite(UnsupportedSuite(0x7777))));
    }
}
