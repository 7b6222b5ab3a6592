//! Trust roots per peer, and the only way to a [`Peer`]. A certificate speaks for a provider only when it holds the
//! provider's domain as a dNSName, letter by letter, and is signed under the roots configured for that very domain.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use mimi::Provider;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::crypto;

/// Why a set of roots is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A provider has no root at all.
    #[error("no root certificate for {0}")]
    None(Provider),
    /// A root of a provider is not a certificate.
    #[error("a root certificate of {0} is malformed")]
    Malformed(Provider),
}

/// The certificate names no provider known here, or one whose roots did not sign it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate speaks for no provider known here")]
pub struct Stranger;

/// The providers known here, each with the certificates under which its own must be signed. Cloning shares it: a
/// [`replace`](Self::replace) is seen by every handshake after.
#[derive(Clone)]
pub struct Roots(Arc<RwLock<Arc<Table>>>);

type Table = BTreeMap<Provider, Trust>;

struct Trust {
    as_client: Arc<dyn ClientCertVerifier>,
    as_server: Arc<WebPkiServerVerifier>,
}

impl Roots {
    /// The roots of each provider. No two need differ, but a certificate that names several known providers must be
    /// signed under the roots of each.
    pub fn new(roots: BTreeMap<Provider, Vec<CertificateDer<'static>>>) -> Result<Self, RootsError> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(table(roots)?)))))
    }

    /// Takes other roots for every handshake from now on. On an error the former ones stay.
    pub fn replace(&self, roots: BTreeMap<Provider, Vec<CertificateDer<'static>>>) -> Result<(), RootsError> {
        let table = Arc::new(table(roots)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(())
    }

    /// Whether `provider` is known.
    pub fn knows(&self, provider: &Provider) -> bool {
        self.current().contains_key(provider)
    }

    /// Whom the client of a finished handshake speaks for. `chain` is the `peer_certificates()` of a session made with
    /// [`server_config`](super::server_config). It is verified again nonetheless, so that a `Peer` is never made of
    /// less.
    pub fn peer_of(&self, chain: &[CertificateDer<'_>]) -> Result<Peer, Stranger> {
        let (end_entity, intermediates) = chain.split_first().ok_or(Stranger)?;
        let named = self.verified(end_entity, |trust| {
            trust
                .as_client
                .verify_client_cert(end_entity, intermediates, UnixTime::now())
                .map(drop)
        });
        Ok(Peer(Arc::new(named.map_err(|_| Stranger)?)))
    }

    pub(super) fn client_verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::new(AnyPeer(self.clone()))
    }

    pub(super) fn server_verifier(&self, peer: &Provider) -> Arc<dyn ServerCertVerifier> {
        Arc::new(ThatPeer {
            roots: self.clone(),
            peer: peer.clone(),
        })
    }

    fn current(&self) -> Arc<Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The known providers that the certificate names, each of them verified. One that fails fails all: whoever signed
    /// it claimed a domain that is not theirs to give.
    fn verified(
        &self,
        end_entity: &CertificateDer<'_>,
        verify: impl Fn(&Trust) -> Result<(), rustls::Error>,
    ) -> Result<BTreeSet<Provider>, rustls::Error> {
        let table = self.current();
        let named: BTreeSet<Provider> = names(end_entity)?
            .into_iter()
            .filter(|name| table.contains_key(name))
            .collect();
        if named.is_empty() {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        for name in &named {
            verify(&table[name])?;
        }
        Ok(named)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.current().keys()).finish()
    }
}

fn table(roots: BTreeMap<Provider, Vec<CertificateDer<'static>>>) -> Result<Table, RootsError> {
    let trust = |(provider, certificates): (Provider, Vec<CertificateDer<'static>>)| {
        let mut store = RootCertStore::empty();
        for certificate in certificates {
            if store.add(certificate).is_err() {
                return Err(RootsError::Malformed(provider));
            }
        }
        let store = Arc::new(store);
        let as_client = WebPkiClientVerifier::builder_with_provider(store.clone(), crypto()).build();
        let as_server = WebPkiServerVerifier::builder_with_provider(store, crypto()).build();
        match (as_client, as_server) {
            (Ok(as_client), Ok(as_server)) => Ok((provider, Trust { as_client, as_server })),
            _ => Err(RootsError::None(provider)),
        }
    };
    roots.into_iter().map(trust).collect()
}

/// The domains among the dNSNames of a certificate. A wildcard is no domain, so it speaks for nobody.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<Provider>, rustls::Error> {
    let malformed = || rustls::Error::from(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| malformed())?;
    let Some(extension) = parsed.subject_alternative_name().map_err(|_| malformed())? else {
        return Ok(Vec::new());
    };
    let names = extension.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => name.to_ascii_lowercase().parse().ok(),
        _ => None,
    });
    Ok(names.collect())
}

/// Whoever is at the other end of a connection has proved to be these providers: only [`Roots::peer_of`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer(Arc<BTreeSet<Provider>>);

impl Peer {
    /// Whether the certificate covers `provider` (mimi-protocol §4.1: the domain of `From`).
    pub fn may_speak_for(&self, provider: &Provider) -> bool {
        self.0.contains(provider)
    }

    /// All providers that it may speak for, at least one.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }

    /// The first of [`providers`](Self::providers), as a name for logs and limits.
    pub fn name(&self) -> &Provider {
        self.0.first().expect("a peer has a domain")
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

/// Verifies a client as whichever known providers it claims to be.
#[derive(Debug)]
struct AnyPeer(Roots);

impl ClientCertVerifier for AnyPeer {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.verified(end_entity, |trust| {
            trust
                .as_client
                .verify_client_cert(end_entity, intermediates, now)
                .map(drop)
        })?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        tls_1_3_only()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

/// Verifies a server as the host dialled, under the roots of one provider.
#[derive(Debug)]
struct ThatPeer {
    roots: Roots,
    peer: Provider,
}

impl ServerCertVerifier for ThatPeer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let table = self.roots.current();
        let trust = table
            .get(&self.peer)
            .ok_or(CertificateError::ApplicationVerificationFailure)?;
        trust
            .as_server
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        tls_1_3_only()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

fn tls_1_3_only() -> Result<HandshakeSignatureValid, rustls::Error> {
    Err(rustls::Error::General("TLS 1.3 only".into()))
}

fn signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let algorithms = crypto().signature_verification_algorithms;
    rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
}

fn schemes() -> Vec<SignatureScheme> {
    crypto().signature_verification_algorithms.supported_schemes()
}
