//! Who gets in, and as whom.

use std::sync::Arc;

use link::tls::{Identity, Roots, client_config};
use link::{ALPN, Call, Code, ConnectError, Connection, Endpoint, Limits, LinkError};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;

use crate::puppet::{Ca, Follower, Pair, loopback, provider, roots, served};

fn call() -> Call {
    Call {
        endpoint: "update".into(),
        target: "mimi://b.example/r/x".into(),
        body: vec![42; 100].into(),
    }
}

/// Whether `identity` can make a call to b.example, whose server knows a.example under `a` and b.example under `b`.
async fn is_let_in(a: &Ca, b: &Ca, identity: Identity) -> bool {
    let known = roots(&[("a.example", a), ("b.example", b)]);
    let follower = Follower::new();
    let served = served(
        b.identity(&["b.example"]),
        known.clone(),
        Limits::default(),
        follower.clone(),
    );
    let endpoint = Endpoint::bind(loopback(), identity, known, Limits::default()).unwrap();
    let let_in = match endpoint.connect(&provider("b.example"), served.address).await {
        // In TLS 1.3 the client is done before the server has judged its certificate.
        Ok(connection) => connection.call(call()).await.is_ok(),
        Err(_) => false,
    };
    assert_eq!(let_in, !follower.peers.lock().unwrap().is_empty());
    let_in
}

#[tokio::test]
async fn e_1_a_call_is_answered_and_its_caller_known() {
    let pair = Pair::new(Limits::default(), Follower::new());
    let answer = pair.connect().await.call(call()).await.unwrap();
    assert_eq!((answer.status, &answer.body), (200, &call().body));
    let peers = pair.follower.peers.lock().unwrap().clone();
    assert!(peers[0].may_speak_for(&provider("a.example")));
    assert!(!peers[0].may_speak_for(&provider("b.example")));
    assert_eq!(peers[0].providers().count(), 1);
}

#[tokio::test]
async fn e_1_a_certificate_counts_only_under_the_roots_of_each_domain_it_names() {
    let (a, b) = (Ca::new(), Ca::new());
    assert!(is_let_in(&a, &b, a.identity(&["a.example"])).await);
    assert!(is_let_in(&a, &b, a.identity(&["mimi.a.example", "a.example"])).await);
    assert!(
        !is_let_in(&a, &b, b.identity(&["a.example"])).await,
        "the root of b for the domain of a"
    );
    assert!(
        !is_let_in(&a, &b, a.identity(&["b.example"])).await,
        "the root of a for the domain of b"
    );
    assert!(
        !is_let_in(&a, &b, a.identity(&["a.example", "b.example"])).await,
        "a claims b beside itself"
    );
    assert!(
        !is_let_in(&a, &b, a.identity(&["c.example"])).await,
        "a domain nobody knows"
    );
    assert!(!is_let_in(&a, &b, a.identity(&["*.example"])).await, "a wildcard");
    assert!(
        !is_let_in(&a, &b, a.identity(&["mimi.a.example"])).await,
        "a host of a, but not its domain"
    );
    assert!(
        !is_let_in(&a, &b, Ca::new().identity(&["a.example"])).await,
        "a root nobody knows"
    );
}

#[tokio::test]
async fn e_2_a_certificate_may_speak_for_several_domains_that_share_a_root() {
    let ca = Ca::new();
    let known = roots(&[("a.example", &ca), ("b.example", &ca)]);
    let (chain, _) = ca.chain(&["a.example", "b.example", "c.example"]);
    let peer = known.peer_of(&chain).unwrap();
    assert!(peer.may_speak_for(&provider("a.example")) && peer.may_speak_for(&provider("b.example")));
    assert!(!peer.may_speak_for(&provider("c.example")));
}

#[tokio::test]
async fn e_1_nobody_gets_in_without_a_certificate() {
    let pair = Pair::new(Limits::default(), Follower::new());
    let mut store = RootCertStore::empty();
    store.add(pair.b.root()).unwrap();
    let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(crypto)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let ended = dial_raw(&pair, Arc::new(tls)).await;
    // 0x100 + 116, the alert certificate_required.
    assert!(matches!(ended, quinn::ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == 0x174));
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let pair = Pair::new(Limits::default(), Follower::new());
    let known = roots(&[("b.example", &pair.b)]);
    let identity = pair.a.identity(&["a.example"]);
    let tls = client_config(&identity, &known, &provider("b.example"), &[b"h3"]);
    let ended = dial_raw(&pair, tls).await;
    // 0x100 + 120, the alert no_application_protocol.
    assert!(matches!(ended, quinn::ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == 0x178));
}

