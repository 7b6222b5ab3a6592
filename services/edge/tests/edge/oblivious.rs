//! The oblivious gateway, which knows the asset and not who wants it, and the relay, which knows who and not what.

use bhttp::{Message, Mode};
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use nave_edge::{AssetLimits, Limits, Rate, asset_body};
use ohttp::ClientRequest;
use proto::link::Answer as Answered;
use proto::provider::assets_client::AssetsClient;
use proto::provider::{ObliviousCall, ObliviousKeysCall};
use tonic::Code;

use crate::provider::{alices, channel, with_token};
use crate::services::Keeper;
use crate::world::{Answer, Peer, World, get};

const GATEWAY: &str = "/.well-known/ohttp-gateway";

/// A binary request with headers that are nobody's business.
fn request(method: &str, scheme: &str, authority: &str, path: &str) -> Vec<u8> {
    let mut message = Message::request(method.into(), scheme.into(), authority.into(), path.into());
    message.put_header("range", "bytes=1-2");
    message.put_header("cookie", "secret");
    message.put_header("authorization", "secret");
    let mut octets = Vec::new();
    message.write_bhttp(Mode::KnownLength, &mut octets).unwrap();
    octets
}

async fn keys(peer: &mut Peer) -> Answer {
    let request = get("GET", "b.example", GATEWAY).body(Full::default()).unwrap();
    peer.send(request).await
}

async fn post(peer: &mut Peer, body: impl Into<Bytes>) -> Answer {
    let request = get("POST", "b.example", GATEWAY).header("content-type", "message/ohttp-req");
    peer.send(request.body(Full::new(body.into())).unwrap()).await
}

/// Status, octets and headers of what is in a sealed answer.
async fn ask(peer: &mut Peer, request: &[u8]) -> (u16, Vec<u8>, Message) {
    let keys = keys(peer).await.body;
    let (sealed, opener) = ClientRequest::from_encoded_config_list(&keys)
        .unwrap()
        .encapsulate(request)
        .unwrap();
    let answer = post(peer, sealed).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "message/ohttp-res");
    let opened = opener.decapsulate(&answer.body).unwrap();
    let message = Message::read_bhttp(&mut std::io::Cursor::new(opened)).unwrap();
    let status = message.control().status().unwrap().code();
    (status, message.content().to_vec(), message)
}

fn keeper(status: u16, body: &'static str) -> Keeper {
    Box::new(move |_, _| {
        let response = Response::builder().status(status).header("content-type", "image/png");
        let response = response.header("set-cookie", "secret");
        Ok(response.body(asset_body(body)).unwrap())
    })
}

#[tokio::test]
async fn as_5_keys_are_at_the_well_known_place() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    let answer = keys(&mut peer).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/ohttp-keys");
    assert!(answer.headers.contains_key("cache-control"));
    assert!(ClientRequest::from_encoded_config_list(&answer.body).is_ok());
    let put = get("PUT", "b.example", GATEWAY).body(Full::default()).unwrap();
    let answer = peer.send(put).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["allow"]),
        (405, &"GET, HEAD, POST".parse().unwrap())
    );
}

#[tokio::test]
async fn as_3_as_5_a_sealed_request_is_fetched_from_where_peers_keep_assets() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    world.peers.fetched.say(keeper(206, "ss"));
    let (status, octets, message) = ask(&mut peer, &request("GET", "https", "assets.c.example", "/x?y")).await;
    assert_eq!((status, octets), (206, b"ss".to_vec()));
    assert_eq!(message.header().get(b"content-type"), Some(&b"image/png"[..]));
    assert_eq!(message.header().get(b"set-cookie"), None);
    let (url, wanted) = world.peers.fetched.asked().pop().unwrap();
    assert_eq!(url, "https://assets.c.example/x?y");
    assert_eq!(
        (wanted.head, wanted.range.unwrap().as_bytes()),
        (false, &b"bytes=1-2"[..])
    );
}

