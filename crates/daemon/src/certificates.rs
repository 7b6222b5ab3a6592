//! A development CA in a directory: enough to run providers against each other on one machine. In production certificates
//! come from elsewhere, and only their files are read.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

/// File of the CA's certificate in its directory.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// File of the CA's key in its directory.
pub const CA_KEY: &str = "ca.key";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Clocks of two machines may differ: certificates are valid from a day ago.
const SKEW: Duration = DAY;
const CA_LIFE: Duration = DAY.saturating_mul(3_650);
const LEAF_LIFE: Duration = DAY.saturating_mul(825);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A certificate or key is not one, or a name cannot stand in one.
    #[error("certificate or key not usable")]
    Certificate(#[from] rcgen::Error),
    /// The directory holds a certificate or a key, but not both.
    #[error("{} holds one of {CA_CERTIFICATE} and {CA_KEY} without the other", .0.display())]
    Half(PathBuf),
}

/// A certificate authority whose key is at hand.
pub struct DevelopmentCa {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for DevelopmentCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevelopmentCa").finish_non_exhaustive()
    }
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, without its CA.
    pub certificate_pem: String,
    /// PKCS #8.
    pub key_pem: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

impl DevelopmentCa {
    /// A new CA, in memory only.
    ///
    /// # Errors
    /// No key can be made.
    pub fn generate() -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        Self::with_key(key)
    }

    fn with_key(key: KeyPair) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Nave development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params, CA_LIFE);
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate_pem,
            issuer: Issuer::new(params, key),
        })
    }

    /// The CA of a directory: read from `ca.pem` and `ca.key`, or made and written there (the key readable by its owner only).
    ///
    /// # Errors
    /// The files cannot be read or written, or are not a CA's.
    pub fn in_directory(directory: &Path) -> Result<Self, CertificateError> {
        let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
        match (certificate.exists(), key.exists()) {
            (true, true) => {
                let certificate_pem = read(&certificate)?;
                let key = KeyPair::from_pem(&read(&key)?)?;
                Ok(Self {
                    issuer: Issuer::from_ca_cert_pem(&certificate_pem, key)?,
                    certificate_pem,
                })
            }
            (false, false) => {
                let pair = KeyPair::generate()?;
                let key_pem = pair.serialize_pem();
                let ca = Self::with_key(pair)?;
                std::fs::create_dir_all(directory).map_err(|source| CertificateError::File {
                    path: directory.to_owned(),
                    source,
                })?;
                write_private(&key, &key_pem)?;
                write_public(&certificate, &ca.certificate_pem)?;
                Ok(ca)
            }
            _ => Err(CertificateError::Half(directory.to_owned())),
        }
    }

    /// The trust root, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a certificate for server and client use that holds `names` as dNSName (or iPAddress, where a name is one).
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn issue(&self, names: &[&str]) -> Result<Issued, CertificateError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let common = names.iter().find(|name| name.parse::<IpAddr>().is_err()).cloned();
        let mut params = CertificateParams::new(names)?;
        if let Some(name) = common {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        validity(&mut params, LEAF_LIFE);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

impl Issued {
    /// Writes both files; the key is readable by its owner only.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<(), CertificateError> {
        write_private(key, &self.key_pem)?;
        write_public(certificate, &self.certificate_pem)
    }
}

fn validity(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + now;
    params.not_before = now - SKEW;
    params.not_after = now + life;
}

fn read(path: &Path) -> Result<String, CertificateError> {
    std::fs::read_to_string(path).map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}

/// Writes a secret to a file of mode 0600, whether or not it exists already.
///
/// # Errors
/// The file cannot be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), CertificateError> {
    // A file that exists keeps its mode when opened: make a new one and move it into place.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let result = (|| {
        let _ = std::fs::remove_file(&new);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    })();
    result.map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}

fn write_public(path: &Path, text: &str) -> Result<(), CertificateError> {
    std::fs::write(path, text).map_err(|source| CertificateError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    fn roots(pem: &str) -> Arc<rustls::RootCertStore> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        Arc::new(roots)
    }

    /// A handshake in memory, client certificate included.
    fn handshake(roots_pem: &str, issued: &Issued, name: &'static str) -> Result<(), rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()];
        let key = || PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots(roots_pem), provider.clone());
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain.clone(), key())?;
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots(roots_pem))
            .with_client_auth_cert(chain, key())?;
        let mut server = rustls::ServerConnection::new(Arc::new(server))?;
        let mut client = rustls::ClientConnection::new(Arc::new(client), ServerName::try_from(name).unwrap())?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn an_issued_certificate_serves_and_asks_under_its_names() {
        let ca = DevelopmentCa::generate().unwrap();
        let issued = ca.issue(&["a.example", "mimi.a.example", "127.0.0.1"]).unwrap();
        handshake(ca.certificate_pem(), &issued, "mimi.a.example").unwrap();
        handshake(ca.certificate_pem(), &issued, "127.0.0.1").unwrap();
        handshake(ca.certificate_pem(), &issued, "b.example").unwrap_err();
    }

    #[test]
    fn another_ca_is_not_trusted() {
        let (ca, other) = (DevelopmentCa::generate().unwrap(), DevelopmentCa::generate().unwrap());
        let issued = other.issue(&["a.example"]).unwrap();
        handshake(ca.certificate_pem(), &issued, "a.example").unwrap_err();
    }

    #[test]
    fn a_directory_keeps_its_ca() {
        let dir = tempfile::tempdir().unwrap();
        let made = DevelopmentCa::in_directory(dir.path()).unwrap();
        let read = DevelopmentCa::in_directory(dir.path()).unwrap();
        assert_eq!(made.certificate_pem(), read.certificate_pem());
        let issued = read.issue(&["a.example"]).unwrap();
        handshake(made.certificate_pem(), &issued, "a.example").unwrap();

        std::fs::remove_file(dir.path().join(CA_KEY)).unwrap();
        let error = DevelopmentCa::in_directory(dir.path()).unwrap_err();
        assert!(matches!(error, CertificateError::Half(_)), "{error}");
    }

    #[test]
    fn a_key_file_is_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        DevelopmentCa::in_directory(dir.path()).unwrap();
        let key = dir.path().join(CA_KEY);
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&key, "secret").unwrap();
        let mode = std::fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
