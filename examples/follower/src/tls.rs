//! Who we are, and who the hub is (docs/link.md, "Who is who"): TLS 1.3, a certificate on both sides.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Accepts callers whose certificate `roots` signed, and shows them `chain`.
pub(crate) fn server_config(chain: &Path, key: &Path, roots: &Path, alpn: &[u8]) -> anyhow::Result<ServerConfig> {
    let crypto = Arc::new(aws_lc_rs::default_provider());
    let mut store = RootCertStore::empty();
    for root in certificates(roots)? {
        store
            .add(root)
            .with_context(|| format!("a root in {}", roots.display()))?;
    }
    let callers = WebPkiClientVerifier::builder_with_provider(Arc::new(store), crypto.clone()).build()?;
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| format!("read {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(callers)
        .with_single_cert(certificates(chain)?, private)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    // A resumed session would show a certificate that nobody has looked at.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Whether a caller that was let in is this provider: its certificate must name the domain itself. A wildcard names nobody.
pub(crate) fn speaks_for(chain: &[CertificateDer<'_>], domain: &str) -> bool {
    let named = || {
        let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let mut names = names.value.general_names.iter();
        Some(names.any(|name| matches!(name, GeneralName::DNSName(name) if name.eq_ignore_ascii_case(domain))))
    };
    named().unwrap_or(false)
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.with_context(|| format!("read {}", path.display()))
}
