//! Mutual TLS 1.3 in which each provider is verified under the roots of its own domain and of no other. Used by the
//! link and, with another ALPN, by the edge's HTTPS and by crate `peer`.
//!
//! Sessions are never resumed: a resumed session would carry a certificate that nobody has looked at since the roots
//! were replaced.

mod identity;
mod roots;

use std::sync::Arc;

use mimi::Provider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

pub use identity::{Identity, IdentityError};
pub use roots::{Peer, Roots, RootsError, Stranger};

/// The certificates of a PEM file, for [`Roots`].
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

/// Whether `certificate` holds `host` among its subject alternative names (RFC 9525; wildcards as there). Says nothing
/// about who signed it.
pub fn covers(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok(name) = ServerName::try_from(host) else {
        return false;
    };
    let Ok(parsed) = rustls::server::ParsedCertificate::try_from(certificate) else {
        return false;
    };
    rustls::client::verify_server_name(&parsed, &name).is_ok()
}

/// A listener that demands a client certificate of a provider that `roots` knows. Follows later replacements of the
/// identity and the roots by itself.
pub fn server_config(identity: &Identity, roots: &Roots, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(identity::crypto())
        .with_protocol_versions(&[&TLS13])
        .expect("the cryptography provider has suites of TLS 1.3")
        .with_client_cert_verifier(roots.client_verifier())
        .with_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// A caller of `peer`: the certificate at the other end must hold the name dialled and be signed under the roots of
/// `peer`. Follows later replacements of the identity and the roots by itself.
pub fn client_config(identity: &Identity, roots: &Roots, peer: &Provider, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(identity::crypto())
        .with_protocol_versions(&[&TLS13])
        .expect("the cryptography provider has suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(roots.server_verifier(peer))
        .with_client_cert_resolver(Arc::new(identity.clone()));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