/// How a connection with `tls` ends that never opens a stream.
async fn dial_raw(pair: &Pair, tls: Arc<rustls::ClientConfig>) -> quinn::ConnectionError {
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    match endpoint
        .connect_with(config, pair.served.address, "b.example")
        .unwrap()
        .await
    {
        Ok(connection) => connection.closed().await,
        Err(error) => error,
    }
}

#[tokio::test]
async fn e_1_a_server_must_be_the_provider_dialled() {
    let (a, b) = (Ca::new(), Ca::new());
    let known = roots(&[("a.example", &a), ("b.example", &b)]);
    let hub = Endpoint::bind(loopback(), a.identity(&["a.example"]), known.clone(), Limits::default()).unwrap();
    let dial = async |identity: Identity| -> Result<Connection, ConnectError> {
        let served = served(identity, known.clone(), Limits::default(), Follower::new());
        hub.connect(&provider("b.example"), served.address).await
    };
    assert!(dial(b.identity(&["mimi.b.example", "b.example"])).await.is_ok());
    for (identity, why) in [
        (b.identity(&["mimi.b.example"]), "a host of b, but not its domain"),
        (a.identity(&["b.example"]), "the root of another provider"),
        (a.identity(&["a.example"]), "another provider"),
        (Ca::new().identity(&["b.example"]), "an unknown root"),
    ] {
        assert!(
            matches!(dial(identity).await, Err(ConnectError::Refused(LinkError::Lost(_)))),
            "{why}"
        );
    }
    let unknown = hub.connect(&provider("c.example"), loopback()).await;
    assert!(matches!(unknown, Err(ConnectError::UnknownPeer(peer)) if peer == provider("c.example")));
}

#[tokio::test]
async fn replaced_roots_and_identities_count_from_the_next_handshake_on() {
    let (a, b, new) = (Ca::new(), Ca::new(), Ca::new());
    let known = roots(&[("a.example", &a), ("b.example", &b)]);
    let identity = a.identity(&["a.example"]);
    let hub = Endpoint::bind(loopback(), identity.clone(), known.clone(), Limits::default()).unwrap();
    let served = served(
        b.identity(&["b.example"]),
        known.clone(),
        Limits::default(),
        Follower::new(),
    );
    let b_example = provider("b.example");
    let before = hub.connect(&b_example, served.address).await.unwrap();
    assert!(before.call(call()).await.is_ok());

    let replaced = [
        (provider("a.example"), vec![new.root()]),
        (b_example.clone(), vec![b.root()]),
    ];
    known.replace(replaced.into()).unwrap();
    let refused = hub.connect(&b_example, served.address).await.unwrap();
    assert!(refused.call(call()).await.is_err(), "signed under the former root");
    assert!(before.call(call()).await.is_ok(), "an open link stays");

    let (chain, key) = new.chain(&["a.example"]);
    identity.replace(chain, key).unwrap();
    let after = hub.connect(&b_example, served.address).await.unwrap();
    assert!(after.call(call()).await.is_ok());
}

#[test]
fn an_identity_whose_key_is_not_its_own_is_refused() {
    let ca = Ca::new();
    let (chain, _) = ca.chain(&["a.example"]);
    let (_, key) = ca.chain(&["a.example"]);
    assert!(Identity::new(chain, key).is_err());
    assert!(Identity::new(Vec::new(), ca.chain(&["a.example"]).1).is_err());
    assert!(Identity::from_pem(b"", b"").is_err());
    assert!(Roots::new([(provider("a.example"), Vec::new())].into()).is_err());
}

#[tokio::test]
async fn a_peer_has_only_so_many_connections() {
    let limits = Limits {
        connections_per_peer_max: 2,
        ..Limits::default()
    };
    let pair = Pair::new(limits, Follower::new());
    let (first, second) = (pair.connect().await, pair.connect().await);
    assert!(first.call(call()).await.is_ok() && second.call(call()).await.is_ok());
    let third = pair.connect().await;
    assert!(matches!(third.closed().await, LinkError::Lost(why) if why == Code::TooMany.to_string()));
    assert!(first.call(call()).await.is_ok());
}

#[tokio::test]
async fn the_socket_says_what_it_was_granted() {
    let pair = Pair::new(Limits::default(), Follower::new());
    let facts = pair.hub.facts();
    assert!(facts.segments >= 1 && facts.receive_bytes > 0 && facts.send_bytes > 0);
}
