//! mls-rs, as one who follows a group and is not in it.

use mls_rs::MlsMessage;
use mls_rs::extension::ExtensionType;
use mls_rs::external_client::ExternalClient;
use mls_rs::identity::basic::BasicIdentityProvider;
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

use super::{Hashes, OPAQUE};

/// What mls-rs makes of a message; a closure, since the type of its group cannot be named.
type Take = dyn FnMut(&[u8]) -> Result<Hashes, String>;

/// A group as mls-rs sees it.
pub struct Second {
    take: Box<Take>,
}

impl Second {
    /// Begins to follow a group.
    pub fn observe(info: &[u8]) -> Self {
        let client = ExternalClient::builder()
            .crypto_provider(RustCryptoProvider::new())
            .identity_provider(BasicIdentityProvider::new())
            .extension_types([ExtensionType::new(6), ExtensionType::new(OPAQUE)])
            .build();
        let info = MlsMessage::from_bytes(info).unwrap();
        let mut group = client.observe_group(info, None, None).unwrap();
        Self {
            take: Box::new(move |octets| {
                let message = MlsMessage::from_bytes(octets).map_err(|error| error.to_string())?;
                group
                    .process_incoming_message(message)
                    .map_err(|error| error.to_string())?;
                let context = group.group_context();
                assert_eq!(group.tree_hash(), context.tree_hash);
                Ok((context.tree_hash.clone(), context.confirmed_transcript_hash.to_vec()))
            }),
        }
    }

    /// Takes a proposal or a commit: what the group is then, or why mls-rs does not take it.
    pub fn take(&mut self, octets: &[u8]) -> Result<Hashes, String> {
        (self.take)(octets)
    }
}
