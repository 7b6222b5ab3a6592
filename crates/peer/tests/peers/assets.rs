use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::BodyExt as _;
use peer::{AssetUrl, Directory, Endpoint, PeerError, Wanted};

use crate::puppet::{Setup, World, provider};

/// b.example's own host: the one its address stands for.
fn url(text: &str) -> AssetUrl {
    text.parse().unwrap()
}

fn part() -> Wanted {
    Wanted {
        head: false,
        range: Some(HeaderValue::from_static("bytes=1-2")),
    }
}

#[tokio::test]
async fn as_2_as_4_an_asset_is_fetched_from_its_keeper_without_a_word_about_who_wants_it() {
    let world = World::new(Setup::default()).await;
    world
        .server
        .reply(|_| Some(Response::new(Bytes::from_static(b"asset"))));
    let answer = world
        .peers
        .fetch_asset(&url("https://b.example/x%20y?z"), part())
        .await
        .unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "asset");
    let asked = world.server.asked.lock().unwrap().pop().unwrap();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str(), asked.host.as_str()),
        ("GET", "/x%20y", "b.example")
    );
    let names: Vec<_> = asked
        .headers
        .keys()
        .map(|name| name.as_str())
        .filter(|name| *name != "host")
        .collect();
    assert_eq!(names, ["range"]);
}

#[tokio::test]
async fn as_4_redirects_are_not_followed_and_strangers_not_asked() {
    let world = World::new(Setup::default()).await;
    world.server.reply(|_| {
        let response = Response::builder()
            .status(302)
            .header("location", "https://b.example/elsewhere");
        Some(response.body(Bytes::new()).unwrap())
    });
    let answer = world
        .peers
        .fetch_asset(&url("https://b.example/x"), Wanted::default())
        .await
        .unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(world.server.asked.lock().unwrap().len(), 1);
    for stranger in [
        "https://c.example/x",
        "https://mimi.b.example/x",
        "https://b.example:1/x",
    ] {
        let refused = world.peers.fetch_asset(&url(stranger), Wanted::default()).await;
        assert_eq!(refused.unwrap_err(), PeerError::NotAnAssetHost, "{stranger}");
    }
    assert_eq!(world.server.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn as_2_a_hubs_proxy_is_where_its_directory_says() {
    let world = World::new(Setup::default()).await;
    world
        .server
        .reply(|_| Some(Response::new(Bytes::from_static(b"asset"))));
    let wanted = Wanted { head: true, ..part() };
    let b = provider("b.example");
    let answer = world
        .peers
        .proxy_download(&b, &url("https://c.example/x?y"), wanted)
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let asked = world.server.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked.path, "/v1/proxyDownload/https%3A%2F%2Fc.example%2Fx%3Fy");
    assert_eq!(
        (asked.method.as_str(), asked.headers["from"].to_str().unwrap()),
        ("HEAD", "mimi@a.example")
    );
    assert_eq!(asked.headers["range"], "bytes=1-2");
}

#[tokio::test]
async fn as_3_as_5_a_gateway_is_where_the_directory_says_or_at_the_well_known_place() {
    let world = World::new(Setup::default()).await;
    let b = provider("b.example");
    world.server.reply(|asked| Some(Response::new(asked.body.clone())));
    world.peers.gateway_keys(&b).await.unwrap();
    let asked = world.server.asked.lock().unwrap().pop().unwrap();
    assert_eq!(
        (asked.method.as_str(), asked.host.as_str(), asked.path.as_str()),
        ("GET", "b.example", "/.well-known/ohttp-gateway")
    );

    let world = World::new(Setup::default()).await;
    let directory = Directory::publish("mimi.b.example", Endpoint::ALL, None).unwrap();
    world.server.publish(&directory.with_gateway("mimi.b.example"));
    world.server.reply(|asked| Some(Response::new(asked.body.clone())));
    let answer = world.peers.oblivious(&b, Bytes::from_static(b"sealed")).await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"sealed"[..]));
    let asked = world.server.asked.lock().unwrap().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.host.as_str()), ("POST", "mimi.b.example"));
    assert_eq!(asked.headers["content-type"], "message/ohttp-req");
}

#[tokio::test]
async fn e_5_a_gateway_elsewhere_spoils_the_directory() {
    let world = World::new(Setup::default()).await;
    let directory = Directory::publish("b.example", Endpoint::ALL, None).unwrap();
    world.server.publish(&directory.with_gateway("victim.example"));
    let refused = world.peers.gateway_keys(&provider("b.example")).await;
    assert!(matches!(refused, Err(PeerError::Directory(_))));
}
