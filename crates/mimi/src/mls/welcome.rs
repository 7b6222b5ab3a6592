//! Welcome (RFC 9420 §12.4.3.1).

use crate::codec::{Decode, DecodeError, Reader};
use crate::limits;
use crate::mls::{CipherSuite, kept};

/// Fields of a [`Welcome`], in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WelcomeView<'a> {
    /// The group's suite.
    pub cipher_suite: CipherSuite,
    secrets: &'a [u8],
    /// GroupInfo, encrypted.
    pub encrypted_group_info: &'a [u8],
}

impl<'a> WelcomeView<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let cipher_suite = CipherSuite::decode(reader)?;
        let secrets = reader.opaque()?;
        let mut walk = Reader::new(secrets);
        let mut count = 0;
        while !walk.is_empty() {
            read_secret(&mut walk)?;
            count += 1;
            if count > limits::PROPOSALS_MAX {
                return Err(DecodeError::TooMuch {
                    what: "secrets of a Welcome",
                    max: limits::PROPOSALS_MAX,
                });
            }
        }
        Ok(Self {
            cipher_suite,
            secrets,
            encrypted_group_info: reader.opaque()?,
        })
    }

    /// KeyPackageRefs of the clients that are welcomed.
    pub fn key_package_refs(self) -> impl Iterator<Item = &'a [u8]> {
        let mut reader = Reader::new(self.secrets);
        std::iter::from_fn(move || read_secret(&mut reader).ok())
    }
}

/// EncryptedGroupSecrets: gives its KeyPackageRef.
fn read_secret<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let new_member = reader.opaque()?;
    reader.opaque()?;
    reader.opaque()?;
    Ok(new_member)
}

kept!(
    /// Welcome, kept as its octets.
    Welcome,
    WelcomeView
);

impl Welcome {
    /// KeyPackageRefs of the clients that are welcomed.
    pub fn key_package_refs(&self) -> impl Iterator<Item = &[u8]> {
        self.view().key_package_refs()
    }

    /// The group's suite.
    pub fn cipher_suite(&self) -> CipherSuite {
        self.view().cipher_suite
    }
}
