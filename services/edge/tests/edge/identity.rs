//! Who may connect, and as whom it may speak (E-1, E-2).

use daemon::certificates::DevelopmentCa;
use http::Request;
use http_body_util::Full;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::bodies::{ROOM, update};
use crate::world::{World, post, provider};

const REQUEST: &[u8] = b"GET /.well-known/mimi-protocol-directory HTTP/1.1\r\nhost: a.example\r\n\r\n";

/// The first octets of an answer, if there is any.
async fn is_answered(stream: std::io::Result<tokio_rustls::client::TlsStream<TcpStream>>) -> bool {
    let Ok(mut stream) = stream else { return false };
    let _ = stream.write_all(REQUEST).await;
    let mut octets = [0; 12];
    stream.read_exact(&mut octets).await.is_ok() && octets == *b"HTTP/1.1 200"
}

#[tokio::test]
async fn e_1_a_known_provider_under_its_root_is_answered() {
    let world = World::start().await;
    assert!(is_answered(world.tls(&world.ca, "b.example", b"http/1.1").await).await);
}

#[tokio::test]
async fn e_1_a_certificate_for_a_domain_not_known_here_is_refused() {
    let world = World::start().await;
    for domain in ["d.example", "x.b.example", "*.example"] {
        let refused = !is_answered(world.tls(&world.ca, domain, b"http/1.1").await).await;
        assert!(refused, "{domain}");
    }
}

#[tokio::test]
async fn e_1_a_certificate_of_another_root_is_refused() {
    let world = World::start().await;
    let other = DevelopmentCa::generate().unwrap();
    assert!(!is_answered(world.tls(&other, "b.example", b"http/1.1").await).await);
}

#[tokio::test]
async fn e_1_nobody_connects_without_a_certificate() {
    let world = World::start().await;
    let mut roots = rustls::RootCertStore::empty();
    for root in link::tls::certificates_from_pem(world.ca.certificate_pem().as_bytes()).unwrap() {
        roots.add(root).unwrap();
    }
    let crypto = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(crypto.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(world.https).await.unwrap();
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let connected = connector
        .connect(ServerName::try_from("a.example").unwrap(), stream)
        .await;
    assert!(!is_answered(connected).await);
}

#[tokio::test]
async fn e_2_from_must_be_one_address_that_the_certificate_covers() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let cases: [(&[&str], u16); 10] = [
        (&["mimi@b.example"], 200),
        (&["mimi@B.example"], 200),
        (&[], 400),
        (&["mimi@b.example", "mimi@b.example"], 400),
        (&["bob@b.example"], 400),
        (&["b.example"], 400),
        (&["Bob <mimi@b.example>"], 400),
        (&["mimi@"], 400),
        (&["mimi@c.example"], 403),
        (&["mimi@x.b.example"], 403),
    ];
    for (from, status) in cases {
        let mut request = Request::post("/v1/update/a.example%2Fr%2Fclubhouse").header("host", "a.example");
        for from in from {
            request = request.header("from", *from);
        }
        let answer = peer.send(request.body(Full::new(update())).unwrap()).await;
        assert_eq!(answer.status, status, "{from:?}");
    }
    assert_eq!(world.hub.0.asked().len(), 2);
}

#[tokio::test]
async fn e_2_host_must_be_ours_whatever_the_port() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (host, status) in [
        ("a.example:8443", 200),
        ("Mimi.A.example", 200),
        ("b.example", 421),
        ("a.example.evil", 421),
        ("@@", 400),
    ] {
        let mut request = post("b.example", "update", ROOM).body(Full::new(update())).unwrap();
        request.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(peer.send(request).await.status, status, "{host}");
    }
    let directory = Request::get(peer::WELL_KNOWN).header("host", "b.example");
    let answer = peer.send(directory.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status, 421);
}

#[tokio::test]
async fn e_2_a_certificate_of_two_providers_may_speak_for_both() {
    let world = World::start().await;
    let issued = world.ca.issue(&["b.example", "c.example"]).unwrap();
    let identity = crate::world::identity(&issued);
    let config = link::tls::client_config(&identity, &world.roots, &provider("a.example"), &[b"h2"]);
    for from in ["b.example", "c.example"] {
        let stream = TcpStream::connect(world.https).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
        let request = Request::post("https://a.example/v1/update/a.example%2Fr%2Fclubhouse")
            .header("from", format!("mimi@{from}"))
            .body(Full::new(update()))
            .unwrap();
        assert_eq!(crate::world::over_http2(stream, request).await.status, 200);
        assert_eq!(world.hub.0.asked().pop().unwrap().source, from);
    }
}
