//! Assets in a bucket that speaks S3, over TLS of our own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use daemon::certificates::DevelopmentCa;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use nave_edge::{AssetLimits, AssetStore, Limits, S3Error, S3Options};
use proto::provider::assets_client::AssetsClient;
use proto::provider::{AssetDescription, UploadAsset, upload_asset::Part};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::provider::{alices, channel};
use crate::world::{World, get};

/// Objects by path; every request must be signed.
type Bucket = Arc<Mutex<BTreeMap<String, Bytes>>>;

async fn answer(bucket: Bucket, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let signature = head
        .headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    assert!(
        signature.unwrap().starts_with("AWS4-HMAC-SHA256 Credential=id/"),
        "signed"
    );
    let mut response = Response::builder()
        .header("etag", "\"etag\"")
        .header("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT");
    if head.method == Method::PUT {
        let octets = body.collect().await.unwrap().to_bytes();
        bucket.lock().unwrap().insert(path, octets);
        return response.body(Full::default()).unwrap();
    }
    let Some(octets) = bucket.lock().unwrap().get(&path).cloned() else {
        return Response::builder().status(404).body(Full::default()).unwrap();
    };
    let whole = octets.len();
    let range = head
        .headers
        .get("range")
        .map(|range| range.to_str().unwrap().to_owned());
    let Some(range) = range else {
        return response
            .header("content-length", whole)
            .body(Full::new(octets))
            .unwrap();
    };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    response = response
        .status(206)
        .header("content-range", format!("bytes {first}-{last}/{whole}"));
    response.body(Full::new(octets.slice(first..=last))).unwrap()
}

/// A store at `localhost`, which proves it under `ca`.
async fn serve(ca: &DevelopmentCa, bucket: Bucket) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    let tls = rustls::ServerConfig::builder_with_provider(crypto.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(crate::world::identity(&ca.issue(&["localhost"]).unwrap())));
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, bucket) = (acceptor.clone(), bucket.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = hyper::service::service_fn(move |request| {
                    let bucket = bucket.clone();
                    async move { Ok::<_, std::convert::Infallible>(answer(bucket, request).await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    format!("https://localhost:{port}")
}

fn options(endpoint: &str, ca: &DevelopmentCa) -> S3Options {
    S3Options {
        endpoint: endpoint.to_owned(),
        region: "here".to_owned(),
        bucket: "bucket".to_owned(),
        access_key: "id".to_owned(),
        secret_key: "secret".to_owned(),
        roots_pem: ca.certificate_pem().as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn as_6_assets_may_be_in_a_bucket() {
    let ca = DevelopmentCa::generate().unwrap();
    let bucket = Bucket::default();
    let endpoint = serve(&ca, bucket.clone()).await;
    let store = AssetStore::s3(&options(&endpoint, &ca)).unwrap();
    let world = World::with_store(Limits::default(), AssetLimits::default(), Some(store)).await;
    let parts = [
        Part::Description(AssetDescription {
            bytes: 10,
            media_type: "image/png".to_owned(),
        }),
        Part::Chunk(Bytes::from_static(b"01234")),
        Part::Chunk(Bytes::from_static(b"56789")),
    ];
    let parts = parts.map(|part| UploadAsset { part: Some(part) });
    let mut api = AssetsClient::new(channel(&world).await);
    let url = api
        .upload(alices(tokio_stream::iter(parts)))
        .await
        .unwrap()
        .into_inner()
        .url;
    let (path, octets) = bucket.lock().unwrap().clone().pop_first().unwrap();
    assert!(path.starts_with("/bucket/"));
    assert_eq!(octets, "0123456789");

    let mut peer = world.peer("b.example").await;
    let path = &url[url.find("/v1/").unwrap()..];
    for (range, status, body) in [("", 200, "0123456789"), ("bytes=2-4", 206, "234")] {
        let request = get("GET", "b.example", path)
            .header("range", range)
            .body(Full::default())
            .unwrap();
        let answer = peer.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.body), (status, Bytes::from(body)));
        assert_eq!(answer.headers["content-type"], "image/png");
    }
    bucket.lock().unwrap().clear();
    let request = get("GET", "b.example", path).body(Full::default()).unwrap();
    assert_eq!(peer.send(request).await.status, 404);
}

#[tokio::test]
async fn a_bucket_is_trusted_under_its_roots_only() {
    let (ca, other) = (DevelopmentCa::generate().unwrap(), DevelopmentCa::generate().unwrap());
    let endpoint = serve(&ca, Bucket::default()).await;
    let none = S3Options {
        roots_pem: b"nothing".to_vec(),
        ..options(&endpoint, &ca)
    };
    assert!(matches!(AssetStore::s3(&none), Err(S3Error::Roots)));
    assert!(
        AssetStore::s3(&options(&endpoint, &other)).is_ok(),
        "nobody is dialled yet"
    );
    assert!(!format!("{:?}", options(&endpoint, &ca)).contains("secret"));
}
