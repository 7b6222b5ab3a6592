//! A bucket that speaks S3, reached with our own TLS: `object_store` signs requests, hyper and rustls carry them.

use std::sync::Arc;

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use link::tls::certificates_from_pem;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientOptions, ObjectStore};
use tokio::time::timeout;

/// From connecting to the head of the response. A piece of an asset is sent in that time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A bucket and the right to it.
#[derive(Clone)]
pub struct S3Options {
    /// `https://s3.eu-central-1.example.com`.
    pub endpoint: String,
    /// The region that signatures name.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
    /// PEM: the certificates one of which must have issued the endpoint's.
    pub roots_pem: Vec<u8>,
}

impl std::fmt::Debug for S3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

/// Why there is no bucket.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// The roots are not certificates.
    #[error("the roots are no certificates")]
    Roots,
    /// Endpoint, bucket or keys cannot be.
    #[error("the options make no bucket")]
    Options(#[from] object_store::Error),
}

pub(super) fn bucket(options: &S3Options) -> Result<Arc<dyn ObjectStore>, S3Error> {
    let bucket = AmazonS3Builder::new()
        .with_endpoint(&options.endpoint)
        .with_region(&options.region)
        .with_bucket_name(&options.bucket)
        .with_access_key_id(&options.access_key)
        .with_secret_access_key(&options.secret_key)
        .with_http_connector(Connector(carrier(&options.roots_pem)?))
        .build()?;
    Ok(Arc::new(bucket))
}

fn carrier(roots_pem: &[u8]) -> Result<Carrier, S3Error> {
    let mut roots = rustls::RootCertStore::empty();
    let certificates = certificates_from_pem(roots_pem).map_err(|_| S3Error::Roots)?;
    // Systems' bundles hold a few that nobody can use.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(S3Error::Roots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the cryptography provider has suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .build();
    let client = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .build(https);
    Ok(Carrier(client))
}

/// Carries requests to the store.
#[derive(Debug, Clone)]
struct Carrier(Client<HttpsConnector<TcpConnector>, HttpRequestBody>);

#[async_trait]
impl HttpService for Carrier {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = timeout(PATIENCE, self.0.request(request)).await;
        let answer = answer.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?;
        let answer = answer.map_err(|error| {
            let kind = match error.is_connect() {
                true => HttpErrorKind::Connect,
                false => HttpErrorKind::Interrupted,
            };
            HttpError::new(kind, error)
        })?;
        let broken = |error| HttpError::new(HttpErrorKind::Interrupted, error);
        Ok(answer.map(|body| HttpResponseBody::new(body.map_err(broken))))
    }
}

#[derive(Debug)]
struct Connector(Carrier);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}
