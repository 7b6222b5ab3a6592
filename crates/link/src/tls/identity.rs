//! Who we are: a certificate chain and its key, replaceable while connections are open.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The one cryptography provider: aws-lc-rs, X25519MLKEM768 preferred.
pub(super) fn crypto() -> Arc<CryptoProvider> {
    static CRYPTO: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    CRYPTO
        .get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .clone()
}

/// Why a certificate and a key are no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not PEM, or without a certificate or a key.
    #[error("not a PEM file with what is needed")]
    Pem(#[from] rustls_pki_types::pem::Error),
    /// The chain is empty, or the key is of an unknown kind or does not belong to the certificate.
    #[error("certificate and key do not fit")]
    Unfit(#[from] rustls::Error),
}

/// Our certificate chain and its key. Cloning shares it: a [`replace`](Self::replace) is seen by every handshake after.
#[derive(Clone)]
pub struct Identity(Arc<RwLock<Arc<CertifiedKey>>>);

impl Identity {
    /// The chain, our own certificate first, and the private key of that one.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(RwLock::new(certified(chain, key)?))))
    }

    /// As [`new`](Self::new), from PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>()?;
        Self::new(chain, PrivateKeyDer::from_pem_slice(key)?)
    }

    /// Takes another chain and key for every handshake from now on. On an error the former ones stay.
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), IdentityError> {
        let certified = certified(chain, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    /// As [`replace`](Self::replace), from PEM.
    pub fn replace_pem(&self, chain: &[u8], key: &[u8]) -> Result<(), IdentityError> {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>()?;
        self.replace(chain, PrivateKeyDer::from_pem_slice(key)?)
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, IdentityError> {
    let certified = CertifiedKey::from_der(chain, key, &crypto())?;
    certified.end_entity_cert()?;
    Ok(Arc::new(certified))
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl rustls::server::ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl rustls::client::ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