#[tokio::test]
async fn as_3_other_targets_are_refused_under_the_seal() {
    let world = World::start().await;
    let mut peer = world.peer("b.example").await;
    for (inner, status) in [
        (request("GET", "https", "victim.example", "/x"), 403),
        (request("GET", "https", "assets.c.example:22", "/x"), 403),
        (request("GET", "http", "assets.c.example", "/x"), 400),
        (request("POST", "https", "assets.c.example", "/x"), 405),
        (b"no message".to_vec(), 400),
    ] {
        let (found, octets, _) = ask(&mut peer, &inner).await;
        assert_eq!((found, octets.len()), (status, 0));
    }
    assert!(world.peers.fetched.asked().is_empty());
    world.peers.fetched.say(keeper(302, "elsewhere"));
    let (status, ..) = ask(&mut peer, &request("GET", "https", "assets.c.example", "/x")).await;
    assert_eq!(status, 502);
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_and_large_answers_are_not_held() {
    let limits = AssetLimits {
        oblivious_bytes_max: 5,
        ..AssetLimits::default()
    };
    let world = World::with_assets(Limits::default(), limits).await;
    let mut peer = world.peer("b.example").await;
    let keys = keys(&mut peer).await.body;
    let sealing = ClientRequest::from_encoded_config_list(&keys).unwrap();
    let (mut sealed, _) = sealing.encapsulate(b"request").unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    for body in [Vec::new(), vec![0; 64], sealed] {
        assert_eq!(post(&mut peer, body).await.status, 400);
    }
    assert_eq!(post(&mut peer, vec![0; (16 << 10) + 1]).await.status, 413);
    let mut peer = world.peer("b.example").await;
    for (body, status) in [("12345", 200), ("123456", 502)] {
        world.peers.fetched.say(keeper(200, body));
        let (found, ..) = ask(&mut peer, &request("GET", "https", "assets.c.example", "/x")).await;
        assert_eq!(found, status);
    }
}

#[tokio::test]
async fn as_3_the_relay_passes_on_what_it_cannot_read_and_says_nothing_of_its_user() {
    let world = World::start().await;
    let mut api = AssetsClient::new(channel(&world).await);
    let call = |provider: &str| ObliviousKeysCall {
        provider: provider.to_owned(),
    };
    let answer = api
        .oblivious_keys(alices(call("b.example")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.status, &*answer.body), (200, &b"peer"[..]));
    let sealed = |provider: &str, body: Bytes| ObliviousCall {
        provider: provider.to_owned(),
        body,
    };
    let body = Bytes::from_static(b"sealed");
    let answer = api
        .oblivious(alices(sealed("b.example", body.clone())))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((answer.status, &*answer.body), (200, &b"peer"[..]));
    let asked: Vec<_> = world.peers.oblivious.asked();
    let b = crate::world::provider("b.example");
    assert_eq!(asked, [(b.clone(), None), (b, Some(body))]);
    world.peers.oblivious.say(Ok(Answered {
        status: 400,
        ..Answered::default()
    }));
    let answer = api
        .oblivious(alices(sealed("b.example", Bytes::new())))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.status, 400);
    let large = sealed("b.example", vec![0; (16 << 10) + 1].into());
    assert_eq!(api.oblivious(alices(large)).await.unwrap().into_inner().status, 413);

    // Our own gateway, for rooms of ours.
    let keys = api
        .oblivious_keys(alices(call("a.example")))
        .await
        .unwrap()
        .into_inner()
        .body;
    let sealing = ClientRequest::from_encoded_config_list(&keys).unwrap();
    let inner = request("GET", "https", "assets.c.example", "/x");
    let (octets, opener) = sealing.encapsulate(&inner).unwrap();
    let answer = api
        .oblivious(alices(sealed("a.example", octets.into())))
        .await
        .unwrap()
        .into_inner();
    let opened = opener.decapsulate(&answer.body).unwrap();
    let message = Message::read_bhttp(&mut std::io::Cursor::new(opened)).unwrap();
    assert_eq!(message.content(), b"asset");

    let refused = api.oblivious_keys(alices(call("B example"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = api
        .oblivious(with_token("guess", sealed("b.example", Bytes::new())))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn e_9_the_gateway_has_a_rate_of_its_own() {
    let mut limits = Limits::default();
    limits.rates.oblivious = Rate::new(1, 1);
    let world = World::with(limits).await;
    let mut peer = world.peer("b.example").await;
    assert_eq!(keys(&mut peer).await.status, 200);
    let early = post(&mut peer, vec![0; 64]).await;
    assert_eq!(early.status, 429);
    assert!(early.headers.contains_key("retry-after"));
    let mut other = world.peer("c.example").await;
    let request = get("GET", "c.example", GATEWAY).body(Full::default()).unwrap();
    assert_eq!(other.send(request).await.status, 200);
}
